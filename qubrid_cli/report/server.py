"""The server of ``qvision report --serve``, which shows the gallery on this machine only and saves corrections.

Another web site in the same browser could send requests here: by a form, or by a host name that it lets resolve to this
machine (DNS rebinding). So the address contains a token, the ``Host`` header must be ours, and a correction must be JSON
from our own page.
"""

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..errors import QvisionError
from .gallery import Gallery
from .html_page import encode_data
from .results import Results

#: The only address at which the server can be reached.
_HOST = "127.0.0.1"
#: Maximum bytes of a correction.
_MAX_BODY_BYTES = 4 << 20
#: Seconds without data after which a connection is closed.
_TIMEOUT = 30.0
#: The headers of every response: no other site may embed the page, read it or learn its address, and nothing is cached.
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class GalleryServer(ThreadingHTTPServer):
    """Serves a gallery on a random port of this machine, to clients that know its URL.

    Args:
        results: the results in the gallery, which receive the corrections.
        folder: the folder of the pictures.
    """

    daemon_threads = True

    def __init__(self, gallery: Gallery, results: Results, folder: Path) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self._gallery = gallery
        self._results = results
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The URL of the page, with the token."""
        return f"http://{_HOST}:{self.server_port}/{self.token}/"

    def render_page(self) -> bytes:
        """Render the page, with all corrections so far."""
        with self._lock:
            return self._gallery.render(is_served=True)

    def correct(self, number: int, text: str | None, *, is_bad: bool) -> Mapping[int, Any]:
        """Save a correction; see ``Gallery.correct``."""
        with self._lock:
            return self._gallery.correct(self._results, number, text, is_bad=is_bad)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore broken connections."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; see ``GalleryServer``."""

    server: GalleryServer
    server_version, sys_version = "qvision", ""
    timeout = _TIMEOUT

    def do_GET(self) -> None:
        """Send the page or a picture."""
        path = self._check_request()
        if path is None:
            return
        if not path:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.render_page())
            return
        folder, _, name = path.partition("/")
        data = _read_picture(self.server.folder, name) if folder == self.server.folder.name else None
        if data is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        else:
            self._send(HTTPStatus.OK, "image/png" if name.endswith(".png") else "image/jpeg", data)

    def do_POST(self) -> None:
        """Save a correction."""
        body = self._read_body()  # even if the request is refused, because a client may send all before it reads
        path = None if body is None else self._check_request()
        if body is None or path is None:
            return
        if path != "corrections":
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        elif self.headers.get("Origin") != f"http://{self.headers['Host']}":
            self._refuse(HTTPStatus.FORBIDDEN, "the request comes from another site")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a correction is JSON")
        else:
            self._save(body)

    def _check_request(self) -> str | None:
        """Check the host and the token; return the path after the token, or ``None`` if the request was refused."""
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (_HOST, "localhost")}:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server has another name")
            return None
        token, slash, path = self.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the address is not the one that qvision printed")
            return None
        return path

    def _read_body(self) -> bytes | None:
        """Read the body; ``None`` if the request was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "the request has no length")
            return None
        if int(length) > _MAX_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a correction has at most {_MAX_BODY_BYTES:,} bytes")
            return None
        return self.rfile.read(int(length))

    def _save(self, body: bytes) -> None:
        try:
            match json.loads(body):
                case {"number": int(number), "text": str() | None as text, "bad": bool(is_bad)} if not isinstance(
                    number, bool
                ):
                    changes = self.server.correct(number, text, is_bad=is_bad)
                case _:
                    raise ValueError("this is not a correction")
        except (ValueError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except QvisionError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error.message)
        else:
            self._send(HTTPStatus.OK, "application/json", encode_data(changes).encode(errors="replace"))

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(status, "application/json", json.dumps({"message": message}).encode())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": content_type, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _read_picture(folder: Path, name: str) -> bytes | None:
    """Read a picture; ``None`` if the folder does not contain a file of this name."""
    try:
        names = {entry.name for entry in folder.iterdir()}
        return (folder / name).read_bytes() if name in names else None
    except OSError:
        return None


def serve_gallery(gallery: Gallery, results: Results, folder: Path, announce: Callable[[str], None]) -> None:
    """Serve a gallery until Ctrl-C; see ``GalleryServer``.

    Args:
        announce: called with the URL of the page.
    """
    with GalleryServer(gallery, results, folder) as server, suppress(KeyboardInterrupt):
        announce(server.url)
        server.serve_forever()
