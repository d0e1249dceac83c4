"""Suggestions for Tab: names from the settings and from cached lists of models.

No request is sent, nothing heavy is loaded, and a broken config file only means fewer suggestions.
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from ...errors import QvisionError

if TYPE_CHECKING:
    from ...settings.config_file import Config

#: Names that mean the same in every shell with and without quotes. Other names, such as a hostile server's models, are not
#: suggested: zsh evaluates suggestions, and a backslash defeats Typer's quoting.
_SHELL_SAFE = "[A-Za-z0-9_][A-Za-z0-9._/:@+-]*"


def complete_profiles(incomplete: str) -> list[str]:
    """Profiles, the built-in ones first."""
    return filter_by_prefix(_load_config().profile_names, incomplete)


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """Models of the endpoint that the command line names, from the cached list."""
    from ...settings import config_file, model_cache
    from ...settings.resolve import resolve

    options = {name: _get_option(context, name) for name in ("profile", "base_url")}
    try:
        settings = resolve(options, os.environ, _load_config())
    except QvisionError:
        return []
    models = model_cache.load_cached_models(config_file.get_cache_folder(), settings.base_url)
    configured = [settings.model] if settings.model and settings.model not in models else []
    return filter_by_prefix([*configured, *models], incomplete)


def complete_presets(incomplete: str) -> list[tuple[str, str]]:
    """Presets, with the purpose of the built-in ones."""
    from ...settings.presets import list_names, load_built_in_presets

    built_in = load_built_in_presets()
    names = filter_by_prefix(list_names(_load_config().presets), incomplete)
    return [(name, built_in[name].about if name in built_in else "") for name in names]


def complete_files(incomplete: str) -> list[str]:
    """Tell the shell's script to offer files. Typer drops suggestions that do not begin with the word on the line."""
    return [f"{incomplete}:complete-files"]


def complete_images(incomplete: str) -> list[str]:
    """Tell the shell's script to offer folders and images."""
    return [f"{incomplete}:complete-images"]


def complete_keys(incomplete: str) -> list[str]:
    """Dotted keys of the config file, including those of profiles and presets."""
    from ...settings.fields import GLOBAL_FIELDS, PROFILE_FIELDS
    from ...settings.presets import PRESET_KEYS

    config = _load_config()
    profiles = [f"profiles.{profile}.{name}" for profile in config.profile_names for name in PROFILE_FIELDS]
    presets = [f"presets.{preset}.{name}" for preset in config.presets for name in PRESET_KEYS]
    # More than a hundred, so only on request; and the shell would add a space after "profiles." alone.
    is_nested = incomplete.startswith(("profiles", "presets"))
    return filter_by_prefix([*profiles, *presets] if is_nested else GLOBAL_FIELDS, incomplete)


def _load_config() -> "Config":
    from ...settings import config_file

    try:
        return config_file.load_config(os.environ)
    except QvisionError:
        return config_file.Config()


def _get_option(context: typer.Context, name: str) -> str | None:
    """The value of an option, after the command or before it."""
    value = context.params.get(name) or context.find_root().params.get(name)
    return value if isinstance(value, str) else None


def filter_by_prefix(names: Iterable[str], incomplete: str) -> list[str]:
    """The names that begin like the word on the line, and that every shell reads as they are."""
    return [name for name in names if name.startswith(incomplete) and re.fullmatch(_SHELL_SAFE, name)]
