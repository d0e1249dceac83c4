"""Why a request to a bucket failed: the one translation of obstore's exceptions.

obstore has a class for some failures. For others, the server's own code stands in the text of the exception.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from ..errors import ConfigError, MissingObjectError, OutputError, QvisionError, StorageError
from ..frozen import frozen

#: The code of an S3 or Azure error, in its XML; the reason of a Google one, in its JSON.
_CODE = re.compile(r'<Code>\s*([\w.-]+)\s*</Code>|"reason":\s*"(\w+)"')
_STATUS = re.compile(r"non-2xx status code: (\d{3})")


@frozen
class _StorageRule:
    """What follows from a failure; ``{where}`` is the bucket, ``{name}`` the object, ``{service}`` the provider."""

    pattern: str
    error: type[QvisionError]
    message: str
    hint: str
    code: str


_SIGN_IN_HINT = "{sign_in}"
#: The first whose pattern is found in the code or the text applies.
_RULES = (
    _StorageRule(
        r"\bNoSuchBucket\b|\bContainerNotFound\b|The specified bucket does not exist|\bContainerBeingDeleted\b",
        StorageError,
        "there is no bucket {where}",
        "Check its name, the account or project, and the endpoint.",
        "no_such_bucket",
    ),
    _StorageRule(
        r"\bExpiredToken\b|\bTokenRefreshRequired\b|\bRequestExpired\b|token (has|is) expired",
        ConfigError,
        "the credentials for {where} have expired",
        _SIGN_IN_HINT,
        "credentials",
    ),
    _StorageRule(
        r"\bInvalidAccessKeyId\b|\bSignatureDoesNotMatch\b|\bInvalidToken\b|\bInvalidSecurity\b|\bAuthenticationFailed\b"
        r"|\bInvalidAuthenticationInfo\b|\bauthError\b|invalid_grant|\bInvalidClientTokenId\b",
        ConfigError,
        "{where} refused the credentials ({reason})",
        _SIGN_IN_HINT,
        "credentials",
    ),
    _StorageRule(
        r"\bRequestTimeTooSkewed\b",
        ConfigError,
        "{where} refused the request, because the clock of this machine is wrong",
        "Set the clock.",
        "clock",
    ),
    _StorageRule(
        r"without LOCATION|\bPermanentRedirect\b|\bAuthorizationHeaderMalformed\b|\bIllegalLocationConstraintException\b",
        ConfigError,
        "{where} is in another region",
        "Set AWS_REGION to the region of the bucket: curl -sI https://{bucket}.s3.amazonaws.com | grep -i region",
        "region",
    ),
    _StorageRule(
        r"token request|External \w+ credential provider|/latest/(api/token|meta-data)|\bNoCredentials\b|MissingAccount",
        ConfigError,
        "there are no credentials for {where}",
        _SIGN_IN_HINT,
        "credentials",
    ),
    _StorageRule(
        r"\bSlowDown\b|\bServerBusy\b|\brateLimitExceeded\b|status code: (429|503)",
        StorageError,
        "{where} limits requests ({reason})",
        "Try again, or with fewer requests at once: -j 8",
        "rate_limit",
    ),
    _StorageRule(
        r"NotImplemented\b|\bnot implemented\b",
        StorageError,
        "the server of {where} does not support a request that this needs ({reason})",
        "For a run with several writers, use a server that supports If-None-Match and If-Match.",
        "not_supported",
    ),
    _StorageRule(
        r"kind: Timeout|operation timed out|TimedOut",
        StorageError,
        "{where} did not answer in time",
        "Try again, or raise --timeout.",
        "timeout",
    ),
    _StorageRule(
        r"certificate|UnknownIssuer|InvalidCertificate",
        StorageError,
        "the certificate of the server of {where} cannot be trusted",
        "Check the endpoint. For a server of your own, set SSL_CERT_FILE to the file of its certificate authority.",
        "certificate",
    ),
    _StorageRule(
        r"dns error|failed to lookup address|Name or service not known",
        StorageError,
        "the host of {where} is unknown",
        "Check the network and the endpoint{endpoint}.",
        "no_such_host",
    ),
    _StorageRule(
        r"kind: Connect|error sending request|Connection(Refused|Reset|Aborted)|kind: (Request|Interrupted|Decode)",
        StorageError,
        "no connection to {where}{endpoint}",
        "Check the network and the endpoint.",
        "network",
    ),
)  # fmt: skip


@frozen
class Place:
    """What messages say about a bucket.

    Attributes:
        where: its URL.
        bucket: its name.
        endpoint: the URL of the server, if it is not the provider's own.
        sign_in: how to get credentials.
    """

    where: str
    bucket: str
    endpoint: str | None
    sign_in: str


@contextmanager
def translate_errors(place: Place, name: str, *, is_writing: bool = False) -> Iterator[None]:
    """Turn the exceptions of obstore into ours.

    Args:
        name: the URL of the object or the folder.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise _find_rule_error(str(error), place, name, is_writing=is_writing, rules=_RULES[:1]) or MissingObjectError(
            f"there is no object {name}", hint="Names are case-sensitive. Check the name and the bucket."
        ) from error
    except (BaseError, ValueError, OSError) as error:
        raise _explain(error, place, name, is_writing=is_writing) from error


def _explain(error: Exception, place: Place, name: str, *, is_writing: bool) -> QvisionError:
    text = str(error)
    if (known := _find_rule_error(text, place, name, is_writing=is_writing, rules=_RULES)) is not None:
        return known
    kind = OutputError if is_writing else StorageError
    action = "write" if is_writing else "read"
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        hint = f"Check the permissions of these credentials. {place.sign_in}"
        return kind(f"no permission to {action} {name} ({_find_reason(text)})", hint=hint, code="permission")
    first_line = text.partition("\n")[0].partition(" Debug source")[0]
    return kind(f"cannot {action} {name}: {first_line[:300]}", hint="Try again, or check the endpoint.")


def _find_rule_error(
    text: str, place: Place, name: str, *, is_writing: bool, rules: tuple[_StorageRule, ...]
) -> QvisionError | None:
    for rule in rules:
        if re.search(rule.pattern, text):
            values = {
                "where": place.where,
                "bucket": place.bucket,
                "name": name,
                "reason": _find_reason(text),
                "endpoint": f" ({place.endpoint})" if place.endpoint else "",
                "sign_in": place.sign_in,
            }
            kind = OutputError if is_writing and rule.error is StorageError else rule.error
            return kind(rule.message.format_map(values), hint=rule.hint.format_map(values), code=rule.code)
    return None


def _find_reason(text: str) -> str:
    """The server's code, or the status of its response."""
    if (match := _CODE.search(text)) is not None:
        return match[1] or match[2]
    return f"HTTP {status[1]}" if (status := _STATUS.search(text)) is not None else "no reason given"
