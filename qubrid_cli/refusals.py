"""What a server means when it refuses: any status and any shape of error body become one of our errors. Pure.

Source: the error objects of OpenAI, vLLM, SGLang, FastAPI (``detail``), OpenRouter and Ollama.
"""

import json
import re
from collections.abc import Callable

from .errors import AuthError, EndpointError
from .frozen import frozen

#: Of a server's own words; the rest of a stack trace or a web page helps nobody.
_MAX_WORDS = 400
#: Of a code or a request id.
_MAX_NAME = 200


@frozen
class Refusal:
    """An error as the server told it; ``names`` are its code and its type, as far as it has them, as text."""

    status: int
    host: str
    message: str
    names: tuple[str, ...] = ()
    request_id: str | None = None
    has_key: bool = True  #: one was sent

    @property
    def code(self) -> str | None:
        """The name that says most: a word rather than a number."""
        return next((name for name in self.names if not name.isdigit()), next(iter(self.names), None))

    @property
    def words(self) -> str:
        """All that it says, in small letters, to look for words in."""
        return " ".join((*self.names, self.message)).lower()


def told(payload: object, *, status: int, host: str, request_id: str | None = None) -> Refusal:
    """Read an error in any shape: nested, flat, ``detail``, a bare text.

    Args:
        payload: the parsed body, or its text where it is no JSON.
        status: the HTTP status; 200 for an error inside a stream, whose own code may be one then (OpenRouter).
    """
    if not isinstance(payload, dict):
        return Refusal(status, host, _words(payload), (), request_id)
    inner = payload["error"] if isinstance(payload.get("error"), dict) else payload
    said = next((inner[name] for name in ("message", "detail", "msg", "error") if inner.get(name)), inner)
    names = [str(inner[name])[:_MAX_NAME] for name in ("code", "type") if inner.get(name)]
    its_id = inner.get("request_id") or payload.get("request_id")
    if status == 200:
        status = next((int(name) for name in names if re.fullmatch("[45][0-9][0-9]", name)), status)
    return Refusal(
        status, host, _words(said), tuple(names), its_id[:_MAX_NAME] if isinstance(its_id, str) else request_id
    )


def _words(said: object) -> str:
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    if text.lstrip().startswith("<"):
        return "a web page instead of an error message"
    text = " ".join(text.split())
    return text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"


@frozen
class _Kind:
    """A meaning: which refusals have it, and what is said of them. The first that fits is taken."""

    fits: Callable[[Refusal], bool]
    says: str
    hint: str
    error: type[EndpointError] = EndpointError
    code: str | None = None
    passes: bool = False
    ends_all: bool = False


def _has(*phrases: str) -> Callable[[Refusal], bool]:
    return lambda refusal: any(phrase in refusal.words for phrase in phrases)


def _is(*statuses: int) -> Callable[[Refusal], bool]:
    return lambda refusal: refusal.status in statuses


_NO_SUCH_MODEL = ("model_not_found", "invalid model", "unknown model", "no such model")
_MODERATION = ("content_policy", "content policy", "moderation", "flagged", "safety")
_NOT_A_VISION_MODEL = _has(
    *(
        "image input is not supported",
        "support image input",
        "support images",
        "not a multimodal",
        "no endpoints found that support",
    ),
)

_KINDS = (
    _Kind(
        lambda refusal: refusal.status == 402 or "insufficient_quota" in refusal.words,
        "has no credits left for this key",
        "Add credits to the account that the key belongs to.",
        code="insufficient_quota",
        ends_all=True,
    ),
    _Kind(
        lambda refusal: refusal.status == 401 and not refusal.has_key,
        "wants a key",
        "Store one with: qvision auth login; it goes to this address only.",
        AuthError,
    ),
    _Kind(
        lambda refusal: refusal.status == 401 or refusal.code == "invalid_api_key",
        "refused the key",
        "See which key that is with: qvision auth status; store another with: qvision auth login",
        AuthError,
    ),
    _Kind(
        lambda refusal: refusal.status == 200 and _has("rate_limit", "overloaded")(refusal),
        "is asked too often",
        "Wait a little, then try again.",
        passes=True,
    ),
    _Kind(_is(429), "is asked too often", "Wait a little, then try again.", passes=True),
    _Kind(
        lambda refusal: refusal.status < 500 and _has(*_MODERATION)(refusal),
        "declined the image or the prompt",
        "The endpoint's content rules apply; another image or prompt may pass.",
    ),
    _Kind(_is(403), "does not permit this", "Check what the key may be used for.", AuthError),
    _Kind(
        _NOT_A_VISION_MODEL,
        "says that this is not a vision model",
        "Choose a model that can see with -m, such as Qwen/Qwen3-VL-Plus.",
        ends_all=True,
    ),
    _Kind(
        _has("context_length", "context length", "context window", "maximum context", "too many tokens"),
        "has no room for a request this long",
        "Lower --max-tokens, or send smaller images with --max-pixels.",
    ),
    _Kind(_is(413), "takes no request this large", "Send smaller images with --max-pixels."),
    _Kind(
        lambda refusal: _has(*_NO_SUCH_MODEL)(refusal) or (refusal.status == 404 and "model" in refusal.words),
        "does not know the model",
        "Check its name, capitals included; which there are says: qvision models",
        ends_all=True,
    ),
    _Kind(
        _is(404, 405),
        "has no chat completions there",
        "Check --base-url: it usually ends in /v1. To see what is there: qvision models",
        ends_all=True,
    ),
    _Kind(
        lambda refusal: refusal.status >= 500 or refusal.status in {408, 409, 425},
        "failed",
        "Try again in a moment.",
        passes=True,
    ),
    _Kind(_is(200), "stopped with an error", "Try again."),
)
_OTHER = _Kind(lambda _: True, "refused the request", "Check the options against what the model accepts.")


def error_for(refusal: Refusal) -> EndpointError:
    """The error that a refusal is: class, sentence, hint, and the server's own words and code."""
    kind = next((kind for kind in _KINDS if kind.fits(refusal)), _OTHER)
    status = "" if refusal.status == 200 else f" (HTTP {refusal.status})"
    words = f": {refusal.message}" if refusal.message else ""
    error = kind.error(
        f"{refusal.host} {kind.says}{status}{words}",
        hint=kind.hint,
        code=kind.code or refusal.code,
        status=refusal.status,
        request_id=refusal.request_id,
    )
    error.passes = kind.passes
    error.ends_all = error.ends_all or kind.ends_all
    return error
