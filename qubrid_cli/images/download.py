"""An image behind a link, fetched by this machine: within a size and a time, and with nothing of ours on the way."""

# MERGED DOCSTRING of qubrid_cli.mishaps: Why an image could not be had from the web: for each cause a sentence of its own, and what can be done.

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from functools import cache

import httpx

from .. import __version__
from ..deadline import Deadline
from ..errors import ConfigError, ImageError
from ..frozen import frozen
from . import decode, urls
from .sources import Link

MANUAL_DOWNLOAD_HINT = "Download it by other means, and name the file."

#: Text that may be a picture all the same: Netpbm's plain forms, and what can be turned into one, such as SVG.
_TEXT_IMAGE_START = re.compile(rb"P[1-7f]\s|(\xef\xbb\xbf)?\s*<|%!PS")


def not_an_image_error(data: bytes, name: str) -> ImageError | None:
    """The error for what servers send in place of a picture, with status 200 and under its name."""
    if decode.is_web_page(data):
        hint = "Open it in a browser and copy the address of the picture itself; or it wants you to log in first."
        return ImageError(f"{name} is not an image but a web page", hint=hint, code="not_an_image")
    if data and decode.is_text(data) and not _TEXT_IMAGE_START.match(data):
        hint = "Look at what it says: it may be a server's error."
        return ImageError(f"{name} is not an image but text", hint=hint, code="not_an_image")
    return None


def http_status_error(status: int, name: str, host: str, *, scheme: str, has_password: bool) -> ImageError:
    """The error that an HTTP status means."""
    if status == 401 and has_password:
        said, hint = f"{host} refused the user and password in {name}", "Check them; in a URL, @ is written as %40."
    elif status == 401:
        said, hint = (
            f"{host} wants a user and a password for {name}",
            f"Write them into its URL: {scheme}://USER:PASSWORD@{host}/…",
        )
    elif status == 403:
        said, hint = f"{host} does not give out {name}", f"It may want a login, or a browser. {MANUAL_DOWNLOAD_HINT}"
    elif status in {404, 410}:
        said, hint = f"{host} has nothing at {name}", "Check the address."
    elif status == 429:
        said, hint = f"{host} was asked too often to give out {name}", "Wait a while, then try again."
    elif status >= 500:
        said, hint = f"{host} failed to send {name}", f"Try again later. {MANUAL_DOWNLOAD_HINT}"
    else:
        said, hint = f"{host} did not send {name}", MANUAL_DOWNLOAD_HINT
    return ImageError(f"{said} (HTTP {status})", hint=hint, code="not_fetched", status=status)


#: 50 MB: a photo of 100 megapixels is smaller.
MAX_BYTES = 50_000_000
#: For all of it, redirects included: what takes longer is better fetched by a program that can go on where it stopped.
MAX_SECONDS = 60.0
_MAX_REDIRECTS = 5
#: Seconds; a host that takes longer to accept a connection is not there.
_CONNECT_TIMEOUT = 10.0

#: All that a host learns from us. The key stays away by itself: this client never had it.
_HEADERS = {
    "Accept": "image/jpeg, image/png, image/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",  # pictures are packed already, and lengths tell the truth that way
    "User-Agent": f"qvision/{__version__}",
}

#: Undone where a server uses them unasked. What unpacks to more than a thousand times its size, or twice, could fill
#: the memory with a single chunk.
_CONTENT_ENCODINGS = {"identity", "gzip", "deflate"}


def download(link: Link, *, timeout: float, within: float | None = None) -> bytes:
    """All bytes behind a link.

    Args:
        timeout: seconds that may pass without a byte.
        within: seconds for all of it, where that is less than ``MAX_SECONDS``. Looking up a name cannot be cut short.

    Raises:
        ImageError: it cannot be had, is larger than ``MAX_BYTES``, took too long, or is plainly no image.
        ConfigError: the environment's proxy or certificates cannot be used.
    """
    errand = _Download(link, timeout, min(within or MAX_SECONDS, MAX_SECONDS))
    errand.deadline.start(errand.max_seconds)
    try:
        data = errand.run()
    finally:
        errand.deadline.cancel()
    problem = not_an_image_error(data, link.name)
    if problem is not None:
        raise problem
    return data


