"""How a request goes out: its body in pieces, and over a connection that was opened before the body was there."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import httpx

from .content import Content
from .frozen import frozen

#: Seconds for whoever cuts a request that takes too long to be the first to say so.
_COURTESY = 0.1


@frozen
class Body:
    """What a request carries; ``sent`` is set when all of it is on its way."""

    content: Content
    sent: threading.Event

    def pieces(self) -> Iterator[bytes]:
        """The content, a piece at a time, so that ``sent`` is set when the last of them is on its way."""
        yield from self.content.pieces()
        self.sent.set()


class Early:
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
        self._body: Future[Body] = Future()
        self._response: Future[httpx.Response] = Future()
        request = client.build_request(
            "POST",
            url,
            content=self._pieces(),
            headers={"Content-Length": "0"},  # put right when the body is there
            timeout=timeout,
            extensions={"trace": self._held_up},
        )
        threading.Thread(target=self._run, args=(client, request), name="connection", daemon=True).start()

    def send(self, body: Body, within: float | None) -> httpx.Response:
        """Let the request go, and wait for what the server says to it.

        Args:
            within: seconds; ``None`` for as long as it takes.

        Raises:
            httpx.HTTPError: as when a request is sent the plain way, connecting included.
        """
        self._body.set_result(body)
        try:
            return self._response.result(None if within is None else within + _COURTESY)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error

    def give_up(self) -> None:
        """There will be no body; the connection is closed."""
        self._body.set_exception(httpx.RequestError("not needed"))

    def _run(self, client: httpx.Client, request: httpx.Request) -> None:
        try:
            self._response.set_result(client.send(request, stream=True))
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits for the response, and raised there
            self._response.set_exception(error)

    def _held_up(self, name: str, info: Mapping[str, Any]) -> None:
        self._trace(name, info)
        if name.endswith("send_request_headers.started") and info["request"].method == b"POST":  # not a proxy's CONNECT
            length = str(len(self._body.result().content)).encode()
            headers = info["request"].headers
            info["request"].headers = [
                (key, length if key.lower() == b"content-length" else value) for key, value in headers
            ]

    def _pieces(self) -> Iterator[bytes]:
        yield from self._body.result().pieces()


def plain(
    client: httpx.Client, url: httpx.URL, body: Body, timeout: httpx.Timeout, trace: Callable[..., None]
) -> httpx.Response:
    """Send a request whose body is there."""
    length = {"Content-Length": str(len(body.content))}
    extensions = {"trace": trace}
    request = client.build_request(
        "POST", url, content=body.pieces(), headers=length, timeout=timeout, extensions=extensions
    )
    return client.send(request, stream=True)
