"""``qvision report``: the results of batches as a table, a document or a clean results file."""

import os
from typing import Annotated

import typer

from ..report.formats import ReportFormat, find_format
from .shared import completions, help_layout, options, setup

app = typer.Typer()

_EXAMPLES = """\
qvision report results.jsonl -o answers.csv
qvision report results.jsonl -o answers.md
qvision report monday.jsonl tuesday.jsonl -o all.jsonl"""


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
def report(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...",
            autocompletion=completions.complete_files,
            help="Results files, the folder or bucket URL of a run in parts, - for standard input.",
        ),
    ],
    *,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            autocompletion=completions.complete_files,
            help="File to write, whose suffix is the format: .csv, .md, .jsonl, .parquet; - for standard output.",
        ),
    ],
    form: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format", metavar="FORMAT", help="csv, md, jsonl or parquet. [by the suffix of -o]", show_default=False
        ),
    ] = None,
    list_order: Annotated[
        bool, typer.Option("--list-order", help="Order of the images in their list, not of their names.")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin a .csv with a byte order mark, for Excel.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the results of batches as a table or a document."""
    chosen = find_format(output) if form is None else form
    from ..output.streams import Output, echo_err, open_sink
    from ..report.export import write_report
    from ..report.results import Results

    if chosen is ReportFormat.PARQUET:
        from ..output.parquet import require_library

        require_library()
    target = Output(output)  # which can be written
    with Results(results, in_list_order=list_order, stdin=setup.open_stdin(results), target=output) as answers:
        target.refuse_overwriting(answers.paths)
        title = ", ".join(os.path.basename(name) or name for name in results)
        with open_sink(output, is_text=chosen.is_text) as sink:
            write_report(answers, sink, output, chosen, title=title, has_mark=bom)
    if not quiet:
        for note in answers.notes:
            echo_err(note)