@frozen
class _Download:
    """One download: its link, its limits in seconds, and what ends it when they are over."""

    link: Link
    timeout: float
    max_seconds: float
    deadline: Deadline = field(default_factory=Deadline)

    def run(self) -> bytes:
        first = url = self._parse_url(self.link.url)
        for _ in range(_MAX_REDIRECTS + 1):
            # A password is for the origin in whose URL it stands; a redirect to another one loses it.
            auth = _get_credentials(url) or (
                _get_credentials(first) if _get_origin(url) == _get_origin(first) else None
            )
            found = self._request(url.copy_with(userinfo=b""), auth)
            if isinstance(found, bytes):
                return found
            url = found
        raise ImageError(
            f"{self.link.name} redirects more than {_MAX_REDIRECTS} times",
            hint="It may go in a circle until somebody logs in. " + MANUAL_DOWNLOAD_HINT,
            code="redirects",
        )

    def _request(self, url: httpx.URL, auth: tuple[str, str] | None) -> bytes | httpx.URL:
        """The body, or where to go on."""
        limits = httpx.Timeout(self.timeout, connect=min(self.timeout, self.max_seconds, _CONNECT_TIMEOUT))
        extensions = {"trace": self.deadline.track_connection}
        with (
            self._translate_errors(url),
            _open_client(url) as client,
            client.stream("GET", url, auth=auth, timeout=limits, extensions=extensions) as response,
        ):
            if response.has_redirect_location:
                return self._resolve_redirect(url, response)
            if not response.is_success:
                raise http_status_error(
                    response.status_code,
                    self.link.name,
                    _get_host_and_port(url),
                    scheme=url.scheme,
                    has_password=auth is not None,
                )
            return self._read_body(response)

    def _read_body(self, response: httpx.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() not in _CONTENT_ENCODINGS:
            raise ImageError(
                f"{self.link.name} comes packed in a way that was not asked for", hint=MANUAL_DOWNLOAD_HINT
            )
        if int(response.headers.get("Content-Length", "0")) > MAX_BYTES:  # h11 lets nothing but digits through
            raise self._too_large_error()
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > MAX_BYTES:
                raise self._too_large_error()
        if self.deadline.is_expired:  # a body without a length ends where it is cut, with no error
            raise self._timeout_error()
        return bytes(data)

    def _resolve_redirect(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where a redirect leads.

        From the world into the private network too: the user asked for this link on a machine of theirs, and what is
        found goes to the endpoint that they chose, never back to whoever redirects. No service runs this for strangers.
        """
        there = self._parse_url(str(url.join(response.headers["Location"])))
        if there.scheme in {"http", "https"}:
            if not there.host:
                raise self._invalid_url_error()
            return there
        raise ImageError(
            f"{self.link.name} redirects to a {there.scheme[:20]} URL, not http or https",
            hint=MANUAL_DOWNLOAD_HINT,
            code="redirect",
            status=response.status_code,
        )

    def _parse_url(self, url: str) -> httpx.URL:
        try:
            found = httpx.URL(url)
            found = httpx.URL(urls.strip_root_dot(str(found)))
        except (httpx.InvalidURL, ValueError) as error:
            raise self._invalid_url_error() from error
        return found

    def _invalid_url_error(self) -> ImageError:
        return ImageError(f"{self.link.name} is, or leads to, no valid URL", hint=MANUAL_DOWNLOAD_HINT)

    def _too_large_error(self) -> ImageError:
        hint = "Download it, shrink it with an image editor, and name the file."
        return ImageError(f"{self.link.name} is larger than {MAX_BYTES // 10**6} MB", hint=hint, code="too_large")

    def _timeout_error(self) -> ImageError:
        hint = "Raise --max-time." if self.max_seconds < MAX_SECONDS else MANUAL_DOWNLOAD_HINT
        return ImageError(f"{self.link.name} did not arrive within {self.max_seconds:g} s", hint=hint, code="max_time")

    @contextmanager
    def _translate_errors(self, url: httpx.URL) -> Iterator[None]:
        """No exception of httpx leaves this room."""
        try:
            yield
        except (httpx.InvalidURL, UnicodeError) as error:
            raise self._invalid_url_error() from error
        except httpx.HTTPError as error:
            # Connecting has no more time than all of it, and may notice first.
            is_last = isinstance(error, httpx.ConnectTimeout) and self.max_seconds <= min(
                self.timeout, _CONNECT_TIMEOUT
            )
            if self.deadline.is_expired or is_last:
                raise self._timeout_error() from error
            from .http_errors import explain

            failure = explain(
                error,
                _get_host_and_port(url),
                url="the URL",
                timeout=self.timeout,
                is_direct=not urls.uses_proxy(str(url)),
            )
            message = f"{self.link.name}: {failure.message}"
            raise ImageError(message, hint=failure.hint, code=failure.code) from error


def _get_credentials(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None


def _get_origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _get_host_and_port(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace")


def _open_client(url: httpx.URL) -> httpx.Client:
    try:
        return httpx.Client(
            headers=_HEADERS,
            trust_env=not urls.is_this_machine(str(url)),  # this machine is reached without a proxy
            verify=_load_certificates(),
        )
    except (ValueError, ImportError, OSError) as error:  # whose words may hold the proxy's password
        raise ConfigError(
            "the proxy or the certificates that the environment names cannot be used",
            hint="Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error


@cache
def _load_certificates() -> ssl.SSLContext:
    """Made once: it takes as long as a small picture."""
    return httpx.create_ssl_context()
