"""What a server means when it refuses: any status and any shape of error body become one of our errors. Pure.

Source: the error objects of OpenAI, vLLM, SGLang, FastAPI (``detail``), OpenRouter and Ollama.
"""

import json
import re
import ssl
from collections.abc import Callable

from ..errors import AuthError, ConnectionSetupError, EndpointError, NetworkError
from ..frozen import frozen


def build_temporary_error(message: str, hint: str) -> NetworkError:
    return NetworkError(message, hint=hint, is_temporary=True)


#: OpenSSL's numbers for what is wrong with a certificate (x509_vfy.h), where something special can be done about it.
_CERTIFICATE_HINTS = {
    10: "It has expired; whoever runs the server must renew it.",
    62: "It is for another name: check the host in --base-url.",
    64: "It is for another address: check the host in --base-url.",
}


def find_tls_error(error: BaseException, host: str) -> ConnectionSetupError | None:
    """What failed while the connection was being secured; ``None`` where it was something else, or may pass."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectionSetupError(
            f"the certificate of {host} cannot be trusted: {cause.verify_message}",
            hint=_CERTIFICATE_HINTS.get(
                cause.verify_code, "For a server of your own, name its certificate authority's file in SSL_CERT_FILE."
            ),
            code="certificate",
        )
    if cause is not None and not isinstance(cause, ssl.SSLEOFError):
        return ConnectionSetupError(
            f"no secure connection to {host}: {cause.reason or cause}",
            hint="Perhaps it speaks plain http: check --base-url.",
            code="tls",
        )
    return None


#: Of a server's own words; the rest of a stack trace or a web page helps nobody.
_MAX_MESSAGE_LENGTH = 400
#: Of a code or a request id.
_MAX_CODE_LENGTH = 200


@frozen
class ErrorResponse:
    """An error as the server told it; ``codes`` are its code and its type, as far as it has them, as text."""

    status: int
    host: str
    message: str
    codes: tuple[str, ...] = ()
    request_id: str | None = None
    has_key: bool = True  #: one was sent
    retry_after: float | None = None

    @property
    def code(self) -> str | None:
        """The name that says most: a word rather than a number."""
        return next((name for name in self.codes if not name.isdigit()), next(iter(self.codes), None))

    @property
    def searchable_text(self) -> str:
        """All that it says, in small letters, to look for words in."""
        return " ".join((*self.codes, self.message)).lower()


def parse_error_body(payload: object, *, status: int, host: str, request_id: str | None = None) -> ErrorResponse:
    """Read an error in any shape: nested, flat, ``detail``, a bare text.

    Args:
        payload: the parsed body, or its text where it is no JSON.
        status: the HTTP status; 200 for an error inside a stream, whose own code may be one then (OpenRouter).
    """
    if not isinstance(payload, dict):
        return ErrorResponse(status, host, _format_message(payload), (), request_id)
    inner = payload["error"] if isinstance(payload.get("error"), dict) else payload
    said = next((inner[name] for name in ("message", "detail", "msg", "error") if inner.get(name)), inner)
    names = [str(inner[name])[:_MAX_CODE_LENGTH] for name in ("code", "type") if inner.get(name)]
    its_id = inner.get("request_id") or payload.get("request_id")
    if status == 200:
        status = next((int(name) for name in names if re.fullmatch("[45][0-9][0-9]", name)), status)
    return ErrorResponse(
        status,
        host,
        _format_message(said),
        tuple(names),
        its_id[:_MAX_CODE_LENGTH] if isinstance(its_id, str) else request_id,
    )


def _format_message(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.lstrip().startswith("<"):
        return "a web page instead of an error message"
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE_LENGTH else text[: _MAX_MESSAGE_LENGTH - 1] + "…"


@frozen
class _Rule:
    """A meaning: which refusals have it, and what is said of them. The first that fits is taken."""

    matches: Callable[[ErrorResponse], bool]
    message: str
    hint: str
    error_class: type[EndpointError] = EndpointError
    code: str | None = None
    is_temporary: bool = False
    is_fatal: bool = False


def _mentions(*phrases: str) -> Callable[[ErrorResponse], bool]:
    return lambda refusal: any(phrase in refusal.searchable_text for phrase in phrases)


def _has_status(*statuses: int) -> Callable[[ErrorResponse], bool]:
    return lambda refusal: refusal.status in statuses


_UNKNOWN_MODEL_PHRASES = ("model_not_found", "invalid model", "unknown model", "no such model")
_MODERATION_PHRASES = ("content_policy", "content policy", "moderation", "flagged", "safety")
_mentions_no_image_support = _mentions(
    *(
        "image input is not supported",
        "support image input",
        "support images",
        "not a multimodal",
        "no endpoints found that support",
    ),
)

_RULES = (
    _Rule(
        lambda refusal: refusal.status == 402 or "insufficient_quota" in refusal.searchable_text,
        "has no credits left for this key",
        "Add credits to the account that the key belongs to.",
        code="insufficient_quota",
        is_fatal=True,
    ),
    _Rule(
        lambda refusal: refusal.status == 401 and not refusal.has_key,
        "wants a key",
        "Store one with: qvision auth login; it goes to this address only.",
        AuthError,
    ),
    _Rule(
        lambda refusal: refusal.status == 401 or refusal.code == "invalid_api_key",
        "refused the key",
        "See which key that is with: qvision auth status; store another with: qvision auth login",
        AuthError,
    ),
    _Rule(
        lambda refusal: refusal.status == 200 and _mentions("rate_limit", "overloaded")(refusal),
        "is asked too often",
        "Wait a little, then try again.",
        is_temporary=True,
    ),
    _Rule(_has_status(429), "is asked too often", "Wait a little, then try again.", is_temporary=True),
    _Rule(
        lambda refusal: refusal.status < 500 and _mentions(*_MODERATION_PHRASES)(refusal),
        "declined the image or the prompt",
        "The endpoint's content rules apply; another image or prompt may pass.",
    ),
    _Rule(_has_status(403), "does not permit this", "Check what the key may be used for.", AuthError),
    _Rule(
        _mentions_no_image_support,
        "says that this is not a vision model",
        "Choose a model that can see with -m, such as Qwen/Qwen3-VL-Plus.",
        is_fatal=True,
    ),
    _Rule(
        _mentions("context_length", "context length", "context window", "maximum context", "too many tokens"),
        "has no room for a request this long",
        "Lower --max-tokens, or send smaller images with --max-pixels.",
    ),
    _Rule(_has_status(413), "takes no request this large", "Send smaller images with --max-pixels."),
    _Rule(
        lambda refusal: (
            _mentions(*_UNKNOWN_MODEL_PHRASES)(refusal)
            or (refusal.status == 404 and "model" in refusal.searchable_text)
        ),
        "does not know the model",
        "Check its name, capitals included; which there are says: qvision models",
        is_fatal=True,
    ),
    _Rule(
        _has_status(404, 405),
        "has no chat completions there",
        "Check --base-url: it usually ends in /v1. To see what is there: qvision models",
        is_fatal=True,
    ),
    _Rule(
        lambda refusal: refusal.status >= 500 or refusal.status in {408, 409, 425},
        "failed",
        "Try again in a moment.",
        is_temporary=True,
    ),
    _Rule(_has_status(200), "stopped with an error", "Try again."),
)
_FALLBACK_RULE = _Rule(lambda _: True, "refused the request", "Check the options against what the model accepts.")


def build_error(response: ErrorResponse) -> EndpointError:
    """The error that a refusal is: class, sentence, hint, and the server's own words and code."""
    kind = next((kind for kind in _RULES if kind.matches(response)), _FALLBACK_RULE)
    status = "" if response.status == 200 else f" (HTTP {response.status})"
    words = f": {response.message}" if response.message else ""
    return kind.error_class(
        f"{response.host} {kind.message}{status}{words}",
        hint=kind.hint,
        code=kind.code or response.code,
        status=response.status,
        request_id=response.request_id,
        is_temporary=kind.is_temporary,
        retry_after=response.retry_after,
        is_fatal=kind.is_fatal,
    )
