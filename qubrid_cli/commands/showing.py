"""How commands show what they pull: drawn, as plain text, or as a record; and what belongs on stderr."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from ..errors import QvisionError, UsageError, printable

if TYPE_CHECKING:
    from ..description import Description, Items
    from ..output import Output
    from ..terminal import Answer


@dataclass(frozen=True, slots=True)
class Show:
    """How the user wants to see what comes; ``None`` leaves it to where the output goes."""

    as_json: bool
    field: str | None
    stats: bool | None
    quiet: bool
    verbose: bool
    color: bool | None

    @property
    def as_record(self) -> bool:
        """Whether programs read it."""
        return self.as_json or self.field is not None

    def check(self) -> None:
        """Refuse what could not be shown, before anything is asked and paid for.

        Raises:
            UsageError: two forms at once, or a field that does not exist.
        """
        if self.as_json and self.field is not None:
            raise UsageError("--json and --field exclude each other", hint="--field prints one value of that object.")
        if self.field is not None:
            from .. import records

            records.check_field(self.field)


def announce(name: str, show: Show) -> None:
    """Name the image whose answer comes next, for whoever watches several go by."""
    if not show.quiet and not show.as_record and sys.stderr is not None and sys.stderr.isatty():
        typer.echo(f"{printable(name)}:", err=True)


def show_one(items: "Items", show: Show, target: "Output") -> "Description":
    """Pull one answer to its end, in the form that was asked for, and add what belongs on stderr."""
    from .. import description, records

    is_watched = sys.stderr is not None and sys.stderr.isatty() and not show.quiet
    if is_watched or show.verbose:
        from .. import terminal

        screen = terminal.console(color=show.color, stderr=True)
        items = terminal.with_spinner(items, screen) if is_watched else items
        items = terminal.with_log(items, screen) if show.verbose else items
    if show.as_record:
        answer = description.finished(items)
        _record(answer, show, target)
    elif target.is_screen or (show.color and not target.is_file):
        answer = _drawn(items, show, target)
    else:
        answer = records.write_text(items, target)
    if not show.quiet:
        for warning in answer.warnings:
            typer.echo(f"note: {printable(warning)}", err=True)
    if (is_watched if show.stats is None else show.stats) and answer.has_answer:
        typer.echo("\n" * is_watched + printable(records.statistics(answer)), err=True)
    return answer


def _drawn(items: "Items", show: Show, target: "Output") -> "Description":
    from .. import terminal

    screen = terminal.console(color=show.color)

    def open_answer() -> "Answer":
        from ..markdown import LiveMarkdown  # takes a while, and is wanted only when the request is on its way

        return LiveMarkdown(screen, live=target.is_screen and not screen.is_dumb_terminal)

    return terminal.show_answer(items, open_answer)


def _record(answer: "Description", show: Show, target: "Output") -> None:
    from .. import records

    found = records.json_object(answer)
    if show.field is None:
        target.write(records.json_text(found) + "\n")
        return
    value = records.picked(found, show.field)
    if answer.error is None or value not in {"", "null"}:
        target.write(value + "\n")


def show_failure(error: QvisionError, known: dict[str, str], show: Show, target: "Output") -> None:
    """What went wrong before anything was asked, as the same object."""
    if show.as_json:
        from ..description import Description

        _record(Description(prompt=known.get("prompt"), model=known.get("model"), error=error), show, target)
