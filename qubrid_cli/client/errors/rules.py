"""Turns broken connections, HTTP statuses and error bodies into our errors. Pure; loaded only when a request fails.

``_RULES`` is the one table that decides what an error response becomes: the first rule that matches is used. ``body`` reads
the bodies, and ``meanings`` recognizes the wordings.
"""

import re
from collections.abc import Callable

from ...errors import (
    AuthError,
    ConnectionSetupError,
    ContextOverflow,
    EndpointError,
    NetworkError,
    UnreachableError,
)
from ...frozen import frozen
from ...http_errors import Cause, HttpFailure
from ...providers import Provider, find_provider
from ...text import shorten
from ...urls import PROXY_LOGIN_HINT
from ..endpoint import DEFAULT_COMMANDS, HintCommands
from . import meanings
from .body import ErrorResponse
from .matching import Searchable, both, either, has_status, no, prepare, says
from .token_counts import parse_token_counts
from .waits import format_wait

#: Characters of the server's reason that a message quotes; the rest of a stack trace or a web page does not help.
_MAX_MESSAGE_LENGTH = 400
#: Characters of the reason that are kept in the error, for ``describe.fallbacks`` to search.
_MAX_REASON_LENGTH = 16_000
#: Errors whose reason contains numbers of tokens.
_CODES_WITH_TOKENS = frozenset({"context_length_exceeded", "max_tokens_too_large"})
#: A shorter wait does not end when the limit resets: Gemini asks for seconds even if the limit per day is used up.
_MIN_RESET_SECONDS = 60.0
#: 40 days: no limit has a period of more than a month.
_MAX_RESET_SECONDS = 40 * 86_400.0


def build_transport_error(failure: HttpFailure, message: str) -> EndpointError:
    """The error for a connection that failed; ``message`` is the failure's message without secrets."""
    match failure.cause:
        case (
            Cause.CONNECT_TIMEOUT
            | Cause.TLS_CUT_OFF
            | Cause.UNKNOWN_HOST
            | Cause.CONNECTION_REFUSED
            | Cause.NO_CONNECTION
            | Cause.PROXY_CANNOT_CONNECT
            | Cause.PROXY_TIMEOUT
        ):
            return UnreachableError(message, hint=failure.hint)
        case Cause.SHORTAGE:
            return NetworkError(message, hint=failure.hint, code=failure.code, is_temporary=True)
        case Cause.NOT_HTTP | Cause.CONNECTION_BROKEN:
            return NetworkError(message, hint=failure.hint, is_temporary=True)
        case Cause.SEND_TIMEOUT | Cause.READ_TIMEOUT:
            return NetworkError(message, hint=failure.hint, code=failure.code)
        case Cause.UNREADABLE:
            return EndpointError(message, hint=failure.hint, code=failure.code)
        case _:  # a certificate, TLS, a proxy or a redirect
            return ConnectionSetupError(message, hint=failure.hint, code=failure.code)


@frozen
class _Rule:
    """The error that a matching error response becomes.

    Attributes:
        message: follows the name of the host.
        hint: ``{models}``, ``{status}`` and ``{login}`` stand for the commands of ``HintCommands``.
        code: replaces the server's code.
        default_code: used if the server sends no code.
        page: the provider's page that helps, if it has one.
    """

    matches: Callable[[Searchable], bool]
    message: str
    hint: str
    error_class: type[EndpointError] = EndpointError
    code: str | None = None
    default_code: str | None = None
    page: Callable[[Provider], str | None] = lambda _: None
    is_temporary: bool = False
    is_fatal: bool = False


def _get_keys_page(provider: Provider) -> str | None:
    return provider.keys_page


def _get_credits_page(provider: Provider) -> str | None:
    return provider.credits_page


def _get_log_page(provider: Provider) -> str | None:
    return provider.log_page


_RESIZE_HINT = "Send smaller images with --max-pixels."
_THROTTLED = ("received too many requests", "Wait a while, then try again.")
_KEY_HINT = "See which key is used with: {status}; store another with: {login}"
_ADDRESS_HINT = "Check --base-url: it usually ends in /v1. To list the models: {models}"

