"""How commands that ask come from settings to an endpoint and a request."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..chat import Request
    from ..costs import Price
    from ..endpoint import Endpoint
    from ..settings import Settings
    from ..sources import Link, Source


def images(found: Iterable["Source"], settings: "Settings", *, fetch: bool | None) -> Sequence["Source"]:
    """The images as they are sent: some links, or with ``fetch`` all, are fetched here, once they are read."""
    from .. import links

    def download(link: "Link") -> bytes:
        from ..download import download as run  # in the thread that needs it, for it loads httpx

        return run(link, timeout=settings.timeout, within=settings.max_time)

    endpoint = None if settings.offline else settings.base_url
    return links.resolved(found, fetch=fetch, endpoint=endpoint, download=download)


def endpoint(settings: "Settings", key: str | None, groups: Iterable[Iterable["Source"]] = ()) -> "Endpoint":
    """The endpoint that these settings name, not connected yet.

    Args:
        groups: the images that it will be asked about.
    """
    from .. import links
    from ..endpoint import Endpoint

    if settings.offline:
        from ..offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(
        settings.base_url,
        key=key,
        secrets=links.secrets(chain(*groups)),
        timeout=settings.timeout,
        allow_http=settings.allow_http,
    )


def prices() -> "Mapping[str, Price]":
    """What the user says that models cost."""
    return {}


def url(settings: "Settings") -> str:
    """Where requests would go."""
    if settings.offline:
        from ..offline import OfflineTransport

        return f"{OfflineTransport.URL}/chat/completions"
    return f"{settings.base_url}/chat/completions"


def request(
    settings: "Settings", prompt: str, system: str | None, extra: dict[str, object], *, stream: bool
) -> "Request":
    """What is asked of every image, under these settings."""
    from .. import chat

    return chat.Request(
        model=settings.model,
        prompt=prompt,
        pictures=(),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        system=system,
        stream=stream,
        extra=extra,
    )
