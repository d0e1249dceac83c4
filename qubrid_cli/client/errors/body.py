"""Finds the reason in an error body that gateways and frameworks have wrapped. Pure; loaded only when a request fails.

Source: the error objects of OpenAI, Azure, Anthropic, Google (google.rpc.Status), AWS, vLLM, SGLang, FastAPI and pydantic
(``detail``), OpenRouter (``metadata.raw``), Groq (``failed_generation``), MiniMax (``base_resp``), Cloudflare, LiteLLM.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...frozen import frozen
from ..events import parse_json
from . import waits

#: Characters of a code or a request id.
_MAX_CODE_LENGTH = 200
#: Levels of a body that are read; real ones have six.
_MAX_DEPTH = 30
#: Characters of a text in which JSON is searched; the bodies of errors are read up to 64 KB.
_MAX_EMBEDDED_LENGTH = 100_000
#: Characters of a text that the model wrote and the server refused (Groq).
_MAX_GENERATION_LENGTH = 200

#: Fields that hold the body of another server, or a list of errors, in the order in which they are read.
_CONTAINERS = (
    "error", "errors", "base_resp", "fault", "raw", "metadata", "innererror", "inner_error", "cause", "upstream_error",
    "exception", "detail", "details", "message", "response", "body", "data", "choices",
)  # fmt: skip
#: Fields that hold a sentence for people.
_MESSAGES = (
    "message", "detail", "msg", "error", "status_msg", "error_message", "error_msg", "errorMessage", "errorMsg", "Message",
    "faultstring", "error_description", "description", "raw", "title", "reason",
)  # fmt: skip
#: Fields that hold a code.
_CODES = (
    "code", "type", "status", "error_code", "errorCode", "error_type", "errorcode", "Code", "__type", "errcode", "err_code", "status_code",
    "statusCode",
)  # fmt: skip
#: A sentence that can be dropped if there is a reason below it.
_EMPTY_SENTENCE = re.compile(
    r"(?:the )?(?:model |upstream )?(?:provider|upstream|server|api|request|backend)?\s*(?:returned (?:an )?error|error|failed)"
    r"|bad request|an (?:unknown )?error (?:has )?occurred|internal (?:server )?error|error|invalid request|failed"
    r"|forbidden|unprocessable (?:entity|content)|one or more validation errors occurred",
    re.IGNORECASE,
)
#: The beginning of a web page or an XML document, but not of ``<400> InternalError…`` or ``<think>``.
_PAGE = re.compile(
    r"\s*(?:<!--.*?-->\s*)*<(?:!doctype|\?xml|html|head|body|title|center|h[1-3]|p|div|table|pre|error)\b",
    re.IGNORECASE,
)
_PAGE_TITLE = re.compile(r"<(title|h1|h2|message)\b[^>]*>(.{1,400}?)</\1>", re.IGNORECASE | re.DOTALL)
_PAGE_CODE = re.compile(r"<code>([\w.]{1,100})</code>", re.IGNORECASE)
#: The message in JSON that was cut off.
_CUT_OFF_MESSAGE = re.compile(r'"(?:message|detail|msg|error)"\s*:\s*"((?:[^"\\]|\\.){1,2000}?)"')


@frozen
class ErrorResponse:
    """An error as a server reports it.

    Attributes:
        status: the HTTP status; 200 for an error inside a stream.
        message: the server's reason, in one line.
        codes: the codes and the types, as text, the innermost first.
        marks: other identifiers for the rules: the names of exceeded quotas, and MiniMax's numbers.
        has_key: the request carried a key.
        retry_after: seconds that the server asks to wait.
        reset_after: seconds until the rate limit is reset, by the usual headers.
        param: the field of the request that the server names.
        numbers: the integers in the body, by name.
        generation: the beginning of the model's text, if the server refused that text.
        body: the whole body.
    """

    status: int
    host: str
    message: str
    codes: tuple[str, ...] = ()
    request_id: str | None = None
    has_key: bool = True
    retry_after: float | None = None
    reset_after: float | None = None
    marks: tuple[str, ...] = ()
    param: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    generation: str = ""
    body: object = None

    @property
    def code(self) -> str | None:
        """The first code that is a word, else the first code."""
        return next((code for code in self.codes if not code.isdigit()), next(iter(self.codes), None))


def parse_error_body(
    body: object,
    *,
    status: int,
    host: str,
    headers: Mapping[str, str] = {},
    request_id: str | None = None,
    has_key: bool = True,
) -> ErrorResponse:
    """Read an error body of any shape: nested, flat, ``detail``, a list, JSON inside a string, plain text, a web page.

    Args:
        body: the parsed JSON, or the text if it is not JSON.
        status: the HTTP status; if it is 200, a code in the body that looks like a status replaces it (OpenRouter).
        headers: of the response, with lower-case names; empty if the response was a success.
    """
    expanded = expand(body)
    reader = _Reader()
    message = reader.read(expanded, 0)
    if reader.provider and not message.lower().startswith(reader.provider.lower()):
        message = f"{reader.provider}: {message}" if message else reader.provider
    if error_type := headers.get("x-amzn-errortype"):  # AWS: ThrottlingException:http://…
        reader.add_code(error_type.partition(":")[0])
    if status == 200:
        status = next((int(code) for code in reader.codes if re.fullmatch("[45][0-9][0-9]", code)), status)
    retry_waits = (
        waits.parse_retry_after(headers),
        reader.wait,
        waits.parse_retry_after(reader.headers),
        waits.parse_text(message[:4000]),
    )
    reset_waits = (waits.parse_limit_reset(headers), waits.parse_limit_reset(reader.headers))
    return ErrorResponse(
        status=status,
        host=host,
        message=message,
        codes=tuple(dict.fromkeys(reader.codes)),
        request_id=reader.request_id or request_id,
        has_key=has_key,
        retry_after=next((wait for wait in retry_waits if wait is not None), None),
        reset_after=next((wait for wait in reset_waits if wait is not None), None),
        marks=tuple(reader.marks),
        param=reader.param,
        numbers=reader.numbers,
        generation=reader.generation,
        body=expanded,
    )


def format_body(body: object) -> str | None:
    """Format a body from ``expand`` as text; ``None`` if it is empty."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return text.strip() or None


