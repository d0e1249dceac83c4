"""Which links are fetched here: those that the user wants so, and those that the endpoint cannot reach."""

# MERGED DOCSTRING of qubrid_cli.sources: What the arguments are: images, or the prompt. Arguments are classified by fixed rules and never guessed: a mistyped file name must not become a paid-for prompt.

# MERGED DOCSTRING of qubrid_cli.reading: The bytes behind an image, or the reason why there are none.

import glob
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, assert_never
from urllib.parse import SplitResult, unquote

from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..text import natural_key
from . import urls

if sys.platform == "win32":
    from urllib.request import url2pathname
else:  # the same, without the 13 ms that urllib.request takes before the first image is even looked at
    from urllib.parse import unquote as url2pathname

_READABLE_FORMATS = "jpe?g|jpe|jfif|a?png|gif|webp|avif|hei[cf]|hif|tiff?|bmp|dib|ico|jp2|j2k|jpx|p[bgnp]m|qoi|tga|mpo"
_UNREADABLE_FORMATS = "svg|pdf|eps|jxl|dng|cr[23]|nef|arw"
_READABLE_SUFFIX = re.compile(rf".*\.({_READABLE_FORMATS})", re.IGNORECASE | re.DOTALL)
#: Suffixes that mark an argument as an image; used for globs and for names that do not exist.
_IMAGE_SUFFIX = re.compile(rf".*\.({_READABLE_FORMATS}|{_UNREADABLE_FORMATS})", re.IGNORECASE | re.DOTALL)

#: A text may begin with ``data: `` too, so the URL's head must have no blank in it (but before ``base64``, as some do).
_URL = re.compile(r"(https?|file):\S*\Z|data:[^\s,]*(;\s*base64,|,|\Z)", re.IGNORECASE)
_LOOKS_LIKE_A_PATH = re.compile(r"\.{0,2}[\\/]|~[\\/]|[A-Za-z]:[\\/]")
#: A name with an ending like ``.jgp``: no blank in it, and letters or digits behind the last dot.
_LOOKS_LIKE_A_FILE_NAME = re.compile(r"\S*[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}")


@frozen
class File:
    """An image in a file; ``name`` is what the user wrote."""

    name: str
    path: Path


@frozen
class Bytes:
    """An image that is at hand already: from standard input or a ``data:`` URL."""

    name: str
    data: bytes


@frozen
class Link:
    """An image on the web, whose URL is passed on as it is; ``name`` is the URL without a password."""

    name: str
    url: str


@frozen
class FetchedLink:
    """An image on the web that ``fetch`` gets when it is read; ``note`` is what the user should know about that."""

    name: str
    fetch: Callable[[], bytes]
    note: str | None = None


@frozen
class Stdin:
    """An image on standard input, not read yet."""

    stream: BinaryIO
    name: str = "-"


Source = File | Bytes | Link | FetchedLink | Stdin


@frozen
class Arguments:
    """The command line, classified.

    Attributes:
        names: what the images are called, also one that is not there.
        prompt: ``None`` where no argument is one.
        error: an image that is not there.
    """

    images: tuple[Source, ...]
    names: tuple[str, ...]
    prompt: str | None
    error: ImageError | None = None


def classify(arguments: Sequence[str], *, prompt_given: bool, stdin: BinaryIO, allow_none: bool = False) -> Arguments:
    """Tell images and the prompt apart.

    Args:
        prompt_given: the prompt is in an option, so every argument is an image.
        allow_none: no image is needed.

    Raises:
        UsageError: two prompts, a folder, or no image at all.
    """
    images: list[Source] = []
    names: list[str] = []
    texts: list[str] = []
    error: ImageError | None = None
    for argument in arguments:
        try:
            found = _resolve_argument(argument, stdin)
        except ImageError as missing:
            names.append(urls.redact(argument))
            error = error or missing
            continue
        if found is not None:
            images += found
            names += [image.name for image in found]
        elif prompt_given:
            raise UsageError(
                f"{urls.redact(argument)!r} is a second prompt beside -p",
                hint="Leave one out; if it is an image, there is no such file.",
            )
        else:
            texts.append(argument)
    if len(texts) > 1:
        raise UsageError(
            f"two prompts: {urls.redact(texts[0])!r} and {urls.redact(texts[1])!r}",
            hint="One of them may be a misspelt file name; a prompt of several words goes in quotes.",
        )
    if names or allow_none:
        return Arguments(tuple(images), tuple(names), texts[0] if texts else None, error)
    if texts and _IMAGE_SUFFIX.fullmatch(texts[0]):  # "my photo.jpg": nothing else can be the image
        return Arguments((), (texts[0],), None, no_such_image_error(texts[0]))
    raise UsageError("no image was named", hint='For example: qvision describe photo.jpg "what is this?"')


