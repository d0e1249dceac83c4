"""The connection to an endpoint: where it goes, what it carries, what a refusal means. The home of httpx."""

import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpx

from . import __version__
from .errors import AuthError, ConfigError, EndpointError, WayError
from .events import parsed
from .masking import is_secret, scrubbed
from .refusals import error_for, told
from .response import Cutter, Response, Wire

#: Seconds; a host that takes longer to accept a connection is not there.
_CONNECT_TIMEOUT = 10.0
#: Bytes of the body handed over at once, so that ``sent`` is set when the last of them is on its way.
_PIECE = 256 * 1024
#: Bytes that are read of an error's body.
_MAX_ERROR_BODY = 64 * 1024
_MAX_REDIRECTS = 5
#: Characters of a header's value that is taken out of what a server says.
_SECRET = 6


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
        self._timeout = timeout
        with _configured():
            self.url = httpx.URL(base_url + "/chat/completions")
            self.host = _host(self.url)
            is_loopback = _is_loopback(self.url.host)
            if (key or hidden) and self.url.scheme != "https" and not is_loopback and not allow_http:
                raise AuthError(
                    f"the key is not sent to {self.host} over plain http",
                    hint="Use https; or, in a network you trust, --allow-http. See which key that is with: qvision auth status",
                    code="plain_http",
                )
            if transport is None and not (is_loopback and self.url.scheme == "http"):  # else nothing is verified
                certificates = certificates or httpx.create_ssl_context()
            self._client = httpx.Client(
                headers=_headers(key, headers),
                # What is meant for this machine goes through no proxy; SSL_CERT_FILE counts for the transport all the same.
                transport=transport or (httpx.HTTPTransport(verify=certificates or False) if is_loopback else None),
                trust_env=not is_loopback,
                verify=certificates or True,
            )
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
        self._client.close()

    def guard(self, secrets: Iterable[str]) -> None:
        """Repeat nothing of this, which the next request tells it."""
        self._links = tuple(secrets)

    @contextmanager
    def ask(self, body: bytes, *, sent: threading.Event, within: float | None = None) -> Iterator[Response]:
        """Send one request and hold the response open, whatever its status.

        Args:
            sent: set when the whole body is on its way.
            within: seconds for all of it; ``None`` for as long as it takes.

        Raises:
            EndpointError: it redirects elsewhere, or does not speak HTTP.
            NetworkError: there is no connection, it broke or fell silent, or the time was over.
        """
        started = time.perf_counter()
        self._wire.cutter.start(within)
        response: httpx.Response | None = None
        try:
            with self._wire.translated():
                response = self._send(body, sent, within)
            found = response.headers.get("x-request-id")
            request_id = self.clean(found)[:200] if found else None
            yield Response(response, self._wire, request_id, time.perf_counter() - started)
        finally:
            self._wire.cutter.stop()
            if response is not None:
                response.close()

    def _send(self, body: bytes, sent: threading.Event, within: float | None) -> httpx.Response:
        longest = [self._timeout, _CONNECT_TIMEOUT] + ([] if within is None else [max(0.001, within)])
        url = self.url
        for _ in range(_MAX_REDIRECTS):
            request = self._client.build_request(
                "POST",
                url,
                content=_pieces(body, sent),
                headers={"Content-Length": str(len(body))},
                timeout=httpx.Timeout(self._timeout, connect=min(longest)),
                extensions={"trace": self._wire.cutter.hold},
            )
            response = self._client.send(request, stream=True)
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
            f"{self.host} redirects to {self.clean(f'{there.scheme}://{_host(there)}')}, where nothing is sent",
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
        told_of = told(self.cleaned(payload), status=response.status, host=self.host, request_id=response.request_id)
        return error_for(told_of)

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


def _headers(key: str | None, headers: Mapping[str, str]) -> httpx.Headers:
    common = {
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",  # a compressing proxy holds tokens back until a block is full
        "Content-Type": "application/json",
        "User-Agent": f"qvision/{__version__}",
    }
    found = httpx.Headers(common | {"Authorization": f"Bearer {key}"} if key else common)
    found.update(headers)
    return found


@contextmanager
def _configured() -> Iterator[None]:
    """What httpx cannot even begin with: an address, a proxy or a certificate file that is set wrongly."""
    try:
        yield
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(
            f"the base URL cannot be used: {error}", hint="Check --base-url and QUBRID_BASE_URL."
        ) from error
    except (ValueError, ImportError) as error:  # whose words may hold the proxy's password
        raise ConfigError(
            "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used", hint="Set an http or https proxy."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"the certificates cannot be read: {error.strerror}", hint="Check SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error
