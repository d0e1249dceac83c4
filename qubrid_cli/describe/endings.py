"""What counts as an answer: the errors for answers that were cut off, refused, or have no text."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..client.events import CutOff, Finish, find_cut_off
from ..errors import EmptyAnswerError, EndpointError, IncompleteAnswerError, RefusedAnswerError
from ..metrics import get_number
from ..text import escape_control_characters, is_blank, shorten

_PARTIAL_ANSWER_HINT = "Repeat the request for the whole answer; the partial one is kept."
_MORE_TOKENS_HINT = "Raise --max-tokens."
_REASONING_HINT = "Raise --max-tokens, or turn reasoning off with --think off."
_EMPTY_HINT = "Try again. Some servers answer with nothing if the images fill the context: lower --max-pixels."
_REFUSAL_HINT = "Try another prompt, image or model."
_TOOL_HINT = "Leave out tools and tool_choice, or forbid their use with -O tool_choice=none."
#: Characters of a refusal that a message quotes.
_MAX_QUOTED_LENGTH = 200


def has_reached_token_limit(reason: str | None) -> bool:
    """Whether an answer with this ``finish_reason`` would be longer with more tokens."""
    return find_cut_off(reason) is CutOff.TOKENS


def error_for_answer(
    text: str,
    reasoning: str,
    *,
    finish: Finish | None,
    is_refused: bool,
    tools: Sequence[str],
    usage: Mapping[str, Any] | None,
) -> IncompleteAnswerError | None:
    """Return the error for an answer that is refused, incomplete or empty, else ``None``.

    Args:
        finish: the end that the server sent; ``None`` if it sent none.
        is_refused: the server marks the text as a refusal.
        tools: the functions that the model called.
    """
    reason = finish.reason if finish else None
    cut_off = find_cut_off(reason)
    has_text = not is_blank(text)
    is_filtered = cut_off is CutOff.FILTER and not has_text
    if is_refused or is_filtered or cut_off is CutOff.REFUSAL:
        return _refusal_error(text, by_filter=is_filtered)
    # An answer without text that ran out of tokens is not cut off, but empty: the reasoning used them.
    is_out_of_tokens = cut_off in {CutOff.TOKENS, CutOff.CONTEXT}
    if finish is None or (cut_off is not None and (has_text or not is_out_of_tokens)):
        return error_for_finish_reason(reason, has_ended=finish is not None)
    return None if has_text else _empty_error(text, reasoning, reason, tools, usage)


def error_for_finish_reason(reason: str | None, *, has_ended: bool) -> IncompleteAnswerError | None:
    """Return the error if an answer was cut off, else ``None``.

    Args:
        reason: the server's ``finish_reason``.
        has_ended: whether the server sent a reason or ``[DONE]``. Without either the answer counts as cut off, because
            servers that fail during an answer often just close the connection.
    """
    if not has_ended:
        return IncompleteAnswerError(
            "the answer is incomplete: the connection was closed too early", hint=_PARTIAL_ANSWER_HINT, code="cut_off"
        )
    cut_off = find_cut_off(reason)
    if cut_off is None:
        return None
    return IncompleteAnswerError(
        f"the answer is incomplete: {cut_off.value}",
        hint=_MORE_TOKENS_HINT if cut_off is CutOff.TOKENS else _PARTIAL_ANSWER_HINT,
        code=reason,
    )


def build_incomplete_error(cause: EndpointError) -> IncompleteAnswerError:
    """Return the error for an endpoint that failed during its answer."""
    return IncompleteAnswerError(
        f"the answer is incomplete: {cause.message}",
        hint=_PARTIAL_ANSWER_HINT,
        code=cause.code,
        status=cause.status,
        request_id=cause.request_id,
        cause=cause,
    )


def _refusal_error(text: str, *, by_filter: bool) -> RefusedAnswerError:
    if by_filter:
        return RefusedAnswerError("the endpoint's content filter refused the answer", hint=_REFUSAL_HINT)
    quoted = shorten(" ".join(text.split()), _MAX_QUOTED_LENGTH)
    return RefusedAnswerError("the model refused" + (f": {quoted}" if quoted else ""), hint=_REFUSAL_HINT)


def _empty_error(
    text: str, reasoning: str, reason: str | None, tools: Sequence[str], usage: Mapping[str, Any] | None
) -> EmptyAnswerError:
    ended = f', and ended with "{escape_control_characters(reason)[:40]}"' if reason else ""
    has_spent_tokens = find_cut_off(reason) is not None  # then the same request would spend them again
    if tools:
        names = ", ".join(dict.fromkeys(map(escape_control_characters, tools)))[:_MAX_QUOTED_LENGTH]
        return EmptyAnswerError(f"the model called a function instead of answering: {names}", hint=_TOOL_HINT)
    if not is_blank(reasoning):
        size = _format_reasoning_size(reasoning, usage)
        message = f"the model sent only reasoning ({size}){ended}"
        return EmptyAnswerError(message, hint=_REASONING_HINT, is_temporary=not has_spent_tokens)
    content = "only whitespace" if text else "an answer without text"
    hint = _REASONING_HINT if has_spent_tokens else _EMPTY_HINT
    return EmptyAnswerError(f"the model sent {content}{ended}", hint=hint, is_temporary=not has_spent_tokens)


def _format_reasoning_size(reasoning: str, usage: Mapping[str, Any] | None) -> str:
    details = (usage or {}).get("completion_tokens_details")
    tokens = get_number(details if isinstance(details, dict) else None, "reasoning_tokens")
    tokens = tokens or get_number(usage, "completion_tokens")
    return f"{tokens:,.0f} tokens" if tokens else f"{len(reasoning):,} characters"
