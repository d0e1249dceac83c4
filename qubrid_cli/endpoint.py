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
from .credentials import scrubbed
from .errors import AuthError, ConfigError, EndpointError
from .events import parsed
from .refusals import error_for, told
from .response import Cutter, Response, translated
from .retries import retry_after

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
        allow_http: send the key over plain http to other machines too.
        transport: something to take the place of the network, such as the built-in endpoint.

    Raises:
        AuthError: the key would cross a network in the clear.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout: float,
        allow_http: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._key = key
        self._cutter = Cutter()
        with _configured():
            self.url = httpx.URL(base_url + "/chat/completions")
            self.host = _host(self.url)
            is_loopback = _is_loopback(self.url.host)
            if key and self.url.scheme != "https" and not is_loopback and not allow_http:
                raise AuthError(
                    f"the key is not sent to {self.host} over plain http",
                    hint="Use https; unset QUBRID_API_KEY if it needs no key; or, in a network you trust, --allow-http.",
                    code="plain_http",
                )
            self._client = httpx.Client(
                headers=_headers(key),
                timeout=httpx.Timeout(timeout, connect=min(_CONNECT_TIMEOUT, timeout)),
                # What is meant for this machine goes through no proxy; SSL_CERT_FILE counts for the transport all the same.
                transport=transport or (httpx.HTTPTransport() if is_loopback else None),
                trust_env=not is_loopback,
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
    def ask(self, body: bytes, *, sent: threading.Event, within: float | None = None) -> Iterator[Response]:
        """Send one request and hold the response open; whatever httpx raises in between becomes one of our errors.

        Args:
            sent: set when the whole body is on its way.
            within: seconds for all of it; ``None`` for as long as it takes.

        Raises:
            EndpointError: it was refused; the class and the hint say how.
            NetworkError: there is no connection, it broke or fell silent, or the time was over.
        """
        started = time.perf_counter()
        self._cutter.start(within)
        response: httpx.Response | None = None
        try:
            with translated(self.host, self._cutter):
                response = self._send(body, sent)
                if not response.is_success:
                    raise self._refusal(response)
                yield Response(response, self._request_id(response), time.perf_counter() - started)
        finally:
            self._cutter.stop()
            if response is not None:
                response.close()

    def end_soon(self, *, announced: bool) -> None:
        """The answer is there, and nothing but metrics is still expected; ``announced`` says that there was a ``[DONE]``."""
        self._cutter.end_soon(announced=announced)

    def _send(self, body: bytes, sent: threading.Event) -> httpx.Response:
        url = self.url
        for _ in range(_MAX_REDIRECTS):
            request = self._client.build_request(
                "POST",
                url,
                content=_pieces(body, sent),
                headers={"Content-Length": str(len(body))},
                extensions={"trace": self._cutter.hold},
            )
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

    def _refusal(self, response: httpx.Response) -> EndpointError:
        data = b""
        with suppress(httpx.HTTPError):
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > _MAX_ERROR_BODY:
                    break
        try:
            payload = parsed(data)
        except ValueError:
            payload = data.decode(errors="replace")
        error = self.refused(payload, status=response.status_code, request_id=self._request_id(response))
        error.retry_after = retry_after(response.headers)
        return error

    def _request_id(self, response: httpx.Response) -> str | None:
        found = response.headers.get("x-request-id")
        return self.clean(found)[:200] if found else None

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
