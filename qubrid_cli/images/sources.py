"""Sources of images: files, links, ``data:`` URLs and standard input; which links are fetched here; reading bytes."""

import enum
import io
import json
import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, assert_never
from urllib.parse import unquote

from .. import urls
from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..operating_system import open_nonblocking, wait_for_writer
from ..text import quote_name
from .suffixes import DOCUMENT_SUFFIXES, IMAGE_SUFFIXES, find_suffix

if sys.platform == "win32":
    from urllib.request import url2pathname
else:  # the same function; urllib.request takes 13 ms to load
    from urllib.parse import unquote as url2pathname

#: The page in the name of a file, and in the fragment of a URL among other parameters (RFC 8118, section 3).
_PAGE_OF_FILE = r"(.+)#page=([1-9][0-9]{0,6})"
_PAGE_OF_URL = r"([^#]+)#(?:[^#]*&)?page=([1-9][0-9]{0,6})(?:&[^#]*)?"

#: A prompt may begin with ``data: `` too, so a ``data:`` URL may contain a space only before ``base64``.
_URL = r"(?i)(https?|file):\S*\Z|(s3|gs|az)://|data:[^\s,]*(;\s*base64,|,|\Z)"
#: 512 MiB: no photo is this large, and a larger file could fill the memory.
MAX_FILE_BYTES = 512 * 1024 * 1024

#: Bytes at the start of a PDF that contain its signature; junk may precede it (ISO 32000-1, Annex H, note 13).
_PDF_HEAD_BYTES = 1024
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: How to use a folder instead, by the command that does not accept one.
_FOLDER_HINTS = {
    "describe": "To ask about each image in it: qvision batch {} -P describe",
    "test": 'To ask about each image in it: qvision grep "is it a cat?" {}',
    "locate": "To search each image in it: qvision batch {} -P boxes",
}
#: Images whose metadata may contain the signature of a PDF.
_IMAGE_START = rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|RIFF|....ftyp|\0\0\0\x0cjP|BM"


@frozen
class File:
    """An image in a file; ``name`` is what the user wrote."""

    name: str
    path: Path


@frozen
class Bytes:
    """An image in memory, from a ``data:`` URL for example."""

    name: str
    data: bytes


@frozen
class Link:
    """An image on the web or in a bucket; ``name`` is the URL without a password. See ``resolve_links``."""

    name: str
    url: str


@frozen
class FetchedLink:
    """An image on the web or in a bucket that is downloaded when it is read; ``note`` is a warning for the user."""

    name: str
    fetch: Callable[[], bytes]
    note: str | None = None


class PeekableStream:
    """A stream that can be peeked into before it is read. Its methods may be called from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = b""
        self._lock = threading.Lock()

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer than ``size`` only at the end."""
        with self._lock:
            while len(self._head) < size and (chunk := self._stream.read(size - len(self._head))):
                self._head += chunk
            return self._head[:size]

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none at the end."""
        with self._lock:
            head, self._head = self._head[:size], self._head[size:]
            return head or self._stream.read(size)


@frozen
class Stdin:
    """An image on standard input, not read yet."""

    stream: BinaryIO | PeekableStream
    name: str = "-"


ReadableSource = File | Bytes | FetchedLink | Stdin


@frozen
class DocumentPage:
    """A page of a document, or a frame of an animation; ``number`` counts from 1."""

    document: ReadableSource | Link
    number: int

    @property
    def name(self) -> str:
        """The name of the document with the page as its fragment, which browsers understand (RFC 8118, section 3)."""
        return self.format_name(self.document.name, self.number)

    @staticmethod
    def format_name(document: str, number: int) -> str:
        """The name of a page of a document."""
        return f"{document}#page={number}"


Source = ReadableSource | Link | DocumentPage


def split_page(name: str) -> tuple[str, int] | None:
    """Split a name such as ``a.pdf#page=3`` into the name of the document and the page; ``None`` if it names no page."""
    if "#" not in name:
        return None
    match = re.fullmatch(
        _PAGE_OF_URL if is_url(name) and not urls.is_object_url(name) else _PAGE_OF_FILE, name, re.DOTALL
    )
    return (match[1], int(match[2])) if match else None


def is_url(text: str) -> bool:
    """Whether an argument is a web, ``file:``, ``data:`` or object URL, even an invalid one."""
    return ":" in text[:6] and re.match(_URL, text) is not None


