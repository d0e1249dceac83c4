"""How commands show what they pull: drawn, as plain text, or as a record; and what belongs on stderr."""

import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import QvisionError, UsageError
from ..frozen import frozen
from ..text import escape_control_characters
from .streams import Output, echo_err, translate_stdout_errors

if TYPE_CHECKING:
    from ..describe.dry_run import DryRunResult
    from ..describe.result import Description
    from ..describe.run import Items
    from ..schema.json_schema import Schema
    from .terminal import LiveView


@frozen
class OutputOptions:
    """How the user wants to see what comes; ``None`` leaves it to where the output goes."""

    as_json: bool
    field: str | None
    stats: bool | None
    thinking: bool
    quiet: bool
    verbose: bool
    color: bool | None
    schema: "Schema | None" = None

    @property
    def is_machine_readable(self) -> bool:
        """Whether programs read it."""
        return self.as_json or self.field is not None

    def validate(self, *, dry_run: bool) -> None:
        """Refuse what could not be shown, before anything is asked and paid for.

        Raises:
            UsageError: two forms at once, or a field that does not exist.
        """
        if dry_run and self.field is not None:
            raise UsageError(
                "--dry-run and --field exclude each other",
                hint="There is no answer to pick from; try --dry-run --json.",
            )
        if self.as_json and self.field is not None:
            raise UsageError("--json and --field exclude each other", hint="--field prints one value of that object.")
        if self.field is not None:
            from . import record

            record.check_field(self.field)

    def with_schema(self, schema: "Schema | None") -> "OutputOptions":
        """The same for answers that fit a schema.

        Raises:
            UsageError: a field that such an answer does not have.
        """
        if self.field is None or not self.field.startswith("data."):
            return replace(self, schema=schema)
        from . import record

        if schema is None:
            raise UsageError(f"--field {self.field}: there is no data without a schema", hint="Give one with --schema.")
        record.check_field(self.field, schema.document)
        return replace(self, schema=schema)


@dataclass(slots=True)
class RequestInfo:
    """What a record can say of a request that was never sent, as far as the command line was understood."""

    model: str | None = None
    prompt: str | None = None
    images: tuple[str, ...] = ()


def announce_image(name: str, options: OutputOptions) -> None:
    """Name the image whose answer comes next, for whoever watches several go by."""
    if not options.is_machine_readable and _is_interactive(options):
        echo_err(f"{escape_control_characters(name)}:")


def _is_interactive(options: OutputOptions) -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and not options.quiet


def show_answer(items: "Items", options: OutputOptions, target: Output) -> "Description":
    """Pull one answer to its end, in the form that was asked for, and add what belongs on stderr."""
    from . import record

    is_watched = _is_interactive(options)
    if is_watched or options.verbose or options.thinking:
        from . import terminal

        screen = terminal.make_console(color=options.color, stderr=True)
        items = terminal.with_spinner(items, screen, thinking=options.thinking) if is_watched else items
        items = terminal.with_thinking(items, screen) if options.thinking else items
        items = terminal.with_log(items, screen, has_spinner=is_watched) if options.verbose else items
    with closing(items):
        answer = _show_in_format(items, options, target)
    lines = [] if options.quiet else [f"note: {escape_control_characters(warning)}" for warning in answer.warnings]
    if (is_watched if options.stats is None else options.stats) and answer.has_answer:
        lines.append(record.format_statistics(answer, width=shutil.get_terminal_size().columns if is_watched else None))
    if lines and is_watched and target.is_terminal:
        echo_err("")
    for line in lines:
        echo_err(line)
    return answer


def _show_in_format(items: "Items", options: OutputOptions, target: Output) -> "Description":
    if options.is_machine_readable:
        from ..describe import run

        return _write_record(run.collect(items), options, target)
    if options.schema is not None:
        return _show_data(items, target)
    if target.is_terminal or (options.color and not target.is_file and sys.stdout is not None):
        return _draw_live(items, options, target)
    return _write_plain(items, target)


