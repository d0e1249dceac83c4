"""How commands that ask come from settings to an endpoint and a request."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..chat import Request
    from ..description import Items
    from ..endpoint import Endpoint
    from ..schema import Schema
    from ..settings import Settings


def endpoint(settings: "Settings", key: str | None) -> "Endpoint":
    """The endpoint that these settings name, not connected yet."""
    from ..endpoint import Endpoint

    if settings.offline:
        from ..offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(settings.base_url, key=key, timeout=settings.timeout, allow_http=settings.allow_http)


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


def describing(schema: "Schema | None") -> Callable[..., "Items"]:
    """What asks: ``description.describe``, or the same for answers that must fit a schema."""
    if schema is None:
        from .. import description

        return description.describe
    from .. import structured

    return structured.Session(schema).describe
