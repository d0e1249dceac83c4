"""A response while its body arrives, and httpx's exceptions as our errors."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

from .errors import EndpointError, NetworkError

#: Seconds to wait for usage and metrics behind a ``finish_reason``, and behind ``[DONE]``, on an open connection.
_LATE = 5.0
_LATE_AFTER_DONE = 1.0


class Response:
    """A response whose body is being received.

    Attributes:
        seconds: from sending to the response's headers.
    """

    def __init__(self, response: httpx.Response, host: str, request_id: str | None, seconds: float) -> None:
        self._response = response
        self.host = host
        self.seconds = seconds
        self.status = response.status_code
        self.request_id = request_id
        self._late: threading.Timer | None = None

    def chunks(self) -> Iterator[bytes]:
        """The body, as it arrives, with any content coding undone.

        Raises:
            NetworkError: the connection broke or fell silent.
        """
        with translated(self.host):
            yield from self._response.iter_bytes()

    def end_soon(self, *, announced: bool) -> None:
        """The answer is there, and nothing but metrics is still expected: end the body after a moment at most.

        Servers may leave the connection open behind their last event. The read that waits for more is ended by
        shutting the socket down. An ``SSLSocket`` would drop its state first, under the feet of the thread that reads,
        so the plain socket's method is called.

        Args:
            announced: the server said that this was all (``[DONE]``).
        """
        stream = self._response.extensions.get("network_stream")
        used = stream.get_extra_info("socket") if stream is not None else None
        if used is None:
            return

        def end() -> None:
            with suppress(OSError):
                socket.socket.shutdown(used, socket.SHUT_RDWR)

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


@contextmanager
def translated(host: str) -> Iterator[None]:
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
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        raise EndpointError(f"{host} could not be understood: {error}", hint="Check --base-url.") from error
