"""The OpenAI dialect of chat completions, inwards: what the chunks of an answer mean. Pure: no network, no clock.

Source: OpenAI API reference, the streaming object of "Create chat completion"; Qubrid's documentation for
``x_metrics``. Servers differ a good deal, so everything is read tolerantly.
"""

import json
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

from .deltas import Pieces, Reasoning, Sorter, Text, is_whole
from .errors import EndpointError
from .frozen import frozen
from .sse import ServerSentEvent


@frozen
class Facts:
    """What a chunk says beside text, each ``None`` where it says nothing; objects as the server sent them.

    ``metrics`` is ``x_metrics`` (Qubrid), else ``metrics`` (Qubrid's cookbook, vLLM) or ``timings`` (llama.cpp).
    """

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """What is not ``None``, by name."""
        every = {"id": self.id, "model": self.model, "usage": self.usage, "metrics": self.metrics}
        return {name: value for name, value in every.items() if value is not None}


@frozen
class Finish:
    """The end of the answer: the server's ``finish_reason``, or ``None`` for a bare ``[DONE]``."""

    reason: str | None


@frozen
class Problem:
    """An error inside the answer; ``payload`` is the JSON that told of it, in any shape."""

    payload: object


Event = Text | Reasoning | Facts | Finish | Problem


def document(chunk: Any) -> Iterator[Event]:
    """What an answer in one piece means: JSON is whole, or it is no JSON at all."""
    reader = _Reader()
    yield from reader.chunk(chunk)
    yield from reader.end()
    if not reader.finished and not reader.failed:
        yield Finish(None)


def parse(batches: Iterable[Iterable[ServerSentEvent]]) -> Iterator[Event]:
    """Turn raw events into ours: the text of one batch, which came at once, is one piece.

    After ``[DONE]`` only facts are taken: some servers send their metrics last.
    """
    reader = _Reader()
    try:
        for batch in batches:
            yield from _batch(batch, reader)
    except EndpointError:
        yield from reader.end()  # what was held back because it might have been a tag
        raise
    yield from reader.end()


def _batch(batch: Iterable[ServerSentEvent], reader: "_Reader") -> Iterator[Event]:
    texts: list[str] = []
    for raw in batch:
        try:
            chunk = parsed(raw.data)
        except ValueError:
            chunk = None
        text = reader.plain(chunk) if chunk is not None and not raw.event else None
        if text is not None:
            texts.append(text)
            continue
        yield from _joined(texts)
        yield from _meant(raw, chunk, reader)
    yield from _joined(texts)


def _joined(texts: list[str]) -> Iterator[Text]:
    """The texts as one piece, if there is anything in them; they are used up."""
    if whole := "".join(texts):
        yield Text(whole)
    texts.clear()


def _meant(raw: ServerSentEvent, chunk: Any, reader: "_Reader") -> Iterator[Event]:
    data = raw.data.strip()
    if data == "[DONE]":
        yield from reader.end()
        reader.finished = True
        yield Finish(None)
        return
    if chunk is None and raw.is_cut:  # the connection ended in the middle of it
        return
    if chunk is None and data and data != "null":
        chunk = {"error": data if raw.event == "error" else f"an event that is no JSON: {data}"}
    if raw.event == "error" and isinstance(chunk, dict) and not chunk.get("error"):
        chunk = {"error": chunk}
    if raw.event in {"x_metrics", "metrics", "usage"} and isinstance(chunk, dict) and raw.event not in chunk:
        chunk = {raw.event: chunk}
    yield from reader.chunk(chunk)


def parsed(data: str | bytes) -> Any:
    """JSON in Python's types; NaN, Infinity and 1e999, which could not be written as JSON again, become null."""
    try:
        return _DECODER.decode(data if isinstance(data, str) else data.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


#: Made once: ``json.loads`` would make one for each call, half of its time with a small chunk.
_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite)


class _Reader:
    """Reads chunk after chunk; holds only what a chunk may have left open: a tag, or half a character."""

    def __init__(self) -> None:
        self.finished = False
        self.failed = False
        self._answer = Sorter()
        self._known: tuple[Any, Any] = (None, None)
        self._reasoning = Pieces()

    def plain(self, chunk: Any) -> str | None:
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
            and self._answer.is_open
            and chunk.get("object") != "error"
            and not self.finished
            and (len(delta) == 1 or not (delta.get("reasoning_content") or delta.get("reasoning")))
            and choice.get("finish_reason") is None
            and not choice.get("index")
            and (chunk.get("id"), chunk.get("model")) == self._known
            and (_NEWS.isdisjoint(chunk) or not any(map(chunk.get, _NEWS)))
            and _NEWS.isdisjoint(choice)
        )
        return text if is_plain and isinstance(text, str) and is_whole(text) else None

    def chunk(self, chunk: Any) -> Iterator[Event]:
        if not isinstance(chunk, dict):
            return
        choice = _first_choice(chunk)
        self._known = chunk.get("id"), chunk.get("model")
        if (facts := _facts(chunk, choice)) != Facts():
            yield facts
        if self.finished:
            return
        if chunk.get("error") or chunk.get("object") == "error":
            yield from self.end()
            self.failed = True
            yield Problem(chunk)
            return
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice.get("message")
        if not isinstance(delta, dict):
            delta = chunk  # an older Qubrid endpoint has the content at the top
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and (whole := self._reasoning.feed(reasoning)):
            yield Reasoning(whole)
        yield from self._answer.feed(_content(delta))
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            yield from self.end()
            self.finished = True
            yield Finish(reason)

    def end(self) -> Iterator[Event]:
        if rest := self._reasoning.feed("", last=True):
            yield Reasoning(rest)
        yield from self._answer.feed("", last=True)
        if self._answer.is_silent:  # nothing to show, and yet the model was at work
            yield Reasoning("")


#: Where a chunk tells more than text.
_NEWS = frozenset({"error", "usage", "x_metrics", "metrics", "timings"})


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def _content(delta: dict[str, Any]) -> str:
    content = delta.get("content")
    if isinstance(content, list):  # of parts, as in requests
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str) and content:
        return content
    refusal = delta.get("refusal")  # OpenAI's models decline in a field of its own; it is what they answered
    return refusal if isinstance(refusal, str) else ""


def _facts(chunk: dict[str, Any], choice: dict[str, Any]) -> Facts:
    def named(name: str) -> dict[str, Any] | None:
        found = chunk.get(name) or choice.get(name)  # a few servers put usage into the choice
        return found if isinstance(found, dict) and found else None

    identity, model = chunk.get("id"), chunk.get("model")
    return Facts(
        id=identity if isinstance(identity, str) and identity else None,
        model=model if isinstance(model, str) and model else None,
        usage=named("usage"),
        metrics=named("x_metrics") or named("metrics") or named("timings"),
    )
