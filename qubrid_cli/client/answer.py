"""The body of an answer becomes events: an event stream of chunks, or one JSON document. Pure: no network, no clock.

The first byte decides which of the two it is, because Content-Type is often missing or wrong.

Source: WHATWG HTML Standard, section 9.2.6, "Interpreting an event stream". Three things differ on purpose: the last
event needs no blank line, because several servers omit it; ``id`` and ``retry`` are ignored, because nothing here
reconnects; and a field ``error`` is the data of an event of that name, as older versions of llama.cpp send it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace
from itertools import chain
from typing import Any

from ..errors import EndpointError
from ..frozen import frozen
from ..text import shorten
from .chunks import ChunkReader, is_completion
from .events import Event, parse_json

_BOM = b"\xef\xbb\xbf"
_BOM_AND_WHITESPACE = b"\xef\xbb\xbf \t\r\n"
#: Characters of an answer, its reasoning included. The longest context of any model, a few million tokens, is far below.
_MAX_TEXT_LENGTH = 64_000_000
#: The most bytes that are received of a document, or of a stream without text. Each character of text in a stream raises
#: the limit, because a chunk with one character has a few hundred bytes.
_MAX_BYTES = 64_000_000
_MAX_BYTES_PER_CHARACTER = 4096
#: Bytes of a line. Only a whole answer in one chunk is longer than a few hundred.
_MAX_LINE_BYTES = 16_000_000
#: Bytes at the beginning of a body that is not an answer, from which the error takes its quotation.
_MAX_QUOTED_BYTES = 64 * 1024


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


def read_answer(chunks: Iterable[bytes], *, model: str = "", redact: Callable[[str], str] = str) -> Iterator[Event]:
    """Interpret the body of an answer.

    Args:
        model: the requested model.
        redact: removes secrets from a text that an error quotes.

    Raises:
        EndpointError: the body is too long, or not the answer of a chat endpoint.
    """
    reader = ChunkReader(model)
    chunks = _limit_bytes(chunks, reader)
    start = next(filter(None, (chunk.lstrip(_BOM_AND_WHITESPACE) for chunk in chunks)), b"")
    if start.startswith(b"{"):
        yield from _read_document(b"".join(chain([start], chunks)), reader, redact)
    elif start.startswith(b"<"):
        raise _no_answer_error("a web page")
    else:
        batches = decode_batches(chain([start], chunks))
        first = next(batches, None)
        if first is None:
            raise _no_answer_error(_quote(start, redact) or "nothing")
        yield from _read_stream(chain([first], batches), reader)


def _limit_bytes(chunks: Iterable[bytes], reader: ChunkReader) -> Iterator[bytes]:
    """Yield the bytes of a body; raise an error at the limit, because the body might never end."""
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > _MAX_BYTES + _MAX_BYTES_PER_CHARACTER * reader.text_length:
            raise _too_long_error(f"the response exceeds {_MAX_BYTES // 1_000_000} MB")
        yield chunk


def _read_document(data: bytes, reader: ChunkReader, redact: Callable[[str], str]) -> Iterator[Event]:
    try:
        document = parse_json(data)
    except ValueError as error:
        raise EndpointError("the endpoint's JSON is broken or cut off", hint="Try again.", code="not_json") from error
    if not is_completion(document):
        raise _no_answer_error(_quote(data, redact))
    yield from reader.read_chunk(document)
    if reader.has_ended:
        yield from reader.flush()
    else:
        yield from reader.read_done()


def _read_stream(batches: Iterable[Iterable[ServerSentEvent]], reader: ChunkReader) -> Iterator[Event]:
    """Interpret events; the text of one batch, which arrived at once, becomes one delta.

    After ``[DONE]`` only ``ChunkInfo`` is read: some servers send their metrics last.
    """
    try:
        for batch in batches:
            yield from _read_batch(batch, reader)
            if reader.text_length > _MAX_TEXT_LENGTH:
                raise _too_long_error(f"the answer exceeds {_MAX_TEXT_LENGTH // 1_000_000} million characters")
    except EndpointError:
        yield from reader.flush()
        raise
    yield from reader.flush()


def _read_batch(batch: Iterable[ServerSentEvent], reader: ChunkReader) -> Iterator[Event]:
    texts: list[str] = []
    for event in batch:
        try:
            chunk = parse_json(event.data)
        except ValueError:
            chunk = None
        text = reader.get_plain_text(chunk) if chunk is not None and not event.name else None
        if text is not None:
            texts.append(text)
            continue
        yield from reader.read_plain_text("".join(texts))
        texts.clear()
        yield from _read_event(event, chunk, reader)
    yield from reader.read_plain_text("".join(texts))


def _read_event(event: ServerSentEvent, chunk: Any, reader: ChunkReader) -> Iterator[Event]:
    data = event.data.strip()
    if data == "[DONE]":
        yield from reader.read_done()
        return
    if chunk is None and event.is_truncated:  # the connection ended inside the event
        return
    if chunk is None and data and data != "null":
        chunk = {"error": data if event.name == "error" else f"an event that is not valid JSON: {data}"}
    if event.name == "error" and isinstance(chunk, dict) and not chunk.get("error"):
        chunk = {"error": chunk}
    if event.name in {"x_metrics", "metrics", "usage"} and isinstance(chunk, dict) and event.name not in chunk:
        chunk = {event.name: chunk}
    yield from reader.read_chunk(chunk)


def _quote(data: bytes, redact: Callable[[str], str]) -> str:
    return shorten(redact(data[:_MAX_QUOTED_BYTES].decode(errors="replace")).strip(), 80)


def _no_answer_error(received: str) -> EndpointError:
    return EndpointError(
        f"the endpoint answered with {received} instead of a chat completion",
        hint="Check --base-url, which usually ends in /v1, and the model.",
        code="no_answer",
    )


def _too_long_error(message: str) -> EndpointError:
    return EndpointError(message, hint="Lower --max-tokens.", code="too_long")


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
    """Keeps unfinished data between chunks: a line without its end, or an event without its blank line."""

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
        is_partial = not chunk.endswith((b"\n", b"\r"))  # the last line
        if self._partial_line and (len(lines) > 1 or not is_partial):  # the chunk completes a line from earlier chunks
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
