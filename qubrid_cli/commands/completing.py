"""What can be completed while a command is typed: names from the settings and from lists that are kept.

Nobody is asked, nothing heavy is loaded, and what is broken offers less and says nothing.
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from ..errors import QvisionError

if TYPE_CHECKING:
    from ..configuration import Config

#: Names that are the same in quotes and without in every shell. Of others, such as a hostile server's models, none is
#: offered: zsh evaluates what it is offered, and Typer's quoting can be got around with a backslash.
_PLAIN = re.compile("[A-Za-z0-9_][A-Za-z0-9._/:@+-]*")


def profiles(incomplete: str) -> list[str]:
    """Profiles, the built-in ones first."""
    return _beginning(_config().profile_names, incomplete)


def models(context: typer.Context, incomplete: str) -> list[str]:
    """Models of the endpoint that is set so far: those of its list when that was last asked for."""
    from .. import catalogue, configuration
    from ..settings import resolve

    given = {name: _typed(context, name) for name in ("profile", "base_url")}
    try:
        settings = resolve(given, os.environ, _config())
    except QvisionError:
        return []
    known = catalogue.kept(configuration.cache(), settings.base_url)
    own = [settings.model] if settings.model and settings.model not in known else []
    return _beginning([*own, *known], incomplete)


def presets(incomplete: str) -> list[tuple[str, str]]:
    """Presets, and what the built-in ones are for."""
    from ..presets import BUILT_IN, names

    found = names(_config().presets)
    return [(name, BUILT_IN[name].about if name in BUILT_IN else "") for name in _beginning(found, incomplete)]


def keys(incomplete: str) -> list[str]:
    """Dotted keys of settings, those of profiles and presets among them."""
    from ..fields import FIELDS
    from ..presets import KEYS

    config = _config()
    top = ["profile", *(name for name, field in FIELDS.items() if field.is_global)]
    profiles = [f"profiles.{profile}.{name}" for profile in config.profile_names for name in FIELDS]
    presets = [f"presets.{preset}.{name}" for preset in config.presets for name in KEYS]
    # More than a hundred, so only for those who ask for them; and "profiles." by itself would get a blank behind it.
    deep = incomplete.startswith(("profiles", "presets"))
    return _beginning([*profiles, *presets] if deep else top, incomplete)


def _config() -> "Config":
    from .. import configuration

    try:
        return configuration.read(os.environ)
    except QvisionError:
        return configuration.Config()


def _typed(context: typer.Context, name: str) -> str | None:
    """What an option was given as, behind the command or before it."""
    before = context.find_root().params.get(name)
    found = context.params.get(name) or before
    return found if isinstance(found, str) else None


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)]
