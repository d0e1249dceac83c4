"""``qvision join``: join the results of a run in parts into one file."""

from typing import Annotated

import typer

from ..errors import BatchIncompleteError, UsageError
from ..text import format_count, quote_name
from .shared import completions, help_layout, runs
from .shared.parts import FormatKind

app = typer.Typer()

_EXAMPLES = """\
qvision join results/ > results.jsonl
qvision join results/ -o results.parquet
qvision join s3://bucket/run1/ --failed"""


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
def join(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            autocompletion=completions.complete_files,
            help="Folder or bucket URL of a run in parts.",
        ),
    ],
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only the images that failed.")] = False,
    form: Annotated[
        FormatKind | None,
        typer.Option(
            "--format", metavar="FORMAT", help="jsonl or parquet. [by the suffix of -o, else jsonl]", show_default=False
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            autocompletion=completions.complete_files,
            help="Write to this file or object instead of standard output.",
        ),
    ] = None,
) -> None:
    """Join the results of a batch in parts."""
    from ..batch.parts.join import count_unfinished, open_run, write_joined
    from ..batch.parts.output_folder import PartFormat
    from ..output.streams import open_sink

    part_format = PartFormat.from_name(output or "") if form is None else PartFormat(form)
    if output and form is None and part_format is PartFormat.JSONL and runs.is_report_name(output):
        name = quote_name(output)
        raise UsageError(f"join does not write -o {name}", hint=f"Use: qvision report {quote_name(folder)} -o {name}")
    parts = open_run(folder, output)
    with open_sink(output, is_text=part_format is PartFormat.JSONL) as sink:
        write_joined(parts, sink, output or "-", part_format, only_failed=failed)
    if count := count_unfinished(parts):
        raise BatchIncompleteError(
            f"{format_count(count, 'part has', 'parts have')} no result yet; only finished parts were joined",
            hint="To finish them, run the batch again.",
        )
