"""What came back: a stream of events, one JSON document, or neither. The first byte tells.

Content-Type does not: it is missing or wrong often enough.
"""

# MERGED DOCSTRING of qubrid_cli.events: The OpenAI dialect of chat completions, inwards: what the chunks of an answer mean. Pure: no network, no clock. Source: OpenAI API reference, the streaming object of "Create chat completion"; Qubrid's documentation for ``x_metrics``. Servers differ a good deal, so everything is read tolerantly.

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import isfinite
from typing import Any

from ..errors import EndpointError
from ..frozen import frozen
from .deltas import ReasoningDelta, SurrogateJoiner, TextDelta, ThinkSplitter, has_no_surrogates
from .sse import ServerSentEvent, decode_batches


@frozen
class ChunkInfo:
    """What a chunk says beside text, each ``None`` where it says nothing; objects as the server sent them.

    ``metrics`` is ``x_metrics`` (Qubrid), else ``metrics`` (Qubrid's cookbook, vLLM) or ``timings`` (llama.cpp).
    """

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What is not ``None``, by name."""
        every = {"id": self.id, "model": self.model, "usage": self.usage, "metrics": self.metrics}
        return {name: value for name, value in every.items() if value is not None}


@frozen
class Finish:
    """The end of the answer: the server's ``finish_reason``, or ``None`` for a bare ``[DONE]``."""

    reason: str | None


@frozen
class ErrorEvent:
    """An error inside the answer; ``payload`` is the JSON that told of it, in any shape."""

    payload: object


Event = TextDelta | ReasoningDelta | ChunkInfo | Finish | ErrorEvent


def parse_document(chunk: Any) -> Iterator[Event]:
    """What an answer in one piece means: JSON is whole, or it is no JSON at all."""
    reader = _ChunkReader()
    yield from reader.read_chunk(chunk)
    yield from reader.finish()
    if not reader.is_finished and not reader.has_failed:
        yield Finish(None)


def parse_events(batches: Iterable[Iterable[ServerSentEvent]]) -> Iterator[Event]:
    """Turn raw events into ours: the text of one batch, which came at once, is one piece.

    After ``[DONE]`` only facts are taken: some servers send their metrics last.
    """
    reader = _ChunkReader()
    try:
        for batch in batches:
            yield from _parse_batch(batch, reader)
    except EndpointError:
        yield from reader.finish()  # what was held back because it might have been a tag
        raise
    yield from reader.finish()


def _parse_batch(batch: Iterable[ServerSentEvent], reader: "_ChunkReader") -> Iterator[Event]:
    texts: list[str] = []
    for raw in batch:
        try:
            chunk = parse_json(raw.data)
        except ValueError:
            chunk = None
        text = reader.get_plain_text(chunk) if chunk is not None and not raw.event else None
        if text is not None:
            texts.append(text)
            continue
        yield from _join_texts(texts)
        yield from _interpret(raw, chunk, reader)
    yield from _join_texts(texts)


def _join_texts(texts: list[str]) -> Iterator[TextDelta]:
    """The texts as one piece, if there is anything in them; they are used up."""
    if whole := "".join(texts):
        yield TextDelta(whole)
    texts.clear()


def _interpret(raw: ServerSentEvent, chunk: Any, reader: "_ChunkReader") -> Iterator[Event]:
    data = raw.data.strip()
    if data == "[DONE]":
        yield from reader.finish()
        reader.is_finished = True
        yield Finish(None)
        return
    if chunk is None and raw.is_truncated:  # the connection ended in the middle of it
        return
    if chunk is None and data and data != "null":
        chunk = {"error": data if raw.event == "error" else f"an event that is no JSON: {data}"}
    if raw.event == "error" and isinstance(chunk, dict) and not chunk.get("error"):
        chunk = {"error": chunk}
    if raw.event in {"x_metrics", "metrics", "usage"} and isinstance(chunk, dict) and raw.event not in chunk:
        chunk = {raw.event: chunk}
    yield from reader.read_chunk(chunk)


