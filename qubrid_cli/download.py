"""An image behind a link, fetched by this machine: within a size and a time, and with nothing of ours on the way."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from functools import cache
from urllib.request import getproxies

import httpx

from . import __version__, mishaps, urls
from .errors import ConfigError, ImageError
from .frozen import frozen
from .links import Reach, reach
from .mishaps import ELSEWHERE
from .response import Cutter
from .sources import Link

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
_CODINGS = {"identity", "gzip", "deflate"}


def download(link: Link, *, timeout: float, within: float | None = None) -> bytes:
    """All bytes behind a link.

    Args:
        timeout: seconds that may pass without a byte.
        within: seconds for all of it, where that is less than ``MAX_SECONDS``. Looking up a name cannot be cut short.

    Raises:
        ImageError: it cannot be had, is larger than ``MAX_BYTES``, took too long, or is plainly no image.
        ConfigError: the environment's proxy or certificates cannot be used.
    """
    errand = _Errand(link, timeout, min(within or MAX_SECONDS, MAX_SECONDS))
    errand.cutter.start(errand.seconds)
    try:
        data = errand.run()
    finally:
        errand.cutter.stop()
    problem = mishaps.no_picture(data, link.name)
    if problem is not None:
        raise problem
    return data


@frozen
class _Errand:
    """One download: its link, its limits in seconds, and what ends it when they are over."""

    link: Link
    timeout: float
    seconds: float
    cutter: Cutter = field(default_factory=Cutter)

    def run(self) -> bytes:
        first = url = self._parsed(self.link.url)
        for _ in range(_MAX_REDIRECTS + 1):
            # A password is for the origin in whose URL it stands; a redirect to another one loses it.
            auth = _credentials(url) or (_credentials(first) if _origin(url) == _origin(first) else None)
            found = self._visit(url.copy_with(userinfo=b""), auth)
            if isinstance(found, bytes):
                return found
            url = found
        raise ImageError(
            f"{self.link.name} redirects more than {_MAX_REDIRECTS} times",
            hint="It may go in a circle until somebody logs in. " + ELSEWHERE,
            code="redirects",
        )

    def _visit(self, url: httpx.URL, auth: tuple[str, str] | None) -> bytes | httpx.URL:
        """The body, or where to go on."""
        limits = httpx.Timeout(self.timeout, connect=min(self.timeout, self.seconds, _CONNECT_TIMEOUT))
        extensions = {"trace": self.cutter.hold}
        with (
            self._translated(url),
            _client(url) as client,
            client.stream("GET", url, auth=auth, timeout=limits, extensions=extensions) as response,
        ):
            if response.has_redirect_location:
                return self._redirected(url, response)
            if not response.is_success:
                raise mishaps.refused(
                    response.status_code, self.link.name, _host(url), scheme=url.scheme, has_password=auth is not None
                )
            return self._body(response)

    def _body(self, response: httpx.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() not in _CODINGS:
            raise ImageError(f"{self.link.name} comes packed in a way that was not asked for", hint=ELSEWHERE)
        if int(response.headers.get("Content-Length", "0")) > MAX_BYTES:  # h11 lets nothing but digits through
            raise self._too_large()
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > MAX_BYTES:
                raise self._too_large()
        if self.cutter.is_over:  # a body without a length ends where it is cut, with no error
            raise self._over()
        return bytes(data)

    def _redirected(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """Where a redirect leads.

        From the world into the private network too: the user asked for this link on a machine of theirs, and what is
        found goes to the endpoint that they chose, never back to whoever redirects. No service runs this for strangers.
        """
        there = self._parsed(str(url.join(response.headers["Location"])))
        if there.scheme in {"http", "https"}:
            if not there.host:
                raise self._no_url()
            return there
        raise ImageError(
            f"{self.link.name} redirects to a {there.scheme[:20]} URL, not http or https",
            hint=ELSEWHERE,
            code="redirect",
            status=response.status_code,
        )

    def _parsed(self, url: str) -> httpx.URL:
        try:
            found = httpx.URL(url)
            urls.split(str(found))
        except (httpx.InvalidURL, ValueError) as error:
            raise self._no_url() from error
        return found

    def _no_url(self) -> ImageError:
        return ImageError(f"{self.link.name} is, or leads to, no valid URL", hint=ELSEWHERE)

    def _too_large(self) -> ImageError:
        hint = "Download it, shrink it with an image editor, and name the file."
        return ImageError(f"{self.link.name} is larger than {MAX_BYTES // 10**6} MB", hint=hint, code="too_large")

    def _over(self) -> ImageError:
        hint = "Raise --max-time." if self.seconds < MAX_SECONDS else ELSEWHERE
        return ImageError(f"{self.link.name} did not arrive within {self.seconds:g} s", hint=hint, code="max_time")

    @contextmanager
    def _translated(self, url: httpx.URL) -> Iterator[None]:
        """No exception of httpx leaves this room."""
        try:
            yield
        except (httpx.InvalidURL, UnicodeError) as error:
            raise self._no_url() from error
        except httpx.HTTPError as error:
            # Connecting has no more time than all of it, and may notice first.
            is_last = isinstance(error, httpx.ConnectTimeout) and self.seconds <= min(self.timeout, _CONNECT_TIMEOUT)
            if self.cutter.is_over or is_last:
                raise self._over() from error
            raise mishaps.failed(
                error, self.link.name, _host(url), timeout=self.timeout, is_direct=_is_direct(url)
            ) from error


def _credentials(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _host(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace")


def _is_here(url: httpx.URL) -> bool:
    return reach(str(url)) is Reach.MACHINE


def _is_direct(url: httpx.URL) -> bool:
    return _is_here(url) or not getproxies().keys() & {url.scheme, "all"}


def _client(url: httpx.URL) -> httpx.Client:
    try:
        return httpx.Client(
            headers=_HEADERS,
            trust_env=not _is_here(url),  # what is on this machine is reached through no proxy
            verify=_certificates(),
        )
    except (ValueError, ImportError, OSError) as error:  # whose words may hold the proxy's password
        raise ConfigError(
            "the proxy or the certificates that the environment names cannot be used",
            hint="Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error


@cache
def _certificates() -> ssl.SSLContext:
    """Made once: it takes as long as a small picture."""
    return httpx.create_ssl_context()
