"""The events of an answer, the same for all servers; what its ``finish_reason`` means; and the parser for servers' JSON.

Sources for the words of a ``finish_reason``: the API references of OpenAI, Anthropic (``stop_reason``), Google
(``FinishReason``), Mistral, DeepSeek, Zhipu, Amazon Bedrock and OpenRouter; vLLM, SGLang and llama.cpp.
"""

import enum
import json
import re
from math import isfinite
from typing import Any

from ..frozen import frozen

#: Words for an answer that has not ended yet.
_UNFINISHED = frozenset({"null", "none", "unspecified", "inprogress", "notfinished", "running", "generating"})
#: The prefix that Google's and other libraries put before the word itself.
_PREFIX = re.compile(r"(finish|stop)_?reason[._: ]*(?=.)", re.IGNORECASE)


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
    """All text so far was reasoning: the closing tag has arrived, but no opening tag was sent."""


@frozen
class Refusal:
    """The model declines; its reason is the text."""


@frozen
class ToolCall:
    """The model calls the function with this name."""

    name: str


@frozen
class ChunkInfo:
    """The values of a chunk besides its text; ``None`` for those that are missing.

    The objects are as the server sent them. ``metrics`` is ``x_metrics`` (Qubrid), else ``metrics`` (Qubrid's older
    address, vLLM) or ``timings`` (llama.cpp). ``cost`` has any type; most providers put it into ``usage`` instead.
    """

    id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    cost: Any = None

    def to_dict(self) -> dict[str, Any]:
        """The values that are not ``None``, by name."""
        values = {name: getattr(self, name) for name in ("id", "model", "usage", "metrics", "cost")}
        return {name: value for name, value in values.items() if value is not None}


@frozen
class Finish:
    """The end of the answer: the server's ``finish_reason``, or ``None`` for ``[DONE]`` alone.

    More text and another end may follow, because some servers put a reason on every chunk.
    """

    reason: str | None


@frozen
class TokenProbabilities:
    """For each of the first tokens of the answer, its probability and those of some alternatives to it."""

    positions: tuple[dict[str, float], ...]


@frozen
class Probability:
    """The answer of a decision endpoint: the probability that the prompt is true of the images, from 0 to 1."""

    value: float


@frozen
class ErrorEvent:
    """An error inside the answer: the whole chunk that reports it, in any shape."""

    payload: object


Event = (
    TextDelta
    | ReasoningDelta
    | TextWasReasoning
    | Refusal
    | ToolCall
    | ChunkInfo
    | Finish
    | TokenProbabilities
    | Probability
    | ErrorEvent
)


class CutOff(enum.Enum):
    """Why an answer was cut off, as a clause for messages."""

    TOKENS = "it reached the limit of tokens"
    CONTEXT = "it filled the model's context"
    TIME = "it reached the endpoint's time limit"
    FILTER = "the endpoint's content filter stopped it"
    REFUSAL = "the model refused"
    REPETITION = "the endpoint stopped it, because it repeated itself"
    RESOURCES = "the endpoint ran out of resources"
    ABORT = "the endpoint aborted it"
    ERROR = "the endpoint stopped with an error"


#: By parts of the word, in lower case and without punctuation; the first that matches is used. Any other word is an
#: ordinary end.
_CUT_OFF_PATTERNS = (
    ("refus", CutOff.REFUSAL),
    ("filter|safety|recitation|sensitive|blocklist|blocked|prohibited|guardrail|spii|moderat|policy", CutOff.FILTER),
    ("repetit", CutOff.REPETITION),
    ("context|modellength", CutOff.CONTEXT),
    ("timeout|timedout|timelimit|maxtime|deadline", CutOff.TIME),
    ("length|max.*token|token.*limit|limit.*token|outofbudget|truncat", CutOff.TOKENS),
    ("resource|outofmemory|overload|capacity|preempt|evict", CutOff.RESOURCES),
    ("abort|cancel|interrupt|incomplete|disconnect|shutdown", CutOff.ABORT),
    ("error|fail|exception|malformed", CutOff.ERROR),
)


def read_finish_reason(value: Any) -> str | None:
    """The reason that a choice holds, as the server wrote it; ``None`` while the answer goes on.

    TGI puts it into an object; some servers send the number of an enumeration.
    """
    if isinstance(value, dict):
        value = value.get("type") or value.get("reason")
    if isinstance(value, int) and not isinstance(value, bool) and value:
        return str(value)
    return value if isinstance(value, str) and value.strip() and _squash(value) not in _UNFINISHED else None


def find_cut_off(reason: str | None) -> CutOff | None:
    """Why the answer was cut off; ``None`` for an ordinary end."""
    if reason in {None, "stop"}:  # nearly always; then the patterns need not be compiled
        return None
    word = _squash(reason or "")
    return next((cut_off for pattern, cut_off in _CUT_OFF_PATTERNS if re.search(pattern, word)), None)


def _squash(reason: str) -> str:
    """The word in lower case, without punctuation: ``FinishReason.MAX_TOKENS`` becomes ``maxtokens``."""
    return re.sub("[^a-z0-9]", "", _PREFIX.sub("", reason).lower())


def parse_json(data: str | bytes) -> Any:
    """Parse JSON; NaN, Infinity and 1e999 become null, because they cannot be written as JSON again.

    Raises:
        ValueError: the data is not valid JSON, or nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        may_be_fast = len(text) > _LONG_LENGTH and not re.search(_LARGE_NUMBER, text)
        return (_FAST_DECODER if may_be_fast else _DECODER).decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _parse_float(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


#: Made once: ``json.loads`` would make one per call, which takes half of its time for a small chunk.
_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_parse_float)
#: For text without large numbers. It parses numbers ten times as fast, which matters if a server sends megabytes of them.
_FAST_DECODER = json.JSONDecoder(parse_constant=lambda _: None)
#: Characters from which a text is searched for large numbers, so that the faster decoder can be used.
_LONG_LENGTH = 100_000
#: Part of every number that is too large for a float (1.8e308): an exponent of three digits, or 200 digits in a row.
_LARGE_NUMBER = r"[eE]\+?[0-9]{3}|(?<![0-9])[0-9]{200}"
