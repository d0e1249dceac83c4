"""``qvision report``: show the results of batches as a page, a table, a document or a clean results file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..output.streams import Output, echo_err, open_sink
from ..report.export import ReportFormat, find_format, write_report
from .shared import completions, help_layout, options, setup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..images.sources import Link, Source
    from ..report.gallery import Gallery
    from ..report.pictures import PictureStore
    from ..report.results import Results

app = typer.Typer()

#: Megabytes.
_INLINE_LIMIT = 20
_EXAMPLES = """\
qvision report results.jsonl -o gallery.html
qvision report results.jsonl --serve
qvision report results.jsonl -o answers.csv
qvision report results.jsonl -o answers.md
qvision report monday.jsonl tuesday.jsonl -o all.jsonl"""


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
def report(
    locations: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...",
            autocompletion=completions.complete_files,
            help="Results files, the folder or bucket URL of a run in parts, - for standard input.",
        ),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            autocompletion=completions.complete_files,
            help="File to write; the suffix sets the format: .html, .csv, .md, .jsonl, .parquet; - is standard output.",
        ),
    ] = None,
    form: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="html, csv, md, jsonl or parquet. [by the suffix of -o]",
            show_default=False,
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", "--edit", help="Serve the page to browsers on this machine, where the answers can be corrected."
        ),
    ] = False,
    list_order: Annotated[
        bool, typer.Option("--list-order", help="Keep the order of the list of images, instead of sorting by name.")
    ] = False,
    inline_limit: Annotated[
        float | None,
        typer.Option(
            "--inline-limit",
            metavar="MB",
            min=0,
            help="Maximum size of the pictures in the page; further ones go to a folder beside it. [20]",
            show_default=False,
        ),
    ] = None,
    fetch_pictures: Annotated[
        bool, typer.Option("--fetch", help="Download images from links and buckets for the page.")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin a .csv with a byte order mark, for Excel.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the results of batches as a page, a table or a document."""
    report_format = _choose_format(output, form, serve=serve)
    _refuse_options_without_effect(
        report_format, {"--fetch": fetch_pictures, "--inline-limit": inline_limit is not None, "--bom": bom}
    )
    if serve and inline_limit is not None:
        raise UsageError("--inline-limit has no effect with --serve", hint="Leave out --inline-limit.")
    from ..report.results import Results

    if report_format is ReportFormat.PARQUET:
        from ..output.parquet import require_library

        require_library()
    target = Output(output)  # fails now if it cannot be written
    with Results(locations, in_list_order=list_order, stdin=setup.open_stdin(locations), target=output) as results:
        target.refuse_overwriting(results.paths)
        title = ", ".join(os.path.basename(name) or name for name in locations)
        if not quiet:
            for note in results.notes:
                echo_err(note)
        if serve:
            _serve(results, title, fetch=fetch_pictures, quiet=quiet)
            return
        store = gallery = None
        if report_format is ReportFormat.HTML:
            store = _make_store(output, _INLINE_LIMIT if inline_limit is None else inline_limit)
            gallery = _build_gallery(results, store, title, fetch=fetch_pictures, quiet=quiet)
        with open_sink(output, is_text=report_format.is_text) as sink:
            write_report(results, sink, output or "-", report_format, title=title, has_mark=bom, gallery=gallery)
        if store is not None:
            store.remove_stale_files()


def _choose_format(output: str | None, form: ReportFormat | None, *, serve: bool) -> ReportFormat:
    """Choose the format by the options; ``--serve`` shows a page.

    Raises:
        UsageError: the options exclude each other, or there is no format.
    """
    if serve and (output is not None or form not in {None, ReportFormat.HTML}):
        raise UsageError("--serve and -o or --format exclude each other", hint="Leave one of them out.")
    if output is None and not serve:
        raise UsageError("there is no output", hint="Name a file: -o gallery.html; or look at the results: --serve")
    if serve:
        return ReportFormat.HTML
    return find_format(output or "-") if form is None else form


def _refuse_options_without_effect(report_format: ReportFormat, options: "Mapping[str, bool]") -> None:
    """Refuse options that apply only to another format.

    Args:
        options: whether each is on the command line.
    """
    for option, is_used in options.items():
        own_format = ReportFormat.CSV if option == "--bom" else ReportFormat.HTML
        if is_used and report_format is not own_format:
            raise UsageError(
                f"{option} has no effect on {report_format}, only on {own_format}", hint=f"Leave out {option}."
            )


def _make_store(output: str | None, inline_limit: float) -> "PictureStore":
    """Make the store for the pictures of a page; only a page that is a file has a folder beside it."""
    from ..report.pictures import PictureStore, name_folder
    from ..urls import is_object_url

    path = None if output in {None, "-"} or is_object_url(output or "") else Path(os.path.realpath(output or ""))
    is_file = path is not None and (path.is_file() or not path.exists())
    return PictureStore(name_folder(path) if path is not None and is_file else None, inline_limit * 1_000_000)


def _build_gallery(results: "Results", store: "PictureStore", title: str, *, fetch: bool, quiet: bool) -> "Gallery":
    from ..output.show import open_status
    from ..report.gallery import Gallery

    with open_status(quiet=quiet) as show_status:
        return Gallery(
            results,
            store,
            title=title,
            fetch=_make_fetcher() if fetch else None,
            report_progress=lambda done, total: show_status(f"{done:,} of {total:,} pictures"),
        )


def _make_fetcher() -> "Callable[[Link], Source]":
    """Make the function that turns a link into an image that is downloaded, with the time limits of the settings."""
    from ..library.image_options import choose_downloads
    from ..settings.resolve import resolve

    settings = resolve({}, os.environ, setup.load_config())

    def fetch(link: "Link") -> "Source":
        (source,) = choose_downloads([link], settings, fetch=True)
        return source

    return fetch


def _serve(results: "Results", title: str, *, fetch: bool, quiet: bool) -> None:
    """Serve the page until Ctrl-C."""
    import signal
    import tempfile

    from ..report.pictures import PictureStore
    from ..report.server import serve_gallery
    from ..text import quote_name

    if results.corrections_file is None:
        raise UsageError(
            "corrections cannot be saved, because the results are not in a local file", hint="Name a results file."
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to delete the pictures then too
    with tempfile.TemporaryDirectory(prefix="qvision-report-") as temporary:
        folder = Path(temporary, "pictures")
        gallery = _build_gallery(results, PictureStore(folder, 0), title, fetch=fetch, quiet=quiet)
        if not quiet:
            echo_err(f"corrections go to {quote_name(results.corrections_file)}; Ctrl-C stops the server")
        serve_gallery(gallery, results, folder, announce=lambda url: Output().write(f"{url}\n"))
