"""An answer as events: the chunks of a stream, or one JSON document, interpreted. Pure: no network, no clock.

The first byte decides which of the two it is, because Content-Type is often missing or wrong. Servers differ a lot, so
everything is read tolerantly.

Source: OpenAI API reference, the streaming object of "Create chat completion"; Qubrid's documentation for
``x_metrics``.
"""

import enum
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import isfinite
from typing import Any

from ..errors import EndpointError
from ..frozen import frozen
from .sse import ServerSentEvent, decode_batches

_BOM_AND_WHITESPACE = b"\xef\xbb\xbf \t\r\n"
#: Keys of a chunk or a choice that hold more than text.
_NON_TEXT_KEYS = frozenset({"error", "usage", "x_metrics", "metrics", "timings"})
_OPEN_TAG, _CLOSE_TAG = "<think>", "</think>"
_SURROGATE = re.compile("[\ud800-\udfff]")


@frozen
class TextDelta:
    """A piece of the answer, in valid Unicode."""

    text: str


@frozen
class ReasoningDelta:
    """A piece of the model's reasoning before the answer, in valid Unicode."""

    text: str


@frozen
class ChunkInfo:
    """What a chunk holds besides text; ``None`` for what is missing, objects as the server sent them.

    ``metrics`` is ``x_metrics`` (Qubrid), else ``metrics`` (Qubrid's cookbook, vLLM) or ``timings`` (llama.cpp).
    """

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The values that are not ``None``, by name."""
        values = {"id": self.id, "model": self.model, "usage": self.usage, "metrics": self.metrics}
        return {name: value for name, value in values.items() if value is not None}


@frozen
class Finish:
    """The end of the answer: the server's ``finish_reason``, or ``None`` for ``[DONE]`` alone."""

    reason: str | None


@frozen
class ErrorEvent:
    """An error inside the answer: the server's JSON, in any shape."""

    payload: object


Event = TextDelta | ReasoningDelta | ChunkInfo | Finish | ErrorEvent


def read_answer(chunks: Iterable[bytes], *, redact: Callable[[str], str] = str) -> Iterator[Event]:
    """Interpret the body of an answer.

    Args:
        redact: removes secrets from a text that an error quotes.

    Raises:
        EndpointError: it is not the answer of a chat endpoint.
    """
    chunks = iter(chunks)
    start = b""
    for chunk in chunks:
        start += chunk
        if start.strip(_BOM_AND_WHITESPACE):
            break
    stripped = start.lstrip(_BOM_AND_WHITESPACE)
    if stripped.startswith(b"{"):
        yield from _read_document(b"".join(chain([stripped], chunks)), redact)
    elif stripped.startswith(b"<"):
        raise _no_answer_error("a web page")
    else:
        batches = decode_batches(chain([start], chunks))
        first = next(batches, None)
        if first is None:
            raise _no_answer_error(_shorten(stripped, redact) or "nothing")
        yield from _read_stream(chain([first], batches))


