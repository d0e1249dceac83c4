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

from ..errors import QvisionError, UsageError, printable
from ..frozen import frozen
from ..output import Output, say, writing_to_stdout

if TYPE_CHECKING:
    from ..description import Items
    from ..draft import Description
    from ..rehearsal import Rehearsal
    from ..schema import Schema
    from ..terminal import Drawing


@frozen
class Show:
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
    def as_record(self) -> bool:
        """Whether programs read it."""
        return self.as_json or self.field is not None

    def check(self, *, dry_run: bool) -> None:
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
            from .. import records

            records.check_field(self.field)

    def expecting(self, schema: "Schema | None") -> "Show":
        """The same for answers that fit a schema.

        Raises:
            UsageError: a field that such an answer does not have.
        """
        if self.field is None or not self.field.startswith("data."):
            return replace(self, schema=schema)
        from .. import records

        if schema is None:
            raise UsageError(f"--field {self.field}: there is no data without a schema", hint="Give one with --schema.")
        records.check_field(self.field, schema.document)
        return replace(self, schema=schema)


@dataclass(slots=True)
class Known:
    """What a record can say of a request that was never sent, as far as the command line was understood."""

    model: str | None = None
    prompt: str | None = None
    images: tuple[str, ...] = ()


def announce(name: str, show: Show) -> None:
    """Name the image whose answer comes next, for whoever watches several go by."""
    if not show.as_record and _is_watched(show):
        say(f"{printable(name)}:")


def _is_watched(show: Show) -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and not show.quiet


def show_one(items: "Items", show: Show, target: Output) -> "Description":
    """Pull one answer to its end, in the form that was asked for, and add what belongs on stderr."""
    from .. import records

    is_watched = _is_watched(show)
    if is_watched or show.verbose or show.thinking:
        from .. import terminal

        screen = terminal.console(color=show.color, stderr=True)
        items = terminal.with_spinner(items, screen, thinking=show.thinking) if is_watched else items
        items = terminal.with_thinking(items, screen) if show.thinking else items
        items = terminal.with_log(items, screen, is_watched=is_watched) if show.verbose else items
    with closing(items):
        answer = _pulled(items, show, target)
    lines = [] if show.quiet else [f"note: {printable(warning)}" for warning in answer.warnings]
    if (is_watched if show.stats is None else show.stats) and answer.has_answer:
        lines.append(records.statistics(answer, width=shutil.get_terminal_size().columns if is_watched else None))
    if lines and is_watched and target.is_screen:
        say("")
    for line in lines:
        say(line)
    return answer


def _pulled(items: "Items", show: Show, target: Output) -> "Description":
    if show.as_record:
        from .. import description

        return _record(description.finished(items), show, target)
    if show.schema is not None:
        return _value(items, target)
    if target.is_screen or (show.color and not target.is_file and sys.stdout is not None):
        return _drawn(items, show, target)
    return _written(items, target)


def _value(items: "Items", target: Output) -> "Description":
    """The value that was asked for, and nothing where the answer holds none: whoever reads it expects JSON."""
    from .. import description, records

    answer = description.finished(items)
    if answer.error is None:
        target.write(records.json_text(answer.data, indent=2 if target.is_screen else None) + "\n")
    return answer


def _written(items: "Items", target: Output) -> "Description":
    """The answer as it arrives, exactly as the model wrote it, and one line break behind it."""
    from ..deltas import Text
    from ..draft import Description

    last, description = "", Description()
    try:
        for item in items:
            if isinstance(item, Text):
                target.write(item.text)
                last = item.text
            elif isinstance(item, Description):
                description = item
    finally:
        if not last.endswith("\n"):
            target.write("\n" if last else "")
    return description


def _drawn(items: "Items", show: Show, target: Output) -> "Description":
    from .. import terminal

    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that is not UTF-8 shows a question mark
        sys.stdout.reconfigure(errors="replace")
    if target.is_screen:  # the terminal knows its size better than variables from elsewhere
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)
    screen = terminal.console(color=show.color)
    can_move = target.is_screen and not screen.is_dumb_terminal and not screen.legacy_windows

    def open_drawing() -> "Drawing":
        from ..markdown import LiveMarkdown  # the costly part of Rich

        return LiveMarkdown(screen, live=can_move)

    target.is_untouched = False
    with writing_to_stdout():
        return terminal.show_answer(items, open_drawing)


def _record(answer: "Description", show: Show, target: Output) -> "Description":
    from .. import records

    found = records.json_object(answer)
    if show.field is None:
        target.write(records.json_text(found) + "\n")
        return answer
    lost = None
    if show.schema is not None and answer.error is None and show.field.startswith("data."):
        lost = records.lost(found, show.field, show.schema.document)
    value = records.picked(found, show.field)
    if (answer.error or lost) is None or value not in {"", "null"}:
        target.write(value + "\n")
    return answer if lost is None else replace(answer, error=lost)


def show_rehearsal(rehearsal: "Rehearsal", show: Show, target: Output) -> None:
    """A request that was not sent, in the place of its answer."""
    from .. import records
    from ..rehearsal import json_object, text

    target.write((records.json_text(json_object(rehearsal)) if show.as_json else text(rehearsal)) + "\n")
    for warning in rehearsal.warnings if not show.quiet else ():
        say(f"note: {printable(warning)}")


def show_failure(error: QvisionError, known: Known, show: Show, target: Output) -> None:
    """What went wrong before anything was asked, as the same object, unless there is one already."""
    if target.is_untouched:
        show_failed(error, known, show, target)


def show_failed(error: QvisionError, known: Known, show: Show, target: Output) -> None:
    """A request that was not made, as the same object."""
    if show.as_record:
        from ..draft import Description, Unprepared

        images = tuple(Unprepared(name) for name in known.images)
        _record(Description(prompt=known.prompt, model=known.model, images=images, error=error), show, target)


def show_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of facts on stdout: a table on a terminal; elsewhere a row on each line, aligned, without the titles."""
    if sys.stdout is not None and sys.stdout.isatty():
        from .. import terminal

        with writing_to_stdout():
            terminal.show_table(titles, rows)
        return
    lines = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_object(value: object) -> None:
    """JSON on stdout, on one line; all of it ASCII, so that nothing in it acts on a terminal."""
    print_line(json.dumps(value, separators=(",", ":")))


def print_line(text: str) -> None:
    """A line on stdout, harmless where that is a terminal."""
    Output().write(text + "\n")