def parse_json(data: str | bytes) -> Any:
    """JSON in Python's types; NaN, Infinity and 1e999, which could not be written as JSON again, become null."""
    try:
        return _DECODER.decode(data if isinstance(data, str) else data.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _parse_float(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


#: Made once: ``json.loads`` would make one for each call, half of its time with a small chunk.
_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_parse_float)


class _ChunkReader:
    """Reads chunk after chunk; holds only what a chunk may have left open: a tag, or half a character."""

    def __init__(self) -> None:
        self.is_finished = False
        self.has_failed = False
        self._splitter = ThinkSplitter()
        self._last_identity: tuple[Any, Any] = (None, None)
        self._reasoning_joiner = SurrogateJoiner()

    def get_plain_text(self, chunk: Any) -> str | None:
        """The text of a chunk that holds nothing else and nothing new, as nearly all do; else ``None``.

        A short way past ``chunk``, which reads everything: a third of its time, and there are thousands of them.
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
        return text if is_plain and isinstance(text, str) and has_no_surrogates(text) else None

    def read_chunk(self, chunk: Any) -> Iterator[Event]:
        if not isinstance(chunk, dict):
            return
        choice = _get_first_choice(chunk)
        self._last_identity = chunk.get("id"), chunk.get("model")
        if (facts := _extract_info(chunk, choice)) != ChunkInfo():
            yield facts
        if self.is_finished:
            return
        if chunk.get("error") or chunk.get("object") == "error":
            yield from self.finish()
            self.has_failed = True
            yield ErrorEvent(chunk)
            return
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice.get("message")
        if not isinstance(delta, dict):
            delta = chunk  # an older Qubrid endpoint has the content at the top
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and (whole := self._reasoning_joiner.feed(reasoning)):
            yield ReasoningDelta(whole)
        yield from self._splitter.feed(_extract_text(delta))
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            yield from self.finish()
            self.is_finished = True
            yield Finish(reason)

    def finish(self) -> Iterator[Event]:
        if rest := self._reasoning_joiner.feed("", last=True):
            yield ReasoningDelta(rest)
        yield from self._splitter.feed("", last=True)
        if self._splitter.has_empty_reasoning:  # nothing to show, and yet the model was at work
            yield ReasoningDelta("")


#: Where a chunk tells more than text.
_NON_TEXT_KEYS = frozenset({"error", "usage", "x_metrics", "metrics", "timings"})


def _get_first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def _extract_text(delta: dict[str, Any]) -> str:
    content = delta.get("content")
    if isinstance(content, list):  # of parts, as in requests
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str) and content:
        return content
    refusal = delta.get("refusal")  # OpenAI's models decline in a field of its own; it is what they answered
    return refusal if isinstance(refusal, str) else ""


def _extract_info(chunk: dict[str, Any], choice: dict[str, Any]) -> ChunkInfo:
    def named(name: str) -> dict[str, Any] | None:
        found = chunk.get(name) or choice.get(name)  # a few servers put usage into the choice
        return found if isinstance(found, dict) and found else None

    identity, model = chunk.get("id"), chunk.get("model")
    return ChunkInfo(
        id=identity if isinstance(identity, str) and identity else None,
        model=model if isinstance(model, str) and model else None,
        usage=named("usage"),
        metrics=named("x_metrics") or named("metrics") or named("timings"),
    )


_BOM_AND_WHITESPACE = b"\xef\xbb\xbf \t\r\n"


def read_answer(chunks: Iterable[bytes], *, redact: Callable[[str], str] = str) -> Iterator[Event]:
    """What the body of an answer means.

    Args:
        redact: takes out of what is repeated in a message what must not stand there.

    Raises:
        EndpointError: it is no answer of a chat endpoint.
    """
    chunks = iter(chunks)
    start = b""
    for chunk in chunks:
        start += chunk
        if start.strip(_BOM_AND_WHITESPACE):
            break
    found = start.lstrip(_BOM_AND_WHITESPACE)
    if found.startswith(b"{"):
        yield from _read_document(b"".join(chain([found], chunks)), redact)
    elif found.startswith(b"<"):
        raise _no_answer_error("a web page")
    else:
        yield from _read_stream(chain([start], chunks), found, redact)


def _read_stream(chunks: Iterable[bytes], start: bytes, redact: Callable[[str], str]) -> Iterator[Event]:
    found = decode_batches(chunks)
    first = next(found, None)
    if first is None:
        raise _no_answer_error(_shorten(start, redact) or "nothing")
    yield from parse_events(chain([first], found))


def _read_document(data: bytes, redact: Callable[[str], str]) -> Iterator[Event]:
    try:
        chunk = parse_json(data)
    except ValueError as error:
        raise EndpointError("the endpoint's JSON is broken or cut off", hint="Try again.", code="not_json") from error
    is_error = chunk.get("error") or chunk.get("object") == "error"
    if not is_error and not {"choices", "content"} & chunk.keys():
        raise _no_answer_error(_shorten(data, redact))
    yield from parse_document(chunk)


def _shorten(data: bytes, redact: Callable[[str], str]) -> str:
    text = redact(data.decode(errors="replace")).strip()
    return text[:79] + "…" if len(text) > 80 else text


def _no_answer_error(received: str) -> EndpointError:
    return EndpointError(
        f"the endpoint answered with {received} instead of a chat completion",
        hint="Check --base-url, which usually ends in /v1, and the model.",
        code="no_answer",
    )
