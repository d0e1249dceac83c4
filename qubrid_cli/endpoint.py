"""The connection to an endpoint: bytes out, bytes in, every fault as one of our errors. The home of httpx."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import httpx

from . import __version__
from .chat import parsed
from .credentials import scrubbed
from .errors import AuthError, EndpointError, NetworkError
from .refusals import error_for, told

#: Seconds; a host that takes longer to accept a connection is not there.
_CONNECT_TIMEOUT = 10.0
#: Seconds to wait for usage and metrics behind a ``finish_reason``, and behind ``[DONE]``, on an open connection.
_LATE = 5.0
_LATE_AFTER_DONE = 1.0
#: Bytes of the body handed over at once, so that ``sent`` is set when the last of them is on its way.
_PIECE = 256 * 1024
#: Bytes that are read of an error's body.
_MAX_ERROR_BODY = 64 * 1024
_MAX_REDIRECTS = 5


class Answer:
    """A response whose body is being received.

    Attributes:
        seconds: from sending to the response's headers.
    """

    def __init__(self, response: httpx.Response, host: str, seconds: float) -> None:
        self._response = response
        self.host = host
        self.seconds = seconds
        self.status = response.status_code
        self.request_id = _request_id(response)
        self._late: threading.Timer | None = None

    def chunks(self) -> Iterator[bytes]:
        """The body, as it arrives, with any content coding undone.

        Raises:
            NetworkError: the connection broke or fell silent.
        """
        with _translated(self.host):
            yield from self._response.iter_bytes()

    def end_soon(self, *, announced: bool) -> None:
        """The answer is there, and nothing but metrics is still expected: end the body after a moment at most.

        Servers may leave the connection open behind their last event. The read that waits for more is ended by
        shutting the socket down, through a duplicate, for the one in use is in another thread's hands.

        Args:
            announced: the server said that this was all (``[DONE]``).
        """
        stream = self._response.extensions.get("network_stream")
        used = stream.get_extra_info("socket") if stream is not None else None
        if used is None:
            return

        def end() -> None:
            with suppress(OSError), socket.socket(fileno=os.dup(used.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

        self._stop_waiting()
        self._late = threading.Timer(_LATE_AFTER_DONE if announced else _LATE, end)
        self._late.daemon = True
        self._late.start()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def close(self) -> None:
        """Let the connection go, whatever is still to come."""
        self._stop_waiting()
        self._response.close()


class Endpoint:
    """A chat-completions endpoint; a context manager that closes its connections.

    Args:
        base_url: without ``/chat/completions``.
        key: sent to the origin of ``base_url`` and to no other.
        timeout: seconds without a byte after which the endpoint counts as gone.
        transport: something to take the place of the network, such as the built-in endpoint.

    Raises:
        AuthError: the key would cross a network in the clear.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout: float = 300.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = httpx.URL(base_url + "/chat/completions")
        self.host = _host(self.url)
        self._key = key
        if key and self.url.scheme != "https" and not _is_loopback(self.url.host):
            raise AuthError(
                f"the key is not sent to {self.host} over plain http",
                hint="Use https, or unset QUBRID_API_KEY if that server needs no key.",
                code="plain_http",
            )
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",  # a compressing proxy holds tokens back until a block is full
            "Content-Type": "application/json",
            "User-Agent": f"qvision/{__version__}",
        }
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(timeout, connect=min(_CONNECT_TIMEOUT, timeout)), transport=transport
        )

    def __enter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def ask(self, body: bytes, *, sent: threading.Event) -> Iterator[Answer]:
        """Send one request and hold the response open.

        Args:
            sent: set when the whole body is on its way.

        Raises:
            EndpointError: it was refused; the class and the hint say how.
            NetworkError: there is no connection.
        """
        started = time.perf_counter()
        response = self._send(body, sent)
        answer = Answer(response, self.host, time.perf_counter() - started)
        try:
            if not response.is_success:
                raise self._refusal(answer, response)
            yield answer
        finally:
            answer.close()

    def _send(self, body: bytes, sent: threading.Event) -> httpx.Response:
        url = self.url
        for _ in range(_MAX_REDIRECTS):
            headers = {"Content-Length": str(len(body))}
            request = self._client.build_request("POST", url, content=_pieces(body, sent), headers=headers)
            with _translated(self.host):
                response = self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            response.close()
            url = self._redirected(url, response)
        raise EndpointError(f"{self.host} redirects in a circle", hint="Check --base-url.", code="redirects")

    def _redirected(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where to go on; only within the origin, for the key and the images were meant for it alone (RFC 6454)."""
        try:
            there = url.join(response.headers["Location"])
        except httpx.InvalidURL:
            there = httpx.URL()
        if (there.scheme, there.host, there.port) == (url.scheme, url.host, url.port):
            return there
        raise EndpointError(
            f"{self.host} redirects to {there.scheme}://{_host(there)}, where nothing is sent",
            hint="If you trust that address, set it with --base-url.",
            code="redirect",
            status=response.status_code,
        )

    def _refusal(self, answer: Answer, response: httpx.Response) -> EndpointError:
        data = b""
        with suppress(NetworkError):
            for chunk in answer.chunks():
                data += chunk
                if len(data) > _MAX_ERROR_BODY:
                    break
        try:
            payload = parsed(data)
        except ValueError:
            payload = data.decode(errors="replace")
        return self.refused(payload, status=response.status_code, request_id=answer.request_id)

    def refused(self, payload: object, *, status: int, request_id: str | None) -> EndpointError:
        """The error that a server's error body means, with the key taken out should the server echo it."""
        refusal = told(payload, status=status, host=self.host, request_id=request_id)
        error = error_for(refusal)
        error.message = scrubbed(error.message, self._key)
        return error


def _pieces(body: bytes, sent: threading.Event) -> Iterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
    sent.set()


def _host(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace").rpartition("@")[2]


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _request_id(response: httpx.Response) -> str | None:
    found = response.headers.get("x-request-id")
    return found[:200] if isinstance(found, str) and found else None


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """No exception of httpx leaves this module."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise NetworkError(
            f"{host} did not accept a connection in time", hint="Check --base-url and the network."
        ) from error
    except httpx.TimeoutException as error:
        raise NetworkError(
            f"{host} sent nothing for too long", hint="Try again, or wait longer with --timeout.", code="timeout"
        ) from error
    except httpx.ConnectError as error:
        raise NetworkError(f"no connection to {host}: {error}", hint="Check --base-url and the network.") from error
    except httpx.TransportError as error:
        raise NetworkError(f"the connection to {host} broke: {error}", hint="Try again.") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise EndpointError(f"{host} could not be understood: {error}", hint="Check --base-url.") from error
