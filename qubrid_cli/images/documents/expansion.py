"""Replace the documents among images by their pages."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ImageError
from ...operating_system import call_in_thread, call_interruptibly
from .. import sources

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..sources import Source
    from .pages import Documents, PageChoice


def expand_pages(
    images: Sequence["Source"], choice: "PageChoice | None", password: str | None, *, each: bool
) -> tuple[list["Source"], "Documents | None"]:
    """Replace each document by its pages; return the images, and the open documents, ``None`` if there are none.

    Args:
        choice: which pages; ``None`` for all.
        password: for encrypted PDFs.
        each: each page has a request of its own, so a document that cannot be opened affects only its own request.

    Raises:
        ImageError: a document cannot be opened, or has no such page.
    """
    images = _start_reading(images)
    if choice is None and not any(isinstance(image, sources.DocumentPage) or _is_document(image) for image in images):
        return list(images), None
    from .pages import Documents

    documents = Documents(password)

    def expand(image: "Source") -> list["Source"]:
        if isinstance(image, sources.Link | sources.DocumentPage) or not (choice or _is_document(image)):
            return [image]
        try:
            numbers = documents.find_pages(image, choice)
        except ImageError:
            if not each:
                raise
            # Reading this page raises the same error.
            numbers = (max(first for first, _ in choice.ranges) if choice else 1,)
        if not numbers and isinstance(image, sources.Stdin) and (data := documents.find_data(image)) is not None:
            return [sources.Bytes(image.name, data)]  # it was read to count its pages
        return [sources.DocumentPage(image, number) for number in numbers] or [image]

    return [page for image in images for page in expand(image)], documents


def _is_document(image: "Source") -> bool:
    match image:
        case sources.Link() | sources.DocumentPage():
            return False
        case sources.FetchedLink():  # most are named like images, and are downloaded later
            return sources.may_be_document(image.name) and sources.detect_document(image) is not None
        case _:
            return sources.detect_document(image) is not None


def _start_reading(images: Sequence["Source"]) -> list["Source"]:
    """Download the links that may be documents at the same time, and wait for the first byte of standard input."""
    first_bytes: list[Future[bytes]] = []

    def start(image: "Source") -> "Source":
        match image:
            case sources.FetchedLink() if sources.may_be_document(image.name):
                return replace(image, fetch=call_in_thread(image.fetch, "read").result)
            case sources.Stdin(stream=stream):
                stream = stream if isinstance(stream, sources.PeekableStream) else sources.PeekableStream(stream)
                first_bytes.append(call_in_thread(partial(stream.peek, 1), "read"))
                return replace(image, stream=stream)
            case _:
                return image

    result = [start(image) for image in images]
    for future in first_bytes:  # read in a thread, so that Ctrl-C ends the program while a pipe is silent
        call_interruptibly(future.result)
    return result


def list_files(images: Sequence["Source"]) -> list[Path]:
    """The paths of the images and documents that are files."""
    documents = [image.document if isinstance(image, sources.DocumentPage) else image for image in images]
    return [document.path for document in documents if isinstance(document, sources.File)]


def count_files(images: Sequence["Source"]) -> int:
    """Count the images; the pages of a document count as one."""
    return len({image.document.name if isinstance(image, sources.DocumentPage) else image.name for image in images})