def resolve_url(url: str) -> Source:
    """The image that a URL stands for.

    Raises:
        ImageError: an invalid ``data:`` URL, or the ``file:`` URL of another machine.
        UsageError: an invalid URL, or that of a folder.
    """
    scheme = url.partition(":")[0].lower()
    if urls.is_object_url(url):
        return Link(url, url)
    page = split_page(url)
    if scheme == "data":
        return _decode_data_url(url) if page is None else DocumentPage(_decode_data_url(page[0]), page[1])
    try:
        if scheme != "file":
            return Link(urls.strip_credentials(url), url)
        document = page[0] if page else url
        file = make_file(document, _parse_file_url(document))
        return DocumentPage(file, page[1]) if page else file
    except ValueError as error:
        raise UsageError(
            f"{urls.redact(url)} {error}",
            hint="A URL looks like https://example.com/photo.jpg. Put it in quotes, and write @ in a password as %40.",
        ) from error


def _decode_data_url(url: str) -> Bytes:
    name = urls.shorten_data_url(url)
    try:
        return Bytes(name, urls.decode_data_url(url))
    except ValueError as error:
        raise ImageError(
            f"{name} is not a valid data URL: {error}", hint="A data URL looks like data:image/png;base64,iVBORw0…"
        ) from error


def _parse_file_url(url: str) -> Path:
    """The path in a ``file:`` URL of this machine (RFC 8089); that of another machine is an error."""
    parts = urls.split(url)
    if parts.netloc not in {"", "localhost"}:
        raise ImageError(
            f"{urls.redact(url)} is on another machine, {parts.netloc.rpartition('@')[2]}",
            hint="The URL of a file on this machine has three slashes: file:///home/me/a.jpg",
        )
    return Path(url2pathname(parts.path))


def make_file(name: str, path: Path, command: str = "describe") -> File:
    """The image at a path.

    Args:
        command: for the hint.

    Raises:
        UsageError: it is a folder.
    """
    if os.path.isdir(path):  # Path.is_dir raises on some paths
        raise make_folder_error(name, command)
    return File(name, path)


def make_folder_error(name: str, command: str) -> UsageError:
    """The error for a folder in place of an image; the hint says how to use it instead."""
    hint = _FOLDER_HINTS.get(command, 'Name images in it, such as "photos/*.jpg".')
    return UsageError(f"{quote_name(name)} is a folder", hint=hint.format(quote_name(name)))


def may_be_document(name: str) -> bool:
    """Whether a file or link may have pages, by its name: ``scan.pdf`` and ``scan`` may, ``photo.jpg`` may not."""
    return find_suffix(_remove_query(name)) not in IMAGE_SUFFIXES


def has_document_suffix(name: str) -> bool:
    """Whether a file or link is named like a document, such as ``scan.pdf``."""
    return find_suffix(_remove_query(name)) in DOCUMENT_SUFFIXES


def _remove_query(name: str) -> str:
    return re.split("[?#]", name)[0] if is_url(name) else name


class DocumentKind(enum.Enum):
    """A format whose files have pages; a TIFF often has only one."""

    PDF = enum.auto()
    TIFF = enum.auto()


def detect_document(source: ReadableSource) -> DocumentKind | None:
    """The kind of a document, by its first bytes; ``None`` for other images, and for a file that cannot be read."""
    head = _read_head(source)
    if head.startswith(TIFF_SIGNATURES):
        return DocumentKind.TIFF
    return DocumentKind.PDF if b"%PDF-" in head and not re.match(_IMAGE_START, head) else None


def _read_head(source: ReadableSource) -> bytes:
    match source:
        case Bytes():
            return source.data[:_PDF_HEAD_BYTES]
        case FetchedLink():
            return source.fetch()[:_PDF_HEAD_BYTES]
        case Stdin():
            return source.stream.peek(_PDF_HEAD_BYTES) if isinstance(source.stream, PeekableStream) else b""
        case File():
            if os.path.isfile(source.path):  # a named pipe that is opened and closed loses its writer
                with suppress(ImageError), open_file(source) as file:
                    return file.read(_PDF_HEAD_BYTES)
            return b""
        case _:
            assert_never(source)


def read_bytes(source: ReadableSource) -> bytes:
    """Read all bytes of an image.

    Raises:
        ImageError: it is missing, unreadable, empty, larger than ``MAX_FILE_BYTES``, not a regular file, or could not
            be downloaded.
    """
    match source:
        case Bytes():
            data = source.data
        case FetchedLink():
            data = source.fetch()
        case Stdin():
            data = _read_stream(source.stream)
        case File():
            data = _read_file(source)
        case _:
            assert_never(source)
    if not data:
        message = (
            "standard input is empty" if isinstance(source, Stdin) else f"{quote_name(source.name)} is empty (0 bytes)"
        )
        raise ImageError(message, hint="Perhaps the copy or download was cut off.")
    if len(data) > MAX_FILE_BYTES:
        raise _file_too_large_error(source.name)
    return data


