"""How ``config.toml`` is changed: one key at a time, the comments kept, whole or not at all. The home of tomlkit."""

# MERGED DOCSTRING of qubrid_cli.comments: Comments above the tables of a TOML text, tied to them while the text is changed. Pure. To tomlkit they end the table before: what is added to that one comes between them and theirs, and they go with it.

import codecs
import copy
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from ..errors import ConfigError
from ..files import file_lock, write_atomic
from ..frozen import frozen
from .config_file import Config, format_key, get_value, parse_config, parse_toml, read_text, validate_config

_TABLE_HEADER = re.compile(r"\s*\[.*\]\s*(#.*)?")
_COMMENT_LINE = re.compile(r"\s*#.*")


@frozen
class _TableComments:
    """The lines above a header: those that stand by themselves, and the comments right above it, which are its own."""

    detached: list[str]
    attached: list[str]


def with_comments_attached(source: str, change: Callable[[str], str]) -> str:
    r"""A text, changed with the lines above each header tied to it; a table that goes takes its own comments along.

    Args:
        source: with ``\n`` at the ends of lines.
    """
    tie = "#tied-"
    while tie in source:
        tie += "-"
    tied, blocks, tail = _replace_comments_with_markers(source.split("\n"), tie)
    return "\n".join(_restore_comments(change("\n".join(tied)).split("\n"), blocks, tail, tie))


def _replace_comments_with_markers(source: list[str], marker: str) -> tuple[list[str], list[_TableComments], list[str]]:
    """The lines with a number behind each header in place of what is above it, that, and what is below all tables."""
    lines: list[str] = []
    blocks: list[_TableComments] = []
    for line in source:
        loose, own = _find_trailing_comments(lines)
        if _TABLE_HEADER.fullmatch(line) and _is_complete_toml(lines[:loose]):
            blocks.append(_TableComments(lines[loose:own], lines[own:]))
            lines[loose:] = [f"{line} {marker}{len(blocks) - 1}"]
        else:
            lines.append(line)
    end = _find_trailing_comments(lines)[0]
    if not blocks or not any(map(str.strip, lines[end:])) or not _is_complete_toml(lines[:end]):
        return lines, blocks, []
    return [*lines[:end], ""], blocks, lines[end:]


def _find_trailing_comments(lines: list[str]) -> tuple[int, int]:
    """Where the blank lines and comments at the end begin, from a blank one on; and the comments at their very end."""
    own = len(lines)
    while own and _COMMENT_LINE.fullmatch(lines[own - 1]):
        own -= 1
    first = own
    while first and (not lines[first - 1].strip() or _COMMENT_LINE.fullmatch(lines[first - 1])):
        first -= 1
    return next((at for at in range(first, own) if not lines[at].strip()), own), own


def _restore_comments(lines: list[str], blocks: list[_TableComments], tail: list[str], marker: str) -> list[str]:
    """The lines with all in its place; what stood by itself above a table that is gone, above the next one."""
    found: list[str] = []
    done = 0
    for line in lines:
        number = re.search(rf" {marker}(\d+)", line)
        if number is None:
            found.append(line)
            continue
        at = int(number[1])
        loose = [*_collect_detached_lines(blocks[done:at]), *blocks[at].detached]
        done = at + 1
        _strip_trailing_blank_lines(found, loose)
        found += [*loose, *blocks[at].attached, line[: number.start()] + line[number.end() :]]
    rest = [*_collect_detached_lines(blocks[done:]), *tail]
    if rest:
        _strip_trailing_blank_lines(found, rest)
    return [*found, *rest] if not rest or tail else [*found, *rest, ""]


def _collect_detached_lines(removed: list[_TableComments]) -> list[str]:
    return [line for block in removed if any(map(str.strip, block.detached)) for line in block.detached]


def _strip_trailing_blank_lines(lines: list[str], following: list[str]) -> None:
    """Take off the blank lines that tomlkit added where there are some anyway."""
    while following and not following[0].strip() and lines and not lines[-1].strip():
        lines.pop()


def _is_complete_toml(lines: list[str]) -> bool:
    """Whether no value goes on behind them, so that what looks like a comment or a header there is one."""
    try:
        tomllib.loads("\n".join(lines))
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    return True


#: Of a file that is made: there may be headers in it that are nobody else's business.
_NEW_FILE_MODE = 0o600
#: What ``config edit`` begins a file with.
TEMPLATE = """\
# The settings of qvision. What may stand here, and what counts now: qvision config show
# max_tokens = 2048
# profile = "ollama"
#
# [profiles.work]
# base_url = "https://llm.example.com/v1"
# model = "Qwen/Qwen3-VL-8B-Instruct"
# key_env = "WORK_API_KEY"
#
# [prices."Qwen/Qwen3-VL-8B-Instruct"]  # USD for a million tokens
# input = 0.25
# output = 0.44
"""


