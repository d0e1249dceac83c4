"""The OpenAI dialect of chat completions: the body that goes out, the events that come in. Pure: no network, no clock.

Source: OpenAI API reference, "Create chat completion" and its streaming object; Qubrid's documentation for
``x_metrics``. Servers differ a good deal, so everything that comes in is read tolerantly.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from .deltas import Pieces, Reasoning, Sorter, Text
from .errors import EndpointError
from .sse import ServerSentEvent

#: Body fields that have an option of their own, or none because they are what the program makes.
RESERVED = frozenset({"model", "messages", "max_tokens", "temperature", "top_p", "stream"})


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a request: a ``data:`` or web URL, and the text part that names it, if any."""

    url: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question about some images; ``extra`` holds further body fields, which win over ours."""

    model: str
    prompt: str
    pictures: tuple[Picture, ...]
    max_tokens: int
    temperature: float
    top_p: float
    system: str | None = None
    stream: bool = True
    #: Ask for ``usage`` in the stream; OpenAI's own name for that is ``stream_options``.
    stream_usage: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)


def body(request: Request) -> bytes:
    """The JSON body of a request.

    The data URLs are spliced in between the dumped pieces: they need no escaping, and ``json.dumps`` would take
    30 ms over the 1.5 MB that it takes 5 ms to copy.
    """
    parts = [_text_part(request.prompt)]
    for picture in request.pictures:
        if picture.label:
            parts.append(_text_part(picture.label))
        parts.append(b'{"type":"image_url","image_url":{"url":' + _quoted(picture.url) + b"}}")
    messages = [b'{"role":"user","content":[' + b",".join(parts) + b"]}"]
    if request.system:
        messages.insert(0, _dumped({"role": "system", "content": request.system}))
    rest: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": request.stream,
    }
    if request.stream and request.stream_usage:
        rest["stream_options"] = {"include_usage": True}
    rest |= request.extra
    head = b'{"model":' + _dumped(request.model) + b',"messages":['
    return head + b",".join(messages) + b"]," + _dumped(rest)[1:]


def _text_part(text: str) -> bytes:
    return _dumped({"type": "text", "text": text})


def _quoted(url: str) -> bytes:
    return b'"' + url.encode() + b'"' if url.startswith("data:") else _dumped(url)


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


def simpler(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request without what the server refused, and the warning that says so; ``None`` where that is no way out."""
    is_ours = request.stream and request.stream_usage and "stream_options" not in request.extra
    if is_ours and error.status in {400, 422} and "stream_options" in error.message:
        return replace(request, stream_usage=False), "the endpoint refused stream_options, so it was left out"
    return None


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
