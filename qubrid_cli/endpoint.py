"""The connection to an endpoint: where it goes, what it carries, what a refusal means. The home of httpx."""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx

from . import client
from .content import Content
from .errors import AuthError, EndpointError, WayError
from .events import parsed
from .masking import is_secret, scrubbed
from .refusals import error_for, told
from .response import Cutter, Response, Wire
from .sending import Body, Early, plain

#: Seconds; a host that takes longer to accept a connection is not there.
_CONNECT_TIMEOUT = 10.0
#: Bytes that are read of an error's body.
_MAX_ERROR_BODY = 64 * 1024
_MAX_REDIRECTS = 5
#: Characters of a header's value that is taken out of what a server says.
_SECRET = 6
#: Sends a request to a URL, and has its response.
_Exchange = Callable[[httpx.URL], httpx.Response]


class Endpoint:
    """A chat-completions endpoint; a context manager that closes its connections.

    Args:
        base_url: without ``/chat/completions``.
        key: sent to the origin of ``base_url`` and to no other, as are the headers.
        headers: sent beside our own; one of the same name takes the place of ours.
        timeout: seconds without a byte after which the endpoint counts as gone.
        allow_http: send the key over plain http to other machines too.
        secrets: what it learns besides the key and must not be repeated: passwords in links.
        transport: something to take the place of the network, such as the built-in endpoint.
        certificates: those that are trusted, where they are at hand already: reading them takes 20 ms.

    Attributes:
        another: makes the same endpoint with a connection of its own, for it takes one request at a time.

    Raises:
        AuthError: the key, or a header that looks like one, would cross a network in the clear.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] = {},
        timeout: float,
        allow_http: bool = False,
        secrets: Iterable[str] = (),
        transport: httpx.BaseTransport | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        hidden = [value for name, value in headers.items() if value and is_secret(name)]
        # A server may echo what stands behind "Bearer" without that word. A short word is no secret, and stands anywhere.
        self._secrets = [word for value in hidden for word in (value, value.rpartition(" ")[2]) if len(word) >= _SECRET]
        self._secrets += [key] if key else []
        self._links = tuple(secrets)
        self._has_key = bool(key or hidden)
        self._timeout = timeout
        with client.configured():
            self.url = httpx.URL(base_url + "/chat/completions")
            self._models = httpx.URL(base_url + "/models")
            self.host = client.host(self.url)
            if (
                (key or hidden)
                and self.url.scheme != "https"
                and not client.is_loopback(self.url.host)
                and not allow_http
            ):
                raise AuthError(
                    f"the key is not sent to {self.host} over plain http",
                    hint="Use https; or, in a network you trust, --allow-http. See which key that is with: qvision auth status",
                    code="plain_http",
                )
            certificates = certificates or client.certificates(self.url, transport)
            self._client = client.opened(self.url, key, headers, transport, certificates)
        self._can_open = transport is None
        self._early: Early | None = None
        self._wire = Wire(self.host, Cutter(), self.clean)
        self.another = partial(
            Endpoint,
            base_url,
            key=key,
            headers=headers,
            timeout=timeout,
            allow_http=allow_http,
            transport=transport,
            certificates=certificates,
        )

    def __enter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._early is not None:
            self._early.give_up()
        self._client.close()

    def guard(self, secrets: Iterable[str]) -> None:
        """Repeat nothing of this, which the next request tells it."""
        self._links = tuple(secrets)

    def open(self) -> None:
        """Connect already, in a thread, for the request that comes next; if that fails, the request will say so."""
        if self._can_open:
            self._early = Early(self._client, self.url, self._patience(None), self._wire.cutter.hold)

    def ask(
        self, content: Content, *, sent: threading.Event, within: float | None = None
    ) -> AbstractContextManager[Response]:
        """Send one request and hold the response open, whatever its status.

        Args:
            sent: set when the whole body is on its way.
            within: seconds for all of it; ``None`` for as long as it takes.

        Raises:
            EndpointError: it redirects elsewhere, or does not speak HTTP.
            NetworkError: there is no connection, it broke or fell silent, or the time was over.
        """
        body = Body(content, sent)
        early, self._early = self._early, None

        def exchange(url: httpx.URL) -> httpx.Response:
            nonlocal early
            if early is not None:
                opened, early = early, None
                return opened.send(body, within)
            return plain(self._client, url, body, self._patience(within), self._wire.cutter.hold)

        return self._held(self.url, exchange, within)

    def models(self, *, within: float | None = None) -> AbstractContextManager[Response]:
        """Ask which models there are, and hold the response open, under the same rules as ``ask``."""

        def exchange(url: httpx.URL) -> httpx.Response:
            extensions = {"trace": self._wire.cutter.hold}
            request = self._client.build_request("GET", url, timeout=self._patience(within), extensions=extensions)
            return self._client.send(request, stream=True)

        return self._held(self._models, exchange, within)

    def _patience(self, within: float | None) -> httpx.Timeout:
        longest = [self._timeout, _CONNECT_TIMEOUT] + ([] if within is None else [max(0.001, within)])
        return httpx.Timeout(self._timeout, connect=min(longest))

    @contextmanager
    def _held(self, url: httpx.URL, exchange: _Exchange, within: float | None) -> Iterator[Response]:
        started = time.perf_counter()
        self._wire.cutter.start(within)
        response: httpx.Response | None = None
        try:
            with self._wire.translated():
                response = self._send(url, exchange)
            found = response.headers.get("x-request-id")
            request_id = self.clean(found)[:200] if found else None
            yield Response(response, self._wire, request_id, time.perf_counter() - started)
        finally:
            self._wire.cutter.stop()
            if response is not None:
                response.close()

    def _send(self, url: httpx.URL, exchange: _Exchange) -> httpx.Response:
        for _ in range(_MAX_REDIRECTS):
            response = exchange(url)
            if not response.has_redirect_location:
                return response
            response.close()
            url = self._redirected(url, response)
        raise WayError(
            f"{self.host} redirects more than {_MAX_REDIRECTS} times", hint="Check --base-url.", code="redirects"
        )

    def _redirected(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where to go on; only within the origin, for the key and the images were meant for it alone (RFC 6454)."""
        try:
            there = url.join(response.headers["Location"])
        except (httpx.InvalidURL, UnicodeError):
            there = httpx.URL()
        if (there.scheme, there.host, there.port) == (url.scheme, url.host, url.port):
            return there
        raise WayError(
            f"{self.host} redirects to {self.clean(f'{there.scheme}://{client.host(there)}')}, where nothing is sent",
            hint="If you trust that address, set it with --base-url.",
            code="redirect",
            status=response.status_code,
        )

    def refusal(self, response: Response) -> EndpointError:
        """The error that a response without success means; for an error inside an answer there is ``refused``."""
        data = response.beginning(_MAX_ERROR_BODY)
        if self._wire.cutter.is_over:
            return self._wire.over()
        try:
            payload = parsed(data)
        except ValueError:
            payload = data.decode(errors="replace")
        error = self.refused(payload, response)
        error.retry_after = response.retry_after
        return error

    def refused(self, payload: object, response: Response) -> EndpointError:
        """The error that a server's error body means."""
        try:
            payload = self.cleaned(payload)
        except RecursionError:
            payload = "an error that is nested too deeply"
        told_of = told(payload, status=response.status, host=self.host, request_id=response.request_id)
        return error_for(replace(told_of, has_key=self._has_key))

    def clean(self, text: str) -> str:
        """A server's words with the key and other secrets taken out, should it echo them."""
        for secret in self._links:
            text = text.replace(secret, "")
        return scrubbed(text, self._secrets)

    def cleaned(self, value: Any) -> Any:
        """The same for JSON: every string in it."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list):
            return [self.cleaned(item) for item in value]
        return (
            {self.clean(name): self.cleaned(item) for name, item in value.items()} if isinstance(value, dict) else value
        )
