"""The request to send after an error: the same one without the part that was refused, or with a limit that fits.

Pure; loaded only after an error.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from ..client.request import UNSTREAMED, Request, build_parameters, choose_response_format
from ..errors import AuthError, ContextOverflow, EndpointError, NetworkError, QvisionError
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..images.tokens import CHARACTERS_PER_TOKEN
from .result import UnpreparedImage

#: Body fields that an endpoint may refuse and a request can do without.
_DROPPABLE_FIELDS = frozenset({"stream_options", "max_tokens", "temperature", "top_p", "frequency_penalty"})
#: Codes of errors that a lower ``max_tokens`` may avoid.
_OVERFLOW_CODES = frozenset({"context_length_exceeded", "max_tokens_too_large"})
#: A shorter answer would be useless.
_MIN_ANSWER_TOKENS = 16
#: Qwen3-VL's own minimum. Models enlarge images that have fewer pixels, so smaller images do not save tokens.
_MIN_PIXELS = 65_536
_UNSUPPORTED_PATTERN = "support|unknown|unrecogni|unexpected|permitted|extra|deprecated|cannot both"
_OUT_OF_RANGE_PATTERN = "between|range|at most|at least|less than|greater than|too (large|small|long)"
#: Other words about a field or a value that is refused.
_INVALID_PATTERN = (
    "invalid|not (allowed|valid|available|found)|cannot|can't|must|should be|mandatory|disabled|only works"
)
#: How messages refer to thinking without the name of the field, and to one value of a field that exists.
_THINKING_PATTERN = r"\b(enable_)?thinking\b|\breasoning\b"
_VALUE_PATTERN = r"\bvalues?\b|support '|one of|input should be|mandatory|disabled|only works"
_REFUSAL_STATUSES = frozenset({400, 404, 422, 501})
#: How messages that refuse a response format refer to it.
_JSON_FORMAT_PATTERN = (
    r"response[_ ]?(format|schema)|json[_ ]?(schema|object|mode)|structured[_ ]?outputs?|guided|grammar"
    r"|constrained decoding"
)
#: Messages that give no reason. The response format is the most unusual part of a request, so it is the likely reason.
_UNSPECIFIC_PATTERN = (
    r"(?s)^.*\(HTTP (400|422|501)\)(: (bad request|(invalid|unsupported)( request| parameter| field)?|unprocessable( entity)?"
    r"|unprocessable content|not (supported|implemented)|\{\}))?\.?\Z"
)


def find_fallback(
    request: Request, error: EndpointError, *, earlier_overflow: ContextOverflow | None = None
) -> tuple[Request, str] | None:
    """The changed request to send next, and a warning about the change; ``None`` if no change helps.

    Each change is made only once. Fields that the user set with ``-O`` stay.

    Args:
        earlier_overflow: the overflow because of which ``max_tokens`` was already lowered, if it was.
    """
    if error.code in _OVERFLOW_CODES:
        return _lower_max_tokens(request, error.context or ContextOverflow(), earlier_overflow)
    return next((fallback for rule in _FALLBACKS if (fallback := rule(request, error)) is not None), None)


def _lower_max_tokens(
    request: Request, overflow: ContextOverflow, earlier_overflow: ContextOverflow | None
) -> tuple[Request, str] | None:
    """The request with a ``max_tokens`` that fits, or without one if the server's numbers do not say how many fit.

    Without one, servers allow the rest of the context. That is less than the number they refused, so the answer cannot
    become longer, or cost more, than the user allowed.
    """
    if request.max_tokens is None:
        return None
    room = _compute_room(overflow)
    if room is not None and room < _choose_min_answer(request, overflow):
        return None
    if room is None or room >= request.max_tokens or earlier_overflow is not None:
        warning = f"max_tokens {request.max_tokens} does not fit into the model's context, so it was dropped"
        return replace(request, max_tokens=None), warning
    limit = "the endpoint's limit for answers" if room == overflow.max_output_tokens else "the model's context"
    warning = f"max_tokens was lowered from {request.max_tokens} to {room}, which fits {limit}"
    return replace(request, max_tokens=room), warning


def _choose_min_answer(request: Request, overflow: ContextOverflow) -> int:
    """The tokens that an answer needs; more in a conversation, because its oldest messages can be left out instead."""
    if not request.history or overflow.max_output_tokens is not None:
        return _MIN_ANSWER_TOKENS
    return min(request.max_tokens or overflow.usual_answer_tokens, overflow.usual_answer_tokens)


def _compute_room(overflow: ContextOverflow) -> int | None:
    """The tokens of an answer that fit, negative if the prompt is too long; ``None`` if the numbers do not say."""
    tokens_left = overflow.tokens_left if overflow.is_prompt_exact or (overflow.tokens_left or 0) <= 0 else None
    return min((limit for limit in (tokens_left, overflow.max_output_tokens) if limit is not None), default=None)


def suggest_max_pixels(
    error: EndpointError, request: Request, images: Sequence[PreparedImageOrLink | UnpreparedImage]
) -> EndpointError:
    """The error with a hint that names a ``--max-pixels`` with which the images would fit, if it can be computed."""
    overflow = error.context
    if overflow is None or overflow.context_size is None or overflow.prompt_tokens is None:
        return error
    if (_compute_room(overflow) or 0) >= _MIN_ANSWER_TOKENS or not overflow.is_prompt_exact:
        return error
    uploads = [upload for image in images if isinstance(image, PreparedImage) for upload in image.uploads]
    if not uploads or not all(isinstance(image, PreparedImage) for image in images):
        return error
    text_tokens = len(request.prompt + (request.system or "")) / CHARACTERS_PER_TOKEN
    room = overflow.context_size - overflow.usual_answer_tokens - text_tokens
    share = room / max(1, overflow.prompt_tokens - text_tokens)
    # If no image has more pixels than the mean, all together have no more than before, whatever their sizes.
    pixels = share * sum(upload.width * upload.height for upload in uploads) / len(uploads)
    tokens_left = overflow.context_size - overflow.prompt_tokens
    problem = f"leave {tokens_left} tokens for the answer"
    if tokens_left <= 0:
        problem = f"exceed the model's context by {-tokens_left:,} tokens"
    if pixels < _MIN_PIXELS:
        advice = "Send fewer images in one request." if len(uploads) > 1 else "Choose a model with a larger context."
    else:
        advice = f"Send smaller images with: --max-pixels {_round_down(pixels)}"
    return error.with_message(error.message, hint=f"The prompt and the images {problem}. {advice}")


def _round_down(value: float) -> int:
    """Round down to two digits, which are easier to read and to type."""
    digits = str(int(value))
    return int(digits[:2].ljust(len(digits), "0"))


def correct_hint(error: QvisionError, overflow: ContextOverflow) -> QvisionError:
    """Correct the hint for an answer that was cut off at a lowered limit: a higher limit is not possible."""
    if "--max-tokens" not in (error.hint or ""):
        return error
    hint = "The model's context is full. Send smaller images with --max-pixels."
    if overflow.max_output_tokens is not None:
        hint = "The endpoint does not allow longer answers. Ask for less in one request."
    if "--think" in (error.hint or ""):
        hint += " Or turn reasoning off with --think off."
    return error.with_message(error.message, hint=hint)


def _request_stream(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request for a streamed answer, if the endpoint only streams."""
    if error.code != "stream_required" or request.is_streamed:
        return None
    warning = "the endpoint only streams its answers, so a stream was requested"
    return replace(request, dropped=request.dropped | {UNSTREAMED}), warning


