"""Server-sent events: bytes in, events out, with no network in it.

Source: WHATWG HTML Standard, section 9.2.6, "Interpreting an event stream". Two things differ on purpose: the last
event needs no blank line, because several servers omit it, and ``id`` and ``retry`` are ignored, because nothing here
reconnects.
"""

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from ..frozen import frozen

_BOM = b"\xef\xbb\xbf"


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
    """Decode the chunks of a body, wherever the network split them; each list holds the events that one chunk completed."""
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
        if self._partial_line:
            lines[0] = b"".join((*self._partial_line, lines[0]))
            self._partial_line.clear()
        if not chunk.endswith((b"\n", b"\r")):
            self._partial_line.append(lines.pop())
        return self._decode_lines(lines)

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
