"""What a run is set to: the first place that says something, each value remembering which place that was. Pure."""

import enum
from collections.abc import Mapping
from typing import Any

from .configuration import Config
from .errors import ConfigError, printable
from .fields import FIELDS, PROFILE, Field, origin
from .frozen import frozen
from .profiles import BUILT_IN, DEFAULT, QUBRID


class Origin(enum.StrEnum):
    """The kind of place that a value came from; the first of them that has one wins."""

    OPTION = "option"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    CONFIG = "config"
    DEFAULT = "default"


@frozen
class Source:
    """Where a value came from: the kind of place, and which one it is, such as ``QVISION_MODEL``."""

    origin: Origin
    where: str


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
        home: the address that the profile itself has; ``None`` for one that is Qubrid's, under whatever address.
        origins: of every other attribute but ``home``, by its name.
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
    home: str | None
    origins: Mapping[str, Source]

    @property
    def asked_model(self) -> str:
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
        return self.key_env is not None and self.base_url == (self.home or QUBRID) and not self.has_authorization

    @property
    def has_authorization(self) -> bool:
        """Whether a header takes the key's place."""
        return any(name.lower() == "authorization" for name in self.headers)

    @property
    def is_trusted(self) -> bool:
        """Whether the address may have this profile's key and headers.

        Qubrid's go wherever ``QUBRID_BASE_URL`` and ``--base-url`` point; those of a profile with an address of its own
        go there, or where the command line says, but not where a variable that is meant for Qubrid's points.
        """
        return (
            self.home is None
            or origin(self.home) == origin(self.base_url)
            or self.origins["base_url"].origin is Origin.OPTION
        )


def resolve(options: Mapping[str, Any], env: Mapping[str, str], config: Config) -> Settings:
    """Settle every setting: option, environment, profile, the file's top level, default.

    Args:
        options: values of options by the setting's name; ``None``, or no entry, where the option was not given.
        env: the environment; an empty variable counts as not set.

    Raises:
        ConfigError: a value that cannot be used, with where it stands; or a profile that is not there.
    """
    profile, chosen_by = _profile(options, env, config)
    own = config.profiles.get(profile, {})
    has_home = profile != DEFAULT and ("base_url" in own or profile in BUILT_IN)
    layers = _Layers(
        options,
        env,
        (
            (Source(Origin.PROFILE, f"profiles.{profile} in {config.path}"), own),
            (Source(Origin.PROFILE, f"built-in profile {profile}"), _built_in(profile)),
            (Source(Origin.CONFIG, str(config.path)), config.defaults),
            (Source(Origin.DEFAULT, f"built-in profile {DEFAULT}"), {} if has_home else BUILT_IN[DEFAULT]),
        ),
    )
    values: dict[str, Any] = {"profile": profile}
    origins = {"profile": chosen_by}
    for name in FIELDS:
        values[name], origins[name] = layers.settle(name)
    home = (own.get("base_url") or BUILT_IN[profile]["base_url"]) if has_home else None
    return Settings(**values | {"headers": values["headers"] or {}}, home=home, origins=origins)


def _profile(options: Mapping[str, Any], env: Mapping[str, str], config: Config) -> tuple[str, Source]:
    """The chosen profile, and what chose it."""
    file = ((Source(Origin.CONFIG, str(config.path)), config.defaults),)
    name, source = _Layers(options, env, file).settle("profile", PROFILE)
    if name not in config.profile_names:
        raise ConfigError(
            f"there is no profile {name}, named by {source.where}", hint=f"There is: {', '.join(config.profile_names)}"
        )
    return name, source


def _built_in(profile: str) -> Mapping[str, Any]:
    """What a built-in profile lays over the file's top level; the default one lies below, whether it is named or not."""
    return {} if profile == DEFAULT else BUILT_IN.get(profile, {})


@frozen
class _Layers:
    """The places that may say something, from the first to the last; those without a default of their own apart."""

    options: Mapping[str, Any]
    env: Mapping[str, str]
    tables: tuple[tuple[Source, Mapping[str, Any]], ...]

    def settle(self, name: str, field: Field | None = None) -> tuple[Any, Source]:
        """The value of one setting, and its source."""
        field = field or FIELDS[name]
        if (given := self.options.get(name)) is not None:
            return _read(given, field, Source(Origin.OPTION, f"--{name.replace('_', '-')}"))
        if field.variable and (text := self.env.get(field.variable)):
            return _read(text, field, Source(Origin.ENVIRONMENT, field.variable))
        for source, table in self.tables:
            if name in table:
                return table[name], source
        return field.default, Source(Origin.DEFAULT, "default")


def _read(value: Any, field: Field, source: Source) -> tuple[Any, Source]:
    try:
        return (field.parse or field.check)(value) if isinstance(value, str) else value, source
    except ValueError as error:
        message = f"{source.where} {error}: {printable(_without_password(value))}"
        raise ConfigError(message, hint=f"For example: {'1' if field.parse else field.example}") from error


def _without_password(value: str) -> str:
    _, at, host = value.rpartition("@")
    return f"…@{host}" if at else value
