"""A response while its body arrives, and httpx's exceptions as our errors."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Protocol

import httpx

from .errors import EndpointError, NetworkError, UnreachableError, WayError
from .frozen import frozen
from .retries import retry_after

#: Seconds to wait for usage and metrics behind a ``finish_reason``, and behind ``[DONE]``, on an open connection.
_LATE = 5.0
_LATE_AFTER_DONE = 1.0


class _Stream(Protocol):
    """What httpx calls a network stream."""

    def get_extra_info(self, info: str) -> Any: ...


class Cutter:
    """Ends a connection from a thread of its own when its time is over, so that a read which waits on it ends at once.

    httpx has no limit for a whole request, only for each single read. (Connecting, with the handshake of TLS, has one
    of its own; before that there is nothing to cut.)
    """

    def __init__(self) -> None:
        self.is_over = False
        self._stream: _Stream | None = None
        self._timer: threading.Timer | None = None
        self._deadline = inf  # of the whole request
        self._soon = inf

    def hold(self, name: str, info: Mapping[str, Any]) -> None:
        """Take note of the connection in use: httpx's ``trace`` extension, which calls this for every step."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            if self.is_over:
                self._cut()

    def start(self, seconds: float | None) -> None:
        """Cut after so many seconds; ``None`` for never."""
        self.is_over = False
        self._deadline = inf if seconds is None else time.monotonic() + seconds
        self._soon = inf
        self._set(self._deadline, self._time_is_over)

    def soon(self, seconds: float) -> None:
        """Nothing that matters is expected any more: cut after so many seconds, or sooner where that was said before."""
        self._soon = min(self._soon, self._deadline, time.monotonic() + seconds)
        self._set(self._soon, self._time_is_over if self._soon == self._deadline else self._cut)

    def stop(self) -> None:
        """Cut nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, deadline: float, act: Callable[[], None]) -> None:
        self.stop()
        if deadline < inf:
            self._timer = threading.Timer(max(0.001, deadline - time.monotonic()), act)
            self._timer.daemon = True
            self._timer.start()

    def _time_is_over(self) -> None:
        self.is_over = True
        self._cut()

    def _cut(self) -> None:
        used = self._stream.get_extra_info("socket") if self._stream is not None else None
        if used is not None:
            # An SSLSocket would drop its state first, under the feet of the thread that reads: so the plain method.
            with suppress(OSError):
                socket.socket.shutdown(used, socket.SHUT_RDWR)


class Response:
    """A response whose body is being received.

    Attributes:
        seconds: from sending to the response's headers.
        retry_after: seconds that the server asks to wait.
    """

    def __init__(self, response: httpx.Response, wire: "Wire", request_id: str | None, seconds: float) -> None:
        self._response = response
        self._wire = wire
        self.seconds = seconds
        self.status = response.status_code
        self.is_success = response.is_success
        self.retry_after = retry_after(response.headers)
        self.request_id = request_id

    def chunks(self) -> Iterator[bytes]:
        """The body, as it arrives, with any content coding undone.

        Raises:
            NetworkError: the connection broke, fell silent, or its time was over.
        """
        with self._wire.translated():
            yield from self._response.iter_bytes()

    def end_soon(self, *, announced: bool) -> None:
        """The answer is there, and nothing but metrics is still expected: a moment for them, and no more.

        Servers may leave the connection open behind their last event.

        Args:
            announced: the server said that this was all (``[DONE]``).
        """
        self._wire.cutter.soon(_LATE_AFTER_DONE if announced else _LATE)

    def beginning(self, size: int) -> bytes:
        """The first bytes of a body that tells of an error; what does not come soon is not waited for."""
        self._wire.cutter.soon(_LATE)
        data = b""
        with suppress(httpx.HTTPError):
            for chunk in self._response.iter_bytes():
                data += chunk
                if len(data) > size:
                    break
        return data


@frozen
class Wire:
    """The way to one host: how its faults are called, and what cuts it.

    Attributes:
        clean: takes out of a text what must not be repeated.
    """

    host: str
    cutter: Cutter
    clean: Callable[[str], str]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """No exception of httpx leaves the rooms where it is at home."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            raise self.over() if self.cutter.is_over else self._meaning(error) from error
        if self.cutter.is_over:  # a body without a length ends where it is cut, with no error
            raise self.over()

    def over(self) -> NetworkError:
        """The error for a request that took too long as a whole."""
        return NetworkError(f"{self.host} did not finish within --max-time", hint="Raise --max-time.", code="max_time")

    def _meaning(self, error: Exception) -> EndpointError:
        words = self.clean(str(error))
        match error:
            case httpx.ConnectTimeout():
                return UnreachableError(
                    f"{self.host} did not accept a connection in time", hint="Check --base-url and the network."
                )
            case httpx.WriteTimeout():
                return NetworkError(
                    f"{self.host} took nothing of the request for too long", hint="Try again.", code="timeout"
                )
            case httpx.TimeoutException():
                return NetworkError(
                    f"{self.host} sent nothing for too long", hint="Try again, or raise --timeout.", code="timeout"
                )
            case httpx.ProxyError():
                return WayError(f"the proxy refused: {words}", hint="Check HTTPS_PROXY and HTTP_PROXY.", code="proxy")
            case httpx.ConnectError():
                hint = "Check --base-url, the network, and the proxy if one is set."
                return tls_error(error, self.host) or UnreachableError(
                    f"no connection to {self.host}: {words}", hint=hint
                )
            case httpx.RemoteProtocolError() if words.startswith("illegal"):  # h11 quotes what it got
                return _passing(f"{self.host} does not speak HTTP", "Check the port in --base-url.")
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                return _passing(f"the connection to {self.host} broke: {words}", "Try again.")
            case _:
                return EndpointError(
                    f"{self.host} could not be understood: {words}", hint="Check --base-url.", code="protocol"
                )


def _passing(message: str, hint: str) -> NetworkError:
    error = NetworkError(message, hint=hint)
    error.passes = True
    return error


#: OpenSSL's numbers for what is wrong with a certificate (x509_vfy.h), where something special can be done about it.
_CERTIFICATE_HINTS = {
    10: "It has expired; whoever runs the server must renew it.",
    62: "It is for another name: check the host in --base-url.",
    64: "It is for another address: check the host in --base-url.",
}


def tls_error(error: BaseException, host: str) -> WayError | None:
    """What failed while the connection was being secured; ``None`` where it was something else, or may pass."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return WayError(
            f"the certificate of {host} cannot be trusted: {cause.verify_message}",
            hint=_CERTIFICATE_HINTS.get(
                cause.verify_code, "For a server of your own, name its certificate authority's file in SSL_CERT_FILE."
            ),
            code="certificate",
        )
    if cause is not None and not isinstance(cause, ssl.SSLEOFError):
        return WayError(
            f"no secure connection to {host}: {cause.reason or cause}",
            hint="Perhaps it speaks plain http: check --base-url.",
            code="tls",
        )
    return None
