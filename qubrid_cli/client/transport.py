"""The connection to one host: its sockets, the response while its body arrives, and its errors as our own.

The first socket is the one that ``preconnect`` opened, if any. Small writes are joined: httpcore writes the header and each
chunk of the body separately, every write releases the interpreter's lock, and small ones become packets of their own. So
data is collected up to a megabyte, or until the response is read.
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

import httpcore
import httpx

from ..deadline import Deadline
from ..errors import EndpointError, NetworkError
from ..frozen import frozen
from ..operating_system import call_interruptibly, receive
from ..urls import find_proxy, find_proxy_url
from . import preconnect
from .request import RequestBody

#: Seconds to wait for usage and metrics while the connection stays open: after a ``finish_reason``, and after ``[DONE]``.
_LATE_WAIT = 5.0
_LATE_WAIT_AFTER_DONE = 1.0
#: Bytes. httpcore reads as many at once; decompressed, these may become a thousand times as many.
_SLICE_SIZE = 64 * 1024

#: The encodings that httpx always decodes, and the packages with which it decodes others.
_CONTENT_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
_DECODERS = {"br": ("brotli", "brotlicffi"), "zstd": ("zstandard",)}


@frozen
class Connection:
    """The connection to one host: its limits, and the errors for what fails on it.

    Attributes:
        timeout: seconds without data after which httpx gives up.
        redact: removes secrets from a text.
        time_option: the option that limits a whole exchange.
    """

    host: str
    base_url: str
    timeout: float
    deadline: Deadline
    redact: Callable[[str], str]
    time_option: str

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise our errors in place of httpx's."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            raise self.build_timeout_error() if self.deadline.is_expired else self._translate(error) from error
        if self.deadline.is_expired:  # a body of unknown length ends without an error where the deadline cuts it off
            raise self.build_timeout_error()

    def build_timeout_error(self) -> NetworkError:
        """The error for an exchange that reached its deadline."""
        option = self.time_option
        return NetworkError(f"{self.host} did not finish within {option}", hint=f"Raise {option}.", code="max_time")

    def _translate(self, error: Exception) -> EndpointError:
        from .. import http_errors
        from .errors.rules import build_transport_error

        proxy = find_proxy(self.base_url)
        failure = http_errors.explain(error, self.host, url="--base-url", timeout=self.timeout, proxy=proxy)
        return build_transport_error(failure, self.redact(failure.message))


class Response:
    """A response whose body is still arriving.

    Attributes:
        request_id: the server's id of the request, if it sent one.
        seconds: from sending the request to receiving the response's headers.
    """

    def __init__(self, response: httpx.Response, connection: Connection, seconds: float) -> None:
        self._response = response
        self._connection = connection
        self.seconds = seconds
        self.status = response.status_code
        self.is_success = response.is_success
        self.headers = response.headers
        request_id = response.headers.get("x-request-id")
        self.request_id = connection.redact(request_id)[:200] if request_id else None

    def iter_chunks(self) -> Iterator[bytes]:
        """The body as it arrives, decompressed, in slices.

        Raises:
            EndpointError: the content encoding cannot be decoded.
            NetworkError: the connection broke or timed out.
        """
        if (encoding := self._find_unknown_encoding()) is not None:
            raise EndpointError(
                f"{self._connection.host} answered with the content encoding {encoding}, which this program did not request",
                hint="The server, or a proxy in front of it, ignores Accept-Encoding: identity. Turn off its compression.",
                code="protocol",
                status=self.status,
            )
        deadline = self._connection.deadline
        with self._connection.translate_errors():
            for chunk in self._response.iter_bytes():
                for start in range(0, len(chunk), _SLICE_SIZE):
                    if deadline.is_expired:  # data that has already arrived could take long to read
                        raise self._connection.build_timeout_error()
                    yield chunk[start : start + _SLICE_SIZE]

    def _find_unknown_encoding(self) -> str | None:
        """The content encoding that httpx cannot decode here; ``None`` if it can decode all of them."""
        names = self.headers.get("content-encoding", "").lower().replace(" ", "").split(",")
        name = next((name for name in names if name not in _CONTENT_ENCODINGS), None)
        if name is None or any(map(find_spec, _DECODERS.get(name, ()))):
            return None
        return self._connection.redact(name)[:40]

    def limit_wait(self, *, is_done: bool) -> None:
        """Wait only some seconds longer for usage and metrics, because some servers never close the connection.

        Args:
            is_done: whether ``[DONE]`` has arrived; then the wait is shorter.
        """
        self._connection.deadline.shorten(_LATE_WAIT_AFTER_DONE if is_done else _LATE_WAIT)

    def restore_wait(self) -> None:
        """Undo ``limit_wait``: the answer goes on."""
        self._connection.deadline.restore()

    def read_beginning(self, size: int) -> bytes:
        """Read at least ``size`` bytes of an error's body, or all of a shorter one; stops early if the server stalls.

        Empty if the content encoding cannot be decoded.
        """
        self._connection.deadline.shorten(_LATE_WAIT)
        data = b""
        if self._find_unknown_encoding() is not None:
            return data
        with suppress(httpx.HTTPError):
            for chunk in self._response.iter_bytes():
                data += chunk
                if len(data) > size:
                    break
        return data


#: Bytes that are collected before they are written.
_WRITE_SIZE = 1024 * 1024


@contextmanager
def _translate_socket_errors(timeout_error: type[Exception], error: type[Exception]) -> Iterator[None]:
    """Raise the exceptions that httpx expects from its network backend."""
    try:
        yield
    except TimeoutError as cause:
        raise timeout_error(cause) from cause
    except OSError as cause:
        raise error(cause) from cause


def _watch(connected: socket.socket) -> Callable[[], bool]:
    """Return a function that tells whether the server has sent something, or closed the connection."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: bool(select.select([connected], [], [], 0)[0])
    poll = select.poll()  # unlike select, it takes descriptors above 1023
    poll.register(connected, select.POLLIN)
    return lambda: bool(poll.poll(0))


