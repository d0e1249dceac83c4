"""Find the key and open the endpoint for some settings, and build the commands in hints about them."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ..settings.fields import DEFAULT_PROFILE, OriginKind
from ..text import quote_name

if TYPE_CHECKING:
    from ..client.endpoint import Endpoint, HintCommands
    from ..describe.run import RequestOptions
    from ..images.sources import Source
    from ..metrics import Price
    from ..settings.fields import Settings
    from ..settings.keys import Key


def find_key(settings: "Settings") -> "Key | None":
    """The key of the profile, from any source."""
    from ..settings import keys

    return keys.find_key(settings, os.environ, keys.locate_key_file(), keys.Keychain())


def require_key(settings: "Settings") -> tuple[str | None, list[str]]:
    """The key to send, or ``None``; and notes if requests go to another URL than the profile's, or a key is not sent.

    Raises:
        AuthError: a key is needed, but missing.
    """
    if settings.offline:
        return None, []
    from ..settings import keys

    key = find_key(settings)
    notes = []
    if not settings.is_base_url_trusted:
        notes.append(f"QUBRID_BASE_URL overrides the URL of profile {settings.profile}")
    if key is not None and key.withheld_reason is not None:
        notes.append(f"the key from {key.location} is not sent: {key.withheld_reason}")
    return keys.require_key(key, settings), notes


def get_base_url(settings: "Settings") -> str:
    """The URL of the endpoint that receives the requests, without its query."""
    if not settings.offline:
        return settings.base_url
    from ..client.offline import OfflineTransport

    return OfflineTransport.URL


def format_url(settings: "Settings", path: str = "") -> str:
    """A URL of the endpoint for messages: with its query, but without the secrets in it."""
    from ..urls import add_query, mask_query

    query = {} if settings.offline else settings.query
    return mask_query(add_query(f"{get_base_url(settings)}{path}", query))


def open_endpoint(
    settings: "Settings",
    key: str | None,
    groups: Iterable[Iterable["Source"]] = (),
    *,
    time_option: str = "--max-time",
    connects_early: bool = True,
) -> "Endpoint":
    """Open the endpoint, without waiting for a connection.

    Args:
        groups: the images of each request, whose links may contain secrets to keep out of messages.
        time_option: the option that limits a whole request, for hints.
        connects_early: connect while httpx is loaded; for a process that soon sends a request, from a single thread.
    """
    from ..client import preconnect

    if connects_early and not settings.offline:
        preconnect.start(settings.base_url)
    from ..client.endpoint import Endpoint
    from ..images import sources

    if settings.offline:
        from ..client.offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(
        settings.base_url,
        key=key,
        key_header=settings.key_header,
        commands=build_hint_commands(settings, key, os.environ),
        secrets=sources.find_link_secrets(chain(*groups)),
        headers=settings.headers if settings.is_base_url_trusted else {},
        query=settings.query,
        timeout=settings.timeout,
        allow_http=settings.allow_http,
        time_option=time_option,
    )


def build_hint_commands(settings: "Settings", key: str | None, env: Mapping[str, str]) -> "HintCommands":
    """Build the commands in hints, with the profile and the URL in use."""
    from ..client.endpoint import HintCommands

    options = "" if settings.profile == DEFAULT_PROFILE else f" --profile {settings.profile}"
    if settings.origins["base_url"].kind is OriginKind.OPTION:
        options += f" --base-url {quote_name(format_url(settings))}"
    key_hint, variable = None, settings.key_env
    if settings.has_authorization:
        header = settings.key_header or "Authorization"
        key_hint = f"Change the header {header} in the headers of profile {settings.profile} in config.toml."
    elif variable and env.get(variable, "").strip():
        key_hint = f"The key is that of {variable}, which wins over a stored one: set {variable} to another key."
        if key is None:
            key_hint = (
                f"{variable} is sent only to the URL of its profile. To send it here, set the URL with --base-url."
            )
    return HintCommands(
        f"qvision models{options}",
        f"qvision auth status{options}",
        f"qvision auth login{options}",
        key_hint,
        partial(_suggest_model, settings),
    )


def _suggest_model(settings: "Settings") -> str | None:
    """The cached or built-in model whose name is most similar to that of the settings.

    Qubrid's models are included for every URL that its profile uses, which may be a proxy.
    """
    from ..settings import config_file, model_cache

    if settings.model is None:
        return None
    cached = model_cache.load_cached_models(config_file.get_cache_folder(), settings.base_url)
    built_in = model_cache.BUILT_IN_MODELS if settings.profile_base_url is None else ()
    return model_cache.suggest_model(settings.model, [*cached, *built_in])


def build_request_options(settings: "Settings", prices: Mapping[str, "Price"]) -> "RequestOptions":
    """How requests are made, by the settings and the user's prices."""
    from ..client.retry import RetryLimits
    from ..describe.run import RequestOptions

    limits = RetryLimits(settings.retries, settings.retry_max_wait, settings.max_time)
    return RequestOptions(limits, labels=settings.labels, loop_check=settings.loop_check, prices=prices)


class EndpointPool:
    """Endpoints with open connections, for threads that each need their own.

    Args:
        endpoint: the first one; the others are its clones.
    """

    def __init__(self, endpoint: "Endpoint") -> None:
        self._endpoint = endpoint
        self._idle = deque([endpoint])

    @contextmanager
    def borrow(self) -> Iterator["Endpoint"]:
        """An endpoint that no other thread uses until the end of the block."""
        try:
            endpoint = self._idle.pop()
        except IndexError:
            endpoint = self._endpoint.clone()
        try:
            yield endpoint
        finally:
            self._idle.append(endpoint)

    def close(self) -> None:
        """Close the connections that no thread uses; a later request opens new ones."""
        while self._idle:
            self._idle.pop().close()
