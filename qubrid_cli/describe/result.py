"""How an answer ended: come to its end, or cut, and by what. Pure."""

# MERGED DOCSTRING of qubrid_cli.progress: What happens on the way to an answer, for whoever watches. Data only.

import threading
from dataclasses import field
from typing import Any

from ..errors import EndpointError, IncompleteAnswerError, QvisionError
from ..frozen import frozen
from ..images.prepare import PreparedImageOrLink
from ..metrics import Cost, Timing


@frozen
class UnpreparedImage:
    """An image that could not be prepared, or was not needed any more."""

    name: str


@frozen
class Description:
    """A finished request: the answer or what there is of it, and what became of everything.

    Attributes:
        prompt: as it was sent; ``None`` where it did not come to that, as with ``model`` and ``requested_model``.
        model: what the server says it was, else what was asked for.
        images: all that were named, in order.
        complete: the model came to its end.
        usage: as the server sent it, as ``metrics``, which is ``x_metrics`` or what it has in place of it.
        cost: ``None`` without a price of the user's, or without a usage.
        error: why it is no success, else ``None``.
        data: the value in the text, where it had to fit a schema and does.
        refused_parameters: what the endpoint does not take, as ``chat.Request.without``.
        first_answer: the answer that did not fit and that this one was to put right, where that came to nothing.
    """

    prompt: str | None = None
    model: str | None = None
    requested_model: str | None = None
    images: tuple[PreparedImageOrLink | UnpreparedImage, ...] = ()
    text: str = ""
    reasoning: str | None = None
    complete: bool = False
    finish_reason: str | None = None
    id: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    timing: Timing = field(default_factory=Timing)
    cost: Cost | None = None
    warnings: tuple[str, ...] = ()
    error: QvisionError | None = None
    data: Any = None
    refused_parameters: frozenset[str] = frozenset()
    first_answer: "Description | None" = None

    @property
    def has_answer(self) -> bool:
        """Whether anything of an answer came, so that there is something to count."""
        return bool(self.text or self.reasoning or self.complete)


@frozen
class Preparing:
    """An image is being prepared."""

    name: str


@frozen
class Sending:
    """The request goes out: ``size`` bytes to ``url``. ``sent`` is set once they are all on their way."""

    url: str
    size: int
    sent: threading.Event


@frozen
class Receiving:
    """The endpoint accepted the request; ``seconds`` from sending to its headers."""

    status: int
    request_id: str | None
    seconds: float


@frozen
class Writing:
    """The answer is being written, and not shown before it is whole."""


@frozen
class Repairing:
    """The answer did not fit the schema; it is asked for once more. ``problem`` is the first thing that is wrong with it."""

    problem: str


#: Reasons to finish that mean the answer was cut, as OpenAI, Anthropic, Google, vLLM and OpenRouter spell them. A
#: reason that is not here counts as an end: servers have many words for that.
_CUT_REASONS = {
    "length": "it reached the limit of tokens",
    "max_tokens": "it reached the limit of tokens",
    "model_context_window_exceeded": "it filled the model's context",
    "insufficient_system_resource": "the endpoint ran out of resources",
    "recitation": "the endpoint's content filter stopped it",
    "content_filter": "the endpoint's content filter stopped it",
    "safety": "the endpoint's content filter stopped it",
    "error": "the endpoint stopped with an error",
    "abort": "the endpoint aborted it",
    "cancelled": "the endpoint aborted it",
}
_REASON_HINTS = {"length": "Raise --max-tokens.", "max_tokens": "Raise --max-tokens."}
_PARTIAL_ANSWER_HINT = "What arrived is kept; ask again for the whole answer."


def error_for_finish_reason(reason: str | None, *, announced: bool) -> IncompleteAnswerError | None:
    """What is wrong with the end of an answer, if anything is.

    Args:
        reason: the server's ``finish_reason``.
        announced: there was one, or ``[DONE]``. An end that nobody announced is a cut: servers that fail in the middle
            of an answer often just stop.
    """
    if not announced:
        return IncompleteAnswerError(
            "the answer is incomplete: the connection ended before it did", hint=_PARTIAL_ANSWER_HINT, code="cut_off"
        )
    word = (reason or "").lower()
    if word not in _CUT_REASONS:
        return None
    return IncompleteAnswerError(
        f"the answer is incomplete: {_CUT_REASONS[word]}",
        hint=_REASON_HINTS.get(word, _PARTIAL_ANSWER_HINT),
        code=reason,
    )


def incomplete_because(cause: EndpointError) -> IncompleteAnswerError:
    """An answer that had begun when the endpoint failed."""
    return IncompleteAnswerError(
        f"the answer is incomplete: {cause.message}",
        hint=_PARTIAL_ANSWER_HINT,
        code=cause.code,
        status=cause.status,
        request_id=cause.request_id,
        cause=cause,
    )