def parse_json(data: str | bytes) -> Any:
    """Parse JSON; NaN, Infinity and 1e999, which cannot be written as JSON again, become null.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return _DECODER.decode(data if isinstance(data, str) else data.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _parse_float(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


#: Made once, because ``json.loads`` would make one per call, which takes half of its time for a small chunk.
_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_parse_float)


def _read_document(data: bytes, redact: Callable[[str], str]) -> Iterator[Event]:
    try:
        chunk = parse_json(data)
    except ValueError as error:
        raise EndpointError("the endpoint's JSON is broken or cut off", hint="Try again.", code="not_json") from error
    is_error = chunk.get("error") or chunk.get("object") == "error"
    if not is_error and not {"choices", "content"} & chunk.keys():
        raise _no_answer_error(_shorten(data, redact))
    reader = _ChunkReader()
    yield from reader.read_chunk(chunk)
    yield from reader.flush()
    if not reader.is_finished and not reader.has_failed:
        yield Finish(None)


def _read_stream(batches: Iterable[Iterable[ServerSentEvent]]) -> Iterator[Event]:
    """Interpret events; the text of one batch, which arrived at once, becomes one delta.

    After ``[DONE]`` only ``ChunkInfo`` is read: some servers send their metrics last.
    """
    reader = _ChunkReader()
    try:
        for batch in batches:
            yield from _read_batch(batch, reader)
    except EndpointError:
        yield from reader.flush()
        raise
    yield from reader.flush()


def _read_batch(batch: Iterable[ServerSentEvent], reader: "_ChunkReader") -> Iterator[Event]:
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
        yield from _join_texts(texts)
        texts.clear()
        yield from _read_event(event, chunk, reader)
    yield from _join_texts(texts)


def _join_texts(texts: list[str]) -> Iterator[TextDelta]:
    if text := "".join(texts):
        yield TextDelta(text)


def _read_event(event: ServerSentEvent, chunk: Any, reader: "_ChunkReader") -> Iterator[Event]:
    data = event.data.strip()
    if data == "[DONE]":
        yield from reader.flush()
        reader.is_finished = True
        yield Finish(None)
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


class _ChunkReader:
    """Reads chunk after chunk, and holds what a chunk left open: a tag, or half a character."""

    def __init__(self) -> None:
        self.is_finished = False
        self.has_failed = False
        self._splitter = ThinkSplitter()
        self._last_identity: tuple[Any, Any] = (None, None)
        self._reasoning_joiner = SurrogateJoiner()

    def get_plain_text(self, chunk: Any) -> str | None:
        """The text of a chunk that holds only text, with the id and model of the chunk before; else ``None``.

        A shortcut past ``read_chunk``, in a third of its time: nearly all of the thousands of chunks are like that.
        """
        try:
            (choice,) = chunk["choices"]
            delta = choice["delta"]
            text = delta["content"]
        except (LookupError, TypeError, ValueError):
            return None
        is_plain = (
            text
            and self._splitter.is_in_answer
            and chunk.get("object") != "error"
            and not self.is_finished
            and (len(delta) == 1 or not (delta.get("reasoning_content") or delta.get("reasoning")))
            and choice.get("finish_reason") is None
            and not choice.get("index")
            and (chunk.get("id"), chunk.get("model")) == self._last_identity
            and (_NON_TEXT_KEYS.isdisjoint(chunk) or not any(map(chunk.get, _NON_TEXT_KEYS)))
            and _NON_TEXT_KEYS.isdisjoint(choice)
        )
        return text if is_plain and isinstance(text, str) and not _has_surrogates(text) else None

    def read_chunk(self, chunk: Any) -> Iterator[Event]:
        if not isinstance(chunk, dict):
            return
        choice = _get_first_choice(chunk)
        self._last_identity = chunk.get("id"), chunk.get("model")
        if (info := _extract_info(chunk, choice)) != ChunkInfo():
            yield info
        if self.is_finished:
            return
        if chunk.get("error") or chunk.get("object") == "error":
            yield from self.flush()
            self.has_failed = True
            yield ErrorEvent(chunk)
            return
        # An older Qubrid endpoint has the content at the top level.
        delta = next(part for part in (choice.get("delta"), choice.get("message"), chunk) if isinstance(part, dict))
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and (text := self._reasoning_joiner.feed(reasoning)):
            yield ReasoningDelta(text)
        yield from self._splitter.feed(_extract_text(delta))
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            yield from self.flush()
            self.is_finished = True
            yield Finish(reason)

    def flush(self) -> Iterator[Event]:
        """What was held back because it might have been part of a tag or a character."""
        if rest := self._reasoning_joiner.feed("", last=True):
            yield ReasoningDelta(rest)
        yield from self._splitter.feed("", last=True)
        if self._splitter.has_empty_reasoning:  # nothing to show, but the model was working
            yield ReasoningDelta("")


def _get_first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def _extract_text(delta: dict[str, Any]) -> str:
    content = delta.get("content")
    if isinstance(content, list):  # a list of parts, as in requests
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str) and content:
        return content
    refusal = delta.get("refusal")  # OpenAI's models decline in a separate field; it is their answer
    return refusal if isinstance(refusal, str) else ""


def _extract_info(chunk: dict[str, Any], choice: dict[str, Any]) -> ChunkInfo:
    def get_text(name: str) -> str | None:
        value = chunk.get(name)
        return value if isinstance(value, str) and value else None

    def get_object(name: str) -> dict[str, Any] | None:
        value = chunk.get(name) or choice.get(name)  # a few servers put usage into the choice
        return value if isinstance(value, dict) and value else None

    metrics = get_object("x_metrics") or get_object("metrics") or get_object("timings")
    return ChunkInfo(get_text("id"), get_text("model"), get_object("usage"), metrics)


def _shorten(data: bytes, redact: Callable[[str], str]) -> str:
    text = redact(data.decode(errors="replace")).strip()
    return text[:79] + "…" if len(text) > 80 else text


def _no_answer_error(received: str) -> EndpointError:
    return EndpointError(
        f"the endpoint answered with {received} instead of a chat completion",
        hint="Check --base-url, which usually ends in /v1, and the model.",
        code="no_answer",
    )


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and _SURROGATE.search(text) is not None


class SurrogateJoiner:
    r"""Joins the halves of a character that a server split into two JSON escapes (``\ud83d``, ``\ude00``) in two chunks.

    Attributes:
        pending: the first half of a character, until the second one arrives.
    """

    def __init__(self) -> None:
        self.pending = ""

    def feed(self, text: str, *, last: bool = False) -> str:
        """The text that is complete by now; a half without the other half becomes U+FFFD."""
        text, self.pending = self.pending + text, ""
        if not _has_surrogates(text):
            return text
        if not last and "\ud800" <= text[-1] <= "\udbff":
            text, self.pending = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_ThinkState = enum.Enum("_ThinkState", ["BEFORE", "THINKING", "BETWEEN", "ANSWER"])


class ThinkSplitter:
    """Splits content into answer and reasoning: a leading ``<think>…</think>`` is reasoning."""

    def __init__(self) -> None:
        self._joiner = SurrogateJoiner()
        self._state = _ThinkState.BEFORE
        self._buffer = ""  # may be the beginning of a tag
        self._has_reasoning = False

    @property
    def is_in_answer(self) -> bool:
        """Whether everything that follows is answer, and nothing before it is held back."""
        return self._state is _ThinkState.ANSWER and not self._buffer and not self._joiner.pending

    @property
    def has_empty_reasoning(self) -> bool:
        """Whether the tag is open and nothing has followed it."""
        return self._state is _ThinkState.THINKING and not self._has_reasoning

    def feed(self, text: str, *, last: bool = False) -> Iterator[TextDelta | ReasoningDelta]:
        """The pieces that are certain by now; with ``last``, all that remains."""
        self._buffer += self._joiner.feed(text, last=last)
        if self._state is _ThinkState.BEFORE:
            self._detect_open_tag(last=last)
        if self._state is _ThinkState.THINKING and (reasoning := self._take_reasoning(last=last)):
            self._has_reasoning = True
            yield ReasoningDelta(reasoning)
        if self._state is _ThinkState.BETWEEN:  # models put line breaks after the tag
            self._buffer = self._buffer.lstrip()
            if self._buffer:
                self._state = _ThinkState.ANSWER
        if self._state is _ThinkState.ANSWER and self._buffer:
            yield TextDelta(self._buffer)
            self._buffer = ""

    def _detect_open_tag(self, *, last: bool) -> None:
        start = self._buffer.lstrip()
        if start.startswith(_OPEN_TAG):
            self._state, self._buffer = _ThinkState.THINKING, start.removeprefix(_OPEN_TAG)
        elif last or not _OPEN_TAG.startswith(start):
            self._state = _ThinkState.ANSWER

    def _take_reasoning(self, *, last: bool) -> str:
        reasoning, tag, rest = self._buffer.partition(_CLOSE_TAG)
        if tag:
            self._state, self._buffer = _ThinkState.BETWEEN, rest
            return reasoning
        lengths = () if last else range(len(_CLOSE_TAG) - 1, 0, -1)  # of a tag that may have begun
        held_back = next((length for length in lengths if reasoning.endswith(_CLOSE_TAG[:length])), 0)
        end = len(reasoning) - held_back
        self._buffer = reasoning[end:]
        return reasoning[:end]
