"""The connection to an endpoint: where it goes, what it carries, what a refusal means. The home of httpx."""

# MERGED DOCSTRING of qubrid_cli.client: The httpx client for an endpoint: its headers, its proxies, its certificates.

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

from .. import __version__
from ..deadline import Deadline
from ..errors import AuthError, ConfigError, ConnectionSetupError, EndpointError
from ..images.urls import is_this_machine, strip_root_dot
from ..text import is_secret_header, redact_secrets
from .errors import build_error, parse_error_body
from .events import parse_json
from .request import RequestBody
from .transport import Connection, Preconnection, Response, TrackedBody, send_request


def load_certificates(url: httpx.URL, transport: httpx.BaseTransport | None) -> ssl.SSLContext | None:
    """The certificates that are trusted, read from their file in 30 ms; ``None`` where there is nothing to verify."""
    is_plain = transport is not None or (url.scheme == "http" and is_this_machine(str(url)))
    return None if is_plain else httpx.create_ssl_context()


def build_client(
    url: httpx.URL,
    key: str | None,
    headers: Mapping[str, str],
    transport: httpx.BaseTransport | None,
    certificates: ssl.SSLContext | None,
) -> httpx.Client:
    """A client for one endpoint, not connected yet.

    Args:
        certificates: see ``certificates``.
    """
    is_here = is_this_machine(str(url))
    return httpx.Client(
        headers=_build_headers(key, headers),
        # What is meant for this machine goes through no proxy; SSL_CERT_FILE counts for the transport all the same.
        transport=transport or (httpx.HTTPTransport(verify=certificates or False) if is_here else None),
        trust_env=not is_here,
        verify=certificates or True,
    )


def format_host(url: httpx.URL) -> str:
    """What an endpoint is called: its host, and its port where that is not the usual one."""
    return url.netloc.decode("ascii", "replace").rpartition("@")[2]


def _build_headers(key: str | None, headers: Mapping[str, str]) -> httpx.Headers:
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
def translate_setup_errors() -> Iterator[None]:
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


