"""How ``config.toml`` is changed: one key at a time, the comments kept, whole or not at all. The home of tomlkit."""

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

from . import comments
from .configuration import Config, checked, dotted, parsed, text, toml
from .errors import ConfigError
from .keypath import looked_up
from .replacement import locked, replace

#: Of a file that is made: there may be headers in it that are nobody else's business.
_NEW_MODE = 0o600
#: What ``config edit`` begins a file with.
BEGINNING = """\
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
        config = checked(tables, path)
        if check is not None:
            check(config)

    def change(source: str) -> str:
        tables = toml(source, path)
        found = _fitting(tables, names, value, check_all)
        wanted = _with(tables, names, found)
        check_all(wanted)
        return _edited(source, lambda document: _put(document, names, found), wanted, path)

    rewrite(path, change)


def _put(document: Any, names: list[str], value: Any) -> None:
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
        tables = toml(source, path)
        if looked_up(tables, names) is None:
            raise ConfigError(f"{path} does not set {dotted(names)}", hint="See what it sets: qvision config show")
        wanted = copy.deepcopy(tables)
        del looked_up(wanted, names[:-1])[names[-1]]
        checked(wanted, path)
        return _edited(source, lambda document: looked_up(document, names[:-1]).remove(names[-1]), wanted, path)

    rewrite(path, change)


def copied(source: str, path: Path) -> Path:
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
        with locked(target):
            source = text(target)
            mode = _NEW_MODE if source is None else stat.S_IMODE(target.stat().st_mode)
            mark = codecs.BOM_UTF8 if source and target.read_bytes().startswith(codecs.BOM_UTF8) else b""
            new = change(source or "")
            parsed(new, path)
            if new != source:
                replace(target, mark + new.encode(), mode=mode)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="Check its permissions.") from error


def _fitting(
    tables: Mapping[str, Any], names: list[str], value: str, check: Callable[[Mapping[str, Any]], None]
) -> Any:
    """What is meant: the value as TOML, or as a text, whichever the key takes; the errors are those of the former."""
    try:
        meant = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        meant = {}
    if meant.keys() != {"value"}:  # no TOML, or lines of it
        return value
    if _passes(_with(tables, names, value), check) and not _passes(_with(tables, names, meant["value"]), check):
        return value
    return meant["value"]


def _passes(tables: Mapping[str, Any], check: Callable[[Mapping[str, Any]], None]) -> bool:
    try:
        check(tables)
    except ConfigError:
        return False
    return True


def _with(tables: Mapping[str, Any], names: list[str], value: Any) -> dict[str, Any]:
    """The tables with one value in its place."""
    first, *rest = names
    inner = tables.get(first)
    if not rest:
        return {**tables, first: value}
    return {**tables, first: _with(inner if isinstance(inner, Mapping) else {}, rest, value)}


def _edited(source: str, edit: Callable[[Any], None], wanted: Mapping[str, Any], path: Path) -> str:
    """The text after an edit, when it says what it should: a slip of the library must not cost anybody a setting."""

    def change(text: str) -> str:
        document = tomlkit.parse(text)
        edit(document)
        return tomlkit.dumps(document)

    # tomlkit ends the lines that it adds with \n, and looks at no others to do so.
    end = "\r\n" if "\r\n" in source and not re.search(r"(?<!\r)\n", source) else "\n"
    lines = source.replace(end, "\n")
    try:
        new = comments.kept(lines if lines.endswith("\n") or not lines else f"{lines}\n", change).replace("\n", end)
        if _filled(tomllib.loads(new)) == _filled(wanted):
            return new
    except (TOMLKitError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass  # it knows not all that may stand in a file, and says so in many ways
    raise ConfigError(f"{path} cannot be changed without harm", hint="Change it with: qvision config edit")


def _filled(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables without those that are empty: what is written ``a.b = 1`` leaves none behind."""
    found = {name: _filled(value) if isinstance(value, Mapping) else value for name, value in tables.items()}
    return {name: value for name, value in found.items() if value != {}}
