"""Why an image could not be had from the web: for each cause a sentence of its own, and what can be done."""

import re
import socket
import ssl
from typing import TypeVar

import httpx

from . import foreign
from .errors import ImageError

ELSEWHERE = "Download it by other means, and name the file."

#: Text that may be a picture all the same: Netpbm's plain forms, and what can be turned into one, such as SVG.
_TEXT_PICTURE = re.compile(rb"P[1-7f]\s|(\xef\xbb\xbf)?\s*<|%!PS")

_Cause = TypeVar("_Cause", bound=BaseException)


def no_picture(data: bytes, name: str) -> ImageError | None:
    """The error for what servers send in place of a picture, with status 200 and under its name."""
    if foreign.is_web_page(data):
        hint = "Open it in a browser and copy the address of the picture itself; or it wants you to log in first."
        return ImageError(f"{name} is not an image but a web page", hint=hint, code="not_an_image")
    if data and foreign.is_text(data) and not _TEXT_PICTURE.match(data):
        hint = "Look at what it says: it may be a server's error."
        return ImageError(f"{name} is not an image but text", hint=hint, code="not_an_image")
    return None


def refused(status: int, name: str, host: str, *, scheme: str, has_password: bool) -> ImageError:
    """The error that an HTTP status means."""
    if status == 401 and has_password:
        said, hint = f"{host} refused the user and password in {name}", "Check them; in a URL, @ is written as %40."
    elif status == 401:
        said, hint = (
            f"{host} wants a user and a password for {name}",
            f"Write them into its URL: {scheme}://USER:PASSWORD@{host}/…",
        )
    elif status == 403:
        said, hint = f"{host} does not give out {name}", f"It may want a login, or a browser. {ELSEWHERE}"
    elif status in {404, 410}:
        said, hint = f"{host} has nothing at {name}", "Check the address."
    elif status == 429:
        said, hint = f"{host} was asked too often to give out {name}", "Wait a while, then try again."
    elif status >= 500:
        said, hint = f"{host} failed to send {name}", f"Try again later. {ELSEWHERE}"
    else:
        said, hint = f"{host} did not send {name}", ELSEWHERE
    return ImageError(f"{said} (HTTP {status})", hint=hint, code="not_fetched", status=status)


def failed(error: httpx.HTTPError, name: str, host: str, *, timeout: float, is_direct: bool) -> ImageError:
    """The error for what went wrong on the way to a host or back.

    Args:
        timeout: the seconds without a byte that were waited.
        is_direct: no proxy stands between, which might be what failed.
    """
    said, hint, code = _unconnected(error, host, is_direct=is_direct) or _fault(error, host, timeout)
    return ImageError(f"{name}: {said}", hint=hint, code=code)


def _fault(error: httpx.HTTPError, host: str, timeout: float) -> tuple[str, str, str]:
    """The end of a sentence, a hint, a code."""
    match error:
        case httpx.ConnectTimeout():
            return f"no connection to {host} in time", "Check the address and the network.", "timeout"
        case httpx.TimeoutException():
            return f"{host} sent nothing for {timeout:g} s", "Try again, or raise --timeout.", "timeout"
        case httpx.ConnectError():
            return f"no connection to {host}: {error}", "Check the network, and the proxy if one is set.", "network"
        case httpx.ProxyError():
            return f"the proxy refused: {error}", "Check HTTPS_PROXY and HTTP_PROXY.", "proxy"
        case httpx.RemoteProtocolError() if str(error).startswith("illegal"):  # h11 quotes what it got
            return f"{host} does not speak HTTP", "Check the port.", "protocol"
        case httpx.RemoteProtocolError() if "location header" in str(error):  # which httpx reads though it follows none
            return f"{host} redirects to no valid URL", ELSEWHERE, "redirect"
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return f"the connection to {host} broke before all of it was here", "Try again.", "network"
        case _:
            return f"{host} could not be understood: {error}", ELSEWHERE, "protocol"


def _unconnected(error: httpx.HTTPError, host: str, *, is_direct: bool) -> tuple[str, str, str] | None:
    """The same where there is no connection, for a reason that is known for sure."""
    tls = _cause(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        hint = "For a server of your own, name its certificate authority's file in SSL_CERT_FILE."
        return f"the certificate of {host} cannot be trusted: {tls.verify_message}", hint, "certificate"
    if not isinstance(error, httpx.ConnectError):
        return None
    if tls is not None:
        hint = "Perhaps it speaks plain http: write http:// in the URL."
        return f"no secure connection to {host}: {tls.reason or tls}", hint, "tls"
    if is_direct and _cause(error, socket.gaierror) is not None:
        return f"there is no host of the name {host}", "Check the address and the network.", "no_such_host"
    if is_direct and _cause(error, ConnectionRefusedError) is not None:
        return f"{host} refuses the connection", "Is its server running, and the port right?", "network"
    return None


def _cause(error: BaseException, kind: type[_Cause]) -> _Cause | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__ or cause.__context__
    return cause