_RULES = (
    _Rule(
        both(has_status(400, 403, 421, 426, 497), meanings.is_https_expected),
        "speaks https, not plain http",
        "Check --base-url: it must begin with https://.",
        ConnectionSetupError,
        code="tls",
    ),
    # Links that the server could not download. These precede the keys, because their "401 Unauthorized" is about the link.
    _Rule(
        meanings.is_link_timeout,
        "could not download the image in time",
        "Add --fetch, to download links here and send the images.",
        code="link_timeout",
        is_temporary=True,
    ),
    _Rule(
        meanings.is_link_failure,
        "could not download the image",
        "Add --fetch, to download links here and send the images.",
        default_code="link_failed",
    ),
    # Models, with any status; but an error about a key or a rate limit may also name the model.
    _Rule(
        both(meanings.is_no_vision, no(meanings.says_throttled)),
        "says that the model does not accept images",
        "Choose a vision model with -m, such as Qwen/Qwen3-VL-Plus.",
        code="no_vision",
        is_fatal=True,
    ),
    _Rule(
        both(
            meanings.is_unknown_model,
            no(meanings.says_throttled),
            no(both(has_status(401), meanings.is_key_refused)),
        ),
        "does not know the model",
        "Check its name, including capitals. To list the models: {models}",
        code="model_not_found",
        is_fatal=True,
    ),
    # Limits and money
    _Rule(
        meanings.is_larger_than_limit,
        "does not accept this many tokens at once",
        "Send smaller images with --max-pixels, or lower --max-tokens.",
        code="request_too_large",
    ),
    _Rule(meanings.is_throttling_worded_as_quota, *_THROTTLED, is_temporary=True),
    _Rule(
        meanings.is_no_credits,
        "has no credits left for this key",
        "Add credits to the account that the key belongs to.",
        code="insufficient_quota",
        page=_get_credits_page,
        is_fatal=True,
    ),
    _Rule(
        meanings.is_usage_limit,
        "has no requests left for this key",
        "Wait until the limit resets, or raise it with the provider.",
        code="usage_limit",
        is_fatal=True,
    ),
    _Rule(both(has_status(429), no(meanings.is_content_refused)), *_THROTTLED, is_temporary=True),
    # Keys
    _Rule(
        lambda error: (
            not error.response.has_key
            and (error.status == 401 or (error.status in {400, 403} and meanings.is_key_refused(error)))
        ),
        "requires a key",
        "Store one with: {login}. It is sent only to this address.",
        AuthError,
    ),
    _Rule(has_status(401), "refused the key", _KEY_HINT, AuthError, page=_get_keys_page),
    _Rule(
        both(meanings.is_content_refused, lambda error: error.status < 500),
        "refused the request because of the provider's content rules",
        "Try another image or prompt.",
        code="content_policy",
        page=_get_log_page,
    ),
    _Rule(meanings.is_key_refused, "refused the key", _KEY_HINT, AuthError, page=_get_keys_page),
    _Rule(
        meanings.is_region_refused,
        "does not serve this country",
        "Use another provider with --base-url or --profile.",
        code="region",
        is_fatal=True,
    ),
    _Rule(
        meanings.is_not_permitted,
        "denied access",
        "Check what the key is allowed to do.",
        AuthError,
        page=_get_keys_page,
    ),
    # The request itself
    _Rule(
        meanings.is_stream_required,
        "only streams answers for this model",
        "Leave out --no-stream.",
        code="stream_required",
    ),
    _Rule(both(meanings.is_throttled, lambda error: error.status < 500), *_THROTTLED, is_temporary=True),
    _Rule(
        meanings.is_too_long,
        "cannot fit the request into the model's context",
        "Lower --max-tokens, or send smaller images with --max-pixels.",
        code="context_length_exceeded",
    ),
    _Rule(
        meanings.is_too_many_tokens_requested,
        "does not allow answers this long",
        "Lower --max-tokens.",
        code="max_tokens_too_large",
    ),
    _Rule(
        meanings.is_too_many_images,
        "does not accept this many images in one request",
        "Add --each, to send one request per image.",
        code="too_many_images",
    ),
    _Rule(
        meanings.is_too_large,
        "does not accept a request this large",
        _RESIZE_HINT,
        default_code="request_too_large",
    ),
    _Rule(
        has_status(403),
        "did not permit this request",
        "Try another image or prompt; if none is permitted, check what the key is allowed to do: {status}",
        code="not_permitted",
    ),
    # The address and the server
    _Rule(
        has_status(407),
        "requires a login",
        PROXY_LOGIN_HINT,
        ConnectionSetupError,
        code="proxy",
    ),
    _Rule(
        lambda error: 300 <= error.status < 400,
        "sent a redirect without an address",
        "Check --base-url: it usually ends in /v1.",
        ConnectionSetupError,
        code="redirect",
    ),
    _Rule(
        meanings.is_not_routable,
        "has no provider for this request",
        "Check the privacy and provider settings of the account, or choose another model with -m.",
        is_fatal=True,
    ),
    _Rule(
        both(has_status(404), says(r"\bmodels?\b")),
        "does not know the model",
        "Check its name, including capitals. To list the models: {models}",
        code="model_not_found",
        is_fatal=True,
    ),
    _Rule(has_status(404, 405), "has no chat completions at this address", _ADDRESS_HINT, is_fatal=True),
    _Rule(
        has_status(426, 505),
        "speaks a version of HTTP that this program does not",
        "Check --base-url, or put a proxy that speaks HTTP/1.1 in front of the server.",
        code="protocol",
        is_fatal=True,
    ),
    _Rule(
        either(
            lambda error: error.status >= 500 and error.status != 501,
            has_status(408, 409, 424, 425, 498, 499),
            both(has_status(200), meanings.is_temporary_in_stream),
        ),
        "failed",
        "Try again in a moment.",
        is_temporary=True,
    ),
    _Rule(has_status(200), "stopped with an error", "Try again."),
    _Rule(
        lambda _: True, "refused the request", "Check the options against what the model accepts.", page=_get_log_page
    ),
)


