"""Server-sent events: bytes in, events out, with no network in it.

Source: WHATWG HTML Standard, section 9.2.6, "Interpreting an event stream". Two things are done differently on
purpose: an event that the end of the stream cuts short of its blank line is still given out (several servers leave
that line away), and ``id`` and ``retry`` are passed over, for nothing here reconnects.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; ``event`` is empty where the server named none."""

    data: str
    event: str = ""


def decode(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """Turn the chunks of a body, however the network cut them, into events."""
    data: list[str] = []
    name = ""
    for line in _lines(chunks):
        if not line:
            if data:
                yield ServerSentEvent("\n".join(data), name)
            data, name = [], ""
            continue
        field, _, value = line.partition(b":")  # a comment has an empty field
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value.decode(errors="replace"))
        elif field == b"event":
            name = value.decode(errors="replace")
    if data:
        yield ServerSentEvent("\n".join(data), name)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends, which are LF, CR or CRLF and nothing else; a BOM at the start is dropped."""
    lines = _raw_lines(chunks)
    for first in lines:
        yield first.removeprefix(_BOM)
        break
    yield from lines


def _raw_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []  # of a line whose end is still to come; a list, for a line may be 10 MB in small pieces
    after_cr = False
    for received in chunks:
        # An LF right behind a CR belongs to that CR. Not waiting for it gives out the event at once.
        chunk = received[1:] if after_cr and received.startswith(b"\n") else received
        if received:
            after_cr = chunk.endswith(b"\r")
        for line in chunk.splitlines(keepends=True):  # bytes are split at LF, CR and CRLF only
            bare = line.rstrip(b"\r\n")
            if len(bare) == len(line):
                rest.append(line)
                continue
            yield b"".join((*rest, bare)) if rest else bare
            rest.clear()
    if rest:
        yield b"".join(rest)
