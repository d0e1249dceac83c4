"""An endpoint: where requests go, their headers and key, and the removal of secrets from what the server sends back."""

import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from math import inf
from typing import Any, Self
from urllib.parse import quote_plus

import httpx

from .. import __version__, certificates
from ..deadline import Deadline
from ..errors import AuthError, ConfigError, ConnectionSetupError, EndpointError
from ..frozen import frozen
from ..text import is_secret_header, is_secret_parameter, redact_secrets
from ..urls import add_query, find_proxy, is_this_machine, mask_query, strip_root_dot
from . import preconnect
from .events import parse_json
from .request import COMPLETIONS_PATH, RequestBody
from .transport import Connection, Content, DirectTransport, Response, open_transport

__all__ = ["Endpoint", "Response", "load_certificates"]

#: Seconds; a host that takes longer to accept a connection counts as unreachable.
_CONNECT_TIMEOUT = 10.0
#: Bytes of an error's body that are read.
_MAX_ERROR_BODY = 64 * 1024
_MAX_REDIRECTS = 5


@frozen
class HintCommands:
    """The commands in hints, with the options that make them apply to the endpoint in use.

    Attributes:
        models: lists the models.
        status: shows which key is used.
        login: stores a key.
        key_hint: the hint for a missing or refused key if another source of the key takes precedence, so that ``login`` would
            not help; ``None`` if it would.
        suggest_model: returns the model that was probably meant, or ``None``; called if the endpoint does not know the
            requested one.
    """

    models: str = "qvision models"
    status: str = "qvision auth status"
    login: str = "qvision auth login"
    key_hint: str | None = None
    suggest_model: Callable[[], str | None] = lambda: None


DEFAULT_COMMANDS = HintCommands()