def build_error(
    response: ErrorResponse,
    *,
    redact: Callable[[str], str] = str,
    commands: HintCommands = DEFAULT_COMMANDS,
    body: str | None = None,
) -> EndpointError:
    """The error for an error response, with the server's own reason and code.

    Args:
        redact: removes secrets. The rules see the original text, because a key may be an ordinary word in it.
        body: the whole response, without secrets.
    """
    error = prepare(response)
    rule = next(rule for rule in _RULES if rule.matches(error))
    reason = redact(response.message)[:_MAX_REASON_LENGTH]
    wait = _get_wait(rule, response)
    period = f" for the next {format_wait(wait)}" if rule.code == "usage_limit" and wait is not None else ""
    suggestion = commands.suggest_model() if rule.code == "model_not_found" else None
    similar = f"; did you mean {suggestion}?" if suggestion else ""
    context = parse_token_counts(error.text, response.numbers) if rule.code in _CODES_WITH_TOKENS else None
    return rule.error_class(
        f"{response.host} {rule.message}{period}{_format_details(response, reason, redact(response.generation))}{similar}",
        hint=_format_hint(rule, response, context, commands),
        code=rule.code or (redact(response.code) if response.code else rule.default_code),
        status=response.status,
        request_id=redact(response.request_id) if response.request_id else None,
        is_temporary=rule.is_temporary,
        retry_after=wait,
        is_fatal=rule.is_fatal,
        reason=reason,
        param=redact(response.param) if response.param else None,
        context=context,
        body=body,
    )


def _get_wait(rule: _Rule, response: ErrorResponse) -> float | None:
    """The seconds until the request may succeed."""
    if rule.code == "usage_limit":
        waits = (response.retry_after, response.reset_after)
        return next(
            (wait for wait in waits if wait is not None and _MIN_RESET_SECONDS <= wait <= _MAX_RESET_SECONDS), None
        )
    if not rule.is_temporary:
        return None
    is_throttled = (rule.message, rule.hint) == _THROTTLED
    return response.reset_after if is_throttled and response.retry_after is None else response.retry_after


def _format_details(response: ErrorResponse, reason: str, generation: str) -> str:
    """The status and the server's reason, which follow our own words."""
    status = "" if response.status == 200 else f" (HTTP {response.status})"
    details = shorten(f"{reason} (it wrote: {generation})" if generation else reason, _MAX_MESSAGE_LENGTH)
    return f"{status}: {details}" if details else status


def _format_hint(rule: _Rule, response: ErrorResponse, context: ContextOverflow | None, commands: HintCommands) -> str:
    """The hint of the rule, or a more exact one from the numbers in the server's error."""
    if rule.code == "insufficient_quota" and (match := re.search("can only afford ([1-9][0-9]*)", response.message)):
        return f"Lower --max-tokens to {match[1]}, or add credits to the account that the key belongs to."
    tokens_left = context.tokens_left if context else None
    if tokens_left is not None and tokens_left <= 0:
        return f"Prompt and images exceed it by {-tokens_left:,} tokens. {_RESIZE_HINT}"
    if tokens_left is not None and context is not None and context.is_prompt_exact:
        return f"Lower --max-tokens to {tokens_left}, or send smaller images with --max-pixels."
    if context is not None and context.max_output_tokens:
        return f"Lower --max-tokens to {context.max_output_tokens}."
    hint = rule.hint.format(models=commands.models, status=commands.status, login=commands.login)
    if commands.key_hint is not None and "{login}" in rule.hint:
        hint = commands.key_hint
    provider = find_provider(f"https://{response.host}")
    page = rule.page(provider) if provider else None
    return f"Look at {page}. {hint}" if page else hint  # the hint may end in a command
