"""Explain why an HTTP exchange failed: the only translation of httpx's exceptions, for ``images.download`` and ``client``.

It is loaded only after a failure, because it loads httpx.
"""

import enum
import re
import socket
import ssl
from typing import TypeVar

import httpx

from . import certificates
from .errors import find_shortage
from .frozen import frozen
from .urls import PROXY_LOGIN_HINT

_PROXY_VARIABLES = "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
_UNTRUSTED = "the certificate of {host} cannot be trusted: {details}"


class Cause(enum.Enum):
    """What failed: a message, a hint and a code; ``explain`` fills in the placeholders."""

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
    TLS_REFUSED_AS_HTTP = (
        "no secure connection to {host}, which seems to speak plain http: {details}",
        "Check {url}: the port, and http:// in place of https://.",
        "tls",
    )
    TLS_EXPECTED = ("{host} speaks https, not plain http", "Check {url}: it must begin with https://.", "tls")
    HTTP2_ONLY = (
        "{host} speaks only HTTP/2, which this program does not",
        "Check {url}, or put a proxy that speaks HTTP/1.1 in front of the server.",
        "protocol",
    )
    HEADERS_TOO_LONG = ("{host} sent headers that are longer than 100 KB", "Check {url}.", "protocol")
    TLS_CUT_OFF = ("{host} closed the connection during the TLS handshake", "Try again, or check {url}.", "tls")
    CONNECT_TIMEOUT = ("{host} did not accept a connection in time", "Check {url} and the network.", "timeout")
    UNKNOWN_HOST = ("there is no host named {host}", "Check {url} and the network.", "no_such_host")
    SHORTAGE = (
        "this machine cannot open another connection to {host}: {details}",
        "Send fewer requests at once, or allow more open files: ulimit -n 4096.",
        "resources",
    )
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
    PROXY = ("the proxy {proxy} refused: {details}", f"Check {_PROXY_VARIABLES}.", "proxy")
    PROXY_LOGIN = ("the proxy {proxy} requires a login: {details}", PROXY_LOGIN_HINT, "proxy")
    PROXY_CANNOT_CONNECT = (
        "the proxy {proxy} cannot connect to {host}: {details}",
        f"Check {{url}} and {_PROXY_VARIABLES}.",
        "proxy",
    )
    PROXY_UNREACHABLE = (
        "no connection to the proxy {proxy}: {details}",
        f"Check that it is running, or change or unset {_PROXY_VARIABLES}.",
        "proxy",
    )
    PROXY_TIMEOUT = (
        "the proxy {proxy} did not accept a connection to {host} in time",
        f"Check {_PROXY_VARIABLES} and the network.",
        "timeout",
    )
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
#: OpenSSL's error numbers (x509_vfy.h) for a certificate that has expired, or is for another name or address.
_CERTIFICATE_CAUSES = {
    10: Cause.CERTIFICATE_EXPIRED,
    62: Cause.CERTIFICATE_OF_OTHER_HOST,
    64: Cause.CERTIFICATE_OF_OTHER_HOST,
}
#: In OpenSSL's messages about certificates that only its strict checks refuse.
_STRICT = re.compile("key identifier|basic constraints|key usage", re.IGNORECASE)
#: OpenSSL's reasons if the server answers a handshake with text.
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
)
#: How h11 quotes a TLS alert (RFC 8446, section 6), and a SETTINGS or GOAWAY frame of HTTP/2 (RFC 9113, section 4.1).
_TLS_ALERT = re.compile(r"b['\"]\\x15\\x03")
_HTTP2_FRAME = re.compile(r"b['\"]\\x00\\x00(?:\\x[0-9a-f]{2}|\\[a-z]|.)\\x0[47]")
#: Seconds for finding out who issued a certificate.
_ISSUER_TIMEOUT = 5.0

_Error = TypeVar("_Error", bound=BaseException)


@frozen
class HttpFailure:
    """A failed exchange: its cause, and the texts of the error to raise."""

    cause: Cause
    message: str
    hint: str
    code: str


