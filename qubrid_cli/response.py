"""A response while its body arrives, and httpx's exceptions as our errors."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import httpx

from .errors import EndpointError, NetworkError

#: Seconds to wait for usage and metrics behind a ``finish_reason``, and behind ``[DONE]``, on an open connection.
_LATE = 5.0
_LATE_AFTER_DONE = 1.0


class _Stream(Protocol):
    """What httpx calls a network stream."""

    def get_extra_info(self, info: str) -> Any: ...


class Cutter:
    """Ends a connection from a thread of its own when its time is over, so that a read which waits on it ends at once.

    httpx has no limit for a whole request, only for each single read.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._stream: _Stream | None = None
        self._timer: threading.Timer | None = None

    def hold(self, name: str, info: Mapping[str, Any]) -> None:
        """Take note of the connection in use: httpx's ``trace`` extension, which calls this for every step."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            if self.is_over:
                self._cut()

    def start(self, seconds: float | None) -> None:
        """Cut after so many seconds; ``None`` for never."""
        self.stop()
        self.is_over = False
        self._set(seconds, self._time_is_over)

    def end_soon(self, *, announced: bool) -> None:
        """The answer is there, and nothing but metrics is still expected: a moment for them, and no more.

        Servers may leave the connection open behind their last event.

        Args:
            announced: the server said that this was all (``[DONE]``).
        """
        self.stop()
        self._set(_LATE_AFTER_DONE if announced else _LATE, self._cut)

    def stop(self) -> None:
        """Cut nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, seconds: float | None, act: Callable[[], None]) -> None:
        if seconds is not None:
            self._timer = threading.Timer(seconds, act)
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
    """

    def __init__(self, response: httpx.Response, request_id: str | None, seconds: float) -> None:
        self._response = response
        self.seconds = seconds
        self.status = response.status_code
        self.request_id = request_id

    def chunks(self) -> Iterator[bytes]:
        """The body, as it arrives, with any content coding undone."""
        yield from self._response.iter_bytes()


@contextmanager
def translated(host: str, cutter: Cutter) -> Iterator[None]:
    """No exception of httpx leaves the rooms where it is at home."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        raise _over(host) if cutter.is_over else _meaning(error, host) from error
    if cutter.is_over:  # a body without a length ends where it is cut, with no error
        raise _over(host)


def _over(host: str) -> NetworkError:
    return NetworkError(f"{host} did not finish within --max-time", hint="Raise --max-time.", code="max_time")


def _meaning(error: Exception, host: str) -> EndpointError:
    match error:
        case httpx.ConnectTimeout():
            return _passing(f"{host} did not accept a connection in time", "Check --base-url and the network.")
        case httpx.TimeoutException():
            return NetworkError(
                f"{host} sent nothing for too long", hint="Try again, or wait longer with --timeout.", code="timeout"
            )
        case httpx.ProxyError():
            return NetworkError(f"the proxy refused: {error}", hint="Check HTTPS_PROXY and HTTP_PROXY.", code="proxy")
        case httpx.ConnectError():
            return _tls(error, host) or _passing(
                f"no connection to {host}: {error}", "Check --base-url and the network."
            )
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return _passing(f"the connection to {host} broke: {error}", "Try again.")
        case _:
            return EndpointError(f"{host} could not be understood: {error}", hint="Check --base-url.", code="protocol")


def _passing(message: str, hint: str) -> NetworkError:
    error = NetworkError(message, hint=hint)
    error.passes = True
    return error


def _tls(error: BaseException, host: str) -> NetworkError | None:
    """What failed while the connection was being secured; ``None`` where it was something else."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return NetworkError(
            f"the certificate of {host} cannot be trusted: {cause.verify_message}",
            hint="For a server of your own, name its certificate authority's file in SSL_CERT_FILE.",
            code="certificate",
        )
    if cause is not None:
        return NetworkError(
            f"no secure connection to {host}: {cause.reason or cause}",
            hint="Perhaps it speaks plain http: check --base-url.",
            code="tls",
        )
    return None
