"""The OpenAI dialect of chat completions, inwards: what the chunks of an answer mean. Pure: no network, no clock.

Source: OpenAI API reference, the streaming object of "Create chat completion"; Qubrid's documentation for
``x_metrics``. Servers differ a good deal, so everything is read tolerantly.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from .deltas import Pieces, Reasoning, Sorter, Text
from .errors import EndpointError
from .sse import ServerSentEvent


@dataclass(frozen=True, slots=True)
class Facts:
    """What a chunk says beside text, each ``None`` where it says nothing; objects as the server sent them.

    ``metrics`` is ``x_metrics`` (Qubrid), else ``metrics`` (Qubrid's cookbook, vLLM) or ``timings`` (llama.cpp).
    """

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of the answer: the server's ``finish_reason``, or ``None`` for a bare ``[DONE]``."""

    reason: str | None


@dataclass(frozen=True, slots=True)
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


def parse(stream: Iterable[ServerSentEvent]) -> Iterator[Event]:
    """Turn raw events into ours. After ``[DONE]`` only facts are taken: some servers send their metrics last."""
    reader = _Reader()
    try:
        for raw in stream:
            yield from _meant(raw, reader)
    except EndpointError:
        yield from reader.end()  # what was held back because it might have been a tag
        raise
    yield from reader.end()


def _meant(raw: ServerSentEvent, reader: "_Reader") -> Iterator[Event]:
    data = raw.data.strip()
    if data == "[DONE]":
        yield from reader.end()
        reader.finished = True
        yield Finish(None)
        return
    try:
        chunk = parsed(data) if data else None
    except ValueError:
        chunk = {"error": data if raw.event == "error" else f"an event that is no JSON: {data}"}
    if raw.event == "error" and isinstance(chunk, dict) and not chunk.get("error"):
        chunk = {"error": chunk}
    if raw.event in {"x_metrics", "metrics", "usage"} and isinstance(chunk, dict) and raw.event not in chunk:
        chunk = {raw.event: chunk}
    yield from reader.chunk(chunk)


def parsed(data: str | bytes) -> Any:
    """JSON in Python's types; NaN, Infinity and 1e999, which could not be written as JSON again, become null."""
    try:
        return json.loads(data, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


class _Reader:
    """Reads chunk after chunk; holds only what a chunk may have left open: a tag, or half a character."""

    def __init__(self) -> None:
        self.finished = False
        self.failed = False
        self._answer = Sorter()
        self._reasoning = Pieces()

    def chunk(self, chunk: Any) -> Iterator[Event]:
        if not isinstance(chunk, dict):
            return
        choice = _first_choice(chunk)
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
