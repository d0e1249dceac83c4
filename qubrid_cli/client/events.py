"""The events of an answer, whatever form its server gives it; and the JSON of servers, parsed."""

import json
from math import isfinite
from typing import Any

from ..frozen import frozen


@frozen
class TextDelta:
    """A piece of the answer, in valid Unicode."""

    text: str


@frozen
class ReasoningDelta:
    """A piece of the model's reasoning before the answer, in valid Unicode; empty while it is held back."""

    text: str


@frozen
class TextWasReasoning:
    """All text so far was reasoning: its closing tag has come, and the opening one was not sent."""


@frozen
class Refusal:
    """The model declines; its reason is the text."""


@frozen
class ToolCall:
    """The model calls a function, which has this name."""

    name: str


@frozen
class ChunkInfo:
    """What a chunk holds besides text; ``None`` for what is missing, objects as the server sent them.

    ``metrics`` is ``x_metrics`` (Qubrid), else ``metrics`` (Qubrid's older address, vLLM) or ``timings`` (llama.cpp).
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
    """The end of the answer: the server's ``finish_reason``, or ``None`` for ``[DONE]`` alone.

    Text may follow all the same, and another end: some servers put a reason on every chunk.
    """

    reason: str | None


@frozen
class ErrorEvent:
    """An error inside the answer: the whole chunk that reports it, in any shape."""

    payload: object


Event = TextDelta | ReasoningDelta | TextWasReasoning | Refusal | ToolCall | ChunkInfo | Finish | ErrorEvent


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
