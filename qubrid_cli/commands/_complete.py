"""What Tab offers: names from the settings and from cached model lists.

No request is made, nothing heavy is loaded, and broken settings only mean fewer suggestions.
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from ..errors import QvisionError

if TYPE_CHECKING:
    from ..settings.config_file import Config

#: Names that are the same in quotes and without in every shell. Of others, such as a hostile server's models, none is
#: offered: zsh evaluates what it is offered, and Typer's quoting can be got around with a backslash.
_SHELL_SAFE = re.compile("[A-Za-z0-9_][A-Za-z0-9._/:@+-]*")


def complete_profiles(incomplete: str) -> list[str]:
    """Profiles, the built-in ones first."""
    return _filter_by_prefix(_read_config().profile_names, incomplete)


def complete_models(context: typer.Context, incomplete: str) -> list[str]:
    """Models of the endpoint that is set so far: those of its list when that was last asked for."""
    from ..settings import config_file, fields
    from ..settings.resolve import resolve

    given = {name: _find_option(context, name) for name in ("profile", "base_url")}
    try:
        settings = resolve(given, os.environ, _read_config())
    except QvisionError:
        return []
    known = fields.load_cached_models(config_file.get_cache_folder(), settings.base_url)
    own = [settings.model] if settings.model and settings.model not in known else []
    return _filter_by_prefix([*own, *known], incomplete)


def complete_presets(incomplete: str) -> list[tuple[str, str]]:
    """Presets, and what the built-in ones are for."""
    from ..settings.presets import BUILT_IN_PRESETS, list_names

    found = list_names(_read_config().presets)
    return [
        (name, BUILT_IN_PRESETS[name].about if name in BUILT_IN_PRESETS else "")
        for name in _filter_by_prefix(found, incomplete)
    ]


def complete_keys(incomplete: str) -> list[str]:
    """Dotted keys of settings, those of profiles and presets among them."""
    from ..settings.fields import FIELDS
    from ..settings.presets import PRESET_KEYS

    config = _read_config()
    top = ["profile", *(name for name, field in FIELDS.items() if field.is_global)]
    profiles = [f"profiles.{profile}.{name}" for profile in config.profile_names for name in FIELDS]
    presets = [f"presets.{preset}.{name}" for preset in config.presets for name in PRESET_KEYS]
    # More than a hundred, so only for those who ask for them; and "profiles." by itself would get a blank behind it.
    deep = incomplete.startswith(("profiles", "presets"))
    return _filter_by_prefix([*profiles, *presets] if deep else top, incomplete)


def _read_config() -> "Config":
    from ..settings import config_file

    try:
        return config_file.load_config(os.environ)
    except QvisionError:
        return config_file.Config()


def _find_option(context: typer.Context, name: str) -> str | None:
    """What an option was given as, behind the command or before it."""
    before = context.find_root().params.get(name)
    found = context.params.get(name) or before
    return found if isinstance(found, str) else None


def _filter_by_prefix(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and _SHELL_SAFE.fullmatch(name)]
