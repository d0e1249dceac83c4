"""The file ``config.toml``: where it is, how it is read and checked, and the dotted keys of its values."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UsageError
from ..frozen import frozen
from ..metrics import Price
from ..operating_system import find_xdg_folder
from ..text import quote_name, suggest
from .checks import Range, is_profile_name
from .fields import BUILT_IN_PROFILES, DEFAULT_PROFILE, GLOBAL_FIELDS, PROFILE_FIELDS, Field, list_available

_TABLE_NAMES = ("profiles", "presets", "prices")
_PRICE_KEYS = ("input", "output")
_QUOTED_KEY = 'prices."Qwen/Qwen3-VL-8B-Instruct".input'
#: What people call an API key. There is no such setting, on purpose.
_API_KEY_PATTERN = "(api_?)?key|token|secret"
#: Limits of ``_find_line``: lines of one value; and lines with the name, each of which costs a parse of all lines above it.
_MAX_VALUE_LINES, _MAX_CANDIDATE_LINES = 100, 200


@frozen
class Config:
    """The checked content of the file.

    Attributes:
        path: of the file, which need not exist.
        defaults: the settings at its top level, including ``profile``.
        profiles: the user's own by name, without the built-in ones.
        presets: the user's own by name; only their keys are checked so far.
        prices: by the name of the model.
    """

    path: Path = Path("config.toml")
    defaults: Mapping[str, Any] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)

    @property
    def profile_names(self) -> list[str]:
        """All profiles, the built-in ones first."""
        return [*BUILT_IN_PROFILES, *(name for name in self.profiles if name not in BUILT_IN_PROFILES)]


def get_config_folder() -> Path:
    """The platform's folder for settings."""
    if (folder := find_xdg_folder("XDG_CONFIG_HOME", ".config")) is not None:
        return folder
    from platformdirs import user_config_path

    return user_config_path("qvision", appauthor=False)


def get_cache_folder() -> Path:
    """The platform's folder for files that can be deleted at any time."""
    if (folder := find_xdg_folder("XDG_CACHE_HOME", ".cache")) is not None:
        return folder
    from platformdirs import user_cache_path

    return user_cache_path("qvision", appauthor=False)


def get_config_path(env: Mapping[str, str]) -> Path:
    """The path of the file, which need not exist."""
    name = env.get("QVISION_CONFIG")
    return Path(os.path.abspath(os.path.expanduser(name))) if name else get_config_folder() / "config.toml"


def load_config(env: Mapping[str, str]) -> Config:
    """Read and check the file; if there is none, the config is empty.

    Raises:
        ConfigError: it cannot be read, is not TOML, or contains an unknown key; or ``QVISION_CONFIG`` names a file that
            does not exist.
    """
    path = get_config_path(env)
    source = read_text(path)
    if source is None and env.get("QVISION_CONFIG"):
        raise ConfigError(
            f"QVISION_CONFIG names {quote_name(path)}, which does not exist",
            hint=f"Unset it, or create the file with: qvision config set model {BUILT_IN_PROFILES[DEFAULT_PROFILE]['model']}",
        )
    return parse_config(source, path) if source else Config(path)


def read_text(path: Path) -> str | None:
    """The text of the file, line endings included; ``None`` if there is no file.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {quote_name(path)}: {error.strerror}", hint="Check its permissions.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError(
            f"{quote_name(path)}, line {line}, column {column}: this is not UTF-8 text",
            hint="Save the file as UTF-8.",
        ) from error


def parse_config(source: str, path: Path) -> Config:
    """Parse and check a text that is the content of the file, or will be.

    Raises:
        ConfigError: it is not valid; names the file, and the line and column or the key.
    """
    return validate_config(parse_toml(source, path), path, source)


def parse_toml(source: str, path: Path) -> dict[str, Any]:
    """Parse a text without checking its keys.

    Raises:
        ConfigError: it is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(source)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = re.fullmatch(r"(.*) \((?:at line (\d+), column (\d+)|at end of document)\)", str(error), re.DOTALL)
        lines = source.split("\n")
        reason, line, column = match.groups() if match else ("it cannot be read", None, None)
        position = f"line {line or len(lines)}, column {column or len(lines[-1]) + 1}"
        raise ConfigError(
            f"{quote_name(path)}, {position}: {reason}",
            hint="Fix it there, with an editor or with: qvision config edit",
        ) from error


def validate_config(tables: Mapping[str, Any], path: Path, source: str = "") -> Config:
    """Check every key and every value except those of presets, which are checked when a preset is used.

    Args:
        source: the text that the tables were parsed from, to find the line of an error.

    Raises:
        ConfigError: a key or a value is not valid; names the file, the key, and similar names.
    """
    context = _TableContext(path, source)
    top = {name: value for name, value in tables.items() if name not in _TABLE_NAMES}
    config = Config(
        path,
        defaults=context.parse_settings(top, GLOBAL_FIELDS, _TABLE_NAMES),
        profiles={
            name: table_context.parse_settings(table, PROFILE_FIELDS)
            for name, table, table_context in context.iterate_tables(tables, "profiles")
        },
        presets=_parse_presets(context, tables),
        prices={
            name: Price(**table_context.parse_prices(table))
            for name, table, table_context in context.iterate_tables(tables, "prices")
        },
    )
    profile = config.defaults.get("profile")
    if profile and profile not in config.profile_names:
        raise context.make_error(
            "profile",
            f"is {profile}, which does not exist{suggest(profile, config.profile_names)}",
            list_available(config.profile_names),
        )
    _check_preset_name(context, config.defaults, config.presets)
    for name, settings in config.profiles.items():
        _check_preset_name(context.child("profiles", name), settings, config.presets)
    return config


