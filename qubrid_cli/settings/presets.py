"""Presets: named prompts with the settings that suit them. The built-in ones are in ``presets.toml``."""

import functools
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UsageError
from ..frozen import frozen
from ..text import quote_name, shorten, suggest
from .fields import FIELDS, list_available


@frozen
class Preset:
    """A named prompt; values that are ``None`` are left to the settings.

    Attributes:
        prompt: may contain placeholders, see ``describe.prompt``.
        schema: of the answer: the short form, a file's name, or a JSON Schema.
        about: its purpose in a few words.
        verbatim: whether answers are text as it is written, not Markdown.
        path: the config file that sets ``schema``, which is relative to its folder; ``None`` for a built-in schema.
    """

    name: str
    prompt: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    schema: str | Mapping[str, Any] | None = None
    about: str = ""
    verbatim: bool | None = None
    path: Path | None = None


#: The keys of a preset in the config file.
PRESET_KEYS = tuple(field.name for field in fields(Preset) if field.name not in {"name", "path"})
#: The keys that are also settings, whose values a preset sets.
SETTING_KEYS = ("max_tokens", "temperature", "top_p")
#: The types of the other values that are not strings.
_TYPES = {"schema": (str | Mapping, "a string or a table"), "verbatim": (bool, "true or false")}
#: Characters of the prompt that stand for a missing ``about``.
_MAX_ABOUT_LENGTH = 60


@functools.cache
def load_built_in_presets() -> Mapping[str, Preset]:
    """The built-in presets by name."""
    import tomllib

    source = Path(__file__).with_name("presets.toml").read_text("utf-8")
    return {name: Preset(name, **table) for name, table in tomllib.loads(source).items()}


def list_names(user: Mapping[str, object]) -> list[str]:
    """The names of all presets, the built-in ones first."""
    return list(dict.fromkeys([*load_built_in_presets(), *user]))


def find(name: str, user: Mapping[str, object], path: Path) -> Preset:
    """Find a preset by its name.

    Args:
        user: the user's own presets, as they are in the config file.
        path: the config file.

    Raises:
        UsageError: there is no such preset.
        ConfigError: the user's preset of this name is invalid.
    """
    if name in user:
        preset = merge_with_built_in(name, user[name], path)
        if not preset.prompt:
            raise ConfigError(
                f"{quote_name(path)}: presets.{name} has no prompt", hint='It needs at least: prompt = "…"'
            )
        return preset
    if (built_in := load_built_in_presets().get(name)) is None:
        names = list_names(user)
        message = f"there is no preset {quote_name(name)}{suggest(name, names)}"
        raise UsageError(message, hint=list_available(names), code="no_such_preset")
    return built_in


def find_all(user: Mapping[str, object], path: Path) -> tuple[dict[str, Preset], list[ConfigError]]:
    """All valid presets by name, and the errors of the others."""
    presets, errors = dict(load_built_in_presets()), []
    for name in user:
        try:
            presets[name] = find(name, user, path)
        except ConfigError as error:
            presets.pop(name, None)
            errors.append(error)
    return presets, errors


def merge_with_built_in(name: str, overrides: object, path: Path) -> Preset:
    """Merge a user's preset into the built-in one of the same name, key by key; the prompt may still be missing.

    An empty string removes the built-in value.

    Raises:
        ConfigError: a key or value is invalid.
    """
    location = f"{quote_name(path)}: presets.{name}"
    if not isinstance(overrides, Mapping):
        raise ConfigError(f"{location} is not a table", hint=f'For example: [presets.{name}] and prompt = "…"')
    for key, value in overrides.items():
        if key not in PRESET_KEYS:
            message = f"{location} has no key {quote_name(key)}{suggest(key, PRESET_KEYS)}"
            raise ConfigError(message, hint=list_available(PRESET_KEYS))
        try:
            _check_value(key, value)
        except ValueError as error:
            example_value = "true" if key == "verbatim" else '"…"'
            example = FIELDS[key].format_example(key) if key in FIELDS else f"{key} = {example_value}"
            raise ConfigError(f"{location}.{key} {error}: {value!r}", hint=f"For example: {example}") from error
    built_in = load_built_in_presets().get(name, Preset(name, ""))
    values: dict[str, Any] = {key: None if value == "" else value for key, value in overrides.items()}
    preset = replace(built_in, **values, path=path if "schema" in overrides else built_in.path)
    has_fitting_about = bool(overrides.get("about")) or "prompt" not in overrides
    if has_fitting_about and preset.about:
        return preset
    return replace(preset, about=shorten(" ".join((preset.prompt or "").split()), _MAX_ABOUT_LENGTH))


def _check_value(key: str, value: object) -> None:
    """Raise ``ValueError`` for a value that the key cannot have."""
    if key in SETTING_KEYS:
        FIELDS[key].check(value)
        return
    expected, name = _TYPES.get(key, (str, "a string"))
    if not isinstance(value, expected):
        raise ValueError(f"is not {name}")  # noqa: TRY004  # one kind of error for every invalid value
