"""Change ``config.toml`` one key at a time: comments are kept, and the file is replaced atomically."""

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
from ..text import quote_name
from .config_file import Config, format_key, get_value, parse_config, parse_toml, read_text, validate_config

#: The text that ``qvision config edit`` opens if there is no file yet.
TEMPLATE = """\
# The settings of qvision. To see all settings and their current values: qvision config show
# max_tokens = 2048
# profile = "ollama"
#
# [profiles.work]
# base_url = "https://llm.example.com/v1"
# model = "Qwen/Qwen3-VL-8B-Instruct"
# key_env = "WORK_API_KEY"
#
# [prices."Qwen/Qwen3-VL-8B-Instruct"]  # USD per million tokens
# input = 0.25
# output = 0.44
"""
#: The mode of a new file, which may contain private headers.
_NEW_FILE_MODE = 0o600
_TABLE_HEADER = re.compile(r"\s*\[.*\]\s*(#.*)?")
_COMMENT_LINE = re.compile(r"\s*#.*")


def set_value(path: Path, names: list[str], value: str, check: Callable[[Config], None] | None = None) -> None:
    """Set one key to a TOML value, or to the text itself if only that is valid.

    Args:
        check: a further check of the new config, which raises ``ConfigError``.

    Raises:
        ConfigError: the file would become invalid, or cannot be written; it is unchanged.
    """

    def check_all(tables: Mapping[str, Any]) -> None:
        config = validate_config(tables, path)
        if check is not None:
            check(config)

    def change(source: str) -> str:
        tables = parse_toml(source, path)
        parsed = _interpret_value(tables, names, value, check_all)
        expected = _copy_with_value(tables, names, parsed)
        check_all(expected)
        return _apply_edit(source, lambda document: _insert_value(document, names, parsed), expected, path)

    edit_config(path, change)


def _interpret_value(
    tables: Mapping[str, Any], names: list[str], text: str, check: Callable[[Mapping[str, Any]], None]
) -> Any:
    """Parse a text as a TOML value, unless only the text itself is valid for the key."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    if parsed.keys() != {"value"}:  # the text has further lines, which set other keys
        return text

    def is_valid(value: Any) -> bool:
        try:
            check(_copy_with_value(tables, names, value))
        except ConfigError:
            return False
        return True

    return text if is_valid(text) and not is_valid(parsed["value"]) else parsed["value"]


def _copy_with_value(tables: Mapping[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    """Copy the tables, with one key set."""
    name, *inner_names = names
    if not inner_names:
        return {**tables, name: value}
    inner = tables.get(name)
    return {**tables, name: _copy_with_value(inner if isinstance(inner, Mapping) else {}, inner_names, value)}


def _insert_value(document: Any, names: list[str], value: Any) -> None:
    table = document
    for name in names[:-1]:
        if name not in table:
            is_inline = isinstance(table, InlineTable)
            table[name] = tomlkit.inline_table() if is_inline else tomlkit.table(is_super_table=name != names[-2])
        table = table[name]
    table[names[-1]] = value


def unset_value(path: Path, names: list[str]) -> None:
    """Remove one key, or a table with everything in it.

    Raises:
        ConfigError: the key is not set, the file would become invalid, or it cannot be written; it is unchanged.
    """

    def change(source: str) -> str:
        tables = parse_toml(source, path)
        if get_value(tables, names) is None:
            raise ConfigError(
                f"{quote_name(path)} does not set {format_key(names)}",
                hint="See what it sets: qvision config show",
            )
        expected = copy.deepcopy(tables)
        del get_value(expected, names[:-1])[names[-1]]
        validate_config(expected, path)
        return _apply_edit(source, lambda document: get_value(document, names[:-1]).remove(names[-1]), expected, path)

    edit_config(path, change)


def write_temporary_copy(source: str, path: Path) -> Path:
    """Write a text to a new file beside another one, readable only by its owner.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="edited-", suffix=".toml", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(source.encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write beside {quote_name(path)}: {error.strerror}", hint="Check its permissions."
        ) from error
    return Path(name)


def edit_config(path: Path, change: Callable[[str], str]) -> None:
    """Replace the content of the file by the result of a function.

    A symbolic link, the permissions and a byte order mark are kept.

    Raises:
        ConfigError: the new content is invalid, or cannot be written; the file is unchanged.
    """
    target = Path(os.path.realpath(path))
    try:
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700, parents=True)
        if target.exists() and not target.is_file():
            raise ConfigError(f"{quote_name(path)} is not a regular file", hint="Name another one in QVISION_CONFIG.")
        with file_lock(target):
            source = read_text(target)
            mode = _NEW_FILE_MODE if source is None else stat.S_IMODE(target.stat().st_mode)
            mark = codecs.BOM_UTF8 if source and target.read_bytes().startswith(codecs.BOM_UTF8) else b""
            new = change(source or "")
            parse_config(new, path)
            if new != source:
                write_atomic(target, mark + new.encode(), mode=mode)
    except OSError as error:
        raise ConfigError(
            f"cannot write {quote_name(path)}: {error.strerror}", hint="Check its permissions."
        ) from error