def _show_data(items: "Items", target: Output) -> "Description":
    """The value that was asked for, and nothing where the answer holds none: whoever reads it expects JSON."""
    from ..describe import run
    from . import record

    answer = run.collect(items)
    if answer.error is None:
        target.write(record.json_text(answer.data, indent=2 if target.is_terminal else None) + "\n")
    return answer


def _write_plain(items: "Items", target: Output) -> "Description":
    """The answer as it arrives, exactly as the model wrote it, and one line break behind it."""
    from ..client.deltas import TextDelta
    from ..describe.result import Description

    last, description = "", Description()
    try:
        for item in items:
            if isinstance(item, TextDelta):
                target.write(item.text)
                last = item.text
            elif isinstance(item, Description):
                description = item
    finally:
        if not last.endswith("\n"):
            target.write("\n" if last else "")
    return description


def _draw_live(items: "Items", options: OutputOptions, target: Output) -> "Description":
    from . import terminal

    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that is not UTF-8 shows a question mark
        sys.stdout.reconfigure(errors="replace")
    if target.is_terminal:  # the terminal knows its size better than variables from elsewhere
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)
    screen = terminal.make_console(color=options.color)
    can_move = target.is_terminal and not screen.is_dumb_terminal and not screen.legacy_windows

    def open_drawing() -> "LiveView":
        from .markdown import LiveMarkdown  # the costly part of Rich

        return LiveMarkdown(screen, live=can_move)

    target.is_untouched = False
    with translate_stdout_errors():
        return terminal.draw_answer(items, open_drawing)


def _write_record(answer: "Description", options: OutputOptions, target: Output) -> "Description":
    from . import record

    found = record.json_object(answer)
    if options.field is None:
        target.write(record.json_text(found) + "\n")
        return answer
    lost = None
    if options.schema is not None and answer.error is None and options.field.startswith("data."):
        lost = record.error_for_missing_data(found, options.field, options.schema.document)
    value = record.format_field(found, options.field)
    if (answer.error or lost) is None or value not in {"", "null"}:
        target.write(value + "\n")
    return answer if lost is None else replace(answer, error=lost)


def show_dry_run(dry_run: "DryRunResult", options: OutputOptions, target: Output) -> None:
    """A request that was not sent, in the place of its answer."""
    from . import record
    from .record import format_dry_run, json_dry_run

    target.write((record.json_text(json_dry_run(dry_run)) if options.as_json else format_dry_run(dry_run)) + "\n")
    for warning in dry_run.warnings if not options.quiet else ():
        echo_err(f"note: {escape_control_characters(warning)}")


def show_early_failure(error: QvisionError, info: RequestInfo, options: OutputOptions, target: Output) -> None:
    """What went wrong before anything was asked, as the same object, unless there is one already."""
    if target.is_untouched:
        show_failed_request(error, info, options, target)


def show_failed_request(error: QvisionError, info: RequestInfo, options: OutputOptions, target: Output) -> None:
    """A request that was not made, as the same object."""
    if options.is_machine_readable:
        from ..describe.result import Description, UnpreparedImage

        images = tuple(UnpreparedImage(name) for name in info.images)
        _write_record(Description(prompt=info.prompt, model=info.model, images=images, error=error), options, target)


def show_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of facts on stdout: a table on a terminal; elsewhere a row on each line, aligned, without the titles."""
    if sys.stdout is not None and sys.stdout.isatty():
        from . import terminal

        with translate_stdout_errors():
            terminal.show_table(titles, rows)
        return
    lines = [[escape_control_characters(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_json(value: object) -> None:
    """JSON on stdout, on one line; all of it ASCII, so that nothing in it acts on a terminal."""
    print_line(json.dumps(value, separators=(",", ":")))


def print_line(text: str) -> None:
    """A line on stdout, harmless where that is a terminal."""
    Output().write(text + "\n")
