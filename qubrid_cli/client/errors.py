"""Broken connections, HTTP statuses and error bodies become our errors. Pure; loaded only when a request fails.

Source: the error objects of OpenAI, vLLM, SGLang, FastAPI (``detail``), OpenRouter and Ollama.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import AuthError, ConnectionSetupError, EndpointError, NetworkError, UnreachableError
from ..frozen import frozen
from ..images.http_errors import Cause, HttpFailure

#: Characters of the server's message that are repeated; the rest of a stack trace or a web page does not help.
_MAX_MESSAGE_LENGTH = 400
#: Characters of a code or a request id.
_MAX_CODE_LENGTH = 200


def build_transport_error(failure: HttpFailure, message: str) -> EndpointError:
    """The error for a connection that failed; ``message`` is that of the failure, without secrets."""
    match failure.cause:
        case (
            Cause.CONNECT_TIMEOUT
            | Cause.TLS_CUT_OFF
            | Cause.UNKNOWN_HOST
            | Cause.CONNECTION_REFUSED
            | Cause.NO_CONNECTION
        ):
            return UnreachableError(message, hint=failure.hint)
        case Cause.NOT_HTTP | Cause.CONNECTION_BROKEN:
            return NetworkError(message, hint=failure.hint, is_temporary=True)
        case Cause.SEND_TIMEOUT | Cause.READ_TIMEOUT:
            return NetworkError(message, hint=failure.hint, code=failure.code)
        case Cause.UNREADABLE:
            return EndpointError(message, hint=failure.hint, code=failure.code)
        case _:  # a certificate, TLS, a proxy or a redirect
            return ConnectionSetupError(message, hint=failure.hint, code=failure.code)


@frozen
class ErrorResponse:
    """An error as a server reports it.

    Attributes:
        status: the HTTP status; 200 for an error inside a stream.
        codes: the code and the type, whichever the server sent, as text.
        has_key: the request carried a key.
        retry_after: seconds that the server asks to wait.
    """

    status: int
    host: str
    message: str
    codes: tuple[str, ...] = ()
    request_id: str | None = None
    has_key: bool = True
    retry_after: float | None = None

    @property
    def code(self) -> str | None:
        """The first code that is a word, else the first code."""
        return next((code for code in self.codes if not code.isdigit()), next(iter(self.codes), None))

    @property
    def searchable_text(self) -> str:
        """The codes and the message in lower case."""
        return " ".join((*self.codes, self.message)).lower()


def parse_error_body(
    body: object,
    *,
    status: int,
    host: str,
    request_id: str | None = None,
    has_key: bool = True,
    retry_after: float | None = None,
) -> ErrorResponse:
    """Read an error body of any shape: nested, flat, ``detail``, plain text.

    Args:
        body: the parsed JSON, or the text if it is not JSON.
        status: the HTTP status; if it is 200, a code in the body that looks like a status replaces it (OpenRouter).
    """
    if not isinstance(body, dict):
        return ErrorResponse(status, host, _format_message(body), (), request_id, has_key, retry_after)
    inner = body["error"] if isinstance(body.get("error"), dict) else body
    message = next((inner[name] for name in ("message", "detail", "msg", "error") if inner.get(name)), inner)
    codes = tuple(str(inner[name])[:_MAX_CODE_LENGTH] for name in ("code", "type") if inner.get(name))
    if isinstance(body_id := inner.get("request_id") or body.get("request_id"), str):
        request_id = body_id[:_MAX_CODE_LENGTH]
    if status == 200:
        status = next((int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)), status)
    return ErrorResponse(status, host, _format_message(message), codes, request_id, has_key, retry_after)


def _format_message(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.lstrip().startswith("<"):
        return "a web page instead of an error message"
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE_LENGTH else text[: _MAX_MESSAGE_LENGTH - 1] + "…"


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a server asks to wait: ``retry-after-ms`` (OpenAI, Azure), or ``Retry-After``.

    Args:
        headers: with case-insensitive names.
        now: the time that a date is compared with; by default the present.

    Source: RFC 9110, section 10.2.3: a number of seconds, or a date.
    """
    if (milliseconds := _parse_number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if (seconds := _parse_number(text)) is not None or text is None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())