class Endpoint:
    """An endpoint of chat completions; a context manager that closes its connections.

    It sends one request at a time; ``clone`` makes another one for another thread.

    Args:
        base_url: without ``/chat/completions``.
        key: sent only to the origin of ``base_url``, like the headers and the query.
        key_header: the header whose value is the key; by default the key is sent as ``Authorization: Bearer``.
        headers: added to our own headers; one with the same name replaces ours.
        query: added to the URL of every request.
        timeout: seconds without data after which a request fails.
        allow_http: send the key over plain http to other machines too.
        time_option: the option that limits a whole exchange, to be named in the error.
        commands: the commands in hints.
        secrets: further text to remove from what the server sends, such as passwords in links.
        transport: replaces the network, as the offline endpoint does.

    Attributes:
        url: where chat completions are requested.
        host: with the port, unless it is the scheme's default.
        last_headers: the headers of the last response; empty if the last request got none.

    Raises:
        AuthError: the key, or a header that looks like one, would be sent unencrypted over a network.
        ConfigError: the base URL, the proxy or the certificates cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        key_header: str | None = None,
        headers: Mapping[str, str] = {},
        query: Mapping[str, str] = {},
        timeout: float,
        allow_http: bool = False,
        time_option: str = "--max-time",
        commands: HintCommands = DEFAULT_COMMANDS,
        secrets: Iterable[str] = (),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._make_clone = partial(
            Endpoint,
            base_url,
            key=key,
            key_header=key_header,
            headers=headers,
            query=query,
            timeout=timeout,
            allow_http=allow_http,
            time_option=time_option,
            commands=commands,
            transport=transport,
        )
        self._timeout = timeout
        self._key_header = key_header if key else None
        self._commands = commands
        secret_headers = [
            value for name, value in headers.items() if value and (is_secret_header(name) or name == key_header)
        ]
        secret_parameters = [
            spelling
            for name, value in query.items()
            if value and is_secret_parameter(name)
            for spelling in dict.fromkeys((value, quote_plus(value)))
        ]
        self._has_key = bool(key or secret_headers or secret_parameters)
        self._secrets = _list_secrets(key, [*secret_headers, *secret_parameters])
        self.set_request_secrets(secrets)
        with _translate_setup_errors():
            base_url = strip_root_dot(str(httpx.URL(base_url)))
            self._base_url, self._query = base_url, query
            self.url = self._build_url(COMPLETIONS_PATH)
            self._models_url = self._build_url("/models")
            self.host = _format_host(self.url)
            is_local = is_this_machine(base_url)
            if self._has_key and self.url.scheme != "https" and not allow_http and not is_local:
                raise AuthError(
                    f"the key is not sent to {self.host} over plain http",
                    hint="Use https, or --allow-http in a network you trust. To see the key in use: qvision auth status",
                    code="plain_http",
                )
            is_encrypted = transport is None and not (self.url.scheme == "http" and is_local)
            context = load_certificates() if is_encrypted else None
            deadline = Deadline()
            self._transport = transport or open_transport(base_url, context, deadline)
            self._headers = _build_headers(self.url, key, key_header, headers)
        # DirectTransport itself tells the deadline which connections it opens.
        is_direct = isinstance(self._transport, DirectTransport)
        self._trace_extension = {} if is_direct else {"trace": deadline.track_connection}
        self._cookies = httpx.Cookies()
        self._connection = Connection(self.host, base_url, timeout, deadline, self.redact, time_option)
        self.last_headers: Mapping[str, str] = {}
        self._routes: dict[str, str] = {}  # by path: finding a proxy takes as long as sending a small request

    def _build_url(self, path: str) -> httpx.URL:
        return httpx.URL(add_query(f"{self._base_url}{path}", self._query))

    def format_route(self, path: str = COMPLETIONS_PATH) -> str:
        """Format the destination of requests for people: the URL, the proxy, and the header of the key if it is unusual."""
        if path not in self._routes:
            proxy = find_proxy(str(self.url))
            header = f" with the key in the header {self._key_header}" if self._key_header else ""
            url = mask_query(str(self._build_url(path)))
            self._routes[path] = f"{url}{f' through the proxy {proxy}' if proxy else ''}{header}"
        return self._routes[path]

    def clone(self) -> "Endpoint":
        """Return the same endpoint with its own connection, and without the ``secrets``."""
        return self._make_clone()

    def __enter__(self) -> Self:
        """Return the endpoint; the connection is opened by the first request."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the endpoint."""
        self.close()

    def close(self) -> None:
        """Close the connections, also the one that ``preconnect`` has opened if no request has used it."""
        preconnect.cancel()
        self._transport.close()

    def request_completion(
        self, body: RequestBody, *, sent: threading.Event, within: float | None = None
    ) -> AbstractContextManager[Response]:
        """Send a request and hold the response open, whatever its status.

        Args:
            sent: set when the whole body has been handed to the network.
            within: seconds for the whole exchange.

        Raises:
            EndpointError: the endpoint redirects elsewhere, or its response is not HTTP.
            NetworkError: the connection could not be opened, broke, or timed out.
        """
        url = self.url if body.path == COMPLETIONS_PATH else self._build_url(body.path)
        return self._open_response("POST", url, within, Content(body, sent))

    def request_models(self, *, within: float | None = None) -> AbstractContextManager[Response]:
        """Request the list of models and hold the response open; arguments and errors as in ``request_completion``."""
        return self._open_response("GET", self._models_url, within)

    @contextmanager
    def _open_response(
        self,
        method: str,
        url: httpx.URL,
        within: float | None,
        content: Content | None = None,
    ) -> Iterator[Response]:
        connect_timeout = min(self._timeout, _CONNECT_TIMEOUT, inf if within is None else max(0.001, within))
        timeout = httpx.Timeout(self._timeout, connect=connect_timeout).as_dict()

        def send(url: httpx.URL) -> httpx.Response:
            return self._send(method, url, content, timeout)

        started = time.perf_counter()
        self.last_headers = {}
        self._connection.deadline.start(within)
        response: httpx.Response | None = None
        try:
            with self._connection.translate_errors():
                response = self._follow_redirects(url, send)
            self.last_headers = response.headers
            yield Response(response, self._connection, time.perf_counter() - started)
        finally:
            self._connection.deadline.cancel()
            if response is not None:
                response.close()

    def _send(
        self, method: str, url: httpx.URL, content: Content | None, timeout: Mapping[str, float | None]
    ) -> httpx.Response:
        """Send a request without ``httpx.Client``, which would take a tenth of the CPU time that a small image needs."""
        request = httpx.Request(
            method,
            url,
            headers=self._headers,
            cookies=self._cookies,
            stream=content or httpx.ByteStream(b""),
            extensions={"timeout": timeout, **self._trace_extension},
        )
        if content is not None:
            request.headers["Content-Length"] = str(len(content))
        response = self._transport.handle_request(request)
        response.request = request
        if "set-cookie" in response.headers:
            self._cookies.extract_cookies(response)
        return response

    def _follow_redirects(self, url: httpx.URL, send: Callable[[httpx.URL], httpx.Response]) -> httpx.Response:
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
        """The target of a redirect within the origin (RFC 6454); the key and the images must not leave that origin.

        Raises:
            ConnectionSetupError: the target has another origin.
        """
        try:
            target = url.join(response.headers["Location"])
        except (httpx.InvalidURL, UnicodeError):
            target = httpx.URL()
        if (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port):
            return target
        raise ConnectionSetupError(
            f"{self.host} redirects to {self.redact(f'{target.scheme}://{_format_host(target)}')}, another origin; "
            "the request is not sent there",
            hint="If you trust that address, set it with --base-url.",
            code="redirect",
            status=response.status_code,
        )

    def read_error(self, response: Response) -> EndpointError:
        """The error for a response whose status is not a success."""
        data = response.read_beginning(_MAX_ERROR_BODY)
        if self._connection.deadline.is_expired:
            return self._connection.build_timeout_error()
        try:
            body = parse_json(data)
        except ValueError:
            body = data.decode(errors="replace")
        return self.interpret_error(body, response)

    def interpret_error(self, body: object, response: Response) -> EndpointError:
        """The error for an error body, which may also come inside the stream of a successful response."""
        from .errors.body import format_body, parse_error_body
        from .errors.rules import build_error

        proxy = find_proxy(str(self.url)) if response.status == 407 else None
        error_response = parse_error_body(
            body,
            status=response.status,
            host=f"the proxy {proxy}" if proxy else self.host,
            headers={} if response.is_success else dict(response.headers),
            request_id=response.request_id,
            has_key=self._has_key,
        )
        whole_body = format_body(self.redact_json(error_response.body))
        return build_error(error_response, redact=self.redact, commands=self._commands, body=whole_body)

    def set_request_secrets(self, secrets: Iterable[str]) -> None:
        """Set the secrets of the next requests; they replace the ``secrets`` from the constructor."""
        self._request_secrets = tuple(secrets)
        self._all_secrets = (*self._request_secrets, *self._secrets)

    def redact(self, text: str) -> str:
        """Remove the key and the other secrets from a text of the server, which may echo them."""
        if not any(map(text.__contains__, self._all_secrets)):  # nearly always
            return text
        return redact_secrets(redact_secrets(text, self._request_secrets, ""), self._secrets)

    def redact_json(self, value: Any) -> Any:
        """A JSON value with ``redact`` applied to every string in it."""
        match value:
            case str():
                return self.redact(value)
            case list():
                return [self.redact_json(item) for item in value]
            case dict():
                return {self.redact(name): self.redact_json(item) for name, item in value.items()}
            case _:
                return value


