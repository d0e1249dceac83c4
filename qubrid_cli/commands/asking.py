"""How commands that ask come from settings to an endpoint and a request."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..chat import Request
    from ..endpoint import Endpoint
    from ..settings import Settings


def endpoint(settings: "Settings", key: str | None) -> "Endpoint":
    """The endpoint that these settings name, not connected yet."""
    from ..endpoint import Endpoint

    if settings.offline:
        from ..offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(settings.base_url, key=key, timeout=settings.timeout, allow_http=settings.allow_http)


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
