"""Opens the connection to the endpoint in a thread while the rest of the program is still being loaded.

TCP and TLS take two round trips before the first byte of a request can be sent. With round trips of 100 ms they are finished
when the image is ready, if they begin before Typer and httpx are imported. Nothing is sent on the connection here;
``transport`` hands it to httpx when the request is made. Every failure is silent: httpx then opens a connection itself,
and reports what goes wrong.
"""

import socket
import ssl
import threading
from urllib.parse import urlsplit

from .. import certificates
from ..urls import uses_proxy

#: Seconds for the connection, and again for the handshake. A host that takes longer is left to httpx.
_TIMEOUT = 5.0


class _EarlyConnection:
    """A connection that a thread is opening, or has opened."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.socket: ssl.SSLSocket | None = None
        self._is_wanted = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._connect, name="preconnect", daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        try:
            plain = socket.create_connection(self.address, _TIMEOUT)
        except (OSError, UnicodeError):
            return
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = certificates.load_tls_context().wrap_socket(plain, server_hostname=self.address[0])
        except (OSError, ValueError):
            plain.close()
            return
        with self._lock:
            if self._is_wanted:
                self.socket = secured
            else:
                secured.close()

    def finish(self, timeout: float | None) -> ssl.SSLSocket | None:
        """Wait for the connection, at most ``timeout`` seconds; ``None`` if there is none, or the server closed it."""
        self._thread.join(timeout)
        with self._lock:
            self._is_wanted = False
            secured, self.socket = self.socket, None
        if secured is not None and not _is_open(secured):
            secured.close()
            return None
        return secured

    def cancel(self) -> None:
        """Close the connection, now or as soon as the thread has opened it."""
        if (secured := self.finish(0)) is not None:
            secured.close()


def _is_open(secured: ssl.SSLSocket) -> bool:
    """Whether the connection is open and the server waits for a request.

    Reading also processes the session tickets of TLS 1.3, which the server sends first.
    """
    secured.setblocking(False)
    try:
        secured.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False  # the end of the stream, or data that no request asked for


_connection: _EarlyConnection | None = None


def start(base_url: str) -> None:
    """Begin to connect to the host of a base URL, if it is an https URL that is reached without a proxy."""
    global _connection  # noqa: PLW0603  # one per process: it begins before any object exists that could hold it
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port or 443
        if _connection is not None or parts.scheme != "https" or not host or not host.isascii() or uses_proxy(base_url):
            return
    except ValueError:
        return
    _connection = _EarlyConnection(host, port)


def take(host: str, port: int, timeout: float | None) -> ssl.SSLSocket | None:
    """Hand over the secured connection to this address; ``None`` if none was started, or it is not open, or was taken.

    Args:
        timeout: seconds to wait until it is open.
    """
    global _connection  # see above
    if _connection is None or _connection.address != (host, port):
        return None
    connection, _connection = _connection, None
    return connection.finish(timeout)


def cancel() -> None:
    """Close a connection that no request has used."""
    global _connection  # see above
    connection, _connection = _connection, None
    if connection is not None:
        connection.cancel()