def set_value(path: Path, names: list[str], value: str, check: Callable[[Config], None] | None = None) -> None:
    """Set one key, to a TOML value or, where that is what the key wants, to the text as it is.

    Args:
        check: raises a ``ConfigError`` for what else would not be right.

    Raises:
        ConfigError: the file would not be right any more, or cannot be written; it is as it was.
    """

    def check_all(tables: Mapping[str, Any]) -> None:
        config = validate_config(tables, path)
        if check is not None:
            check(config)

    def change(source: str) -> str:
        tables = parse_toml(source, path)
        found = _interpret_value(tables, names, value, check_all)
        wanted = _copy_with_value(tables, names, found)
        check_all(wanted)
        return _apply_edit(source, lambda document: _insert_value(document, names, found), wanted, path)

    rewrite(path, change)


def _insert_value(document: Any, names: list[str], value: Any) -> None:
    table = document
    for name in names[:-1]:
        if name not in table:
            is_inline = isinstance(table, InlineTable)
            table[name] = tomlkit.inline_table() if is_inline else tomlkit.table(is_super_table=name != names[-2])
        table = table[name]
    table[names[-1]] = value


def unset_value(path: Path, names: list[str]) -> None:
    """Remove one key, or a table with all that is in it.

    Raises:
        ConfigError: it is not there, or as above.
    """

    def change(source: str) -> str:
        tables = parse_toml(source, path)
        if get_value(tables, names) is None:
            raise ConfigError(f"{path} does not set {format_key(names)}", hint="See what it sets: qvision config show")
        wanted = copy.deepcopy(tables)
        del get_value(wanted, names[:-1])[names[-1]]
        validate_config(wanted, path)
        return _apply_edit(source, lambda document: get_value(document, names[:-1]).remove(names[-1]), wanted, path)

    rewrite(path, change)


def write_temporary_copy(source: str, path: Path) -> Path:
    """A text in a new file beside the one it is meant for, for its owner's eyes alone.

    Raises:
        ConfigError: there is no room for it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="edited-", suffix=".toml", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(source.encode())
    except OSError as error:
        raise ConfigError(f"cannot write beside {path}: {error.strerror}", hint="Check its permissions.") from error
    return Path(name)


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Change the file from what it is to what that makes of it.

    Links stay, and so do its permissions and a byte order mark.

    Raises:
        ConfigError: the change does, or the file cannot be written; it is as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700, parents=True)
        if target.exists() and not target.is_file():
            raise ConfigError(f"{path} is not a regular file", hint="Name another one in QVISION_CONFIG.")
        with file_lock(target):
            source = read_text(target)
            mode = _NEW_FILE_MODE if source is None else stat.S_IMODE(target.stat().st_mode)
            mark = codecs.BOM_UTF8 if source and target.read_bytes().startswith(codecs.BOM_UTF8) else b""
            new = change(source or "")
            parse_config(new, path)
            if new != source:
                write_atomic(target, mark + new.encode(), mode=mode)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="Check its permissions.") from error


def _interpret_value(
    tables: Mapping[str, Any], names: list[str], value: str, check: Callable[[Mapping[str, Any]], None]
) -> Any:
    """What is meant: the value as TOML, or as a text, whichever the key takes; the errors are those of the former."""
    try:
        meant = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        meant = {}
    if meant.keys() != {"value"}:  # no TOML, or lines of it
        return value
    if _is_valid(_copy_with_value(tables, names, value), check) and not _is_valid(
        _copy_with_value(tables, names, meant["value"]), check
    ):
        return value
    return meant["value"]


def _is_valid(tables: Mapping[str, Any], check: Callable[[Mapping[str, Any]], None]) -> bool:
    try:
        check(tables)
    except ConfigError:
        return False
    return True


def _copy_with_value(tables: Mapping[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    """The tables with one value in its place."""
    first, *rest = names
    inner = tables.get(first)
    if not rest:
        return {**tables, first: value}
    return {**tables, first: _copy_with_value(inner if isinstance(inner, Mapping) else {}, rest, value)}


def _apply_edit(source: str, edit: Callable[[Any], None], wanted: Mapping[str, Any], path: Path) -> str:
    """The text after an edit, when it says what it should: a slip of the library must not cost anybody a setting."""

    def change(text: str) -> str:
        document = tomlkit.parse(text)
        edit(document)
        return tomlkit.dumps(document)

    # tomlkit ends the lines that it adds with \n, and looks at no others to do so.
    end = "\r\n" if "\r\n" in source and not re.search(r"(?<!\r)\n", source) else "\n"
    lines = source.replace(end, "\n")
    try:
        new = with_comments_attached(lines if lines.endswith("\n") or not lines else f"{lines}\n", change).replace(
            "\n", end
        )
        if _drop_empty_tables(tomllib.loads(new)) == _drop_empty_tables(wanted):
            return new
    except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass  # it knows not all that may stand in a file, and says so in many ways
    raise ConfigError(f"{path} cannot be changed without harm", hint="Change it with: qvision config edit")


def _drop_empty_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables without those that are empty: what is written ``a.b = 1`` leaves none behind."""
    found = {name: _drop_empty_tables(value) if isinstance(value, Mapping) else value for name, value in tables.items()}
    return {name: value for name, value in found.items() if value != {}}
