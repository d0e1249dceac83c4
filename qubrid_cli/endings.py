"""How an answer ended: come to its end, or cut, and by what. Pure."""

from .errors import EndpointError, IncompleteError

#: Reasons to finish that mean the answer was cut, as OpenAI, Anthropic, Google, vLLM and OpenRouter spell them. A
#: reason that is not here counts as an end: servers have many words for that.
_CUT = {
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
_HINTS = {"length": "Raise --max-tokens.", "max_tokens": "Raise --max-tokens."}
_KEPT = "What arrived is kept; ask again for the whole answer."


def cut(reason: str | None, *, announced: bool) -> IncompleteError | None:
    """What is wrong with the end of an answer, if anything is.

    Args:
        reason: the server's ``finish_reason``.
        announced: there was one, or ``[DONE]``. An end that nobody announced is a cut: servers that fail in the middle
            of an answer often just stop.
    """
    if not announced:
        return IncompleteError(
            "the answer is incomplete: the connection ended before it did", hint=_KEPT, code="cut_off"
        )
    word = (reason or "").lower()
    if word not in _CUT:
        return None
    return IncompleteError(f"the answer is incomplete: {_CUT[word]}", hint=_HINTS.get(word, _KEPT), code=reason)


def broken(cause: EndpointError) -> IncompleteError:
    """An answer that had begun when the endpoint failed."""
    error = IncompleteError(
        f"the answer is incomplete: {cause.message}",
        hint=_KEPT,
        code=cause.code,
        status=cause.status,
        request_id=cause.request_id,
    )
    error.__cause__ = cause
    return error
