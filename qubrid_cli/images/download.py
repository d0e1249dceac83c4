"""Download an image from a link, within limits of size and time, without sending the API key."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field

import httpx

from .. import __version__, certificates, urls
from ..deadline import Deadline
from ..errors import ConfigError, ImageError
from ..frozen import frozen
from . import formats
from .sources import Link

#: 50 MB: photos of 100 megapixels are smaller.
MAX_BYTES = 50_000_000
#: Seconds for the whole download, including redirects. Longer ones need a program that can resume.
MAX_SECONDS = 60.0
_MAX_REDIRECTS = 5
#: Seconds; a host that takes longer to accept a connection counts as unreachable.
_CONNECT_TIMEOUT = 10.0

#: All headers that a host receives; the API key is not among them.
_HEADERS = {
    "Accept": "image/jpeg, image/png, image/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",  # images are compressed already, and this makes Content-Length exact
    "User-Agent": f"qvision/{__version__}",
}

#: Decoded, although not requested. Others, with ratios over 1000, and nested ones could fill the memory with one chunk.
_CONTENT_ENCODINGS = {"identity", "gzip", "deflate"}

_MANUAL_DOWNLOAD_HINT = "Download it another way and name the file."

#: The start of images and documents that are text: plain Netpbm, PDF, and formats that can be converted, such as SVG.
_TEXT_IMAGE_START = re.compile(rb"P[1-7f]\s|(\xef\xbb\xbf)?\s*<|%!PS|[\s\S]{0,1019}%PDF-")


def download(link: Link, *, timeout: float, within: float | None = None) -> bytes:
    """Download a link.

    Args:
        timeout: seconds without data after which the download fails.
        within: seconds for the whole download, at most ``MAX_SECONDS``. A name lookup cannot be interrupted.

    Raises:
        ImageError: it cannot be downloaded, is larger than ``MAX_BYTES``, takes too long, or is clearly not an image.
        ConfigError: the environment's proxy or certificates cannot be used.
    """
    task = _Download(link, timeout, min(within or MAX_SECONDS, MAX_SECONDS))
    task.deadline.start(task.max_seconds)
    try:
        data = task.run()
    finally:
        task.deadline.cancel()
    _refuse_text(data, link.name)
    return data


@frozen
class _Download:
    """One download, with its limits in seconds and the deadline that ends it."""

    link: Link
    timeout: float
    max_seconds: float
    deadline: Deadline = field(default_factory=Deadline)

    def run(self) -> bytes:
        first = url = self._parse_url(self.link.url)
        for _ in range(_MAX_REDIRECTS + 1):
            # A password belongs to the origin in its URL and is not sent to another one after a redirect.
            is_same_origin = (url.scheme, url.host, url.port) == (first.scheme, first.host, first.port)
            auth = _get_credentials(url) or (_get_credentials(first) if is_same_origin else None)
            result = self._request(url.copy_with(userinfo=b""), auth)
            if isinstance(result, bytes):
                return result
            url = result
        raise ImageError(
            f"{self.link.name} redirects more than {_MAX_REDIRECTS} times",
            hint="It may require a login. " + _MANUAL_DOWNLOAD_HINT,
            code="redirects",
        )

    def _request(self, url: httpx.URL, auth: tuple[str, str] | None) -> bytes | httpx.URL:
        """The body, or the URL of a redirect."""
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
                raise _http_status_error(response.status_code, self.link.name, url, has_password=auth is not None)
            return self._read_body(response)

    def _read_body(self, response: httpx.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() not in _CONTENT_ENCODINGS:
            raise ImageError(
                f"{self.link.name} has a content encoding that is not supported", hint=_MANUAL_DOWNLOAD_HINT
            )
        if int(response.headers.get("Content-Length", "0")) > MAX_BYTES:  # h11 accepts nothing but digits
            raise self._too_large_error()
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > MAX_BYTES:
                raise self._too_large_error()
        if self.deadline.is_expired:  # a body without a length ends where it is cut off, without an error
            raise self._timeout_error()
        return bytes(data)

    def _resolve_redirect(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        """The URL to which a response redirects.

        It may lead from the internet into the private network: users run this on their own machine, and the image goes
        to the endpoint that they chose, never to the redirecting server.
        """
        target = self._parse_url(str(url.join(response.headers["Location"])))
        if target.scheme in {"http", "https"}:
            if not target.host:
                raise self._invalid_url_error()
            return target
        raise ImageError(
            f"{self.link.name} redirects to a {target.scheme[:20]} URL, not http or https",
            hint=_MANUAL_DOWNLOAD_HINT,
            code="redirect",
            status=response.status_code,
        )

    def _parse_url(self, url: str) -> httpx.URL:
        try:
            return httpx.URL(urls.strip_root_dot(str(httpx.URL(url))))
        except (httpx.InvalidURL, ValueError) as error:
            raise self._invalid_url_error() from error

    def _invalid_url_error(self) -> ImageError:
        return ImageError(f"{self.link.name} is, or redirects to, an invalid URL", hint=_MANUAL_DOWNLOAD_HINT)

    def _too_large_error(self) -> ImageError:
        hint = "Download it, shrink it with an image editor, and name the file."
        return ImageError(f"{self.link.name} is larger than {MAX_BYTES // 10**6} MB", hint=hint, code="too_large")

    def _timeout_error(self) -> ImageError:
        hint = "Raise --max-time." if self.max_seconds < MAX_SECONDS else _MANUAL_DOWNLOAD_HINT
        return ImageError(f"{self.link.name} did not arrive within {self.max_seconds:g} s", hint=hint, code="max_time")

    @contextmanager
    def _translate_errors(self, url: httpx.URL) -> Iterator[None]:
        """Turn the exceptions of httpx into ours."""
        try:
            yield
        except (httpx.InvalidURL, UnicodeError) as error:
            raise self._invalid_url_error() from error
        except httpx.HTTPError as error:
            # The limit for connecting may equal that for the whole download, and expire first.
            is_out_of_time = isinstance(error, httpx.ConnectTimeout) and self.max_seconds <= min(
                self.timeout, _CONNECT_TIMEOUT
            )
            if self.deadline.is_expired or is_out_of_time:
                raise self._timeout_error() from error
            from ..http_errors import explain

            failure = explain(
                error,
                _get_host_and_port(url),
                url="the URL",
                timeout=self.timeout,
                proxy=urls.find_proxy(str(url)),
            )
            message = f"{self.link.name}: {failure.message}"
            raise ImageError(message, hint=failure.hint, code=failure.code) from error


def _refuse_text(data: bytes, name: str) -> None:
    """Refuse a web page or text that a server sends instead of an image, with status 200."""
    if formats.is_web_page(data):
        kind = "a web page"
        hint = "Open it in a browser and copy the address of the image itself; the site may require a login."
    elif data and formats.is_text(data) and not _TEXT_IMAGE_START.match(data):
        kind, hint = "text", "It may be an error message of the server; open the link in a browser."
    else:
        return
    raise ImageError(f"{name} is not an image but {kind}", hint=hint, code="not_an_image")


def _http_status_error(status: int, name: str, url: httpx.URL, *, has_password: bool) -> ImageError:
    host = _get_host_and_port(url)
    hint = _MANUAL_DOWNLOAD_HINT
    match status:
        case 407 if (proxy := urls.find_proxy(str(url))) is not None:
            message = f"{name}: the proxy {proxy} requires a login (HTTP 407)"
            return ImageError(message, hint=urls.PROXY_LOGIN_HINT, code="proxy", status=status)
        case 401 if has_password:
            problem, hint = "refused the user and password in", "Check them, and write @ as %40."
        case 401:
            problem = "requires a user and a password for"
            hint = f"Write them into the URL: {url.scheme}://USER:PASSWORD@{host}/…"
        case 403:
            problem, hint = "denies access to", f"It may require a login or a browser. {hint}"
        case 404 | 410:
            problem, hint = "has nothing at", "Check the address."
        case 429:
            problem, hint = "limits requests and did not send", "Wait a while, then try again."
        case _ if status >= 500:
            problem, hint = "failed to send", f"Try again later. {hint}"
        case _:
            problem = "did not send"
    return ImageError(f"{host} {problem} {name} (HTTP {status})", hint=hint, code="not_fetched", status=status)


def _get_credentials(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None


def _get_host_and_port(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace")


def _open_client(url: httpx.URL) -> httpx.Client:
    try:
        return httpx.Client(
            headers=_HEADERS,
            trust_env=not urls.is_this_machine(str(url)),  # this machine is reached without a proxy
            verify=certificates.load_tls_context(),
        )
    except (ValueError, ImportError, OSError) as error:  # the message may contain the proxy's password
        raise ConfigError(
            "the proxy or the certificates of the environment cannot be used",
            hint="Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error
