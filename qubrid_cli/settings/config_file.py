"""The file ``config.toml``: where it is, what may stand in it, what stands in it."""

# MERGED DOCSTRING of qubrid_cli.position: Where in a TOML text a key stands. Pure.

# MERGED DOCSTRING of qubrid_cli.keypath: Dotted keys of a TOML file: the names they are made of, and what stands under them.

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path, user_config_path

from ..errors import ConfigError, UsageError
from ..frozen import frozen
from ..metrics import Price
from .fields import BUILT_IN_PROFILES, FIELDS, PROFILE_FIELD, Field, check_amount, is_profile_name
from .presets import PRESET_KEYS, hint_for_unknown, list_names

#: Lines that a value, or a text with the name in it, may have; longer ones have no line in messages.
_MAX_VALUE_LINES = 100
#: Lines with the name in them that are looked at, for each takes as long as reading all that is above it.
_MAX_CANDIDATE_LINES = 200


def line_of_key(source: str, names: Sequence[str]) -> int | None:
    """The line in which a key first stands, from 1; ``None`` where that is not easily seen.

    Args:
        source: a valid TOML text.
        names: of the key, from the outermost table on.
    """
    lines = source.split("\n")
    starts = [start for start, text in enumerate(lines) if names[-1] in text]
    for start in starts[:_MAX_CANDIDATE_LINES]:
        for end in range(start + 1, min(start + _MAX_VALUE_LINES, len(lines)) + 1):
            try:
                tables = tomllib.loads("\n".join(lines[:end]))
            except (tomllib.TOMLDecodeError, RecursionError):
                continue  # the value goes on
            if _has_key(tables, names):
                return start + 1
            break
    return None


def _has_key(tables: Any, names: Sequence[str]) -> bool:
    for name in names:
        if not isinstance(tables, Mapping) or name not in tables:
            return False
        tables = tables[name]
    return True


def parse_key(key: str) -> list[str]:
    """The names of a dotted key, quoted as TOML wants them.

    Raises:
        UsageError: it is no key.
    """
    try:
        found: Any = tomllib.loads(f"{key} = 0") if "\n" not in key else {}
    except tomllib.TOMLDecodeError:
        found = {}
    names: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        ((name, found),) = found.items()
        names.append(name)
    if not names or found != 0:
        raise UsageError(
            f"{key} is not a key of a TOML file",
            hint="A name with dots or slashes goes in quotes: 'prices.\"Qwen/Qwen3-VL-8B-Instruct\".input'",
        )
    return names


def get_value(tables: Mapping[str, Any], names: list[str]) -> Any:
    """What stands under a key; ``None`` where nothing does."""
    found: Any = tables
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


_PRICE_KEYS = ("input", "output")
_TABLE_NAMES = ("profiles", "presets", "prices")
#: What people call a key; there is no such setting, and that is on purpose.
_API_KEY_PATTERN = re.compile("(api_?)?key|token|secret", re.IGNORECASE)


@frozen
class Config:
    """What the file says, checked.

    Attributes:
        path: of the file, whether it is there or not.
        defaults: the settings at its top level, and ``profile``.
        profiles: the user's own, by name; those that are built in are not among them.
        presets: the user's own, by name, as they stand there.
    """

    path: Path = Path("config.toml")
    defaults: Mapping[str, Any] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)

    @property
    def profile_names(self) -> list[str]:
        """All profiles there are, those that are built in first."""
        return [*BUILT_IN_PROFILES, *(name for name in self.profiles if name not in BUILT_IN_PROFILES)]


def get_config_folder() -> Path:
    """The platform's folder for what this program is set to."""
    return user_config_path("qvision", appauthor=False)


def get_cache_folder() -> Path:
    """The platform's folder for what can be had again at any time."""
    return user_cache_path("qvision", appauthor=False)


def get_config_path(env: Mapping[str, str]) -> Path:
    """Where the file is, or would be."""
    named = env.get("QVISION_CONFIG")
    return Path(os.path.abspath(os.path.expanduser(named))) if named else get_config_folder() / "config.toml"


def load_config(env: Mapping[str, str]) -> Config:
    """What the file says; nothing where there is none.

    Raises:
        ConfigError: it cannot be read, is no TOML, or says what nobody understands; or ``QVISION_CONFIG`` names one that
            is not there.
    """
    path = get_config_path(env)
    found = read_text(path)
    if found is None and env.get("QVISION_CONFIG"):
        raise ConfigError(
            f"QVISION_CONFIG names {path}, which is not there",
            hint="Unset it, or begin the file with: qvision config set model …",
        )
    return parse_config(found or "", path)


def read_text(path: Path) -> str | None:
    """The file as it is, line ends included; ``None`` where there is none.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError(
            f"{path}, line {line}, column {column}: this is not UTF-8 text", hint="Save the file as UTF-8."
        ) from error


def parse_config(source: str, path: Path) -> Config:
    """What a text says that stands, or is going to, in the file.

    Raises:
        ConfigError: with the file, and the line and column or the key.
    """
    return validate_config(parse_toml(source, path), path, source)


def parse_toml(source: str, path: Path) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        ConfigError: it is no TOML.
    """
    try:
        return tomllib.loads(source)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        said = re.fullmatch(r"(.*) \((?:at line (\d+), column (\d+)|at end of document)\)", str(error), re.DOTALL)
        lines = source.split("\n")
        what, line, column = said.groups() if said else ("it cannot be read", None, None)
        where = f"line {line or len(lines)}, column {column or len(lines[-1]) + 1}"
        raise ConfigError(
            f"{path}, {where}: {what}", hint="Mend it there, with an editor or with: qvision config edit"
        ) from error