#: Seconds; a host that takes longer to accept a connection is not there.
_CONNECT_TIMEOUT = 10.0
#: Bytes that are read of an error's body.
_MAX_ERROR_BODY = 64 * 1024
_MAX_REDIRECTS = 5
#: Characters of a header's value that is taken out of what a server says.
_MIN_SECRET_LENGTH = 6
#: Sends a request to a URL, and has its response.
_Send = Callable[[httpx.URL], httpx.Response]


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
        clone: makes the same endpoint with a connection of its own, for it takes one request at a time.

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
        hidden = [value for name, value in headers.items() if value and is_secret_header(name)]
        # A server may echo what stands behind "Bearer" without that word. A short word is no secret, and stands anywhere.
        self._secrets = [
            word for value in hidden for word in (value, value.rpartition(" ")[2]) if len(word) >= _MIN_SECRET_LENGTH
        ]
        self._secrets += [key] if key else []
        self._extra_secrets = tuple(secrets)
        self._has_key = bool(key or hidden)
        self._timeout = timeout
        with translate_setup_errors():
            base_url = strip_root_dot(str(httpx.URL(base_url)))
            self.url = httpx.URL(base_url + "/chat/completions")
            self._models_url = httpx.URL(base_url + "/models")
            self.host = format_host(self.url)
            if (key or hidden) and self.url.scheme != "https" and not allow_http and not is_this_machine(base_url):
                raise AuthError(
                    f"the key is not sent to {self.host} over plain http",
                    hint="Use https; or, in a network you trust, --allow-http. See which key that is with: qvision auth status",
                    code="plain_http",
                )
            certificates = certificates or load_certificates(self.url, transport)
            self._client = build_client(self.url, key, headers, transport, certificates)
        self._can_preconnect = transport is None
        self._preconnection: Preconnection | None = None
        self._connection = Connection(self.host, Deadline(), self.redact)
        self.clone = partial(
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
        if self._preconnection is not None:
            self._preconnection.cancel()
        self._client.close()

    def redact_also(self, secrets: Iterable[str]) -> None:
        """Repeat nothing of this, which the next request tells it."""
        self._extra_secrets = tuple(secrets)

    def preconnect(self) -> None:
        """Connect already, in a thread, for the request that comes next; if that fails, the request will say so."""
        if self._can_preconnect:
            self._preconnection = Preconnection(
                self._client, self.url, self._build_timeout(None), self._connection.deadline.track_connection
            )

    def request_completion(
        self, content: RequestBody, *, sent: threading.Event, within: float | None = None
    ) -> AbstractContextManager[Response]:
        """Send one request and hold the response open, whatever its status.

        Args:
            sent: set when the whole body is on its way.
            within: seconds for all of it; ``None`` for as long as it takes.

        Raises:
            EndpointError: it redirects elsewhere, or does not speak HTTP.
            NetworkError: there is no connection, it broke or fell silent, or the time was over.
        """
        body = TrackedBody(content, sent)
        early, self._preconnection = self._preconnection, None

        def exchange(url: httpx.URL) -> httpx.Response:
            nonlocal early
            if early is not None:
                opened, early = early, None
                return opened.send(body, within)
            return send_request(
                self._client, url, body, self._build_timeout(within), self._connection.deadline.track_connection
            )

        return self._open_response(self.url, exchange, within)

    def request_models(self, *, within: float | None = None) -> AbstractContextManager[Response]:
        """Ask which models there are, and hold the response open, under the same rules as ``ask``."""

        def exchange(url: httpx.URL) -> httpx.Response:
            extensions = {"trace": self._connection.deadline.track_connection}
            request = self._client.build_request("GET", url, timeout=self._build_timeout(within), extensions=extensions)
            return self._client.send(request, stream=True)

        return self._open_response(self._models_url, exchange, within)

    def _build_timeout(self, within: float | None) -> httpx.Timeout:
        longest = [self._timeout, _CONNECT_TIMEOUT] + ([] if within is None else [max(0.001, within)])
        return httpx.Timeout(self._timeout, connect=min(longest))

    @contextmanager
    def _open_response(self, url: httpx.URL, send: _Send, within: float | None) -> Iterator[Response]:
        started = time.perf_counter()
        self._connection.deadline.start(within)
        response: httpx.Response | None = None
        try:
            with self._connection.translate_errors():
                response = self._follow_redirects(url, send)
            found = response.headers.get("x-request-id")
            request_id = self.redact(found)[:200] if found else None
            yield Response(response, self._connection, request_id, time.perf_counter() - started)
        finally:
            self._connection.deadline.cancel()
            if response is not None:
                response.close()

    def _follow_redirects(self, url: httpx.URL, send: _Send) -> httpx.Response:
        for _ in range(_MAX_REDIRECTS):
            response = send(url)
            if not response.has_redirect_location:
                return response
            response.close()
            url = self._resolve_redirect(url, response)
        raise ConnectionSetupError(
            f"{self.host} redirects more than {_MAX_REDIRECTS} times", hint="Check --base-url.", code="redirects"
        )

    def _resolve_redirect(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where to go on; only within the origin, for the key and the images were meant for it alone (RFC 6454)."""
        try:
            there = url.join(response.headers["Location"])
        except (httpx.InvalidURL, UnicodeError):
            there = httpx.URL()
        if (there.scheme, there.host, there.port) == (url.scheme, url.host, url.port):
            return there
        raise ConnectionSetupError(
            f"{self.host} redirects to {self.redact(f'{there.scheme}://{format_host(there)}')}, where nothing is sent",
            hint="If you trust that address, set it with --base-url.",
            code="redirect",
            status=response.status_code,
        )

    def read_error(self, response: Response) -> EndpointError:
        """The error that a response without success means; for an error inside an answer there is ``refused``."""
        data = response.read_beginning(_MAX_ERROR_BODY)
        if self._connection.deadline.is_expired:
            return self._connection.build_timeout_error()
        try:
            payload = parse_json(data)
        except ValueError:
            payload = data.decode(errors="replace")
        return self.interpret_error(payload, response)

    def interpret_error(self, payload: object, response: Response) -> EndpointError:
        """The error that a server's error body means."""
        try:
            payload = self.redact_json(payload)
        except RecursionError:
            payload = "an error that is nested too deeply"
        told_of = parse_error_body(payload, status=response.status, host=self.host, request_id=response.request_id)
        retry_after = None if response.is_success else response.retry_after
        return build_error(replace(told_of, has_key=self._has_key, retry_after=retry_after))

    def redact(self, text: str) -> str:
        """A server's words with the key and other secrets taken out, should it echo them."""
        for secret in self._extra_secrets:
            text = text.replace(secret, "")
        return redact_secrets(text, self._secrets)

    def redact_json(self, value: Any) -> Any:
        """The same for JSON: every string in it."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self.redact_json(item) for item in value]
        return (
            {self.redact(name): self.redact_json(item) for name, item in value.items()}
            if isinstance(value, dict)
            else value
        )
