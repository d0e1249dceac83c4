"""What a ``finish_reason`` means: servers have many words for the end of an answer, and for an answer that was cut off.

Sources: the API references of OpenAI, Anthropic (``stop_reason``), Google (``FinishReason``), Mistral, DeepSeek, Zhipu,
Amazon Bedrock and OpenRouter; vLLM, SGLang and llama.cpp.
"""

import enum
import re
from typing import Any

#: Words for an answer that has not ended yet.
_UNFINISHED = frozenset({"null", "none", "unspecified", "inprogress", "notfinished", "running", "generating"})
#: What Google's and other libraries put before the word itself.
_PREFIX = re.compile(r"(finish|stop)_?reason[._: ]*(?=.)", re.IGNORECASE)


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

    TGI puts it into an object; a number is one of an enumeration.
    """
    if isinstance(value, dict):
        value = value.get("type") or value.get("reason")
    if isinstance(value, int) and not isinstance(value, bool) and value:
        return str(value)
    return value if isinstance(value, str) and value.strip() and _squash(value) not in _UNFINISHED else None


def find_cut_off(reason: str | None) -> CutOff | None:
    """Why the answer was cut off; ``None`` for an ordinary end."""
    word = _squash(reason or "")
    return next((cut_off for pattern, cut_off in _CUT_OFF_PATTERNS if re.search(pattern, word)), None)


def _squash(reason: str) -> str:
    """The word in lower case, without punctuation: ``FinishReason.MAX_TOKENS`` becomes ``maxtokens``."""
    return re.sub("[^a-z0-9]", "", _PREFIX.sub("", reason).lower())