class _Stream(httpcore.NetworkStream):
    """A connected socket."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        deadline.track_socket(connected)
        self._deadline = deadline
        self._socket = connected
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._has_read = False
        self._is_readable: Callable[[], bool] | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Write the pending data, then read."""
        self._flush(timeout)
        with _translate_socket_errors(httpcore.ReadTimeout, httpcore.ReadError):
            data = receive(self._socket, max_bytes, timeout)
        if not self._has_read:
            self._has_read = True
            if data and data[0] < 0x20 and data[0] not in b"\r\n":  # h11 would reject it too, but not quote it
                raise httpcore.RemoteProtocolError(f"illegal first bytes: {data[:16]!r}")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Add to the pending data, and write it if there is enough."""
        self._pending.append(buffer)
        self._pending_size += len(buffer)
        if self._pending_size >= _WRITE_SIZE:
            self._flush(timeout)

    def _flush(self, timeout: float | None) -> None:
        if not self._pending:
            return
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._pending_size = [], 0
        with _translate_socket_errors(httpcore.WriteTimeout, httpcore.WriteError):
            self._socket.settimeout(timeout)
            self._socket.sendall(data)

    def close(self) -> None:
        """Close the socket; pending data is dropped."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Secure the connection, unless it is secured already."""
        if isinstance(self._socket, ssl.SSLSocket):
            return self
        with _translate_socket_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                self._socket.settimeout(timeout)
                secure = partial(ssl_context.wrap_socket, self._socket, server_hostname=server_hostname)
                return _Stream(call_interruptibly(secure), self._deadline)
            except Exception:
                self._socket.close()
                raise

    def get_extra_info(self, info: str) -> Any:
        """Return a property of the connection by httpcore's name for it."""
        match info:
            case "ssl_object":
                return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
            case "socket":
                return self._socket
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case "is_readable":
                if self._is_readable is None and self._socket.fileno() >= 0:
                    self._is_readable = _watch(self._socket)
                return self._is_readable is None or self._socket.fileno() < 0 or self._is_readable()
            case _:
                return None


class _Network(httpcore.NetworkBackend):
    """Opens connections for httpcore."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection; one that ``preconnect`` has opened is secured already."""
        with _translate_socket_errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            source = None if local_address is None else (local_address, 0)
            connected = call_interruptibly(
                lambda: preconnect.take(host, port, timeout) or socket.create_connection((host, port), timeout, source)
            )
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in socket_options or ():
                connected.setsockopt(*option)
        return _Stream(connected, self._deadline)


class Content(httpx.SyncByteStream):
    """The body of a request while it is sent.

    Args:
        sent: set when all of it has been handed to the network.
    """

    def __init__(self, body: RequestBody, sent: threading.Event) -> None:
        self._body = body
        self._sent = sent

    def __len__(self) -> int:
        """The length in bytes."""
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        """The body in chunks."""
        yield from self._body.iter_chunks()
        self._sent.set()


class DirectTransport(httpx.HTTPTransport):
    """httpx's transport over our ``_Network``, for requests that do not go through a proxy.

    Args:
        context: verifies the server's certificate; ``None`` only for plain http.
        deadline: tracks each connection that is opened; httpx's ``trace`` would call it for each step of each request.
    """

    def __init__(self, context: ssl.SSLContext | None, deadline: Deadline) -> None:
        super().__init__(verify=context or False, trust_env=False)
        # httpx has no argument for the network backend.
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=_Network(deadline))


def open_transport(base_url: str, context: ssl.SSLContext | None, deadline: Deadline) -> httpx.BaseTransport:
    """Open the transport to a URL: through the proxy that the environment or the system sets, else a direct one.

    Raises:
        ValueError: the proxy cannot be used; the text may hold its password.
        ImportError: the library for this kind of proxy is not installed.
    """
    proxy = find_proxy_url(base_url)
    if proxy is None:
        return DirectTransport(context, deadline)
    # With verify=True, httpx would load certificates that are not needed.
    return httpx.HTTPTransport(proxy=proxy, verify=context or False, trust_env=False)
