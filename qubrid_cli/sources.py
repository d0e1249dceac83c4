"""What the arguments are: images, or the prompt.

Arguments are classified by fixed rules and never guessed: a mistyped file name must not become a paid-for prompt.
"""

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult

from . import urls
from .errors import ImageError, UsageError
from .frozen import frozen

if sys.platform == "win32":
    from urllib.request import url2pathname
else:  # the same, without the 13 ms that urllib.request takes before the first image is even looked at
    from urllib.parse import unquote as url2pathname

#: What images are called: judged by it are only names that are not there, and globs; a file is judged by its bytes.
_IMAGE_SUFFIX = re.compile(
    r".*\.(jpe?g|jpe|jfif|a?png|gif|webp|avif|hei[cf]|hif|tiff?|bmp|dib|ico|jp2|j2k|jpx|p[bgnp]m|qoi|tga|mpo"
    r"|svg|pdf|eps|jxl|dng|cr[23]|nef|arw)",  # meant as images, if none that we read
    re.IGNORECASE | re.DOTALL,
)

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
class Remote:
    """An image on the web that ``fetch`` gets when it is read; ``note`` is what the user should know about that."""

    name: str
    fetch: Callable[[], bytes]
    note: str | None = None


@frozen
class Piped:
    """An image on standard input, not read yet."""

    stream: BinaryIO
    name: str = "-"


Source = File | Bytes | Link | Remote | Piped


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


def classify(arguments: Sequence[str], *, prompt_given: bool, stdin: BinaryIO) -> Arguments:
    """Tell images and the prompt apart.

    Args:
        prompt_given: the prompt stands in an option, so that every argument is an image.

    Raises:
        UsageError: two prompts, a folder, or no image at all.
    """
    images: list[Source] = []
    names: list[str] = []
    texts: list[str] = []
    error: ImageError | None = None
    for argument in arguments:
        try:
            found = _images(argument, stdin)
        except ImageError as missing:
            names.append(urls.shown(argument))
            error = error or missing
            continue
        if found is not None:
            images += found
            names += [image.name for image in found]
        elif prompt_given:
            raise UsageError(
                f"{urls.shown(argument)!r} is a second prompt beside -p",
                hint="Leave one out; if it is an image, there is no such file.",
            )
        else:
            texts.append(argument)
    if len(texts) > 1:
        raise UsageError(
            f"two prompts: {urls.shown(texts[0])!r} and {urls.shown(texts[1])!r}",
            hint="One of them may be a misspelt file name; a prompt of several words goes in quotes.",
        )
    if not names and texts and _IMAGE_SUFFIX.fullmatch(texts[0]):  # "my photo.jpg": nothing else can be the image
        return Arguments((), (texts[0],), None, no_such_image(texts[0]))
    if not names:
        raise UsageError("no image was named", hint='For example: qvision describe photo.jpg "what is this?"')
    return Arguments(tuple(images), tuple(names), texts[0] if texts else None, error)


def no_such_image(argument: str) -> ImageError:
    """What is said of a path that nothing is called."""
    return _missing(f"no such image: {urls.shown(argument)}")


def _missing(sentence: str) -> ImageError:
    return ImageError(sentence, hint="Check the name; if it is the prompt, put it behind -p.", code="no_such_image")


def _images(argument: str, stdin: BinaryIO) -> list[Source] | None:
    """The images that an argument stands for, or ``None`` where it is text. The order of the rules is the contract."""
    if argument == "-":
        return [Piped(stdin)]
    if not argument:  # which a path would take for the folder we stand in
        return None
    if _URL.match(argument):
        match argument.partition(":")[0].lower():
            case "data":
                return [_data(argument)]
            case "file":
                return [_file(argument, _path_of(argument))]
            case _:
                return [Link(_name_of(argument), argument)]
    path = _existing(argument)
    if path is not None:
        return [_file(argument, path)]
    if _IMAGE_SUFFIX.fullmatch(argument) and re.search(r"[*?\[]", argument):
        return _matches(argument)
    looks_like_a_path = _LOOKS_LIKE_A_PATH.match(argument) is not None and not re.search(r"\s", argument)
    if looks_like_a_path or _LOOKS_LIKE_A_FILE_NAME.fullmatch(argument):
        raise no_such_image(argument)
    return None


def _path_of(url: str) -> Path:
    """The path in a ``file:`` URL (RFC 8089), of this machine."""
    parts = _split(url)
    if parts.netloc not in {"", "localhost"}:
        raise ImageError(
            f"{urls.shown(url)} is on another machine, {parts.netloc.rpartition('@')[2]}",
            hint="A path on this one has three slashes: file:///home/me/a.jpg",
        )
    return Path(url2pathname(parts.path))


def _existing(argument: str) -> Path | None:
    try:
        path = Path(argument).expanduser()
        path.lstat()
    except PermissionError:  # it may well be there; reading it will tell
        return path
    except (OSError, ValueError, RuntimeError):  # too long for a name, a NUL in it, no home folder: it is text
        return None
    return path


def _file(name: str, path: Path) -> File:
    if os.path.isdir(path):  # which, unlike Path.is_dir, raises nothing
        raise UsageError(
            f"{name} is a folder",
            hint=f"Name the images in it, for example {os.path.join(name, '*.jpg')}; if it is the prompt, put it behind -p.",
        )
    return File(name, path)


def _matches(pattern: str) -> list[Source]:
    names = [name for name in glob.glob(os.path.expanduser(pattern), recursive=True) if os.path.isfile(name)]
    if not names:
        raise _missing(f"no image matches {pattern}")
    return [File(name, Path(name)) for name in natural(names)]


def natural(names: Iterable[str]) -> list[str]:
    """Names in the order a person expects: ``2.jpg`` before ``10.jpg``."""
    return sorted(
        names, key=lambda name: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    )


def _split(url: str) -> SplitResult:
    try:
        return urls.split(url)
    except ValueError as error:
        raise _no_url(url, error) from error


def _name_of(url: str) -> str:
    try:
        return urls.without_password(url)
    except ValueError as error:
        raise _no_url(url, error) from error


def _no_url(url: str, error: ValueError) -> UsageError:
    return UsageError(
        f"{urls.shown(url)} {error}",
        hint="It looks like https://example.com/photo.jpg; odd characters go in quotes, in a password as %40 for @.",
    )


def _data(url: str) -> Bytes:
    name = urls.data_name(url)
    try:
        return Bytes(name, urls.data(url))
    except ValueError as error:
        raise ImageError(
            f"{name} is not a data URL: {error}", hint="It looks like data:image/png;base64,iVBORw0…"
        ) from error