def explain(error: Exception, host: str, *, url: str, timeout: float, proxy: str | None) -> HttpFailure:
    """Explain an exception of httpx or ``ssl``.

    Args:
        url: how the hint refers to the address, such as "--base-url".
        timeout: seconds without data after which httpx gave up.
        proxy: the host and port of the proxy that was used; ``None`` if none was.
    """
    cause, details = _classify(error)
    if proxy is not None:
        cause, details = _blame_proxy(cause, details)
    issuer = None
    if cause is Cause.CERTIFICATE_UNTRUSTED and proxy is None:
        issuer = certificates.find_issuer(host, _ISSUER_TIMEOUT)
        cause = Cause.CERTIFICATE_OF_UNKNOWN_AUTHORITY if issuer else cause
    message, hint, code = cause.value
    message = message.format(host=host, timeout=timeout, details=details, issuer=issuer, proxy=proxy)
    return HttpFailure(cause, message, hint.format(url=url), code)


def _blame_proxy(cause: Cause, details: str) -> tuple[Cause, str]:
    """The cause of a failure with a proxy: this machine connects only to the proxy, which resolves the host and connects."""
    match cause:
        case Cause.UNKNOWN_HOST:
            return Cause.PROXY_UNREACHABLE, "there is no such host"
        case Cause.CONNECTION_REFUSED:
            return Cause.PROXY_UNREACHABLE, "it refuses the connection"
        case Cause.NO_CONNECTION:
            return Cause.PROXY_UNREACHABLE, details
        case Cause.CONNECT_TIMEOUT:
            return Cause.PROXY_TIMEOUT, details
        case Cause.PROXY if details.startswith("407"):
            return Cause.PROXY_LOGIN, details
        case Cause.PROXY if details.startswith(("502", "503", "504")):
            return Cause.PROXY_CANNOT_CONNECT, details
        case _:
            return cause, details


def _classify(error: Exception) -> tuple[Cause, str]:
    """The cause, and its details in the words of the library."""
    details = str(error).rstrip(".")
    cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), Cause.UNREADABLE)
    tls_error = _find_in_chain(error, ssl.SSLError)
    if isinstance(tls_error, ssl.SSLCertVerificationError):
        default = Cause.CERTIFICATE_NOT_STRICT if _STRICT.search(details) else Cause.CERTIFICATE_UNTRUSTED
        return _CERTIFICATE_CAUSES.get(tls_error.verify_code, default), tls_error.verify_message
    if tls_error is not None and (cause is Cause.NO_CONNECTION or tls_error is error):
        return _classify_tls(tls_error), tls_error.reason or str(tls_error)
    if cause is Cause.NO_CONNECTION:
        if (shortage := find_shortage(error)) and not isinstance(shortage, socket.gaierror):
            return Cause.SHORTAGE, shortage.strerror or details
        if _find_in_chain(error, socket.gaierror):
            return Cause.UNKNOWN_HOST, details
        if _find_in_chain(error, ConnectionRefusedError):
            return Cause.CONNECTION_REFUSED, details
    if isinstance(error, httpx.RemoteProtocolError):
        return _classify_protocol_error(details), details
    return cause, details


def _classify_protocol_error(details: str) -> Cause:
    """The cause of an error of h11, whose message quotes the bytes received."""
    if details.startswith("illegal"):
        if _TLS_ALERT.search(details):
            return Cause.TLS_EXPECTED
        return Cause.HTTP2_ONLY if _HTTP2_FRAME.search(details) else Cause.NOT_HTTP
    if "buffer too long" in details:
        return Cause.HEADERS_TOO_LONG
    # httpx parses the header Location although it does not follow redirects here.
    return Cause.INVALID_REDIRECT if "location header" in details else Cause.CONNECTION_BROKEN


def _classify_tls(error: ssl.SSLError) -> Cause:
    if isinstance(error, ssl.SSLEOFError):
        return Cause.TLS_CUT_OFF
    if "NO_APPLICATION_PROTOCOL" in (error.reason or ""):
        return Cause.HTTP2_ONLY
    return Cause.TLS_REFUSED_AS_HTTP if error.reason in _NO_TLS else Cause.TLS


def _find_in_chain(error: BaseException, kind: type[_Error]) -> _Error | None:
    """The first exception of a kind among an error and those that led to it."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, kind):
        link = link.__cause__ or link.__context__
    return link
