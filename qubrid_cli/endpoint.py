"""The connection to an endpoint: where it goes, what it carries, what a refusal means. The home of httpx."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import httpx

from . import __version__
from .chat import parsed
from .credentials import scrubbed
from .errors import AuthError, ConfigError, EndpointError, NetworkError
from .refusals import error_for, told
from .response import Response, translated

#: Seconds; a host that takes longer to accept a connection is not there.
_CONNECT_TIMEOUT = 10.0
#: Bytes of the body handed over at once, so that ``sent`` is set when the last of them is on its way.
_PIECE = 256 * 1024
#: Bytes that are read of an error's body.
_MAX_ERROR_BODY = 64 * 1024
_MAX_REDIRECTS = 5


class Endpoint:
    """A chat-completions endpoint; a context manager that closes its connections.

    Args:
        base_url: without ``/chat/completions``.
        key: sent to the origin of ``base_url`` and to no other.
        timeout: seconds without a byte after which the endpoint counts as gone.
        transport: something to take the place of the network, such as the built-in endpoint.

    Raises:
        AuthError: the key would cross a network in the clear.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout: float = 300.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._key = key
        with _configured():
            self.url = httpx.URL(base_url + "/chat/completions")
            self.host = _host(self.url)
            is_loopback = _is_loopback(self.url.host)
            if key and self.url.scheme != "https" and not is_loopback:
                raise AuthError(
                    f"the key is not sent to {self.host} over plain http",
                    hint="Use https, or unset QUBRID_API_KEY if that server needs no key.",
                    code="plain_http",
                )
            self._client = httpx.Client(
                headers=_headers(key),
                timeout=httpx.Timeout(timeout, connect=min(_CONNECT_TIMEOUT, timeout)),
                transport=transport,
                trust_env=not is_loopback,  # what is meant for this machine goes through no proxy
            )

    def __enter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def ask(self, body: bytes, *, sent: threading.Event) -> Iterator[Response]:
        """Send one request and hold the response open.

        Args:
            sent: set when the whole body is on its way.

        Raises:
            EndpointError: it was refused; the class and the hint say how.
            NetworkError: there is no connection.
        """
        started = time.perf_counter()
        response = self._send(body, sent)
        seconds = time.perf_counter() - started
        request_id = response.headers.get("x-request-id")
        answer = Response(response, self.host, self.clean(request_id)[:200] if request_id else None, seconds)
        try:
            if not response.is_success:
                raise self._refusal(answer, response)
            yield answer
        finally:
            answer.close()

    def _send(self, body: bytes, sent: threading.Event) -> httpx.Response:
        url = self.url
        for _ in range(_MAX_REDIRECTS):
            headers = {"Content-Length": str(len(body))}
            request = self._client.build_request("POST", url, content=_pieces(body, sent), headers=headers)
            with translated(self.host):
                response = self._client.send(request, stream=True)
            if not response.has_redirect_location:
                return response
            response.close()
            url = self._redirected(url, response)
        raise EndpointError(f"{self.host} redirects in a circle", hint="Check --base-url.", code="redirects")

    def _redirected(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where to go on; only within the origin, for the key and the images were meant for it alone (RFC 6454)."""
        try:
            there = url.join(response.headers["Location"])
        except (httpx.InvalidURL, UnicodeError):
            there = httpx.URL()
        if (there.scheme, there.host, there.port) == (url.scheme, url.host, url.port):
            return there
        raise EndpointError(
            f"{self.host} redirects to {there.scheme}://{_host(there)}, where nothing is sent",
            hint="If you trust that address, set it with --base-url.",
            code="redirect",
            status=response.status_code,
        )

    def _refusal(self, answer: Response, response: httpx.Response) -> EndpointError:
        data = b""
        with suppress(NetworkError):
            for chunk in answer.chunks():
                data += chunk
                if len(data) > _MAX_ERROR_BODY:
                    break
        try:
            payload = parsed(data)
        except ValueError:
            payload = data.decode(errors="replace")
        return self.refused(payload, status=response.status_code, request_id=answer.request_id)

    def refused(self, payload: object, *, status: int, request_id: str | None) -> EndpointError:
        """The error that a server's error body means."""
        return error_for(told(payload, status=status, host=self.host, request_id=request_id, clean=self.clean))

    def clean(self, text: str) -> str:
        """A server's words with the key taken out, should it echo it."""
        return scrubbed(text, self._key)


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


def _headers(key: str | None) -> dict[str, str]:
    common = {
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",  # a compressing proxy holds tokens back until a block is full
        "Content-Type": "application/json",
        "User-Agent": f"qvision/{__version__}",
    }
    return common | {"Authorization": f"Bearer {key}"} if key else common


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
