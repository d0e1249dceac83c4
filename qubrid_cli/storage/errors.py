"""Explain why a request to a bucket failed: the only translation of obstore's exceptions.

obstore has classes for some failures. For others, the text of the exception contains the server's own code.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from ..errors import ConfigError, MissingObjectError, OutputError, QvisionError, StorageError
from ..frozen import frozen

#: The code of an S3 or Azure error, in its XML; the reason of a Google one, in its JSON.
_CODE = re.compile(r'<Code>\s*([\w.-]+)\s*</Code>|"reason":\s*"(\w+)"')
_STATUS = re.compile(r"non-2xx status code: (\d{3})")


@frozen
class _StorageRule:
    """The error for a kind of failure; ``build_error`` fills in the placeholders of its message and hint."""

    pattern: str
    error: type[QvisionError]
    message: str
    hint: str
    code: str

    def build_error(self, text: str, bucket: "BucketDetails", name: str, *, is_writing: bool) -> QvisionError:
        """Build the error from the text of an exception."""
        region = re.search(r"<Region>([\w-]+)</Region>", text)
        address = f"https://{bucket.name}.s3.amazonaws.com"
        values = {
            "where": bucket.url,
            "name": name,
            "action": "write" if is_writing else "read",
            "reason": _find_reason(text),
            "region": f": {region[1]}" if region else f"; this shows it: curl -sI {address} | grep -i region",
            "invalid": _find_invalid_name(text),
            "endpoint": f" ({bucket.endpoint})" if bucket.endpoint else "",
            "sign_in": bucket.sign_in,
        }
        kind = OutputError if is_writing and self.error is StorageError else self.error
        return kind(self.message.format_map(values), hint=self.hint.format_map(values), code=self.code)


_SIGN_IN_HINT = "{sign_in}"
#: The first rule whose pattern is in the text of the exception applies.
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
        "Set AWS_REGION to the region of the bucket{region}",
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
        r"Encountered object with invalid path",
        StorageError,
        "{name} contains an object whose name is not supported: {invalid}",
        "A name with an empty part, or with . or .. as a part, is not supported: rename it, or list the others for --from.",
        "invalid_name",
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
        "the server of {where} does not support a necessary request ({reason})",
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

#: For failures of which only the status is known; they come after all others.
_STATUS_RULES = (
    _StorageRule(
        r"status code: 40[13]",
        StorageError,
        "no permission to {action} {name} ({reason})",
        "Check the permissions of these credentials. {sign_in}",
        "permission",
    ),
    _StorageRule(
        r"Header missing from response|Got invalid \w+ response|status code: 30\d",
        ConfigError,
        "the server of {where}{endpoint} does not respond as a storage server does",
        "Check the endpoint.",
        "endpoint",
    ),
    _StorageRule(
        r"status code: \d",
        StorageError,
        "cannot {action} {name}: the server reported an error ({reason})",
        "Try again later, or check the endpoint.",
        "storage",
    ),
)


@frozen
class BucketDetails:
    """The details of a bucket, for messages.

    Attributes:
        endpoint: the URL of the server; ``None`` for the provider's own.
        sign_in: the hint how to get credentials.
    """

    url: str
    name: str
    endpoint: str | None
    sign_in: str


@contextmanager
def translate_errors(bucket: BucketDetails, name: str, *, is_writing: bool = False) -> Iterator[None]:
    """Turn the exceptions of obstore into ours.

    Args:
        name: the URL of the object or the folder.
    """
    try:
        yield
    except FileNotFoundError as error:
        if is_writing or re.search(_RULES[0].pattern, str(error)):
            raise _RULES[0].build_error(str(error), bucket, name, is_writing=is_writing) from error
        hint = "Names are case-sensitive. Check the name and the bucket."
        raise MissingObjectError(f"there is no object {name}", hint=hint) from error
    except (BaseError, ValueError, OSError) as error:
        raise _explain(error, bucket, name, is_writing=is_writing) from error


def _explain(error: Exception, bucket: BucketDetails, name: str, *, is_writing: bool) -> QvisionError:
    text = str(error)
    for rule in (*_RULES, *_STATUS_RULES):
        if re.search(rule.pattern, text):
            return rule.build_error(text, bucket, name, is_writing=is_writing)
    reason = re.sub(r"^Generic \w+ error: ", "", text.partition("\n")[0].partition(" Debug source")[0])[:300]
    kind, action = (OutputError, "write") if is_writing else (StorageError, "read")
    return kind(f"cannot {action} {name}: {reason}", hint="Try again, or check the endpoint.")


def _find_invalid_name(text: str) -> str:
    match = re.search(r'Path "(.*?)" contain', text)
    return "" if match is None else match[1]


def _find_reason(text: str) -> str:
    """The server's code, or the status of its response."""
    if (match := _CODE.search(text)) is not None:
        return match[1] or match[2]
    return f"HTTP {status[1]}" if (status := _STATUS.search(text)) is not None else "no reason given"
