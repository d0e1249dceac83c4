"""Server-sent events: bytes in, events out, with no network in it.

Source: WHATWG HTML Standard, section 9.2.6, "Interpreting an event stream". Three things differ on purpose: the last
event needs no blank line, because several servers omit it; ``id`` and ``retry`` are ignored, because nothing here
reconnects; and a field ``error`` is the data of an event of that name, as older versions of llama.cpp send it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from ..errors import EndpointError
from ..frozen import frozen

_BOM = b"\xef\xbb\xbf"
#: Bytes of a line. Only a whole answer in one chunk is longer than a few hundred.
_MAX_LINE_BYTES = 16_000_000


@frozen
class ServerSentEvent:
    """One event.

    Attributes:
        name: empty if the server sent none.
        is_truncated: the stream ended before the event's blank line.
    """

    data: str
    name: str = ""
    is_truncated: bool = field(default=False, compare=False)


def decode_batches(chunks: Iterable[bytes]) -> Iterator[list[ServerSentEvent]]:
    """Decode the chunks of a body, wherever the network split them; each list holds the events that one chunk completed.

    Raises:
        EndpointError: a line is too long.
    """
    decoder = _Decoder()
    for chunk in chunks:
        if batch := decoder.feed(chunk):
            yield batch
    if batch := decoder.finish():
        yield batch


class _Decoder:
    """Holds what a chunk left open: a line without its end, or an event without its blank line."""

    def __init__(self) -> None:
        self._partial_line: list[bytes] = []  # in pieces, because a line may be 10 MB long
        self._partial_size = 0
        self._after_cr = False
        self._is_first = True
        self._data: list[bytes] = []
        self._event_name = b""

    def feed(self, received: bytes) -> list[ServerSentEvent]:
        # An LF right after a CR belongs to that CR. The event is complete without it, so nothing waits for it.
        chunk = received[1:] if self._after_cr and received.startswith(b"\n") else received
        if received:
            self._after_cr = chunk.endswith(b"\r")
        if not chunk:
            return []
        lines = chunk.splitlines()  # splits bytes at LF, CR and CRLF only
        is_partial = not chunk.endswith((b"\n", b"\r"))
        if len(lines) > is_partial and self._partial_line:  # the chunk ends a line that is joined only now
            lines[0] = b"".join((*self._partial_line, lines[0]))
            self._partial_line.clear()
            self._partial_size = 0
        if is_partial:
            self._add_partial(lines.pop())
        return self._decode_lines(lines)

    def _add_partial(self, piece: bytes) -> None:
        self._partial_line.append(piece)
        self._partial_size += len(piece)
        if self._partial_size > _MAX_LINE_BYTES:
            raise EndpointError(
                f"the endpoint sent a line of more than {_MAX_LINE_BYTES // 1_000_000} MB",
                hint="Lower --max-tokens.",
                code="too_long",
            )

    def finish(self) -> list[ServerSentEvent]:
        return [replace(event, is_truncated=True) for event in self._decode_lines([b"".join(self._partial_line), b""])]

    def _decode_lines(self, lines: list[bytes]) -> list[ServerSentEvent]:
        if self._is_first and lines:
            self._is_first = False
            lines[0] = lines[0].removeprefix(_BOM)
        events = []
        data = self._data
        for line in lines:
            if line.startswith(b"data: "):  # nearly every line
                data.append(line[6:])
            elif line:
                self._read_field(line)
            elif data:
                text = data[0] if len(data) == 1 else b"\n".join(data)
                name = self._event_name.decode(errors="replace")
                events.append(ServerSentEvent(text.decode(errors="replace"), name))
                data.clear()
                self._event_name = b""
            else:
                self._event_name = b""
        return events

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")  # the name is empty in a comment
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._event_name = value.removeprefix(b" ")
        elif name == b"error":
            self._event_name = name
            self._data.append(value.removeprefix(b" "))
