"""What a run is set to: the first place that says something, each value remembering which place that was. Pure."""

import enum
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..frozen import frozen
from ..text import escape_control_characters
from .config_file import Config
from .fields import BUILT_IN_PROFILES, DEFAULT_PROFILE, FIELDS, PROFILE_FIELD, QUBRID_URL, Field, get_origin


class OriginKind(enum.StrEnum):
    """The kind of place that a value came from; the first of them that has one wins."""

    OPTION = "option"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    CONFIG = "config"
    DEFAULT = "default"


@frozen
class ValueOrigin:
    """Where a value came from: the kind of place, and which one it is, such as ``QVISION_MODEL``."""

    kind: OriginKind
    location: str


@frozen
class Settings:
    """The settings of one run.

    ``timeout`` is the seconds that may pass without a byte, ``retry_max_wait`` those before asking again, ``max_time``
    those for a whole request (``None`` for no limit). ``base_url`` has no slash at its end.

    Attributes:
        profile: the name of the one that was chosen.
        model: ``None`` where nobody named one; ``max_tokens``, ``temperature`` and ``top_p`` where they are not sent.
        headers: sent beside our own, where they may go.
        key_env: the variable that holds the key of this profile; ``None`` for one that has none.
        profile_base_url: the address that the profile itself has; ``None`` for one that is Qubrid's, under whatever address.
        origins: of every other attribute but ``profile_base_url``, by its name.
    """

    profile: str
    model: str | None
    base_url: str
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    timeout: float
    retries: int
    retry_max_wait: float
    max_time: float | None
    allow_http: bool
    offline: bool
    prompt: str | None
    system: str | None
    preset: str | None
    max_pixels: int
    max_side: int | None
    quality: int | None
    labels: bool
    headers: Mapping[str, str]
    key_env: str | None
    profile_base_url: str | None
    origins: Mapping[str, ValueOrigin]

    @property
    def required_model(self) -> str:
        """The model to ask.

        Raises:
            ConfigError: there is none, as in a profile of the user's that names only an address.
        """
        if self.model is None:
            raise ConfigError(
                f"profile {self.profile} has no model",
                hint=f"Name one with --model, or for good: qvision config set profiles.{self.profile}.model …",
            )
        return self.model

    @property
    def needs_key(self) -> bool:
        """Whether nothing can be asked without one: the profile has a key, and the address is the profile's own."""
        return (
            self.key_env is not None
            and self.base_url == (self.profile_base_url or QUBRID_URL)
            and not self.has_authorization
        )

    @property
    def has_authorization(self) -> bool:
        """Whether a header takes the key's place."""
        return any(name.lower() == "authorization" for name in self.headers)

    @property
    def is_base_url_trusted(self) -> bool:
        """Whether the address may have this profile's key and headers.

        Qubrid's go wherever ``QUBRID_BASE_URL`` and ``--base-url`` point; those of a profile with an address of its own
        go there, or where the command line says, but not where a variable that is meant for Qubrid's points.
        """
        return (
            self.profile_base_url is None
            or get_origin(self.profile_base_url) == get_origin(self.base_url)
            or self.origins["base_url"].kind is OriginKind.OPTION
        )


def resolve(options: Mapping[str, Any], env: Mapping[str, str], config: Config) -> Settings:
    """Settle every setting: option, environment, profile, the file's top level, default.

    Args:
        options: values of options by the setting's name; ``None``, or no entry, where the option was not given.
        env: the environment; an empty variable counts as not set.

    Raises:
        ConfigError: a value that cannot be used, with where it stands; or a profile that is not there.
    """
    profile, chosen_by = _choose_profile(options, env, config)
    own = config.profiles.get(profile, {})
    has_home = profile != DEFAULT_PROFILE and ("base_url" in own or profile in BUILT_IN_PROFILES)
    layers = _Layers(
        options,
        env,
        (
            (ValueOrigin(OriginKind.PROFILE, f"profiles.{profile} in {config.path}"), own),
            (ValueOrigin(OriginKind.PROFILE, f"built-in profile {profile}"), _get_built_in_layer(profile)),
            (ValueOrigin(OriginKind.CONFIG, str(config.path)), config.defaults),
            (
                ValueOrigin(OriginKind.DEFAULT, f"built-in profile {DEFAULT_PROFILE}"),
                {} if has_home else BUILT_IN_PROFILES[DEFAULT_PROFILE],
            ),
        ),
    )
    values: dict[str, Any] = {"profile": profile}
    origins = {"profile": chosen_by}
    for name in FIELDS:
        values[name], origins[name] = layers.resolve_setting(name)
    home = (own.get("base_url") or BUILT_IN_PROFILES[profile]["base_url"]) if has_home else None
    return Settings(**values | {"headers": values["headers"] or {}}, profile_base_url=home, origins=origins)


def _choose_profile(options: Mapping[str, Any], env: Mapping[str, str], config: Config) -> tuple[str, ValueOrigin]:
    """The chosen profile, and what chose it."""
    file = ((ValueOrigin(OriginKind.CONFIG, str(config.path)), config.defaults),)
    name, source = _Layers(options, env, file).resolve_setting("profile", PROFILE_FIELD)
    if name not in config.profile_names:
        raise ConfigError(
            f"there is no profile {name}, named by {source.location}",
            hint=f"There is: {', '.join(config.profile_names)}",
        )
    return name, source


def _get_built_in_layer(profile: str) -> Mapping[str, Any]:
    """What a built-in profile lays over the file's top level; the default one lies below, whether it is named or not."""
    return {} if profile == DEFAULT_PROFILE else BUILT_IN_PROFILES.get(profile, {})


@frozen
class _Layers:
    """The places that may say something, from the first to the last; those without a default of their own apart."""

    options: Mapping[str, Any]
    env: Mapping[str, str]
    tables: tuple[tuple[ValueOrigin, Mapping[str, Any]], ...]

    def resolve_setting(self, name: str, field: Field | None = None) -> tuple[Any, ValueOrigin]:
        """The value of one setting, and its source."""
        field = field or FIELDS[name]
        if (given := self.options.get(name)) is not None:
            return _parse_value(given, field, ValueOrigin(OriginKind.OPTION, f"--{name.replace('_', '-')}"))
        if field.environment_variable and (text := self.env.get(field.environment_variable)):
            return _parse_value(text, field, ValueOrigin(OriginKind.ENVIRONMENT, field.environment_variable))
        for source, table in self.tables:
            if name in table:
                return table[name], source
        return field.default, ValueOrigin(OriginKind.DEFAULT, "default")


def _parse_value(value: Any, field: Field, source: ValueOrigin) -> tuple[Any, ValueOrigin]:
    try:
        return (field.parse or field.check)(value) if isinstance(value, str) else value, source
    except ValueError as error:
        message = f"{source.location} {error}: {escape_control_characters(_hide_password(value))}"
        raise ConfigError(message, hint=f"For example: {'1' if field.parse else field.example}") from error


def _hide_password(value: str) -> str:
    _, at, host = value.rpartition("@")
    return f"…@{host}" if at else value
