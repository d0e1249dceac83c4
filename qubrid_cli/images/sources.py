"""The images on a command line: which arguments are images, which links are fetched here, and how bytes are read.

Arguments are classified by fixed rules and never guessed: a mistyped file name must not become a prompt that costs money.
"""

import glob
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, assert_never
from urllib.parse import unquote

from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..text import natural_key
from . import urls

if sys.platform == "win32":
    from urllib.request import url2pathname
else:  # the same function; urllib.request takes 13 ms to load
    from urllib.parse import unquote as url2pathname

_READABLE_FORMATS = "jpe?g|jpe|jfif|a?png|gif|webp|avif|hei[cf]|hif|tiff?|bmp|dib|ico|jp2|j2k|jpx|p[bgnp]m|qoi|tga|mpo"
_UNREADABLE_FORMATS = "svg|pdf|eps|jxl|dng|cr[23]|nef|arw"
_READABLE_SUFFIX = re.compile(rf".*\.({_READABLE_FORMATS})", re.IGNORECASE | re.DOTALL)
#: Suffixes that mark an argument as an image; used for globs and for names that do not exist.
_IMAGE_SUFFIX = re.compile(rf".*\.({_READABLE_FORMATS}|{_UNREADABLE_FORMATS})", re.IGNORECASE | re.DOTALL)

#: Text may begin with ``data: `` too, so the head of the URL may hold no blank, except before ``base64``.
_URL = re.compile(r"(https?|file):\S*\Z|data:[^\s,]*(;\s*base64,|,|\Z)", re.IGNORECASE)
_LOOKS_LIKE_A_PATH = re.compile(r"(\.{0,2}[\\/]|~[\\/]|[A-Za-z]:[\\/])\S*")
#: A name with a suffix like ``.jgp``: no blanks, and letters or digits after the last dot.
_LOOKS_LIKE_A_FILE_NAME = re.compile(r"\S*[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}")

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


@frozen
class Arguments:
    """A classified command line.

    Attributes:
        names: the names of all images, including a missing one.
        prompt: ``None`` if no argument is the prompt.
        error: an image does not exist.
    """

    images: tuple[Source, ...]
    names: tuple[str, ...]
    prompt: str | None
    error: ImageError | None = None


def classify(arguments: Sequence[str], *, prompt_given: bool, stdin: BinaryIO, allow_none: bool = False) -> Arguments:
    """Separate the images from the prompt.

    Args:
        prompt_given: an option holds the prompt, so every argument is an image.
        allow_none: no image is needed.

    Raises:
        UsageError: there are two prompts, a folder, an invalid URL, or no image.
    """
    images: list[Source] = []
    names: list[str] = []
    prompts: list[str] = []
    error: ImageError | None = None
    for argument in arguments:
        try:
            resolved = _resolve_argument(argument, stdin)
        except ImageError as missing:
            names.append(urls.redact(argument))
            error = error or missing
            continue
        if resolved is not None:
            images += resolved
            names += [image.name for image in resolved]
        elif prompt_given:
            raise UsageError(
                f"two prompts: -p and {urls.redact(argument)!r}",
                hint="Leave out one of them. If the second is an image, there is no such file.",
            )
        else:
            prompts.append(argument)
    if len(prompts) > 1:
        raise UsageError(
            f"two prompts: {urls.redact(prompts[0])!r} and {urls.redact(prompts[1])!r}",
            hint="One of them may be a misspelled file name. Put a prompt of several words in quotes.",
        )
    prompt = prompts[0] if prompts else None
    if names or allow_none:
        return Arguments(tuple(images), tuple(names), prompt, error)
    if prompt and _IMAGE_SUFFIX.fullmatch(prompt):  # "my photo.jpg": nothing else can be the image
        return Arguments((), (prompt,), None, no_such_image_error(prompt))
    raise UsageError("no image was named", hint='For example: qvision describe photo.jpg "what is this?"')


def no_such_image_error(argument: str, problem: str = "no such image:") -> ImageError:
    """The error for a path that does not exist, or a glob without matches."""
    hint = "Check the name. If it is the prompt, put it after -p."
    return ImageError(f"{problem} {urls.redact(argument)}", hint=hint, code="no_such_image")


def _resolve_argument(argument: str, stdin: BinaryIO) -> list[Source] | None:
    """The images that an argument stands for, or ``None`` if it is text. Users rely on the order of the rules."""
    if argument == "-":
        return [Stdin(stdin)]
    if not argument:  # as a path, it would be the current folder
        return None
    if is_url(argument):
        return [resolve_url(argument)]
    path = _find_existing_path(argument)
    if path is not None:
        return [_make_file(argument, path)]
    if _IMAGE_SUFFIX.fullmatch(argument) and re.search(r"[*?\[]", argument):
        return _expand_glob(argument)
    if _LOOKS_LIKE_A_PATH.fullmatch(argument) or _LOOKS_LIKE_A_FILE_NAME.fullmatch(argument):
        raise no_such_image_error(argument)
    return None


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
        return _make_file(url, _parse_file_url(url)) if scheme == "file" else Link(urls.strip_credentials(url), url)
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


def _find_existing_path(argument: str) -> Path | None:
    try:
        path = Path(argument).expanduser()
        path.lstat()
    except PermissionError:  # it may exist; reading it will show
        return path
    except (OSError, ValueError, RuntimeError):  # text: too long for a name, with a NUL, or there is no home folder
        return None
    return path


def _make_file(name: str, path: Path) -> File:
    if os.path.isdir(path):  # Path.is_dir raises on some paths
        raise UsageError(
            f"{name} is a folder",
            hint=f"Name the images in it, for example {os.path.join(name, '*.jpg')}. If it is the prompt, put it after -p.",
        )
    return File(name, path)


def _expand_glob(pattern: str) -> list[Source]:
    names = [name for name in glob.glob(os.path.expanduser(pattern), recursive=True) if os.path.isfile(name)]
    if not names:
        raise no_such_image_error(pattern, "no image matches")
    return [File(name, Path(name)) for name in sorted(names, key=natural_key)]


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


def _read_stream(stream: BinaryIO) -> bytes:
    """Read a stream up to a little over the limit."""
    data = bytearray()
    while len(data) <= MAX_FILE_BYTES and (chunk := stream.read(1024 * 1024)):
        data += chunk
    return bytes(data)


def _read_file(source: File) -> bytes:
    try:
        with open(source.path, "rb", opener=_open_nonblocking) as file:
            status = os.fstat(file.fileno())
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
    """Open a FIFO without waiting for a writer; it is rejected afterwards."""
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
