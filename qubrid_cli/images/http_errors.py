"""Why an HTTP exchange failed: the one translation of httpx's exceptions, used by images.download and by client.

It lies in ``images`` because ``images.download`` must not import ``client``, the room above, and because the root
modules do without httpx. It is loaded only after a failure.
"""

import enum
import re
import socket
import ssl
from typing import TypeVar

import httpx

from .. import certificates
from ..frozen import frozen

_UNTRUSTED = "the certificate of {host} cannot be trusted: {details}"


class Cause(enum.Enum):
    """What failed: the message, the hint and the code; ``explain`` fills in the placeholders."""

    CERTIFICATE_EXPIRED = (_UNTRUSTED, "It has expired; the operator of the server must renew it.", "certificate")
    CERTIFICATE_OF_OTHER_HOST = (
        _UNTRUSTED,
        "It was issued for another name or address: check the host in {url}.",
        "certificate",
    )
    CERTIFICATE_UNTRUSTED = (
        _UNTRUSTED,
        "For a server of your own, set SSL_CERT_FILE to the file of its certificate authority.",
        "certificate",
    )
    CERTIFICATE_OF_UNKNOWN_AUTHORITY = (
        "the certificate of {host} was issued by {issuer}, which this machine does not trust",
        "If you trust it, add its certificate to the system's store, or set SSL_CERT_FILE to the file.",
        "certificate",
    )
    CERTIFICATE_NOT_STRICT = (
        "the certificate of {host} is refused: {details}",
        "Python 3.13 and newer follow RFC 5280 strictly: the authority needs a new certificate, or use Python 3.12.",
        "certificate",
    )
    TLS = ("no secure connection to {host}: {details}", "It may speak plain http: check {url}.", "tls")
    TLS_CUT_OFF = ("{host} closed the connection during the TLS handshake", "Try again, or check {url}.", "tls")
    CONNECT_TIMEOUT = ("{host} did not accept a connection in time", "Check {url} and the network.", "timeout")
    UNKNOWN_HOST = ("there is no host named {host}", "Check {url} and the network.", "no_such_host")
    CONNECTION_REFUSED = (
        "{host} refuses the connection",
        "Check that the server is running, and the port in {url}.",
        "network",
    )
    NO_CONNECTION = (
        "no connection to {host}: {details}",
        "Check {url}, the network, and the proxy if one is set.",
        "network",
    )
    PROXY = ("the proxy refused: {details}", "Check HTTPS_PROXY and HTTP_PROXY.", "proxy")
    SEND_TIMEOUT = ("{host} accepted no data for {timeout:g} s", "Try again, or raise --timeout.", "timeout")
    READ_TIMEOUT = ("{host} sent no data for {timeout:g} s", "Try again, or raise --timeout.", "timeout")
    NOT_HTTP = ("{host} does not speak HTTP", "Check the port in {url}.", "protocol")
    INVALID_REDIRECT = ("{host} redirects to an invalid URL", "Check {url}.", "redirect")
    CONNECTION_BROKEN = ("the connection to {host} broke: {details}", "Try again.", "network")
    UNREADABLE = ("the response from {host} cannot be read: {details}", "Check {url}.", "protocol")


#: httpx's exceptions, each class before its base classes.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (httpx.ConnectTimeout, Cause.CONNECT_TIMEOUT),
    (httpx.WriteTimeout, Cause.SEND_TIMEOUT),
    (httpx.TimeoutException, Cause.READ_TIMEOUT),
    (httpx.ProxyError, Cause.PROXY),
    (httpx.ConnectError, Cause.NO_CONNECTION),
    (httpx.NetworkError, Cause.CONNECTION_BROKEN),
    (httpx.RemoteProtocolError, Cause.CONNECTION_BROKEN),
)
#: OpenSSL's numbers for some faults of a certificate (x509_vfy.h): it expired, or is for another name or address.
_CERTIFICATE_CAUSES = {
    10: Cause.CERTIFICATE_EXPIRED,
    62: Cause.CERTIFICATE_OF_OTHER_HOST,
    64: Cause.CERTIFICATE_OF_OTHER_HOST,
}
#: What OpenSSL says of certificates that only its strict checks refuse.
_STRICT = re.compile("key identifier|basic constraints|key usage", re.IGNORECASE)
#: Seconds to find out who issued a certificate.
_ISSUER_TIMEOUT = 5.0

_Error = TypeVar("_Error", bound=BaseException)


@frozen
class HttpFailure:
    """A failed exchange: its cause, and the texts for the error to raise."""

    cause: Cause
    message: str
    hint: str
    code: str


def explain(error: Exception, host: str, *, url: str, timeout: float, is_direct: bool) -> HttpFailure:
    """Explain an exception of httpx or ``ssl``.

    Args:
        url: how the hint refers to the address, such as "--base-url".
        timeout: seconds without data after which httpx gave up.
        is_direct: no proxy was used. If one was, an unknown or refusing host may be the proxy.
    """
    cause, details = _classify(error, is_direct=is_direct)
    issuer = None
    if cause is Cause.CERTIFICATE_UNTRUSTED and is_direct:
        issuer = certificates.find_issuer(host, _ISSUER_TIMEOUT)
        cause = Cause.CERTIFICATE_OF_UNKNOWN_AUTHORITY if issuer else cause
    message, hint, code = cause.value
    message = message.format(host=host, timeout=timeout, details=details, issuer=issuer)
    return HttpFailure(cause, message, hint.format(url=url), code)


def _classify(error: Exception, *, is_direct: bool) -> tuple[Cause, str]:
    """The cause, and its details in the library's own words."""
    details = str(error).rstrip(".")
    cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), Cause.UNREADABLE)
    tls_error = _find_cause(error, ssl.SSLError)
    if isinstance(tls_error, ssl.SSLCertVerificationError):
        default = Cause.CERTIFICATE_NOT_STRICT if _STRICT.search(details) else Cause.CERTIFICATE_UNTRUSTED
        cause = _CERTIFICATE_CAUSES.get(tls_error.verify_code, default)
        return cause, tls_error.verify_message
    if tls_error is not None and (cause is Cause.NO_CONNECTION or tls_error is error):
        cause = Cause.TLS_CUT_OFF if isinstance(tls_error, ssl.SSLEOFError) else Cause.TLS
        return cause, tls_error.reason or str(tls_error)
    if cause is Cause.NO_CONNECTION and is_direct:
        if _find_cause(error, socket.gaierror):
            return Cause.UNKNOWN_HOST, details
        if _find_cause(error, ConnectionRefusedError):
            return Cause.CONNECTION_REFUSED, details
    if isinstance(error, httpx.RemoteProtocolError):
        if details.startswith("illegal"):  # h11, which quotes what it received
            return Cause.NOT_HTTP, details
        if "location header" in details:  # httpx parses it although it does not follow redirects here
            return Cause.INVALID_REDIRECT, details
    return cause, details


def _find_cause(error: BaseException, kind: type[_Error]) -> _Error | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__ or cause.__context__
    return cause