def _parse_number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"[ \t]*[0-9]{1,18}(\.[0-9]{1,9})?[ \t]*", text) else None


@frozen
class _Rule:
    """Maps error responses to an error of ours. The first rule that matches is used."""

    matches: Callable[[ErrorResponse], bool]
    message: str
    hint: str
    error_class: type[EndpointError] = EndpointError
    code: str | None = None
    is_temporary: bool = False
    is_fatal: bool = False


def _mentions(*phrases: str) -> Callable[[ErrorResponse], bool]:
    return lambda response: any(phrase in response.searchable_text for phrase in phrases)


def _has_status(*statuses: int) -> Callable[[ErrorResponse], bool]:
    return lambda response: response.status in statuses


_mentions_overload = _mentions("rate_limit", "overloaded")
_mentions_moderation = _mentions("content_policy", "content policy", "moderation", "flagged", "safety")
_mentions_no_image_support = _mentions(
    "image input is not supported",
    "support image input",
    "support images",
    "not a multimodal",
    "no endpoints found that support",
)
_mentions_context_length = _mentions(
    "context_length", "context length", "context window", "maximum context", "too many tokens"
)
_mentions_unknown_model = _mentions("model_not_found", "invalid model", "unknown model", "no such model")

_RULES = (
    _Rule(
        lambda response: response.status == 402 or "insufficient_quota" in response.searchable_text,
        "has no credits left for this key",
        "Add credits to the account that the key belongs to.",
        code="insufficient_quota",
        is_fatal=True,
    ),
    _Rule(
        lambda response: response.status == 401 and not response.has_key,
        "requires a key",
        "Store one with: qvision auth login. It is sent only to this address.",
        AuthError,
    ),
    _Rule(
        lambda response: response.status == 401 or response.code == "invalid_api_key",
        "refused the key",
        "See which key is used with: qvision auth status; store another with: qvision auth login",
        AuthError,
    ),
    _Rule(
        lambda response: response.status == 429 or (response.status == 200 and _mentions_overload(response)),
        "received too many requests",
        "Wait a while, then try again.",
        is_temporary=True,
    ),
    _Rule(
        lambda response: response.status < 500 and _mentions_moderation(response),
        "declined the image or the prompt",
        "The endpoint's content rules apply; another image or prompt may pass.",
    ),
    _Rule(_has_status(403), "denied access", "Check what the key is allowed to do.", AuthError),
    _Rule(
        _mentions_no_image_support,
        "says that the model does not accept images",
        "Choose a vision model with -m, such as Qwen/Qwen3-VL-Plus.",
        is_fatal=True,
    ),
    _Rule(
        _mentions_context_length,
        "cannot fit the request into the model's context",
        "Lower --max-tokens, or send smaller images with --max-pixels.",
    ),
    _Rule(_has_status(413), "does not accept a request this large", "Send smaller images with --max-pixels."),
    _Rule(
        lambda response: (
            _mentions_unknown_model(response) or (response.status == 404 and "model" in response.searchable_text)
        ),
        "does not know the model",
        "Check its name, including capitals. To list the models: qvision models",
        is_fatal=True,
    ),
    _Rule(
        _has_status(404, 405),
        "has no chat completions at this address",
        "Check --base-url: it usually ends in /v1. To list the models: qvision models",
        is_fatal=True,
    ),
    _Rule(
        lambda response: response.status >= 500 or response.status in {408, 409, 425},
        "failed",
        "Try again in a moment.",
        is_temporary=True,
    ),
    _Rule(_has_status(200), "stopped with an error", "Try again."),
    _Rule(lambda _: True, "refused the request", "Check the options against what the model accepts."),
)


def build_error(response: ErrorResponse) -> EndpointError:
    """The error for an error response, with the server's own message and code."""
    rule = next(rule for rule in _RULES if rule.matches(response))
    status = "" if response.status == 200 else f" (HTTP {response.status})"
    details = f": {response.message}" if response.message else ""
    return rule.error_class(
        f"{response.host} {rule.message}{status}{details}",
        hint=rule.hint,
        code=rule.code or response.code,
        status=response.status,
        request_id=response.request_id,
        is_temporary=rule.is_temporary,
        retry_after=response.retry_after,
        is_fatal=rule.is_fatal,
    )