def load_certificates() -> ssl.SSLContext:
    """The TLS context of the process (see ``certificates``).

    Raises:
        ConfigError: the certificates cannot be read.
    """
    try:
        return certificates.load_tls_context()
    except OSError as error:
        raise ConfigError(
            f"the certificates cannot be read: {error.strerror}", hint="Check SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error


def _list_secrets(key: str | None, secret_values: Iterable[str]) -> list[str]:
    """The key and the other secrets; of ``Bearer SECRET`` also the last word alone, because servers may quote only that."""
    secrets = [part for value in secret_values for part in (value, value.rpartition(" ")[2])]
    return [*secrets, key] if key else secrets


def _build_headers(url: httpx.URL, key: str | None, key_header: str | None, extra: Mapping[str, str]) -> httpx.Headers:
    """The headers of all requests; a user and a password in the URL replace the key."""
    headers = httpx.Headers(
        {
            "Host": url.netloc.decode("ascii"),
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",  # a compressing proxy holds tokens back until a block is full
            "Content-Type": "application/json",
            "User-Agent": f"qvision/{__version__}",
        }
    )
    if key and key_header:
        headers[key_header] = key
    elif key:
        headers["Authorization"] = f"Bearer {key}"
    headers.update(extra)
    if url.userinfo:
        credentials = b64encode(f"{url.username}:{url.password}".encode()).decode()
        headers["Authorization"] = f"Basic {credentials}"
    return headers


def _format_host(url: httpx.URL) -> str:
    """The host, with its port unless that is the scheme's default."""
    return url.netloc.decode("ascii", "replace").rpartition("@")[2]


@contextmanager
def _translate_setup_errors() -> Iterator[None]:
    """Raise our errors for a base URL or a proxy that httpx rejects before any request."""
    try:
        yield
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(
            f"the base URL cannot be used: {error}", hint="Check --base-url and QUBRID_BASE_URL."
        ) from error
    except (ValueError, ImportError) as error:  # its text may hold the proxy's password
        raise ConfigError(
            "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used", hint="Set an http or https proxy."
        ) from error