def no_such_image_error(argument: str) -> ImageError:
    """What is said of a path that nothing is called."""
    return _missing_image_error(f"no such image: {urls.redact(argument)}")


def _missing_image_error(sentence: str) -> ImageError:
    return ImageError(sentence, hint="Check the name; if it is the prompt, put it behind -p.", code="no_such_image")


def _resolve_argument(argument: str, stdin: BinaryIO) -> list[Source] | None:
    """The images that an argument stands for, or ``None`` where it is text. The order of the rules is the contract."""
    if argument == "-":
        return [Stdin(stdin)]
    if not argument:  # which a path would take for the folder we stand in
        return None
    if _URL.match(argument):
        match argument.partition(":")[0].lower():
            case "data":
                return [_decode_data_url(argument)]
            case "file":
                return [_make_file(argument, _parse_file_url(argument))]
            case _:
                return [Link(_get_display_name(argument), argument)]
    path = _find_existing_path(argument)
    if path is not None:
        return [_make_file(argument, path)]
    if _IMAGE_SUFFIX.fullmatch(argument) and re.search(r"[*?\[]", argument):
        return _expand_glob(argument)
    looks_like_a_path = _LOOKS_LIKE_A_PATH.match(argument) is not None and not re.search(r"\s", argument)
    if looks_like_a_path or _LOOKS_LIKE_A_FILE_NAME.fullmatch(argument):
        raise no_such_image_error(argument)
    return None


def _parse_file_url(url: str) -> Path:
    """The path in a ``file:`` URL (RFC 8089), of this machine."""
    parts = _split_url(url)
    if parts.netloc not in {"", "localhost"}:
        raise ImageError(
            f"{urls.redact(url)} is on another machine, {parts.netloc.rpartition('@')[2]}",
            hint="A path on this one has three slashes: file:///home/me/a.jpg",
        )
    return Path(url2pathname(parts.path))


def _find_existing_path(argument: str) -> Path | None:
    try:
        path = Path(argument).expanduser()
        path.lstat()
    except PermissionError:  # it may well be there; reading it will tell
        return path
    except (OSError, ValueError, RuntimeError):  # too long for a name, a NUL in it, no home folder: it is text
        return None
    return path


def _make_file(name: str, path: Path) -> File:
    if os.path.isdir(path):  # which, unlike Path.is_dir, raises nothing
        raise UsageError(
            f"{name} is a folder",
            hint=f"Name the images in it, for example {os.path.join(name, '*.jpg')}; if it is the prompt, put it behind -p.",
        )
    return File(name, path)


def _expand_glob(pattern: str) -> list[Source]:
    names = [name for name in glob.glob(os.path.expanduser(pattern), recursive=True) if os.path.isfile(name)]
    if not names:
        raise _missing_image_error(f"no image matches {pattern}")
    return [File(name, Path(name)) for name in sorted(names, key=natural_key)]


def has_readable_suffix(name: str) -> bool:
    """Whether a file name ends like an image in a format that can be decoded."""
    return _READABLE_SUFFIX.fullmatch(name) is not None


def _split_url(url: str) -> SplitResult:
    try:
        return urls.split(url)
    except ValueError as error:
        raise _invalid_url_error(url, error) from error


