"""Shows the results of commands: answers (live, as plain text, as records), tables, lines and JSON; notes on stderr."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import QvisionError, UsageError
from ..frozen import frozen
from ..text import escape_control_characters, json_text
from .appearance import is_color_forced, may_repaint
from .streams import Output, echo_err, echo_note, echo_prose, translate_stdout_errors

if TYPE_CHECKING:
    from ..describe.dry_run import DryRunResult
    from ..describe.result import Description
    from ..describe.run import Items
    from ..schema.json_schema import Schema
    from ..settings.presets import Preset
    from .terminal import LiveView


@frozen
class OutputOptions:
    """How to show answers.

    Attributes:
        stats: end each answer with a line of statistics; ``None`` does so if a person watches stderr.
        plain: print an answer on a terminal as the model wrote it, not as Markdown; ``None`` leaves it to the preset.
    """

    as_json: bool
    field: str | None
    stats: bool | None
    thinking: bool
    quiet: bool
    verbose: bool
    plain: bool | None = None
    schema: "Schema | None" = None

    @property
    def is_machine_readable(self) -> bool:
        """Whether the output is for programs."""
        return self.as_json or self.field is not None

    @property
    def is_interactive(self) -> bool:
        """Whether a person watches stderr, so that progress is shown there."""
        return sys.stderr is not None and sys.stderr.isatty() and not self.quiet

    @property
    def has_statistics(self) -> bool:
        """Whether a line of statistics ends each answer."""
        return self.is_interactive if self.stats is None else self.stats

    def validate(self, *, dry_run: bool) -> None:
        """Check the options before the first request.

        Raises:
            UsageError: two options exclude each other, or the field does not exist.
        """
        if dry_run and self.field is not None:
            raise UsageError(
                "--dry-run and --field exclude each other",
                hint="A dry run has no answer to pick a field from; try --dry-run --json.",
            )
        if self.as_json and self.field is not None:
            raise UsageError("--json and --field exclude each other", hint="--field prints one value of that object.")
        if self.field is not None:
            from . import formatting

            formatting.check_field(self.field)

    def for_answers(self, schema: "Schema | None", preset: "Preset | None") -> "OutputOptions":
        """Return these options, completed for answers that must fit a schema, and for the preset of their prompt.

        Raises:
            UsageError: the answers have no such field.
        """
        if self.field is not None and self.field.startswith("data."):
            from . import formatting

            if schema is None:
                raise UsageError(
                    f"--field {self.field}: there is no data without a schema", hint="Add one with --schema."
                )
            formatting.check_field(self.field, schema.document)
        is_verbatim = preset is not None and preset.verbatim
        return replace(self, schema=schema, plain=is_verbatim if self.plain is None else self.plain)


@dataclass(slots=True)
class RequestInfo:
    """What is known about a request before it is sent, for the record of an early failure, which goes to ``target``."""

    target: Output = field(default_factory=Output)
    model: str | None = None
    prompt: str | None = None
    images: tuple[str, ...] = ()


@contextmanager
def open_status(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show a status line on stderr, if a person watches; yields a function that changes its text."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from . import terminal

    with terminal.open_status() as show_status:
        yield show_status


def announce_image(name: str, options: OutputOptions, target: Output, *, has_heading: bool) -> None:
    """Name the image of the next of several answers: on stderr for a person who watches, and above an answer in text.

    Args:
        has_heading: whether there is a line above the answer, which answers for programs never have.
    """
    name = escape_control_characters(name)
    is_text = not options.is_machine_readable and options.schema is None
    has_heading = has_heading and is_text and not target.is_terminal
    if has_heading:
        target.begin_section(f"== {name} ==")
    # The output of a pipe appears most often on the same terminal.
    is_seen = has_heading and not target.is_file and not target.is_stdout_file
    if not options.is_machine_readable and options.is_interactive and not is_seen:
        echo_err(f"{name}:")


def show_answer(items: "Items", options: OutputOptions, target: Output, *, name: str | None = None) -> "Description":
    """Show the items of one answer as they arrive, then notes and statistics on stderr.

    Args:
        name: the name of the image, if there are several.
    """
    items = _show_progress(items, options)
    with closing(items):
        answer = _show_in_format(items, options, target)
    target.has_answer = target.has_answer or answer.error is None
    lines = _format_notes(answer, options, name)
    if lines and options.is_interactive and target.is_terminal:
        echo_err("")
    _echo_lines(lines)
    return answer


def show_notes(items: "Items", options: OutputOptions, *, name: str | None = None) -> "Description":
    """Show only the progress, the notes and the statistics of an answer, on stderr.

    Args:
        name: the name of the image, if there are several.
    """
    items = _show_progress(items, options)
    with closing(items):
        answer = _collect(items)
    _echo_lines(_format_notes(answer, options, name))
    return answer


def show_verdict(items: "Items", name: str | None, options: OutputOptions, target: Output) -> "Description":
    """Show the answer to a yes-or-no question: only its record on stdout, and with statistics the verdict on stderr.

    Args:
        name: the name of the image, if there are several.
    """
    items = _show_progress(items, options)
    with closing(items):
        answer = _collect(items)
    if options.as_json:
        answer = _write_record(answer, options, target)
    is_shown = options.has_statistics or (options.verbose and not options.quiet)
    _echo_lines([*(_format_verdict(answer, name) if is_shown else ()), *_format_notes(answer, options, name)])
    return answer


def _format_verdict(answer: "Description", name: str | None) -> list[str]:
    if not isinstance(answer.data, dict):
        return []
    probability, reason = answer.data["probability"], answer.data["reason"]
    details = [f"probability {probability:.3g}"] if probability is not None else [reason] if reason else []
    details.append(f"by {answer.data['by']}")
    text = f"{answer.data['answer']} ({'; '.join(details)})"
    return [escape_control_characters(text if name is None else f"{name}: {text}")]


def _show_progress(items: "Items", options: OutputOptions) -> "Items":
    """Add to the items a spinner, the reasoning and a log on stderr, as the options say."""
    is_interactive = options.is_interactive
    if is_interactive or options.verbose or options.thinking:
        from . import terminal

        console = terminal.make_console(stderr=True)
        items = terminal.with_spinner(items, console, thinking=options.thinking) if is_interactive else items
        items = terminal.with_thinking(items, console) if options.thinking else items
        items = terminal.with_log(items, console, has_spinner=is_interactive) if options.verbose else items
    return items


def _collect(items: "Items") -> "Description":
    from ..describe import run

    return run.collect(items)


def _echo_lines(lines: "Sequence[str]") -> None:
    """Print notes, which are wrapped here, and statistics, which already fit the terminal."""
    for line in lines:
        (echo_prose if line.startswith("note: ") else echo_err)(line)


def _format_notes(answer: "Description", options: OutputOptions, name: str | None) -> list[str]:
    """The notes about an answer, and its statistics; on a terminal, the name of the image is already above them."""
    start = "note: " if name is None or options.is_interactive else f"note: {name}: "
    lines = [] if options.quiet else [escape_control_characters(f"{start}{warning}") for warning in answer.warnings]
    if options.has_statistics and answer.has_answer:
        from . import formatting

        width = shutil.get_terminal_size().columns if options.is_interactive else None
        lines.append(formatting.format_statistics(answer, width=width))
    return lines


def show_separator(text: str, options: OutputOptions, target: Output) -> None:
    """Write a separator between two answers in text; no form feed on a terminal, where names separate them."""
    if not options.is_machine_readable and options.schema is None and not (text == "\f" and target.is_terminal):
        target.write(text)


def _show_in_format(items: "Items", options: OutputOptions, target: Output) -> "Description":
    if options.is_machine_readable:
        return _write_record(_collect(items), options, target)
    if options.schema is not None:
        is_table = options.schema.boxes is not None and target.is_terminal
        return _draw_boxes(items) if is_table else _write_data(items, target)
    is_drawn = target.is_terminal or (is_color_forced() and not target.is_file and sys.stdout is not None)
    if is_drawn and not options.plain:
        return _draw_live(items, target)
    return _write_whole(items, target) if target.is_file else _write_plain(items, target)


def _write_data(items: "Items", target: Output) -> "Description":
    """Write the value of an answer as JSON; without a value write nothing, because the reader expects JSON."""
    answer = _collect(items)
    if answer.error is None:
        target.write(json_text(answer.data, indent=2 if target.is_terminal else None) + "\n")
    return answer


def _draw_boxes(items: "Items") -> "Description":
    """Draw the boxes of an answer as a table."""
    answer = _collect(items)
    if answer.error is None and answer.data:
        has_scores = any("score" in item for item in answer.data)
        titles = ["", "label", "left", "top", "right", "bottom", *(["score"] if has_scores else [])]
        rows = [_format_box(number, item) for number, item in enumerate(answer.data, 1)]
        show_rows(titles, [row[: len(titles)] for row in rows])
    elif answer.error is None:
        echo_err("nothing was found")
    return answer


def _format_box(number: int, item: Mapping[str, Any]) -> list[str]:
    """The cells of a box, or of a point, which has no right and lower edge."""
    edges = item.get("box") or [*item["point"], "", ""]
    return [str(number), escape_control_characters(item["label"]), *map(str, edges), str(item.get("score", ""))]


def _write_whole(items: "Items", target: Output) -> "Description":
    """Write the text of an answer with a line break, after the end: only then is it certain which part is reasoning."""
    answer = _collect(items)
    if answer.text:
        target.write(answer.text if answer.text.endswith("\n") else f"{answer.text}\n")
    return answer


def _write_plain(items: "Items", target: Output) -> "Description":
    """Write an answer as it arrives, unchanged, and a line break at its end; a terminal wraps its lines.

    Text that turns out to be reasoning cannot be withdrawn; the answer begins below it.
    """
    from ..client.events import TextDelta, TextWasReasoning
    from ..describe.result import Description

    last, description = "", Description()
    try:
        for item in items:
            match item:
                case TextDelta():
                    last = item.text  # before it is written: Ctrl-C may arrive as soon as it can be seen
                    target.write(last)
                case TextWasReasoning():
                    target.write("\n\n")
                case Description():
                    description = item
    finally:
        if last and not last.endswith("\n"):
            target.write("\n")
    return description


def _draw_live(items: "Items", target: Output) -> "Description":
    from . import terminal

    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that is not UTF-8 shows question marks
        sys.stdout.reconfigure(errors="replace")
    if target.is_terminal:  # its own size is right; variables may come from another terminal
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)
    console = terminal.make_console()
    can_move = target.is_terminal and may_repaint() and not console.legacy_windows

    def open_view() -> "LiveView":
        from .markdown import LiveMarkdown  # the expensive part of Rich

        target.write("")  # the heading
        return LiveMarkdown(console, live=can_move)

    target.is_untouched = False
    with translate_stdout_errors():
        return terminal.draw_answer(items, open_view)


def _write_record(answer: "Description", options: OutputOptions, target: Output) -> "Description":
    from . import formatting

    json_object = answer.to_dict()
    if options.field is None:
        target.write(json_text(json_object) + "\n")
        return answer
    field_error = None
    if options.schema is not None and answer.error is None and options.field.startswith("data."):
        is_certain = formatting.check_field(options.field, options.schema.document)
        field_error = None if is_certain else formatting.error_for_missing_value(json_object, options.field)
    value = formatting.format_field(json_object, options.field)
    has_failed = answer.error is not None or field_error is not None
    if not has_failed or value not in {"", "null"}:  # a failed request without a value prints nothing
        target.write(value + "\n")
    return answer if field_error is None else replace(answer, error=field_error)


def show_dry_run(result: "DryRunResult", options: OutputOptions, target: Output) -> None:
    """Show the request of a dry run, and its notes."""
    from . import formatting

    text = json_text(formatting.json_dry_run(result)) if options.as_json else formatting.format_dry_run(result)
    target.write(text + "\n")
    target.has_answer = True
    for warning in result.warnings if not options.quiet else ():
        echo_note(f"{escape_control_characters(warning)}")


def show_failed_request(error: QvisionError, info: RequestInfo, options: OutputOptions) -> None:
    """Write the record of a request that was not sent."""
    if options.is_machine_readable:
        from ..describe.result import Description, UnpreparedImage

        images = tuple(UnpreparedImage(name) for name in info.images)
        answer = Description(prompt=info.prompt, model=info.model, images=images, error=error)
        _write_record(answer, options, info.target)


def show_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows on stdout: on a terminal a table, elsewhere aligned lines without the titles."""
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
    """Print JSON on stdout, on one line and in ASCII, so that it contains no control characters."""
    print_line(json.dumps(value, separators=(",", ":")))


def print_line(text: str) -> None:
    """Print a line on stdout; on a terminal without control characters."""
    Output().write(text + "\n")
