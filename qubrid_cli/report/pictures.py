"""The pictures of a page: two sizes of each image, in the page itself or in a folder beside it."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ..batch.inputs import Task, resolve_source
from ..errors import ImageError, OutputError
from ..frozen import frozen
from ..images import sources
from ..images.encode import ImageLimits, Upload
from ..text import quote_name
from ..urls import is_object_url

if TYPE_CHECKING:
    from ..images.documents.pages import Documents

#: Sizes in pixels, and JPEG quality. A card is about 220 pixels wide, and many screens have more than one dot per pixel.
_THUMBNAIL = ImageLimits(max_pixels=320 * 320, max_side=320, quality=72)
_PREVIEW = ImageLimits(max_pixels=1024 * 1024, max_side=1024, quality=76)
#: The names of files in the folder of a page.
_FILE_NAME = r"[0-9a-f]{20}\.(jpg|png)"


class Size(Enum):
    """The two sizes of a picture."""

    THUMBNAIL = "thumbnail"
    PREVIEW = "preview"


@frozen
class ImageOrigin:
    """The location of an image.

    Attributes:
        location: a path, a URL, or an image in an archive; ``None`` if it no longer exists, such as standard input.
        page: the page of a document; ``None`` for an image.
        sha256: the digest of the file when it was described; ``None`` if unknown.
    """

    location: str | None
    page: int | None = None
    sha256: str | None = None


@frozen
class LoadedPicture:
    """An image in two sizes, or the reason why there is no picture.

    Attributes:
        size: width and height of the upright original, in pixels; ``None`` without a picture.
        note: why there is no picture, or a remark about it; ``None`` for no remark.
    """

    thumbnail: Upload | None = None
    preview: Upload | None = None
    size: tuple[int, int] | None = None
    note: str | None = None


def load_pictures(
    origins: Iterable[ImageOrigin], fetch: Callable[[sources.Link], sources.Source] | None
) -> Iterator[LoadedPicture]:
    """Load images in threads; yield their pictures, in order.

    Args:
        fetch: turns a link into a source that is downloaded; ``None`` to read only files on this machine.
    """
    from ..images.documents.pages import Documents

    documents = Documents()
    executor = ThreadPoolExecutor(os.cpu_count() or 1, "pictures")
    try:
        yield from executor.map(lambda origin: load_picture(origin, documents, fetch), origins)
    finally:
        executor.shutdown(cancel_futures=True)


def load_picture(
    origin: ImageOrigin, documents: "Documents", fetch: Callable[[sources.Link], sources.Source] | None
) -> LoadedPicture:
    """Load one image. The notes contain no path, because the page may be given to others."""
    from ..images.prepare import PreparedImage, prepare_image, prepare_image_or_link

    if origin.location is None:
        return LoadedPicture(note="no longer available")
    if fetch is None and is_object_url(origin.location):
        return LoadedPicture(note="in a bucket")
    try:
        source = resolve_source(Task(1, origin.location))
        if isinstance(source, sources.Link) and fetch is not None:
            source = fetch(source)
        if isinstance(source, sources.Link):
            return LoadedPicture(note="on the web")
        if origin.page is not None and not isinstance(source, sources.DocumentPage):
            source = sources.DocumentPage(source, origin.page)
        large = prepare_image_or_link(source, _PREVIEW, documents)
        assert isinstance(large, PreparedImage)
        small = prepare_image(sources.Bytes("", large.upload.data), _THUMBNAIL)
    except ImageError:
        if sources.is_url(origin.location) and fetch is not None:
            return LoadedPicture(note="cannot be downloaded")
        is_missing = not sources.is_url(origin.location) and not os.path.exists(origin.location)
        return LoadedPicture(note="not found" if is_missing else "cannot be read")
    has_changed = origin.sha256 is not None and origin.sha256 != large.sha256
    note = "the file has changed since" if has_changed else None
    return LoadedPicture(small.upload, large.upload, (large.width, large.height), note)


class PictureStore:
    """Keeps the pictures of a page: in the page as long as they fit, then the previews in a folder, then all pictures.

    Args:
        folder: the folder, which is created when it is needed; ``None`` to keep everything in the page.
        limit: maximum bytes of all pictures in the page, as base64.
    """

    def __init__(self, folder: Path | None, limit: float) -> None:
        self._folder = folder
        self._limit = limit
        self._sizes = dict.fromkeys(Size, 0)
        self._outside: set[Size] = set()
        self._pictures: list[tuple[Size, Upload | str]] = []
        self._names: set[str] = set()

    @property
    def has_files(self) -> bool:
        """Whether some pictures are in the folder."""
        return bool(self._names)

    def add(self, upload: Upload, size: Size) -> int:
        """Add a picture; return its number.

        Raises:
            OutputError: the folder cannot be written.
        """
        if size in self._outside:
            self._pictures.append((size, self._write(upload)))
        else:
            self._pictures.append((size, upload))
            self._sizes[size] += (upload.size + 2) // 3 * 4
            while self._folder is not None and sum(self._sizes.values()) > self._limit:
                self._move_outside(Size.THUMBNAIL if Size.PREVIEW in self._outside else Size.PREVIEW)
        return len(self._pictures) - 1

    def get_url(self, number: int) -> str:
        """Return the URL of a picture for the page. It is valid only after all pictures have been added."""
        _, picture = self._pictures[number]
        if isinstance(picture, str):
            return picture
        return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"

    def _move_outside(self, size: Size) -> None:
        self._outside.add(size)
        self._sizes[size] = 0
        self._pictures = [
            (kind, self._write(picture) if kind is size and isinstance(picture, Upload) else picture)
            for kind, picture in self._pictures
        ]

    def _write(self, upload: Upload) -> str:
        """Write a file that is named after its content, so that an earlier page stays intact until it is replaced."""
        assert self._folder is not None
        suffix = "png" if upload.mime == "image/png" else "jpg"
        name = f"{hashlib.sha256(upload.data).hexdigest()[:20]}.{suffix}"
        if name not in self._names:
            try:
                self._folder.mkdir(exist_ok=True)
                (self._folder / name).write_bytes(upload.data)
            except OSError as error:
                raise OutputError(
                    f"cannot write to the folder {quote_name(self._folder)}: {error.strerror}", hint="Is the disk full?"
                ) from error
            self._names.add(name)
        return f"{_quote_folder(self._folder.name)}/{name}"

    def remove_stale_files(self) -> None:
        """Delete the pictures of an earlier page, and then the folder if it is empty."""
        if self._folder is None or not self._folder.is_dir():
            return
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if re.fullmatch(_FILE_NAME, name) and name not in self._names:
                    os.unlink(self._folder / name)
            self._folder.rmdir()


def _quote_folder(name: str) -> str:
    from urllib.parse import quote

    return quote(name)


def name_folder(page: Path) -> Path:
    """Name the folder for the pictures of a page: ``gallery_files`` beside ``gallery.html``."""
    return page.with_name(f"{page.stem}_files")