def _apply_edit(source: str, edit: Callable[[Any], None], expected: Mapping[str, Any], path: Path) -> str:
    """Edit a text with tomlkit, and compare the result with the expected one, so that a bug of tomlkit loses no setting."""

    def change(text: str) -> str:
        document = tomlkit.parse(text)
        edit(document)
        return tomlkit.dumps(document)

    # tomlkit always ends the lines that it adds with \n.
    end = "\r\n" if "\r\n" in source and not re.search(r"(?<!\r)\n", source) else "\n"
    text = source.replace(end, "\n")
    try:
        edited = with_comments_attached(text if text.endswith("\n") or not text else f"{text}\n", change)
        new = edited.replace("\n", end)
        if _drop_empty_tables(tomllib.loads(new)) == _drop_empty_tables(expected):
            return new
    except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass  # tomlkit does not support everything in TOML, and fails in many ways
    raise ConfigError(f"{quote_name(path)} cannot be changed automatically", hint="Change it with: qvision config edit")


def _drop_empty_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Drop empty tables, because removing ``a.b = 1`` may or may not leave an empty ``a``."""
    inner = {name: _drop_empty_tables(value) if isinstance(value, Mapping) else value for name, value in tables.items()}
    return {name: value for name, value in inner.items() if value != {}}


@frozen
class _TableComments:
    """The lines above a table's header: detached comments and blank lines, and the comments directly above it."""

    detached: list[str]
    attached: list[str]


def with_comments_attached(source: str, change: Callable[[str], str]) -> str:
    r"""Change a text so that comments above a table stay there, and are removed with the table.

    For tomlkit, they belong to the previous table, and a key that is added to that table comes after them. Therefore a
    marker after each header replaces them while the text is changed.

    Args:
        source: with ``\n`` at the ends of lines.
    """
    marker = "#tied-"
    while marker in source:
        marker += "-"
    lines, blocks, tail = _replace_comments_with_markers(source.split("\n"), marker)
    return "\n".join(_restore_comments(change("\n".join(lines)).split("\n"), blocks, tail, marker))


def _replace_comments_with_markers(source: list[str], marker: str) -> tuple[list[str], list[_TableComments], list[str]]:
    """Return the lines with numbered markers instead of comments; the comments; and those at the end of the text."""
    lines: list[str] = []
    blocks: list[_TableComments] = []
    for line in source:
        detached, attached = _find_trailing_comments(lines)
        if _TABLE_HEADER.fullmatch(line) and _is_complete_toml(lines[:detached]):
            blocks.append(_TableComments(lines[detached:attached], lines[attached:]))
            lines[detached:] = [f"{line} {marker}{len(blocks) - 1}"]
        else:
            lines.append(line)
    end, _ = _find_trailing_comments(lines)
    if not blocks or not any(map(str.strip, lines[end:])) or not _is_complete_toml(lines[:end]):
        return lines, blocks, []
    return [*lines[:end], ""], blocks, lines[end:]


def _find_trailing_comments(lines: list[str]) -> tuple[int, int]:
    """The start of the blank lines and comments at the end, and the start of the last comments without a blank line.

    The first part begins with a blank line, because comments directly after a value belong to that value.
    """
    attached = len(lines)
    while attached and _COMMENT_LINE.fullmatch(lines[attached - 1]):
        attached -= 1
    first = attached
    while first and (not lines[first - 1].strip() or _COMMENT_LINE.fullmatch(lines[first - 1])):
        first -= 1
    return next((index for index in range(first, attached) if not lines[index].strip()), attached), attached


def _restore_comments(lines: list[str], blocks: list[_TableComments], tail: list[str], marker: str) -> list[str]:
    """Replace the markers by the comments. Detached ones of a removed table go above the next table."""
    restored: list[str] = []
    next_block = 0
    for line in lines:
        match = re.search(rf" {marker}(\d+)", line)
        if match is None:
            restored.append(line)
            continue
        number = int(match[1])
        detached = [*_collect_detached_lines(blocks[next_block:number]), *blocks[number].detached]
        next_block = number + 1
        _strip_trailing_blank_lines(restored, detached)
        restored += [*detached, *blocks[number].attached, line[: match.start()] + line[match.end() :]]
    remaining = [*_collect_detached_lines(blocks[next_block:]), *tail]
    if remaining:
        _strip_trailing_blank_lines(restored, remaining)
        if not tail:
            remaining.append("")
    return restored + remaining


def _collect_detached_lines(removed: list[_TableComments]) -> list[str]:
    return [line for block in removed if any(map(str.strip, block.detached)) for line in block.detached]


def _strip_trailing_blank_lines(lines: list[str], following: list[str]) -> None:
    """Remove blank lines at the end, which tomlkit added, if the following lines begin with blank ones anyway."""
    while following and not following[0].strip() and lines and not lines[-1].strip():
        lines.pop()


def _is_complete_toml(lines: list[str]) -> bool:
    """Whether these lines end outside of a value; inside, a line like a comment or a header may be part of a string."""
    try:
        tomllib.loads("\n".join(lines))
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    return True
