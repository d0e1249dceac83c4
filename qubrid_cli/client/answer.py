"""The body of an answer becomes events: a stream of chunks, or one JSON document. Pure: no network, no clock.

The first byte decides which of the two it is, because Content-Type is often missing or wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from ..errors import EndpointError
from .chunks import ChunkReader, is_completion
from .events import Event, parse_json
from .sse import ServerSentEvent, decode_batches

_BOM_AND_WHITESPACE = b"\xef\xbb\xbf \t\r\n"
#: Characters of an answer, its reasoning included. The longest context of any model, a few million tokens, is far below.
_MAX_TEXT_LENGTH = 64_000_000
#: Bytes that are received at most: of a document, or of a stream without text. A stream may have more for each
#: character of text, because a chunk with one character has a few hundred bytes.
_MAX_BYTES = 64_000_000
_MAX_BYTES_PER_CHARACTER = 4096
#: Bytes that are decoded at once. A compressed body may become a thousand times larger, and lines take more memory.
_SLICE_SIZE = 256 * 1024


def read_answer(chunks: Iterable[bytes], *, model: str = "", redact: Callable[[str], str] = str) -> Iterator[Event]:
    """Interpret the body of an answer.

    Args:
        model: the requested one.
        redact: removes secrets from a text that an error quotes.

    Raises:
        EndpointError: it is not the answer of a chat endpoint, or too long.
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
            raise _no_answer_error(_shorten(start, redact) or "nothing")
        yield from _read_stream(chain([first], batches), reader)


def _limit_bytes(chunks: Iterable[bytes], reader: ChunkReader) -> Iterator[bytes]:
    """Yield the bytes of a body in slices, and end one that would never end."""
    received = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE_SIZE):
            piece = chunk[start : start + _SLICE_SIZE]
            received += len(piece)
            if received > _MAX_BYTES + _MAX_BYTES_PER_CHARACTER * reader.text_length:
                raise _too_long_error(f"the response exceeds {_MAX_BYTES // 1_000_000} MB")
            yield piece


def _read_document(data: bytes, reader: ChunkReader, redact: Callable[[str], str]) -> Iterator[Event]:
    try:
        document = parse_json(data)
    except ValueError as error:
        raise EndpointError("the endpoint's JSON is broken or cut off", hint="Try again.", code="not_json") from error
    if not is_completion(document):
        raise _no_answer_error(_shorten(data, redact))
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


def _shorten(data: bytes, redact: Callable[[str], str]) -> str:
    text = redact(data[:_SLICE_SIZE].decode(errors="replace")).strip()
    return text[:79] + "…" if len(text) > 80 else text


def _no_answer_error(received: str) -> EndpointError:
    return EndpointError(
        f"the endpoint answered with {received} instead of a chat completion",
        hint="Check --base-url, which usually ends in /v1, and the model.",
        code="no_answer",
    )


def _too_long_error(message: str) -> EndpointError:
    return EndpointError(message, hint="Lower --max-tokens.", code="too_long")
