"""Where images come from: files, links, ``data:`` URLs and standard input; which links are fetched here; reading bytes."""

import io
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO, assert_never
from urllib.parse import unquote

from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..text import quote_name
from . import urls

if sys.platform == "win32":
    from urllib.request import url2pathname
else:  # the same function; urllib.request takes 13 ms to load
    from urllib.parse import unquote as url2pathname

_READABLE_FORMATS = (
    "jpe?g|jpe|jfif|a?png|gif|webp|avif|hei[cf]|hif|tiff?|bmp|dib|ico|jp[2fx]|j2[ck]|jpc|p[bgnp]m|qoi|tga|mpo"
)
_UNREADABLE_FORMATS = "svg|pdf|eps|jxl|dng|cr[23w]|nef|arw|orf|raf|rw2|psd|xcf|xpm"
_READABLE_SUFFIX = re.compile(rf".*\.({_READABLE_FORMATS})", re.IGNORECASE | re.DOTALL)
#: Suffixes that mark an argument as an image; used for globs and for names that do not exist.
IMAGE_SUFFIX = re.compile(rf".*\.({_READABLE_FORMATS}|{_UNREADABLE_FORMATS})", re.IGNORECASE | re.DOTALL)

#: Text may begin with ``data: `` too, so the head of the URL may hold no blank, except before ``base64``.
_URL = re.compile(r"(https?|file):\S*\Z|data:[^\s,]*(;\s*base64,|,|\Z)", re.IGNORECASE)
#: 512 MiB: no photo is this large, and a larger file could fill the memory.
MAX_FILE_BYTES = 512 * 1024 * 1024


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
    """An image on the web whose URL is sent as it is; ``name`` is the URL without a password."""

    name: str
    url: str


@frozen
class FetchedLink:
    """An image on the web that is downloaded when it is read; ``note`` is a warning about that for the user."""

    name: str
    fetch: Callable[[], bytes]
    note: str | None = None


@frozen
class Stdin:
    """An image on standard input, not read yet."""

    stream: BinaryIO
    name: str = "-"


ReadableSource = File | Bytes | FetchedLink | Stdin
Source = ReadableSource | Link


def is_url(text: str) -> bool:
    """Whether an argument is a web, ``file:`` or ``data:`` URL, perhaps an invalid one."""
    return _URL.match(text) is not None


def resolve_url(url: str) -> Source:
    """The image that a URL stands for.

    Raises:
        ImageError: an invalid ``data:`` URL, or a file on another machine.
        UsageError: an invalid URL, or a folder.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "data":
        return _decode_data_url(url)
    try:
        return make_file(url, _parse_file_url(url)) if scheme == "file" else Link(urls.strip_credentials(url), url)
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
    """The path in a ``file:`` URL of this machine (RFC 8089)."""
    parts = urls.split(url)
    if parts.netloc not in {"", "localhost"}:
        raise ImageError(
            f"{urls.redact(url)} is on another machine, {parts.netloc.rpartition('@')[2]}",
            hint="The URL of a file on this machine has three slashes: file:///home/me/a.jpg",
        )
    return Path(url2pathname(parts.path))


def make_file(name: str, path: Path) -> File:
    """The image at a path.

    Raises:
        UsageError: it is a folder.
    """
    if os.path.isdir(path):  # Path.is_dir raises on some paths
        raise UsageError(
            f"{quote_name(name)} is a folder",
            hint=f"To ask about each image in it: qvision batch {quote_name(name)} -P describe",
        )
    return File(name, path)


def has_readable_suffix(name: str) -> bool:
    """Whether a file name has the suffix of a format that is read."""
    return _READABLE_SUFFIX.fullmatch(name) is not None


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
        message = "standard input is empty" if isinstance(source, Stdin) else f"{source.name} is empty (0 bytes)"
        raise ImageError(message, hint="Perhaps the copy or download was cut off.")
    if len(data) > MAX_FILE_BYTES:
        raise _file_too_large_error(source.name)
    return data


def _read_stream(stream: BinaryIO | io.FileIO) -> bytes:
    """Read a stream up to a little over the limit."""
    data = bytearray()
    while len(data) <= MAX_FILE_BYTES and (chunk := stream.read(1024 * 1024)):
        data += chunk
    return bytes(data)


def _read_file(source: File) -> bytes:
    try:
        with open(source.path, "rb", opener=_open_nonblocking) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISFIFO(status.st_mode):  # /dev/stdin, or what a shell makes of <(command)
                with open(source.path, "rb", buffering=0) as stream:
                    return _read_stream(stream)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(
                    f"{source.name} is not a regular file", hint=f"Pipe it in: qvision describe - < {source.name}"
                )
            if status.st_size > MAX_FILE_BYTES:
                raise _file_too_large_error(source.name)
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        is_link = os.path.islink(source.path)
        hint = "It is a symbolic link to a file that does not exist." if is_link else "Check the name and the folder."
        raise ImageError(f"no such image: {source.name}", hint=hint) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        is_denied = isinstance(error, PermissionError)
        hint = "Check its permissions." if is_denied else "Check the name and the disk."
        raise ImageError(f"cannot read {source.name}: {reason}", hint=hint) from error


def _open_nonblocking(name: str, flags: int) -> int:
    """Open a file without waiting: what is not a regular file, such as a terminal, is refused afterwards."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _file_too_large_error(name: str) -> ImageError:
    return ImageError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB", hint="Shrink it with an image editor first.")


def resolve_links(
    images: Iterable[Source], *, fetch: bool | None, endpoint: str | None, download: Callable[[Link], bytes]
) -> list[Source]:
    """Replace the links that are fetched here by sources that download them when they are read.

    Args:
        fetch: all links or none; ``None`` for those that this machine can reach and the endpoint probably cannot.
        endpoint: its URL; ``None`` for the built-in endpoint, which accepts any link and reads none.
        download: returns the bytes of a link.
    """

    def resolve(image: Source) -> Source:
        if not isinstance(image, Link):
            return image
        if fetch is not None:
            return FetchedLink(image.name, partial(download, image)) if fetch else image
        if endpoint is None or urls.classify_reach(image.url) >= urls.classify_reach(endpoint):
            return image
        note = f"{image.name}: fetched here, because the endpoint cannot reach it"
        return FetchedLink(image.name, partial(download, image), note)

    return [resolve(image) for image in images]


def find_link_secrets(images: Iterable[Source]) -> set[str]:
    """The user and password of each link, up to the ``@``, in every spelling in which an endpoint may echo them."""
    userinfos = {urls.get_userinfo(image.url) for image in images if isinstance(image, Link)}
    spellings = {text for userinfo in userinfos for text in (userinfo, unquote(userinfo), json.dumps(userinfo)[1:-1])}
    return {f"{text}@" for text in spellings if text}
