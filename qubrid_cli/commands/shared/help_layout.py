"""The layout of the help of commands: options under headings, ranges in words, examples at the end."""

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from ...settings.fields import OPTIONS
from ...text import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Columns; longer lines are hard to read.
MAX_WIDTH = 100
#: The headings and their options, in the order of the help. A setting that is not listed follows the one that is declared
#: before it; other options without a heading come last, under "Other".
_HEADINGS: "Mapping[str, Sequence[str]]" = {
    "Prompt": ("prompt", "preset", "system", "schema", "each", "together", "labels", "any_image", "question_option", "threshold", "votes", "by", "session"),
    "Comparison": (
        "models", "pixel_counts", "image_orders", "think_levels", "run_count", "job_count", "label_file",
    ),
    "Images": (
        "from_", "null", "image_column", "include", "exclude", "hidden", "limit", "shard", "pages", "frame", "password_file",
        "crop", "tiles", "max_pixels", "max_side", "background", "quality", "original", "detail", "image_order", "fetch",
    ),
    "Matches": (
        "invert", "with_match", "without_match", "count", "silent", "max_count", "null_names", "why", "sort",
    ),
    "Model": (
        "profile", "model", "max_tokens", "temperature", "top_p", "think", "param", "loop_check", "coordinates",
    ),
    "Output": (
        "output", "page", "form", "serve", "list_order", "bom", "inline_limit", "fetch_pictures", "failures", "ordered",
        "as_json", "field", "thinking", "plain", "page_separator", "stats", "color", "quiet", "verbose", "dry_run",
    ),
    "Pictures": ("draw", "crop_to"),
    "Sidecars": (
        "sidecar", "existing", "caption_suffix", "one_line", "prefix", "append_suffix", "xmp_name",
    ),
    "Batch": (
        "jobs", "rpm", "tpm", "patience", "force", "verify", "retry_incomplete", "max_failures", "max_cost", "max_tokens_total",
        "time_limit",
    ),
    "Parts": ("processes", "dask", "send_key", "part_size", "part_format", "plan_only"),
    "Connection": (
        "base_url", "allow_http", "offline", "stream", "no_stream", "timeout", "request_timeout", "retries", "retry_max_wait", "max_time",
    ),
}  # fmt: skip
#: A list of at most this many options has no headings.
_SHORT_LIST = 12
#: Columns for the names of options; the text of an option with a longer name begins on the next line.
_NAME_WIDTH = 25
#: The range of a number in Typer's words. A string, because few command lines need it compiled.
_RANGE = r"(?:(?P<low>[\d.]+)<=)?x(?:(?P<sign>[<>]=?)(?P<high>[\d.]+))?"
#: The page of the manual about each command.
_PAGES = {
    "describe": "describe",
    "batch": "batch",
    "test": "test",
    "grep": "grep",
    "locate": "locate",
    "report": "report",
    "bench": "bench",
    "chat": "chat",
    "join": "parts",
    "presets": "presets",
    "config": "settings",
    "auth": "keys",
    "models": "profiles",
    "doctor": "troubleshooting",
    "completion": "troubleshooting",
}
#: An upper limit from here on only excludes infinity, and is not shown.
_NO_LIMIT = 1e6
#: A lower limit below this one only excludes zero.
_TINY = 0.01


class _HelpLayout:
    """The layout of the help of all commands. ``epilog`` begins with examples, one per line, which are not wrapped."""

    help: str | None
    epilog: str | None

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002  # Typer cuts it off at a limit
        """Return the first line of the help text."""
        return (self.help or "").partition("\n")[0]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and options under their headings."""
        sections = collect_sections(self, ctx)
        longest = max(len(name) for rows in sections.values() for name, _ in rows)
        width = min(longest, _NAME_WIDTH)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows], col_max=width)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples unchanged, then further paragraphs, then the page of the manual."""
        examples, _, paragraphs = (self.epilog or "").partition("\n\n")
        if examples:
            formatter.write_paragraph()
            formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in examples.splitlines()))
        for paragraph in filter(None, paragraphs.split("\n\n")):
            formatter.write_paragraph()
            formatter.write_text(paragraph)
        _, *words = ctx.command_path.split()
        if words and (topic := _PAGES.get(words[0])) is not None:
            formatter.write_paragraph()
            formatter.write_text(f"More: qvision help {topic}")


class Command(_HelpLayout, TyperCommand):
    """A command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name; Typer puts required arguments into braces."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece[1:-1] if piece.startswith("{") and piece.endswith("}") else piece for piece in pieces]


class Group(_HelpLayout, TyperGroup):
    """A command with commands below it."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  # Typer's signature
        """Write the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str()) for name, command in self.commands.items()])


class Program(Group):
    """The program, whose help also lists the topics of the manual."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the topics."""
        super().format_commands(ctx, formatter)
        from . import manual

        with formatter.section("Topics of the manual (qvision help TOPIC)"):
            formatter.write_dl(list(manual.load_topics().items()))