def _parse_presets(context: "_TableContext", tables: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    if "presets" not in tables:
        return {}
    from .presets import PRESET_KEYS

    return {
        name: table_context.check_keys(table, PRESET_KEYS)
        for name, table, table_context in context.iterate_tables(tables, "presets")
    }


def _check_preset_name(context: "_TableContext", settings: Mapping[str, Any], presets: Mapping[str, Any]) -> None:
    """Refuse the setting ``preset`` of a table if there is no preset of this name."""
    if (name := settings.get("preset")) is None:
        return
    from .presets import list_names

    if name not in (names := list_names(presets)):
        problem = f"is {name}, which does not exist{suggest(name, names)}"
        raise context.make_error("preset", problem, list_available(names))


@frozen
class _TableContext:
    """A table of the file, for error messages; ``names`` lead to it from the top level."""

    path: Path
    source: str
    names: tuple[str, ...] = ()

    def child(self, *names: str) -> "_TableContext":
        return replace(self, names=(*self.names, *names))

    def make_error(self, name: str, problem: str, hint: str) -> ConfigError:
        line = _find_line(self.source, [*self.names, name])
        location = f"{quote_name(self.path)}, line {line}" if line else self.path
        return ConfigError(f"{location}: {format_key([*self.names, name])} {problem}", hint=hint)

    def iterate_tables(
        self, tables: Mapping[str, Any], kind: str
    ) -> Iterator[tuple[str, Mapping[str, Any], "_TableContext"]]:
        """The tables in a table such as ``profiles``, with their names and contexts."""
        for name, table in self.require_table(kind, tables.get(kind, {})).items():
            if kind == "profiles" and not is_profile_name(name):
                raise self.make_error(kind, f"has the name {name!r}", "Names are made of letters, digits, - and _.")
            yield name, self.child(kind).require_table(name, table), self.child(kind, name)

    def require_table(self, name: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.make_error(name, "is not a table", f"For example: [{format_key([*self.names, name])}]")
        return value

    def check_keys(self, table: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
        """Return the table if all its keys are among the names; otherwise raise ``ConfigError``."""
        names = list(names)
        for name in table:
            if name not in names:
                raise self.make_error(name, *_explain_key(name, names))
        return table

    def parse_settings(
        self, table: Mapping[str, Any], fields: Mapping[str, Field], table_names: Iterable[str] = ()
    ) -> dict[str, Any]:
        """The checked values of a table; ``table_names`` are suggested for wrong keys, in addition to the fields."""
        values = {}
        for name, value in self.check_keys(table, [*fields, *table_names]).items():
            try:
                values[name] = fields[name].check(value)
            except ValueError as error:
                is_table = isinstance(value, Mapping) and f"{name}s" in table_names
                problem = f"{error}; did you mean {name}s?" if is_table else str(error)
                hint = (
                    f"For example: [{name}s.NAME]" if is_table else f"For example: {fields[name].format_example(name)}"
                )
                raise self.make_error(name, problem, hint) from error
        return values

    def parse_prices(self, table: Mapping[str, Any]) -> dict[str, float]:
        values = {}
        for name, value in self.check_keys(table, _PRICE_KEYS).items():
            try:
                values[name] = Range(float, 0)(value)
            except ValueError as error:
                raise self.make_error(name, str(error), "USD per million tokens, such as 0.25.") from error
        return values


def _explain_key(name: str, names: list[str]) -> tuple[str, str]:
    """The problem of an unknown key, and the hint."""
    problem = "is not a setting"
    if name in PROFILE_FIELDS:
        return problem, f"It belongs in a profile: profiles.qubrid.{name}"
    if not (similar := suggest(name, names)) and re.fullmatch(_API_KEY_PATTERN, name.lower()):
        return problem, "API keys are not stored with the settings: qvision auth login"
    return f"{problem}{similar}", list_available(names)


def parse_key(key: str) -> list[str]:
    """Split a dotted key into its names, which are quoted as in TOML.

    Raises:
        UsageError: it is not a key.
    """
    import tomllib

    try:
        value: Any = tomllib.loads(f"{key} = 0") if "\n" not in key else {}
    except tomllib.TOMLDecodeError:
        value = {}
    names: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        names.append(name)
    if not names or value != 0:
        raise UsageError(
            f"{key} is not a key of a TOML file",
            hint=f"A name with dots or slashes goes in quotes: {quote_name(_QUOTED_KEY)}",
        )
    return names


def format_key(names: Iterable[str]) -> str:
    """Join names to a dotted key, with quotes where TOML requires them."""
    return ".".join(name if re.fullmatch("[A-Za-z0-9_-]+", name) else f'"{name}"' for name in names)


def get_value(tables: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of a key; ``None`` if it is not set (TOML has no null)."""
    value: Any = tables
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _find_line(source: str, names: Sequence[str]) -> int | None:
    """Find the line, from 1, where a key is first set; ``None`` if the search would take too long.

    Args:
        source: a valid TOML text.
        names: of the key, from the outermost table.
    """
    import tomllib

    lines = source.split("\n")
    candidates = [number for number, line in enumerate(lines) if names[-1] in line]
    for start in candidates[:_MAX_CANDIDATE_LINES]:
        for end in range(start + 1, min(start + _MAX_VALUE_LINES, len(lines)) + 1):
            try:
                tables = tomllib.loads("\n".join(lines[:end]))
            except (tomllib.TOMLDecodeError, RecursionError):
                continue  # the value continues on the next line
            if get_value(tables, names) is not None:
                return start + 1
            break
    return None
