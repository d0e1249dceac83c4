"""A response while its body arrives, and httpx's exceptions as our errors."""

# MERGED DOCSTRING of qubrid_cli.sending: How a request goes out: its body in pieces, and over a connection that was opened before the body was there.

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from ..deadline import Deadline
from ..errors import ConnectionSetupError, EndpointError, NetworkError, UnreachableError
from ..frozen import frozen
from .errors import build_temporary_error, find_tls_error
from .request import RequestBody
from .retry import parse_retry_after

#: Seconds for whoever cuts a request that takes too long to be the first to say so.
_GRACE_SECONDS = 0.1


@frozen
class TrackedBody:
    """What a request carries; ``sent`` is set when all of it is on its way."""

    body: RequestBody
    sent: threading.Event

    def iter_chunks(self) -> Iterator[bytes]:
        """The content, a piece at a time, so that ``sent`` is set when the last of them is on its way."""
        yield from self.body.iter_chunks()
        self.sent.set()


class Preconnection:
    """A request whose connection is opened, and secured, while its body is still being made.

    httpx connects for a request only. So this one is begun in a thread of its own and held up where the connection
    stands and nothing has been sent, which httpx's ``trace`` extension tells. On loopback that is worth nothing; over
    the network it takes two or three round trips, and the certificates' check, out of the way to the first token.

    Args:
        trace: is told of every step, too.
    """

    def __init__(
        self, client: httpx.Client, url: httpx.URL, timeout: httpx.Timeout, trace: Callable[..., None]
    ) -> None:
        self._trace = trace
        self._body: Future[TrackedBody] = Future()
        self._response: Future[httpx.Response] = Future()
        request = client.build_request(
            "POST",
            url,
            content=self._iter_chunks(),
            headers={"Content-Length": "0"},  # put right when the body is there
            timeout=timeout,
            extensions={"trace": self._wait_for_body},
        )
        threading.Thread(target=self._run, args=(client, request), name="connection", daemon=True).start()

    def send(self, body: TrackedBody, within: float | None) -> httpx.Response:
        """Let the request go, and wait for what the server says to it.

        Args:
            within: seconds; ``None`` for as long as it takes.

        Raises:
            httpx.HTTPError: as when a request is sent the plain way, connecting included.
        """
        self._body.set_result(body)
        try:
            return self._response.result(None if within is None else within + _GRACE_SECONDS)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error

    def cancel(self) -> None:
        """There will be no body; the connection is closed."""
        self._body.set_exception(httpx.RequestError("not needed"))

    def _run(self, client: httpx.Client, request: httpx.Request) -> None:
        try:
            self._response.set_result(client.send(request, stream=True))
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits for the response, and raised there
            self._response.set_exception(error)

    def _wait_for_body(self, name: str, info: Mapping[str, Any]) -> None:
        self._trace(name, info)
        if name.endswith("send_request_headers.started") and info["request"].method == b"POST":  # not a proxy's CONNECT
            length = str(len(self._body.result().body)).encode()
            headers = info["request"].headers
            info["request"].headers = [
                (key, length if key.lower() == b"content-length" else value) for key, value in headers
            ]

    def _iter_chunks(self) -> Iterator[bytes]:
        yield from self._body.result().iter_chunks()


def send_request(
    client: httpx.Client, url: httpx.URL, body: TrackedBody, timeout: httpx.Timeout, trace: Callable[..., None]
) -> httpx.Response:
    """Send a request whose body is there."""
    length = {"Content-Length": str(len(body.body))}
    extensions = {"trace": trace}
    request = client.build_request(
        "POST", url, content=body.iter_chunks(), headers=length, timeout=timeout, extensions=extensions
    )
    return client.send(request, stream=True)


#: Seconds to wait for usage and metrics behind a ``finish_reason``, and behind ``[DONE]``, on an open connection.
_LATE_WAIT = 5.0
_LATE_WAIT_AFTER_DONE = 1.0


class Response:
    """A response whose body is being received.

    Attributes:
        seconds: from sending to the response's headers.
        retry_after: seconds that the server asks to wait.
    """

    def __init__(
        self, response: httpx.Response, connection: "Connection", request_id: str | None, seconds: float
    ) -> None:
        self._response = response
        self._connection = connection
        self.seconds = seconds
        self.status = response.status_code
        self.is_success = response.is_success
        self.retry_after = parse_retry_after(response.headers)
        self.request_id = request_id

    def chunks(self) -> Iterator[bytes]:
        """The body, as it arrives, with any content coding undone.

        Raises:
            NetworkError: the connection broke, fell silent, or its time was over.
        """
        with self._connection.translate_errors():
            yield from self._response.iter_bytes()

    def end_soon(self, *, announced: bool) -> None:
        """The answer is there, and nothing but metrics is still expected: a moment for them, and no more.

        Servers may leave the connection open behind their last event.

        Args:
            announced: the server said that this was all (``[DONE]``).
        """
        self._connection.deadline.shorten(_LATE_WAIT_AFTER_DONE if announced else _LATE_WAIT)

    def read_beginning(self, size: int) -> bytes:
        """The first bytes of a body that tells of an error; what does not come soon is not waited for."""
        self._connection.deadline.shorten(_LATE_WAIT)
        data = b""
        with suppress(httpx.HTTPError):
            for chunk in self._response.iter_bytes():
                data += chunk
                if len(data) > size:
                    break
        return data


@frozen
class Connection:
    """The way to one host: how its faults are called, and what cuts it.

    Attributes:
        redact: takes out of a text what must not be repeated.
    """

    host: str
    deadline: Deadline
    redact: Callable[[str], str]

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """No exception of httpx leaves the rooms where it is at home."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            raise self.build_timeout_error() if self.deadline.is_expired else self._translate(error) from error
        if self.deadline.is_expired:  # a body without a length ends where it is cut, with no error
            raise self.build_timeout_error()

    def build_timeout_error(self) -> NetworkError:
        """The error for a request that took too long as a whole."""
        return NetworkError(f"{self.host} did not finish within --max-time", hint="Raise --max-time.", code="max_time")

    def _translate(self, error: Exception) -> EndpointError:
        words = self.redact(str(error))
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
                return ConnectionSetupError(
                    f"the proxy refused: {words}", hint="Check HTTPS_PROXY and HTTP_PROXY.", code="proxy"
                )
            case httpx.ConnectError():
                hint = "Check --base-url, the network, and the proxy if one is set."
                return find_tls_error(error, self.host) or UnreachableError(
                    f"no connection to {self.host}: {words}", hint=hint
                )
            case httpx.RemoteProtocolError() if words.startswith("illegal"):  # h11 quotes what it got
                return build_temporary_error(f"{self.host} does not speak HTTP", "Check the port in --base-url.")
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                return build_temporary_error(f"the connection to {self.host} broke: {words}", "Try again.")
            case _:
                return EndpointError(
                    f"{self.host} could not be understood: {words}", hint="Check --base-url.", code="protocol"
                )