def _get_display_name(url: str) -> str:
    try:
        return urls.strip_credentials(url)
    except ValueError as error:
        raise _invalid_url_error(url, error) from error


def _invalid_url_error(url: str, error: ValueError) -> UsageError:
    return UsageError(
        f"{urls.redact(url)} {error}",
        hint="It looks like https://example.com/photo.jpg; odd characters go in quotes, in a password as %40 for @.",
    )


def _decode_data_url(url: str) -> Bytes:
    name = urls.shorten_data_url(url)
    try:
        return Bytes(name, urls.decode_data_url(url))
    except ValueError as error:
        raise ImageError(
            f"{name} is not a data URL: {error}", hint="It looks like data:image/png;base64,iVBORw0…"
        ) from error


#: 512 MiB: no photo is as large; what is would fill the memory.
MAX_FILE_BYTES = 512 * 1024 * 1024


def read_bytes(source: File | Bytes | FetchedLink | Stdin) -> bytes:
    """All bytes of an image.

    Raises:
        ImageError: missing, unreadable, no regular file, not to be fetched, empty or larger than ``MAX_FILE_BYTES``.
    """
    match source:
        case Bytes():
            data = source.data
        case FetchedLink():
            data = source.fetch()
        case Stdin():
            data = b"".join(_read_chunks(source.stream))
        case File():
            data = _read_file(source)
        case _:
            assert_never(source)
    if not data:
        said = "nothing came on standard input" if isinstance(source, Stdin) else f"{source.name} is empty (0 bytes)"
        raise ImageError(said, hint="Perhaps it did not arrive whole.")
    if len(data) > MAX_FILE_BYTES:
        raise _file_too_large_error(source.name)
    return data


def _read_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """All there is, up to a little over the limit; a pipe gives out what it has just got."""
    left = MAX_FILE_BYTES + 1
    while left > 0 and (chunk := stream.read(1024 * 1024)):
        yield chunk
        left -= len(chunk)


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
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            hint = (
                "It is a link to a file that is not there."
                if os.path.islink(source.path)
                else "Nothing is called so now; a name that is not absolute counts from the current folder."
            )
            raise ImageError(f"no such image: {source.name}", hint=hint) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = (
            "Check its permissions."
            if isinstance(error, PermissionError)
            else "Check the name, and the disk that it is on."
        )
        raise ImageError(f"cannot read {source.name}: {reason}", hint=hint) from error


def _open_nonblocking(name: str, flags: int) -> int:
    """Opening a FIFO that nobody writes to would wait for ever; it is refused anyway."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _file_too_large_error(name: str) -> ImageError:
    return ImageError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB", hint="Shrink it with an image editor first.")


def resolve_links(
    images: Iterable[Source], *, fetch: bool | None, endpoint: str | None, download: Callable[[Link], bytes]
) -> list[Source]:
    """The images, with the links that are fetched here turned into sources that do so when they are read.

    Args:
        fetch: all links or none; ``None`` for those that are nearer to this machine than to the endpoint.
        endpoint: its URL; ``None`` for the built-in one, which takes any link and looks at none.
        download: all bytes behind a link.
    """

    def is_out_of_reach(link: Link) -> bool:
        return endpoint is not None and urls.classify_reach(link.url) < urls.classify_reach(endpoint)

    def settled(image: Source) -> Source:
        if not isinstance(image, Link) or not (is_out_of_reach(image) if fetch is None else fetch):
            return image
        note = f"{image.name}: fetched here, for the endpoint cannot reach it" if fetch is None else None
        return FetchedLink(image.name, partial(download, image), note)

    return [settled(image) for image in images]


def find_link_secrets(images: Iterable[Source]) -> set[str]:
    """What an endpoint that echoes a link would betray: the user and password in it, up to the ``@``."""
    found = {urls.get_userinfo(image.url) for image in images if isinstance(image, Link)}
    spelt = {spelling for secret in found for spelling in (secret, unquote(secret), json.dumps(secret)[1:-1])}
    return {f"{secret}@" for secret in spelt if secret}
