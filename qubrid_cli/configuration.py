"""The file ``config.toml``: where it is, what may stand in it, what stands in it."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path, user_config_path

from . import position
from . import presets as all_presets
from .costs import Price
from .errors import ConfigError
from .fields import FIELDS, PROFILE, Field, amount, is_profile_name
from .frozen import frozen
from .profiles import BUILT_IN

_PRICE = ("input", "output")
_TABLES = ("profiles", "presets", "prices")
#: What people call a key; there is no such setting, and that is on purpose.
_KEY_NAMES = re.compile("(api_?)?key|token|secret", re.IGNORECASE)


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
        return [*BUILT_IN, *(name for name in self.profiles if name not in BUILT_IN)]


def folder() -> Path:
    """The platform's folder for what this program is set to."""
    return user_config_path("qvision", appauthor=False)


def cache() -> Path:
    """The platform's folder for what can be had again at any time."""
    return user_cache_path("qvision", appauthor=False)


def location(env: Mapping[str, str]) -> Path:
    """Where the file is, or would be."""
    named = env.get("QVISION_CONFIG")
    return Path(os.path.abspath(os.path.expanduser(named))) if named else folder() / "config.toml"


def read(env: Mapping[str, str]) -> Config:
    """What the file says; nothing where there is none.

    Raises:
        ConfigError: it cannot be read, is no TOML, or says what nobody understands; or ``QVISION_CONFIG`` names one that
            is not there.
    """
    path = location(env)
    found = text(path)
    if found is None and env.get("QVISION_CONFIG"):
        raise ConfigError(
            f"QVISION_CONFIG names {path}, which is not there",
            hint="Unset it, or begin the file with: qvision config set model …",
        )
    return parsed(found or "", path)


def text(path: Path) -> str | None:
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


def parsed(source: str, path: Path) -> Config:
    """What a text says that stands, or is going to, in the file.

    Raises:
        ConfigError: with the file, and the line and column or the key.
    """
    return checked(toml(source, path), path, source)


def toml(source: str, path: Path) -> dict[str, Any]:
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


def checked(tables: Mapping[str, Any], path: Path, source: str = "") -> Config:
    """The tables with every key known and every value of its kind; those of presets are checked by whoever uses them.

    Args:
        source: the text that they were read from, for the line of what is wrong.

    Raises:
        ConfigError: with the file and the key, and what it may have been meant to be.
    """
    place = _Place(path, source)
    top = {name: value for name, value in tables.items() if name not in _TABLES}
    fields = {name: found for name, found in FIELDS.items() if found.is_global} | {"profile": PROFILE}
    defaults = place.settings(top, fields, _TABLES)
    profiles = {name: at.settings(table, FIELDS) for name, table, at in place.tables(tables, "profiles")}
    presets = {name: at.known(table, all_presets.KEYS) for name, table, at in place.tables(tables, "presets")}
    prices = {name: Price(**at.numbers(table, _PRICE)) for name, table, at in place.tables(tables, "prices")}
    config = Config(path, defaults, profiles, presets, prices)
    if (chosen := defaults.get("profile")) and chosen not in config.profile_names:
        raise place.error("profile", f"is {chosen}, and there is none of that name", _list(config.profile_names))
    for at, settings in ((place, defaults), *((place.below("profiles", name), own) for name, own in profiles.items())):
        if (preset := settings.get("preset")) and preset not in all_presets.names(presets):
            raise at.error("preset", f"is {preset}, and there is none of that name", all_presets.meant(preset, presets))
    return config


@frozen
class _Place:
    """A table of the file, for messages: the names that lead to it."""

    path: Path
    source: str
    names: tuple[str, ...] = ()

    def below(self, *names: str) -> "_Place":
        return replace(self, names=(*self.names, *names))

    def error(self, name: str, what: str, hint: str | None) -> ConfigError:
        line = position.line(self.source, [*self.names, name])
        where = f"{self.path}, line {line}" if line else self.path
        return ConfigError(f"{where}: {dotted([*self.names, name])} {what}", hint=hint)

    def tables(self, tables: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any], "_Place"]]:
        """The tables below one such as ``profiles``."""
        found = tables.get(kind, {})
        for name, table in self.table(kind, found).items():
            if kind == "profiles" and not is_profile_name(name):
                raise self.error(kind, f"has the name {name!r}", "Names are made of letters, digits, - and _.")
            yield name, self.below(kind).table(name, table), self.below(kind, name)

    def table(self, name: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.error(name, "is not a table", f"For example: [{dotted([*self.names, name])}]")
        return value

    def known(self, table: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
        """The table, when all its keys are among the names."""
        names = list(names)
        for name in table:
            if name not in names:
                raise self.error(name, "is not a setting", self._meant(name, names))
        return table

    def settings(
        self, table: Mapping[str, Any], fields: Mapping[str, Field], others: Iterable[str] = ()
    ) -> dict[str, Any]:
        found = {}
        for name, value in self.known(table, [*fields, *others]).items():
            try:
                found[name] = fields[name].check(value)
            except ValueError as error:
                is_table = isinstance(value, Mapping) and f"{name}s" in others
                hint = f"Did you mean {name}s?" if is_table else f"For example: {toml_example(name, fields[name])}"
                raise self.error(name, str(error), hint) from error
        return found

    def numbers(self, table: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
        found = {}
        for name, value in self.known(table, names).items():
            try:
                found[name] = amount(value)
            except ValueError as error:
                raise self.error(name, str(error), "USD for a million tokens, such as 0.25.") from error
        return found

    def _meant(self, name: str, names: list[str]) -> str:
        if name in FIELDS:
            return f"It belongs into a profile: profiles.qubrid.{name}"
        close = difflib.get_close_matches(name, names, 1)
        if close:
            return f"Did you mean {close[0]}?"
        if _KEY_NAMES.fullmatch(name):
            return "A key is kept apart from settings: qvision auth login"
        return _list(names)


def _list(names: Iterable[str]) -> str:
    return f"There is: {', '.join(names)}"


def toml_example(name: str, of: Field) -> str:
    """A line that sets a field."""
    bare = re.fullmatch(r"[\d.]+|true|false|\{.*\}", of.example)
    return f"{name} = {of.example}" if bare else f'{name} = "{of.example}"'


def dotted(names: Iterable[str]) -> str:
    """Names as a dotted key, in quotes where TOML wants them."""
    return ".".join(name if re.fullmatch("[A-Za-z0-9_-]+", name) else f'"{name}"' for name in names)
