"""``qvision join``: the results of a run in parts, in one file."""

from typing import Annotated

import typer

from ..errors import BatchIncompleteError
from .shared import completions, help_layout

app = typer.Typer()

_EXAMPLES = """\
qvision join results/ > results.jsonl
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
) -> None:
    """Join the results of a batch in parts."""
    from ..batch.parts.join import count_unfinished, join_parts
    from ..batch.parts.output import PartsOutput
    from ..output.streams import Output
    from ..storage.opening import open_folder

    parts, output = PartsOutput(open_folder(folder)), Output()
    for line in join_parts(parts, only_failed=failed):
        output.write(line.decode())
    if count := count_unfinished(parts):
        names = "1 part has" if count == 1 else f"{count:,} parts have"
        raise BatchIncompleteError(
            f"{names} no result yet; only finished parts were joined",
            hint="To finish them, run the batch again.",
        )
