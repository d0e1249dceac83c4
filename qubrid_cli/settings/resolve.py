"""Resolve the settings of a run: for each, the first source that sets it wins, and its origin is recorded."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..frozen import frozen
from ..text import escape_control_characters, suggest
from .checks import split_query
from .config_file import Config
from .fields import (
    BUILT_IN_PROFILES,
    DEFAULT_PROFILE,
    FIELDS,
    PROFILE_FIELDS,
    Field,
    OriginKind,
    Settings,
    ValueOrigin,
    format_flag,
    list_available,
)

if TYPE_CHECKING:
    from .presets import Preset


def resolve(options: Mapping[str, Any], env: Mapping[str, str], config: Config) -> Settings:
    """Resolve every setting: option, environment, profile, the file's top level, default.

    Args:
        options: values of options by the setting's name; ``None``, or no entry, for an option that was not used.
        env: the environment; an empty variable counts as not set.

    Raises:
        ConfigError: a value is invalid, or there is no such profile.
    """
    file_origin = ValueOrigin(OriginKind.CONFIG, str(config.path))
    profile, profile_origin = _choose_profile(_Sources(options, env, ((file_origin, config.defaults),)), config)
    table = config.profiles.get(profile, {})
    built_in = BUILT_IN_PROFILES.get(profile, {})
    qubrid = BUILT_IN_PROFILES[DEFAULT_PROFILE]
    has_own_url = profile != DEFAULT_PROFILE and ("base_url" in table or profile in BUILT_IN_PROFILES)
    # The default profile comes last, even if it was chosen. A profile with a URL of its own must not use its values.
    sources = _Sources(
        options,
        env,
        (
            (ValueOrigin(OriginKind.PROFILE, f"profiles.{profile} in {config.path}"), table),
            (ValueOrigin(OriginKind.PROFILE, f"built-in profile {profile}"), {} if built_in is qubrid else built_in),
            (file_origin, config.defaults),
            (ValueOrigin(OriginKind.DEFAULT, f"built-in profile {DEFAULT_PROFILE}"), {} if has_own_url else qubrid),
        ),
    )
    resolved = {"profile": (profile, profile_origin)} | {name: sources.resolve_setting(name) for name in PROFILE_FIELDS}
    values = {name: value for name, (value, _) in resolved.items()}
    origins = {name: origin for name, (_, origin) in resolved.items()}
    values["base_url"], url_query = split_query(values["base_url"])
    profile_base_url = split_query(table.get("base_url") or built_in["base_url"])[0] if has_own_url else None
    return _add_query(Settings(**values, profile_base_url=profile_base_url, origins=origins), url_query)


def _choose_profile(sources: "_Sources", config: Config) -> tuple[str, ValueOrigin]:
    """The profile to use, and its origin; raises ``ConfigError`` if there is no such profile."""
    profile, origin = sources.resolve_setting("profile")
    if profile not in config.profile_names:
        raise ConfigError(
            f"there is no profile {profile}, named by {origin.location}{suggest(profile, config.profile_names)}",
            hint=list_available(config.profile_names),
        )
    return profile, origin


def _add_query(settings: Settings, url_query: Mapping[str, str]) -> Settings:
    """Add the query of ``base_url`` to the profile's, which is dropped for a URL that must not receive it."""
    profile_query = settings.query if settings.is_base_url_trusted else {}
    origins = {**settings.origins, "query": settings.origins["base_url"]} if url_query else settings.origins
    return replace(settings, query={**profile_query, **url_query}, origins=origins)


def resolve_with_preset(
    options: Mapping[str, Any], env: Mapping[str, str], config: Config, preset_name: str | None
) -> tuple["Preset | None", Settings]:
    """The preset of this name, or else the one that the settings name, if any; and the settings with its values.

    Raises:
        ConfigError: see ``resolve``; or the user's preset is invalid.
        UsageError: there is no such preset.
    """
    settings = resolve(options, env, config)
    if (name := preset_name or settings.preset) is None:
        return None, settings
    from . import presets

    preset = presets.find(name, config.presets, config.path)
    values = {name: getattr(preset, name) for name in presets.SETTING_KEYS}  # they win over the environment
    return preset, resolve({**values, **options}, env, config)


@frozen
class _Sources:
    """The sources of values, in order of precedence."""

    options: Mapping[str, Any]
    env: Mapping[str, str]
    tables: tuple[tuple[ValueOrigin, Mapping[str, Any]], ...]

    def resolve_setting(self, name: str) -> tuple[Any, ValueOrigin]:
        """The value of one setting, and its origin."""
        field = FIELDS[name]
        if (value := self.options.get(name)) is not None:
            return _parse_value(value, field, ValueOrigin(OriginKind.OPTION, format_flag(name)))
        for variable in field.variables:
            if text := self.env.get(variable):
                return _parse_value(text, field, ValueOrigin(OriginKind.ENVIRONMENT, variable))
        for origin, table in self.tables:
            if name in table:
                return table[name], origin
        return field.default, ValueOrigin(OriginKind.DEFAULT, "default")


def _parse_value(value: Any, field: Field, origin: ValueOrigin) -> tuple[Any, ValueOrigin]:
    """The value of an option or variable; only strings need a check, because Typer has checked the others."""
    try:
        return field.parse(value) if isinstance(value, str) else value, origin
    except ValueError as error:
        shown = f": {escape_control_characters(_hide_secrets(value))}" if value.strip() else ""
        message = f"{origin.location} {error}{shown}"
        raise ConfigError(message, hint=f"For example: {field.example}") from error


def _hide_secrets(value: str) -> str:
    """Hide what a value has before an ``@`` and after a ``?``: in a URL, that may be a password or a key."""
    _, at, host = value.rpartition("@")
    url, question_mark, _ = (f"…@{host}" if at else value).partition("?")
    return f"{url}?…" if question_mark else url