def _drop_refused_format(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request with the next kind of ``response_format``, or without one, if the server refused this one.

    The status does not matter: llama.cpp answers 500 if it cannot turn a schema into a grammar.
    """
    refused = choose_response_format(request)
    is_refused = _matches(_JSON_FORMAT_PATTERN, _get_reason(error)) or _is_unspecific(error)
    if refused is None or not is_refused or isinstance(error, AuthError | NetworkError) or error.status == 429:
        return None
    request = replace(request, dropped=request.dropped | {refused["type"]})
    fallback = choose_response_format(request)
    consequence = f"{fallback['type']} was sent instead" if fallback else "only the prompt asks for JSON"
    return request, f"the endpoint refused {refused['type']}, so {consequence}"


def _drop_refused_field(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request without the field that the server refused, or with another name for it."""
    if error.status not in {400, 422}:
        return None
    refused = {name for name in _DROPPABLE_FIELDS if re.search(rf"\b{name}\b", _get_reason(error))} - request.dropped
    # The user must correct a value that is out of range, except that of stream_options, which we set.
    if not _matches(_UNSUPPORTED_PATTERN, _get_reason(error)) or _matches(_OUT_OF_RANGE_PATTERN, _get_reason(error)):
        refused &= {"stream_options"}
    if "max_tokens" in refused & build_parameters(request).keys() and "max_completion_tokens" in _get_reason(error):
        warning = "the endpoint refused max_tokens, so max_completion_tokens was sent"
        return replace(request, dropped=request.dropped | {"max_tokens"}), warning
    # Some models accept either top_p or temperature but not both, so temperature is dropped last.
    for name in ("stream_options", "frequency_penalty", "top_p", "temperature"):
        if name in refused and name in build_parameters(request):
            warning = f"the endpoint refused {name}, so it was dropped"
            return replace(request, dropped=request.dropped | {name}), warning
    return None


def _drop_refused_thinking(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request with the next spelling of ``--think``, or without one, if the server refused this one.

    After a refused value of ``reasoning_effort`` comes the next value for the same level; after a refused field, the next
    field.
    """
    if request.thinking is None or error.status not in _REFUSAL_STATUSES or error.is_fatal:
        return None
    from ..client.thinking import find_spelling

    spelling = find_spelling(request.thinking, request.model, request.dropped)
    if spelling is None:
        return None
    is_named = _matches(rf"\b{spelling.field}\b|{_THINKING_PATTERN}", _get_reason(error))
    is_refused = is_named and _matches(f"{_UNSUPPORTED_PATTERN}|{_INVALID_PATTERN}", _get_reason(error))
    if not (is_refused or _is_unspecific(error)):
        return None
    name = spelling.name if _matches(_VALUE_PATTERN, _get_reason(error)) else spelling.field
    return replace(request, dropped=request.dropped | {name}), f"the endpoint refused {spelling}"


def _drop_refused_detail(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request without the ``detail`` of its images, if the server refused it."""
    is_sent = request.detail is not None and "detail" not in request.dropped and not error.is_fatal
    if not is_sent or error.status not in _REFUSAL_STATUSES or not _matches(r"\bdetail\b", _get_reason(error)):
        return None
    if not _matches(f"{_UNSUPPORTED_PATTERN}|{_INVALID_PATTERN}", _get_reason(error)):
        return None
    return replace(request, dropped=request.dropped | {"detail"}), "the endpoint refused detail, so it was dropped"


def _get_reason(error: EndpointError) -> str:
    """The name of the field that the server refused, if it named one, and its own words, which are not shortened."""
    return f"{error.param or ''} {error.reason or error.message}"


def _is_unspecific(error: EndpointError) -> bool:
    """Whether the server gave no reason."""
    return error.param is None and _matches(_UNSPECIFIC_PATTERN, error.message)


def _matches(pattern: str, message: str) -> bool:
    return re.search(pattern, message, re.IGNORECASE) is not None


#: In the order in which they are tried.
_FALLBACKS = (
    _request_stream,
    _drop_refused_format,
    _drop_refused_field,
    _drop_refused_detail,
    _drop_refused_thinking,
)
