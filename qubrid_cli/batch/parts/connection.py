"""The endpoint of a run in parts, as its workers open it.

A worker takes the key, and all headers and parameters that look like secrets, from its own settings, unless the user sends
them. The URL comes with the part, not from ``run.json``: a person who can write that file must not decide where the key
is sent.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING

from ...errors import ConfigError
from ...frozen import frozen
from ...library import connection
from ...settings.config_file import load_config
from ...settings.fields import Settings
from ...settings.resolve import resolve
from ...text import is_secret_header, is_secret_parameter

if TYPE_CHECKING:
    from ...client.endpoint import Endpoint


@frozen
class EndpointAccess:
    """Which endpoint a worker uses, without secrets.

    Attributes:
        is_trusted: the key may be sent to ``base_url``.
        headers: those that are not secrets.
        query: the parameters of the URL that are not secrets.
        secret_names: the other headers and parameters, which the worker must have in its own settings.
        key_env: the variable that holds the key, for a worker whose config file does not have the profile.
    """

    profile: str
    base_url: str
    is_trusted: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    secret_names: tuple[str, ...] = ()
    key_env: str | None = None
    key_header: str | None = None
    timeout: float = 300.0
    allow_http: bool = False
    offline: bool = False


@frozen
class Credentials:
    """The key, and all headers and parameters, for workers that the user trusts with them."""

    key: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)


def build_access(settings: Settings) -> EndpointAccess:
    """Describe the endpoint of these settings."""
    secret_names = [
        *(name for name in settings.headers if is_secret_header(name)),
        *(name for name in settings.query if is_secret_parameter(name)),
    ]
    return EndpointAccess(
        settings.profile,
        settings.base_url,
        is_trusted=settings.is_base_url_trusted,
        headers={name: value for name, value in settings.headers.items() if name not in secret_names},
        query={name: value for name, value in settings.query.items() if name not in secret_names},
        secret_names=tuple(secret_names),
        key_env=settings.key_env,
        key_header=settings.key_header,
        timeout=settings.timeout,
        allow_http=settings.allow_http,
        offline=settings.offline,
    )


def open_endpoint(access: EndpointAccess, credentials: Credentials | None) -> "tuple[Settings, Endpoint]":
    """Return the settings of this worker, and the endpoint, which is not connected yet.

    Raises:
        AuthError: the worker has no key.
        ConfigError: its settings are invalid, or lack a secret.
    """
    settings = _resolve_settings(access)
    if credentials is None:
        own_names = {*settings.headers, *settings.query}
        if missing_names := [name for name in access.secret_names if name not in own_names]:
            raise ConfigError(
                f"the worker on {socket.gethostname()} does not have {missing_names[0]} of profile {access.profile}",
                hint=f"Add it to [profiles.{access.profile}] in the config.toml there, or send it from here: --send-key",
            )
        settings = replace(
            settings, headers={**settings.headers, **access.headers}, query={**settings.query, **access.query}
        )
        key, _ = connection.require_key(settings)
    else:
        settings = replace(settings, headers=credentials.headers, query=credentials.query)
        key = credentials.key
    return settings, connection.open_endpoint(settings, key, time_option="--request-timeout")


def _resolve_settings(access: EndpointAccess) -> Settings:
    config = load_config(os.environ)
    if access.profile not in config.profile_names:
        values = {"base_url": access.base_url, "key_env": access.key_env, "key_header": access.key_header}
        profile = {name: value for name, value in values.items() if value is not None}
        config = replace(config, profiles={**config.profiles, access.profile: profile})
    options = {
        "profile": access.profile,
        "timeout": access.timeout,
        "allow_http": access.allow_http or None,
        "offline": access.offline,
        **({"base_url": access.base_url} if access.is_trusted else {}),
    }
    environment = {**os.environ, "QUBRID_BASE_URL": access.base_url}
    return resolve(options, environment, config)
