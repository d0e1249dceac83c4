"""What to send instead after an error: the same request without what the endpoint refused. Pure; loaded only then."""

import re
from dataclasses import replace

from ..client.request import Request, build_parameters, choose_response_format
from ..errors import AuthError, EndpointError, NetworkError

#: Body fields that an endpoint may refuse and a request can do without.
_DROPPABLE_FIELDS = frozenset({"stream_options", "max_tokens", "temperature", "top_p"})
_UNSUPPORTED_PATTERN = "support|unknown|unrecogni|unexpected|permitted|extra|deprecated|cannot both"
_OUT_OF_RANGE_PATTERN = "between|range|at most|at least|less than|greater than|too (large|small|long)"
#: How messages that refuse a response format refer to it.
_JSON_FORMAT_PATTERN = (
    r"response[_ ]?(format|schema)|json[_ ]?(schema|object|mode)|structured[_ ]?outputs?|guided|grammar"
    r"|constrained decoding"
)
#: Messages that give no reason. The response format is the unusual part of a request, so it is the likely one.
_UNSPECIFIC_PATTERN = (
    r"(?s)^.*\(HTTP (400|422|501)\)(: (bad request|(invalid|unsupported)( request| parameter| field)?|unprocessable( entity)?"
    r"|unprocessable content|not (supported|implemented)|\{\}))?\.?\Z"
)


def find_fallback(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request to send instead, and a warning about the change; ``None`` if no change helps.

    Each change is made only once. Fields that the user set with ``-O`` stay.
    """
    return next((fallback for rule in _FALLBACKS if (fallback := rule(request, error)) is not None), None)


def _drop_refused_format(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request with the next kind of ``response_format``, or without one, if the server refused this one.

    The status does not matter: llama.cpp answers 500 if it cannot turn a schema into a grammar.
    """
    sent = choose_response_format(request)
    is_refused = _matches(_JSON_FORMAT_PATTERN, error.message) or _matches(_UNSPECIFIC_PATTERN, error.message)
    if sent is None or not is_refused or isinstance(error, AuthError | NetworkError) or error.status == 429:
        return None
    request = replace(request, dropped=request.dropped | {sent["type"]})
    fallback = choose_response_format(request)
    instead = fallback["type"] if fallback else "only the prompt"
    return request, f"the endpoint refused {sent['type']}, so {instead} asks for JSON"


def _drop_refused_field(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request without the field that the server refused, or with another name for it."""
    if error.status not in {400, 422}:
        return None
    refused = {name for name in _DROPPABLE_FIELDS if re.search(rf"\b{name}\b", error.message)} - request.dropped
    # A value out of range is for the user to correct, except that of stream_options, which is ours.
    if not _matches(_UNSUPPORTED_PATTERN, error.message) or _matches(_OUT_OF_RANGE_PATTERN, error.message):
        refused &= {"stream_options"}
    if "max_tokens" in refused & build_parameters(request).keys() and "max_completion_tokens" in error.message:
        warning = "the endpoint refused max_tokens, so max_completion_tokens was sent"
        return replace(request, dropped=request.dropped | {"max_tokens"}), warning
    # Some models accept either top_p or temperature but not both, so temperature is dropped last.
    for name in ("stream_options", "top_p", "temperature"):
        if name in refused and name in build_parameters(request):
            warning = f"the endpoint refused {name}, so it was dropped"
            return replace(request, dropped=request.dropped | {name}), warning
    return None


def _matches(pattern: str, message: str) -> bool:
    return re.search(pattern, message, re.IGNORECASE) is not None


#: In the order in which they are tried.
_FALLBACKS = (_drop_refused_format, _drop_refused_field)