def _read_stream(stream: BinaryIO | io.FileIO | PeekableStream) -> bytes:
    """Read a stream to its end, or to a little over ``MAX_FILE_BYTES``."""
    data = bytearray()
    while len(data) <= MAX_FILE_BYTES and (chunk := stream.read(1024 * 1024)):
        data += chunk
    return bytes(data)


def _read_file(source: File) -> bytes:
    with open_file(source) as file:
        status = os.fstat(file.fileno())
        if stat.S_ISFIFO(status.st_mode):  # also /dev/stdin, and what a shell makes of <(command)
            wait_for_writer(file.fileno())
            return _read_stream(file)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(
                f"{quote_name(source.name)} is not a regular file",
                hint=f"Pipe it in: qvision describe - < {quote_name(source.name)}",
            )
        if status.st_size > MAX_FILE_BYTES:
            raise _file_too_large_error(source.name)
        return file.read(MAX_FILE_BYTES + 1)


@contextmanager
def open_file(source: File) -> Iterator[BinaryIO]:
    """Open a file without blocking; errors while it is read are translated too.

    Raises:
        ImageError: it is missing or unreadable.
    """
    try:
        with open(source.path, "rb", opener=open_nonblocking) as file:
            yield file
    except FileNotFoundError as error:
        is_link = os.path.islink(source.path)
        hint = "It is a symbolic link to a file that does not exist." if is_link else "Check the name and the folder."
        raise ImageError(f"no such image: {quote_name(source.name)}", hint=hint) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        is_denied = isinstance(error, PermissionError)
        hint = "Check its permissions." if is_denied else "Check the name and the disk."
        raise ImageError(f"cannot read {quote_name(source.name)}: {reason}", hint=hint) from error


def _file_too_large_error(name: str) -> ImageError:
    return ImageError(
        f"{quote_name(name)} is larger than {MAX_FILE_BYTES >> 20} MiB", hint="Shrink it with an image editor first."
    )


def keep_bytes(source: Source) -> Source:
    """Make a source readable more than once: the bytes of standard input and of links are kept in memory."""
    if not isinstance(source, Stdin | FetchedLink):
        return source
    note = source.note if isinstance(source, FetchedLink) else None
    return FetchedLink(source.name, cache(partial(read_bytes, source)), note)


def resolve_links(
    images: Iterable[Source], *, fetch: bool | None, endpoint: str | None, download: Callable[[Link], bytes]
) -> list[Source]:
    """Replace links that are fetched here by sources that download them when they are read.

    Objects of buckets are always fetched here.

    Args:
        fetch: whether links are fetched here; ``None`` for those that probably only this machine can reach.
        endpoint: its URL; ``None`` for the built-in endpoint, which accepts any link and fetches none.
        download: returns the bytes of a link.
    """

    def resolve(image: Source) -> Source:
        if not isinstance(image, Link):
            return image
        if urls.is_object_url(image.url):
            return _make_fetched(image, download)
        if fetch is not None:
            return _make_fetched(image, download) if fetch else image
        if endpoint is None or urls.classify_reach(image.url) >= urls.classify_reach(endpoint):
            return image
        return _make_fetched(
            image, download, f"{quote_name(image.name)}: fetched here, because the endpoint cannot reach it"
        )

    return [resolve(image) for image in images]


def _make_fetched(link: Link, download: Callable[[Link], bytes], note: str | None = None) -> FetchedLink | DocumentPage:
    """The source that downloads a link when it is read; a fragment such as ``#page=3`` makes it a page of a document."""
    page, name = split_page(link.url), split_page(link.name)
    if page is None or name is None:
        return FetchedLink(link.name, partial(download, link), note)
    return DocumentPage(FetchedLink(name[0], partial(download, Link(name[0], page[0])), note), page[1])


def find_link_secrets(images: Iterable[Source]) -> set[str]:
    """The user and password of each link, with the ``@``, in every spelling in which an endpoint may echo them."""
    userinfos = {urls.get_userinfo(image.url) for image in images if isinstance(image, Link)}
    spellings = {text for userinfo in userinfos for text in (userinfo, unquote(userinfo), json.dumps(userinfo)[1:-1])}
    return {f"{text}@" for text in spellings if text}
