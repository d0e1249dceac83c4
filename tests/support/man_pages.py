"""Writes the man pages: ``python -m tests.support.man_pages`` fills ``completions/share/man``.

Each command has a page in section 1: what its help says, and the page of the manual with the same name, if there is
one. The other pages of the manual are in section 7.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from qubrid_cli import __version__, cli
from qubrid_cli.commands.shared import manual
from qubrid_cli.commands.shared.help_layout import collect_sections

from . import roff

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "completions" / "share" / "man"
PROGRAM: Any = typer.main.get_command(cli._build_app([*cli._COMMANDS]))
PROGRAM.params = [option for option in PROGRAM.params if option.name not in cli._COMPLETION_OPTIONS]
COMMANDS: Mapping[str, Any] = {name: PROGRAM.commands[name] for name in cli._COMMANDS}
TOPICS = manual.load_topics()


def build_pages() -> dict[str, str]:
    """The pages, by their path below ``man``."""
    pages = {"man1/qvision.1": _build_program_page()}
    pages |= {f"man1/qvision-{name}.1": _build_command_page(name) for name in COMMANDS}
    pages |= {f"man7/qvision-{topic}.7": _build_topic_page(topic) for topic in TOPICS if topic not in COMMANDS}
    return pages


def _name_page(topic: str) -> str:
    """Cite the page about a command or topic."""
    return f"{roff.bold(f'qvision-{topic}')}({1 if topic in COMMANDS else 7})"


def _convert(topic: str, source: str) -> Iterator[str]:
    """Convert a part of the page about a topic."""
    return roff.convert(source, lambda other: "" if other == topic else _name_page(other))


def _begin(name: str, section: int, summary: str) -> Iterator[str]:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    (date,) = re.findall(rf"^## \[?{re.escape(__version__)}\]? - (\S+)$", changes, flags=re.MULTILINE)
    yield roff.macro("TH", name.upper(), str(section), date, f"qvision {__version__}", "qvision manual")
    # Words such as QUBRID_API_KEY are neither hyphenated nor stretched; HY is the register of groff that macros restore.
    yield from (".nr HY 0", ".nh", ".ad l")
    yield roff.heading("Name")
    yield rf"{roff.escape_code(name)} \- {roff.escape(summary[:1].lower() + summary[1:].removesuffix('.'))}"


def _build_program_page() -> str:
    return roff.join([
        *_begin("qvision", 1, PROGRAM.help),
        roff.heading("Synopsis"),
        roff.bold("qvision") + " " + roff.format_usage("[OPTIONS] COMMAND [ARGUMENTS]..."),
        roff.heading("Description"),
        *_convert("", _introduction()),
        *_format_options((), PROGRAM),
        roff.heading("Commands"),
        *(line for name, command in COMMANDS.items() for line in roff.term(_name_page(name), _summarize(command))),
        roff.heading("Topics"),
        *_format_topics(),
        roff.heading("Exit status"),
        *_convert("", _sections("exit-codes")[1].partition("\n")[2]),
        *_format_examples(PROGRAM),
    ])  # fmt: skip


def _build_command_page(name: str) -> str:
    command = COMMANDS[name]
    introduction, *sections = _sections(name) if name in TOPICS else [""]
    about_options = [section for section in sections if section.startswith("## Options")]
    leaves = [*_find_leaves((name,), command)]
    usages = [line for path, leaf in leaves for line in (".br", _format_usage(path, leaf))]
    return roff.join([
        *_begin(f"qvision-{name}", 1, command.get_short_help_str()),
        roff.heading("Synopsis"),
        *usages[1:],
        roff.heading("Description"),
        *_format_help_text(command),
        *_convert(name, introduction),
        *([roff.heading("Commands")] if len(leaves) > 1 else ()),
        *(line for path, leaf in leaves for line in _format_options(path, leaf, is_part=len(leaves) > 1)),
        *(line for section in about_options for line in _convert(name, _drop_table(section))),
        *(line for section in sections if section not in about_options for line in _convert(name, section)),
        *_format_examples(command),
        roff.heading("See also"),
        *roff.fill(f"{roff.bold('qvision')}(1), whose page lists the exit codes, the other commands and the topics"),
    ])  # fmt: skip


def _build_topic_page(topic: str) -> str:
    introduction, *sections = _sections(topic)
    description = [*_convert(topic, introduction)]
    return roff.join([
        *_begin(f"qvision-{topic}", 7, TOPICS[topic]),
        *([roff.heading("Description"), *description] if description else ()),
        *(line for section in sections for line in _convert(topic, section)),
        roff.heading("See also"),
        f"{roff.bold('qvision')}(1)",
    ])  # fmt: skip


def _introduction() -> str:
    """The sentence below the title of the README, which is printed in bold there."""
    return (ROOT / "README.md").read_text("utf-8").split("\n\n")[1].strip("*")


def _sections(topic: str) -> list[str]:
    """The text before the first heading of the second level, and each section."""
    return re.split(r"^(?=## )", manual.read_page(topic), flags=re.MULTILINE)


def _drop_table(section: str) -> str:
    """The section about options without its heading and its table, which says what the help says too."""
    return "".join(line for line in section.splitlines(keepends=True)[1:] if not line.startswith("|"))


def _find_leaves(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command, or those below it, each with the words that call it."""
    if not (below := getattr(command, "commands", {})):
        yield path, command
    for name, one in below.items():
        yield from _find_leaves((*path, name), one)


def _make_context(path: tuple[str, ...], command: Any) -> Any:
    parent = PROGRAM.make_context("qvision", [], resilient_parsing=True)
    return command.make_context(" ".join(path), [], parent=parent if path else None, resilient_parsing=True)


def _format_usage(path: tuple[str, ...], command: Any) -> str:
    pieces = command.collect_usage_pieces(_make_context(path, command))
    return f"{roff.bold(' '.join(('qvision', *path)))} {roff.format_usage(' '.join(pieces))}"


def _summarize(command: Any) -> str:
    return roff.escape(command.get_short_help_str())


def _format_help_text(command: Any) -> Iterator[str]:
    for text in command.help.split("\n\n"):
        yield from roff.paragraph(roff.format_help(" ".join(text.split())))


def _format_options(path: tuple[str, ...], command: Any, *, is_part: bool = False) -> Iterator[str]:
    """The arguments and options under their headings; of one of several commands, under its name."""
    sections = collect_sections(command, _make_context(path, command))
    if is_part:
        yield roff.macro("SS", roff.escape_code(" ".join(("qvision", *path))))
        yield from _format_help_text(command)
    elif len(sections) > 1:
        yield roff.heading("Options")
    for heading, rows in sections.items():
        if not is_part:
            yield roff.macro("SS" if len(sections) > 1 else "SH", heading if len(sections) > 1 else heading.upper())
        for names, text in rows:
            if not (is_part and "--help" in names):
                yield from roff.term(roff.format_usage(names), roff.format_help(text))


def _format_topics() -> Iterator[str]:
    yield from roff.fill(rf"{roff.bold('qvision help')} \fITOPIC\fR shows these pages too.")
    for topic, summary in TOPICS.items():
        if topic not in COMMANDS:
            yield from roff.term(_name_page(topic), roff.escape(summary))


def _format_examples(command: Any) -> Iterator[str]:
    examples, _, rest = command.epilog.partition("\n\n")
    yield roff.heading("Examples")
    yield from roff.code(examples)
    if rest:
        yield from roff.paragraph(roff.format_help(rest))


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, page in build_pages().items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(page, encoding="ascii")
