"""Server-sent events: bytes in, events out, with no network in it.

Source: WHATWG HTML Standard, section 9.2.6, "Interpreting an event stream". Two things are done differently on
purpose: an event that the end of the stream cuts short of its blank line is still given out (several servers leave
that line away), and ``id`` and ``retry`` are passed over, for nothing here reconnects.
"""

from collections.abc import Iterable, Iterator
from dataclasses import field, replace

from ..frozen import frozen

_BOM = b"\xef\xbb\xbf"


@frozen
class ServerSentEvent:
    """One event; ``event`` is empty where the server named none, ``is_truncated`` says that the stream ended before it did."""

    data: str
    event: str = ""
    is_truncated: bool = field(default=False, compare=False)


def decode(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Turn the chunks of a body, however the network cut them, into events."""
    for batch in decode_batches(chunks):
        yield from batch


def decode_batches(chunks: Iterable[bytes]) -> Iterator[list[ServerSentEvent]]:
    """The same events, those together that came to their end in one chunk: who reads may treat them as one."""
    decoder = _Decoder()
    for chunk in chunks:
        if batch := decoder.feed(chunk):
            yield batch
    if batch := decoder.finish():
        yield batch


class _Decoder:
    """Holds what a chunk left open: a line without its end, an event without its blank line."""

    def __init__(self) -> None:
        self._partial_line: list[bytes] = []  # of a line; a list, for a line may be 10 MB in small pieces
        self._after_cr = False
        self._is_first = True
        self._data: list[bytes] = []
        self._event_name = b""

    def feed(self, received: bytes) -> list[ServerSentEvent]:
        # An LF right behind a CR belongs to that CR. Not waiting for it gives out the event at once.
        chunk = received[1:] if self._after_cr and received.startswith(b"\n") else received
        if received:
            self._after_cr = chunk.endswith(b"\r")
        if not chunk:
            return []
        lines = chunk.splitlines()  # bytes are split at LF, CR and CRLF only
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
            if line.startswith(b"data: "):  # nearly every line that is not empty
                data.append(line[6:])
            elif line:
                self._read_field(line)
            elif data:
                whole = data[0] if len(data) == 1 else b"\n".join(data)
                events.append(
                    ServerSentEvent(whole.decode(errors="replace"), self._event_name.decode(errors="replace"))
                )
                data.clear()
                self._event_name = b""
            else:
                self._event_name = b""
        return events

    def _read_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")  # a comment has an empty field
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._event_name = value.removeprefix(b" ")
