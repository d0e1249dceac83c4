"""A response while its body arrives, with httpx's exceptions translated into our errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx

from ..deadline import Deadline
from ..errors import EndpointError, NetworkError
from ..frozen import frozen
from ..images.urls import uses_proxy

#: Seconds to wait for usage and metrics on an open connection: after a ``finish_reason``, and after ``[DONE]``.
_LATE_WAIT = 5.0
_LATE_WAIT_AFTER_DONE = 1.0


@frozen
class Connection:
    """The connection to one host: its limits, and the errors for what fails on it.

    Attributes:
        timeout: seconds without data after which httpx gives up.
        redact: removes secrets from a text.
    """

    host: str
    base_url: str
    timeout: float
    deadline: Deadline
    redact: Callable[[str], str]

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise our errors in place of httpx's."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            raise self.build_timeout_error() if self.deadline.is_expired else self._translate(error) from error
        if self.deadline.is_expired:  # a body without a length ends without an error where the deadline cuts it
            raise self.build_timeout_error()

    def build_timeout_error(self) -> NetworkError:
        """The error for a request that took too long as a whole."""
        return NetworkError(f"{self.host} did not finish within --max-time", hint="Raise --max-time.", code="max_time")

    def _translate(self, error: Exception) -> EndpointError:
        from ..images import http_errors
        from .errors import build_transport_error

        is_direct = not uses_proxy(self.base_url)
        failure = http_errors.explain(error, self.host, url="--base-url", timeout=self.timeout, is_direct=is_direct)
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
        """The body as it arrives, decompressed.

        Raises:
            NetworkError: the connection broke or timed out.
        """
        with self._connection.translate_errors():
            yield from self._response.iter_bytes()

    def limit_wait(self, *, is_announced: bool) -> None:
        """Wait only a moment longer for usage and metrics, less after ``[DONE]``: some servers never close."""
        self._connection.deadline.shorten(_LATE_WAIT_AFTER_DONE if is_announced else _LATE_WAIT)

    def read_beginning(self, size: int) -> bytes:
        """Read at least ``size`` bytes of an error's body, or all of a shorter one. Stops early if the server stalls."""
        self._connection.deadline.shorten(_LATE_WAIT)
        data = b""
        with suppress(httpx.HTTPError):
            for chunk in self._response.iter_bytes():
                data += chunk
                if len(data) > size:
                    break
        return data
