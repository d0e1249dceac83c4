"""The requests about one image, which are counted, and logged for ``-v``."""

from collections.abc import Iterator, Sequence

from ...describe.result import Description, Receiving, Sending
from ...describe.run import Items
from ...errors import QvisionError
from ...frozen import frozen
from ...text import escape_control_characters, format_size


@frozen
class Exchange:
    """A request and its response.

    Attributes:
        size: bytes of the body.
        status: of HTTP; ``None`` without a response.
        seconds: from sending to the headers of the response.
    """

    size: int
    status: int | None = None
    seconds: float = 0.0
    request_id: str | None = None


def collect_exchanges(items: Items) -> tuple[Description, tuple[Exchange, ...]]:
    """Exhaust the items; return the last one, and the requests that were made."""
    exchanges: list[Exchange] = []
    for item in items:
        match item:
            case Sending():
                exchanges.append(Exchange(item.size))
            case Receiving():
                exchanges[-1] = Exchange(exchanges[-1].size, item.status, item.seconds, item.request_id)
            case Description():
                return item, tuple(exchanges)
    raise AssertionError("the last item is a description")


def format_exchanges(image: str, exchanges: Sequence[Exchange], error: QvisionError | None) -> Iterator[str]:
    """Format a line for each request; the last one names the error, if there is one."""
    name = escape_control_characters(image)
    for number, exchange in enumerate(exchanges, 1):
        parts = [f"{format_size(exchange.size)} sent"]
        if exchange.status is None:
            parts.append("no response")
        else:
            parts.append(f"HTTP {exchange.status} after {exchange.seconds:.2f} s")
        if exchange.request_id:
            parts.append(f"request id {escape_control_characters(exchange.request_id)}")
        if number == len(exchanges) and error is not None:
            parts.append(escape_control_characters(error.message))
        yield f"{name}: {', '.join(parts)}"