def expand(value: Any, depth: int = 0) -> Any:
    """Parse the strings in a JSON value that hold JSON themselves."""
    if depth > _MAX_DEPTH:
        return "…"
    match value:
        case str():
            inner = _parse_embedded(value)
            return value if inner is None else expand(inner, depth + 1)
        case list() | tuple():
            return [expand(item, depth + 1) for item in value]
        case dict():
            return {str(name): expand(item, depth + 1) for name, item in value.items()}
        case None | bool() | int() | float():
            return value
        case _:  # a Python literal that JSON does not have
            return str(value)


def _parse_embedded(text: str) -> dict[str, Any] | list[Any] | None:
    """Parse a text that is an object or a list of objects, in JSON or as Python's ``repr``, perhaps in a stream's event."""
    text = text.strip().removeprefix("data:").lstrip()
    if text.startswith(('"{', '"[')) and text.endswith('"'):  # encoded twice
        text = _unescape(text[1:-1])
    if text[:1] not in {"{", "["} or text[-1:] not in {"}", "]"} or len(text) > _MAX_EMBEDDED_LENGTH:
        return None
    try:
        value = parse_json(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    is_body = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
    return value if is_body else None


@dataclass(slots=True)
class _Reader:
    """Walks through a body, and collects its codes, the innermost first, and the other values of an ``ErrorResponse``."""

    codes: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    provider: str | None = None
    param: str | None = None
    request_id: str | None = None
    wait: float | None = None
    generation: str = ""

    def read(self, value: object, depth: int) -> str:
        """The reason in a value, in one line; empty if there is none."""
        if depth > _MAX_DEPTH:
            return ""
        match value:
            case dict():
                return self._read_object(value, depth)
            case list():
                reasons = [self.read(item, depth + 1) for item in value]
                return "; ".join(dict.fromkeys(filter(None, reasons)))
            case str():
                return self._read_text(value, depth)
            case None | bool():
                return ""
            case _:
                return str(value)

    def _read_object(self, body: dict[str, Any], depth: int) -> str:
        if str(body.get("@type", "")).startswith("type.googleapis.com/"):
            self._read_google_detail(body)
            return ""
        if isinstance(body.get("msg"), str) and isinstance(body.get("loc"), list):
            return self._read_validation_error(body["loc"], body["msg"])
        # The containers are read before the fields of this object, so that the innermost codes come first.
        inner_reasons = [self._read_container(name, body[name], depth) for name in _CONTAINERS if name in body]
        message = next(
            (" ".join(text.split()) for name in _MESSAGES if isinstance(text := body.get(name), str) and text.strip()),
            "",
        )
        self._read_fields(body)
        reason = self._read_text(message, depth + 1) if message else ""
        for inner_reason in dict.fromkeys(filter(None, inner_reasons)):
            reason = _combine(reason, inner_reason)
        if not reason and depth == 0 and body:
            reason = json.dumps(body, ensure_ascii=False)
        return reason

    def _read_container(self, name: str, value: object, depth: int) -> str:
        if not isinstance(value, dict | list):
            return ""
        if name == "choices":  # OpenRouter puts an error into a choice; all else there is the answer
            errors = [choice["error"] for choice in value if isinstance(choice, dict) and choice.get("error")]
            return self.read(errors, depth + 1)
        if name == "message" and isinstance(value, dict) and ("role" in value or "content" in value):
            return ""
        if name in {"data", "response", "body"} and not _has_message(value):
            return ""
        if name == "base_resp" and isinstance(value, dict) and value.get("status_code"):
            self.marks.append(f"base_resp {value['status_code']}")
        if name == "errors" and isinstance(value, dict) and not _has_message(value):  # ASP.NET: messages by field
            return "; ".join(f"{key}: {text}" for key, item in value.items() if (text := self.read(item, depth + 1)))
        return self.read(value, depth + 1)

    def _read_fields(self, body: dict[str, Any]) -> None:
        for name in _CODES:
            self.add_code(body.get(name))
        for name, value in body.items():
            if self.wait is None:
                self.wait = waits.parse_field(name, value)
            if isinstance(value, int) and not isinstance(value, bool):
                self.numbers.setdefault(name, value)
        if isinstance(headers := body.get("headers"), dict):
            self.headers |= {name.lower(): str(value) for name, value in headers.items()}
        self.provider = self.provider or _get_word(body, "provider_name") or _get_word(body, "provider")
        self.param = self.param or _get_word(body, "param")
        self.request_id = self.request_id or _get_word(body, "request_id")
        if isinstance(generation := body.get("failed_generation"), str):
            self.generation = " ".join(generation.split())[:_MAX_GENERATION_LENGTH]

    def _read_google_detail(self, detail: dict[str, Any]) -> None:
        """Source: google.rpc.ErrorInfo, RetryInfo and QuotaFailure."""
        self.add_code(detail.get("reason"))
        if self.wait is None:
            self.wait = waits.parse_field("retryDelay", detail.get("retryDelay"))
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                self.marks += [str(violation[name]) for name in ("quotaId", "quotaMetric") if violation.get(name)]

    def _read_validation_error(self, location: list[Any], message: str) -> str:
        """Return "messages.0.content: Input should be a valid string" for an error of FastAPI and pydantic."""
        parts = [str(part) for part in location if part not in ("body", "__root__")]
        self.param = self.param or next((part for part in reversed(parts) if not part.isdigit()), None)
        return f"{'.'.join(parts)}: {message}" if parts else message

    def _read_text(self, text: str, depth: int) -> str:
        """Find the reason in a text, which may end in another body: "Error code: 400 - {'error': …}"."""
        if _PAGE.match(text):
            return self._read_page(text)
        start, end = text.find("{"), text.rfind("}")
        if 0 <= start < end:
            inner = _parse_embedded(text[start : end + 1])
            if isinstance(inner, dict) and _has_message(inner):
                reason = self.read(expand(inner), depth + 1)
                head = re.sub(r"^error code: [0-9]{3}\b|[\s:\-]+$|^[\s:\-]+", "", text[:start], flags=re.IGNORECASE)
                return " ".join(_combine(head.strip(" :-"), reason).split())
            if text.lstrip().startswith("{") and (match := _CUT_OFF_MESSAGE.search(text)):
                return self._read_text(_unescape(match[1]), depth + 1)
        elif text.lstrip()[:1] in {"{", "["} and (match := _CUT_OFF_MESSAGE.search(text)):
            return self._read_text(_unescape(match[1]), depth + 1)
        return " ".join(text.split())

    def _read_page(self, text: str) -> str:
        if code := _PAGE_CODE.search(text):
            self.add_code(code[1])
        title = _PAGE_TITLE.search(text)
        if title and text.lstrip()[:5].lower() in {"<?xml", "<erro"}:
            return " ".join(title[2].split())
        words = " ".join(re.sub("<[^>]*>", " ", title[2]).split()) if title else ""
        return "a web page instead of an error message" + (f": {words}" if words else "")

    def add_code(self, value: object) -> None:
        """Add a code or a type, without its namespace; values that mean nothing are skipped."""
        if (
            isinstance(value, str | int)
            and not isinstance(value, bool)
            and value
            and value not in {"error", "about:blank"}
        ):
            self.codes.append(str(value).rpartition("#")[2][:_MAX_CODE_LENGTH])


def _has_message(value: object) -> bool:
    """Whether a value inside a body holds an error, and not data of the answer."""
    if isinstance(value, list):
        return any(map(_has_message, value))
    return isinstance(value, dict) and any(value.get(name) for name in ("error", "errors", "message", "msg", "detail"))


def _get_word(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value[:_MAX_CODE_LENGTH] if isinstance(value, str) and value else None


def _combine(outer: str, inner: str) -> str:
    """Combine the reasons of a body and of a body inside it, without repetition."""
    if not outer or _EMPTY_SENTENCE.fullmatch(outer.strip(" .:!")) or outer in inner:
        return inner
    if inner in outer or _EMPTY_SENTENCE.fullmatch(inner.strip(" .:!")):
        return outer
    return f"{outer.rstrip(' .:')}: {inner}"


def _unescape(text: str) -> str:
    try:
        value = parse_json(f'"{text}"')
    except ValueError:
        return text
    return str(value)