def collect_sections(command: Any, ctx: Any) -> "Mapping[str, Sequence[tuple[str, str]]]":
    """Collect the arguments and options with their texts, by heading.

    In a short list, all options have one heading, and those without a heading of their own come first.
    """
    headings = {name: heading for heading, names in _list_headings().items() for name in names}
    positions = {name: position for position, name in enumerate([*headings, "help"])}
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    sections |= {heading: [] for heading in (*_HEADINGS, "Options", "Other")}
    records = {parameter: parameter.get_help_record(ctx) for parameter in command.get_params(ctx)}
    records = dict(sorted(records.items(), key=lambda item: positions.get(item[0].name or "", -1)))
    options = {parameter for parameter, record in records.items() if record and parameter.param_type_name == "option"}
    for parameter, record in records.items():
        if record is None:
            continue
        heading = "Arguments" if parameter not in options else headings.get(parameter.name or "", "Other")
        if parameter in options and len(options) <= _SHORT_LIST:
            heading = "Options"
        sections[heading].append((record[0], _join_brackets(record[1])))
    return {heading: rows for heading, rows in sections.items() if rows}


def _list_headings() -> "Mapping[str, Sequence[str]]":
    """The headings with all settings that are options."""
    headings = {heading: list(names) for heading, names in _HEADINGS.items()}
    for before, name in pairwise(OPTIONS):
        if not any(name in names for names in headings.values()):
            names = next(names for names in headings.values() if before in names)
            names.insert(names.index(before) + 1, name)
    return headings


def _join_brackets(text: str) -> str:
    """Put the default and the range into one pair of brackets."""
    text = text.replace("  [required]", "")
    if "[x" in text or "<=x" in text:
        text = re.sub(rf" *\[{_RANGE}\]", _bracket_range, text)
    return text.replace("]  [", "] [").replace("] [", "; ").replace("  [", " [")


def _bracket_range(match: re.Match[str]) -> str:
    text = _describe_range(match)
    return f" [{text}]" if text else ""


def format_error(message: str) -> str:
    """Reword Typer's message about a command line as ours are worded: one sentence without a period."""
    message = re.sub(r"'(-[^']*)'", r"\1", message).removesuffix(".")
    message = re.sub(r" is not a valid int(eger)?( range)?$", " is not a whole number", message)
    message = re.sub(r" is not a valid float( range)?$", " is not a number", message)
    message = re.sub(rf" is not in the range {_RANGE}$", _describe_out_of_range, message)
    message = re.sub(r"(-\S+) \(Possible options: (.*)\)$", _reword_unknown_option, message)
    message = re.sub(r"^Got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)$", r"unexpected argument: \1", message)
    message = re.sub(
        r"^(Missing argument '.*')\. Choose from:\s+(.*)$", _reword_missing_argument, message, flags=re.DOTALL
    )
    message = re.sub(r"'([^']*)' is not one of (.*)$", _reword_choice, message)
    message = re.sub(r"\. Did you mean (?:one of: )?'(.*)'\?$", _join_suggestions, message)
    return message[:1].lower() + message[1:]


def _reword_unknown_option(match: re.Match[str]) -> str:
    """Append the most similar option to a mistyped one, if it is similar enough."""
    return match[1] + suggest(match[1], match[2].split(", "), cutoff=0.8)


def _reword_missing_argument(match: re.Match[str]) -> str:
    return f"{match[1]}: {', '.join(match[2].replace(',', ' ').split())}"


def _reword_choice(match: re.Match[str]) -> str:
    """Reword a wrong choice as settings word it, and append the most similar choice."""
    choices = match[2].replace("'", "").split(", ")
    problem = f"is not one of {', '.join(choices)}" if len(choices) > 1 else f"is not {choices[0]}"
    return f"'{match[1]}' {problem}{suggest(match[1], choices)}"


def _join_suggestions(match: re.Match[str]) -> str:
    names = " or ".join(match[1].split("', '"))
    return f"; did you mean {names}?"


def _describe_out_of_range(match: re.Match[str]) -> str:
    return f" is out of range ({_describe_range(match) or 'at least 0'})"


def _describe_range(match: re.Match[str]) -> str:
    """Describe a range in words; empty if it only excludes negative numbers and infinity."""
    low, sign, high = match["low"], match["sign"] or "", match["high"]
    if sign.startswith(">"):
        low, high = high, None
    if high is not None and float(high) >= _NO_LIMIT:
        high = None
    if low is not None and high is not None:
        return f"{_shorten(low)} to {_shorten(high)}"
    if low is None or float(low) == 0:
        return "" if high is None else f"at most {_shorten(high)}"
    return "more than 0" if float(low) < _TINY else f"at least {_shorten(low)}"


def _shorten(number: str) -> str:
    return number.removesuffix(".0")