def validate_config(tables: Mapping[str, Any], path: Path, source: str = "") -> Config:
    """The tables with every key known and every value of its kind; those of presets are checked by whoever uses them.

    Args:
        source: the text that they were read from, for the line of what is wrong.

    Raises:
        ConfigError: with the file and the key, and what it may have been meant to be.
    """
    place = _TableContext(path, source)
    top = {name: value for name, value in tables.items() if name not in _TABLE_NAMES}
    fields = {name: found for name, found in FIELDS.items() if found.is_global} | {"profile": PROFILE_FIELD}
    defaults = place.parse_settings(top, fields, _TABLE_NAMES)
    profiles = {name: at.parse_settings(table, FIELDS) for name, table, at in place.iterate_tables(tables, "profiles")}
    presets = {name: at.check_keys(table, PRESET_KEYS) for name, table, at in place.iterate_tables(tables, "presets")}
    prices = {
        name: Price(**at.parse_numbers(table, _PRICE_KEYS))
        for name, table, at in place.iterate_tables(tables, "prices")
    }
    config = Config(path, defaults, profiles, presets, prices)
    if (chosen := defaults.get("profile")) and chosen not in config.profile_names:
        raise place.make_error(
            "profile", f"is {chosen}, and there is none of that name", _list_available(config.profile_names)
        )
    for at, settings in ((place, defaults), *((place.child("profiles", name), own) for name, own in profiles.items())):
        if (preset := settings.get("preset")) and preset not in list_names(presets):
            raise at.make_error(
                "preset", f"is {preset}, and there is none of that name", hint_for_unknown(preset, presets)
            )
    return config


@frozen
class _TableContext:
    """A table of the file, for messages: the names that lead to it."""

    path: Path
    source: str
    names: tuple[str, ...] = ()

    def child(self, *names: str) -> "_TableContext":
        return replace(self, names=(*self.names, *names))

    def make_error(self, name: str, what: str, hint: str | None) -> ConfigError:
        line = line_of_key(self.source, [*self.names, name])
        where = f"{self.path}, line {line}" if line else self.path
        return ConfigError(f"{where}: {format_key([*self.names, name])} {what}", hint=hint)

    def iterate_tables(
        self, tables: Mapping[str, Any], kind: str
    ) -> Iterator[tuple[str, Mapping[str, Any], "_TableContext"]]:
        """The tables below one such as ``profiles``."""
        found = tables.get(kind, {})
        for name, table in self.require_table(kind, found).items():
            if kind == "profiles" and not is_profile_name(name):
                raise self.make_error(kind, f"has the name {name!r}", "Names are made of letters, digits, - and _.")
            yield name, self.child(kind).require_table(name, table), self.child(kind, name)

    def require_table(self, name: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.make_error(name, "is not a table", f"For example: [{format_key([*self.names, name])}]")
        return value

    def check_keys(self, table: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
        """The table, when all its keys are among the names."""
        names = list(names)
        for name in table:
            if name not in names:
                raise self.make_error(name, "is not a setting", self._hint_for_key(name, names))
        return table

    def parse_settings(
        self, table: Mapping[str, Any], fields: Mapping[str, Field], others: Iterable[str] = ()
    ) -> dict[str, Any]:
        found = {}
        for name, value in self.check_keys(table, [*fields, *others]).items():
            try:
                found[name] = fields[name].check(value)
            except ValueError as error:
                is_table = isinstance(value, Mapping) and f"{name}s" in others
                hint = (
                    f"Did you mean {name}s?" if is_table else f"For example: {format_toml_example(name, fields[name])}"
                )
                raise self.make_error(name, str(error), hint) from error
        return found

    def parse_numbers(self, table: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
        found = {}
        for name, value in self.check_keys(table, names).items():
            try:
                found[name] = check_amount(value)
            except ValueError as error:
                raise self.make_error(name, str(error), "USD for a million tokens, such as 0.25.") from error
        return found

    def _hint_for_key(self, name: str, names: list[str]) -> str:
        if name in FIELDS:
            return f"It belongs into a profile: profiles.qubrid.{name}"
        close = difflib.get_close_matches(name, names, 1)
        if close:
            return f"Did you mean {close[0]}?"
        if _API_KEY_PATTERN.fullmatch(name):
            return "A key is kept apart from settings: qvision auth login"
        return _list_available(names)


def _list_available(names: Iterable[str]) -> str:
    return f"There is: {', '.join(names)}"


def format_toml_example(name: str, setting: Field) -> str:
    """A line that sets a field."""
    bare = re.fullmatch(r"[\d.]+|true|false|\{.*\}", setting.example)
    return f"{name} = {setting.example}" if bare else f'{name} = "{setting.example}"'


def format_key(names: Iterable[str]) -> str:
    """Names as a dotted key, in quotes where TOML wants them."""
    return ".".join(name if re.fullmatch("[A-Za-z0-9_-]+", name) else f'"{name}"' for name in names)
