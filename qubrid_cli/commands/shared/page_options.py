"""Pages on the command line: which ones, the password of their document, and the images that they become."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...errors import ImageError, UsageError
from ...frozen import frozen

if TYPE_CHECKING:
    from ...images.documents.pages import Documents, PageChoice
    from ...images.sources import Source


@frozen
class PageOptions:
    """What the command line says about pages."""

    choice: "PageChoice | None"
    password: str | None

    def open_documents(self) -> "Documents":
        """The documents of a run, none of them open yet."""
        from ...images.documents.pages import Documents

        return Documents(self.password)


def read_options(pages: str | None, frame: int | None, password_file: str | None, stdin: BinaryIO) -> PageOptions:
    """The values of ``--pages``, ``--frame`` and ``--password-file``.

    Raises:
        UsageError: they exclude each other, are not valid, or the password cannot be read.
    """
    if pages is not None and frame is not None:
        raise UsageError("--pages and --frame exclude each other", hint="--frame N is the same as --pages N.")
    choice = None
    if (text := pages if frame is None else str(frame)) is not None:
        from ...images.documents.pages import parse_pages

        choice = parse_pages(text)
    return PageOptions(choice, None if password_file is None else _read_password(password_file, stdin))


def _read_password(name: str, stdin: BinaryIO) -> str:
    try:
        data = stdin.read() if name == "-" else Path(name).expanduser().read_bytes()
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(
            f"cannot read --password-file {name}: {reason}", hint="It contains only the password."
        ) from error
    if not password or "\n" in password:
        problem = "has more than one line" if password else "is empty"
        raise UsageError(f"--password-file {name} {problem}", hint="It contains only the password.")
    return password


def expand_pages(
    images: Sequence["Source"], options: PageOptions, *, each: bool
) -> tuple[list["Source"], "Documents | None"]:
    """Replace each document by its pages; return them with the open documents, ``None`` if there is no document.

    Args:
        each: each page has a request of its own, so a document that cannot be opened affects only its own request.

    Raises:
        ImageError: a document cannot be opened, or has no such page.
    """
    from ...images import sources

    def is_document(image: "Source") -> bool:
        match image:
            case sources.Link() | sources.DocumentPage():
                return False
            case sources.FetchedLink():  # the names of most say that they are not, and they are downloaded later
                return sources.may_be_document(image.name) and sources.detect_document(image) is not None
            case _:
                return sources.detect_document(image) is not None

    images = _look_ahead(images)
    if options.choice is None and not any(
        isinstance(image, sources.DocumentPage) or is_document(image) for image in images
    ):
        return list(images), None
    documents = options.open_documents()

    def expand(image: "Source") -> list["Source"]:
        if isinstance(image, sources.Link | sources.DocumentPage) or not (options.choice or is_document(image)):
            return [image]
        try:
            numbers = documents.find_pages(image, options.choice)
        except ImageError:
            if not each:
                raise
            # Reading this page raises the same error.
            numbers = (max(first for first, _ in options.choice.ranges) if options.choice else 1,)
        if not numbers and isinstance(image, sources.Stdin) and (data := documents.find_data(image)) is not None:
            return [sources.Bytes(image.name, data)]  # it was read to count its pages
        return [sources.DocumentPage(image, number) for number in numbers] or [image]

    return [page for image in images for page in expand(image)], documents


def _look_ahead(images: Sequence["Source"]) -> list["Source"]:
    """The images, with the links that may be documents downloaded at the same time, and standard input begun."""
    from ...images import sources

    def begin(image: "Source") -> "Source":
        match image:
            case sources.FetchedLink() if sources.may_be_document(image.name):
                return replace(image, fetch=_start(image.fetch).result)
            case sources.Stdin(stream=stream):
                stream = stream if isinstance(stream, sources.PeekableStream) else sources.PeekableStream(stream)
                started.append(_start(partial(stream.peek, 1)))
                return replace(image, stream=stream)
            case _:
                return image

    started: list[Future[bytes]] = []
    result = [begin(image) for image in images]
    for future in started:  # in a thread of its own, so that Ctrl-C ends the program while a pipe is silent
        future.result()
    return result


def _start(read: Callable[[], bytes]) -> Future[bytes]:
    future: Future[bytes] = Future()

    def run() -> None:
        try:
            future.set_result(read())
        except BaseException as error:  # noqa: BLE001  # raised where the image is read
            future.set_exception(error)

    threading.Thread(target=run, name="read", daemon=True).start()
    return future


def list_files(images: Sequence["Source"]) -> list[Path]:
    """The files among the images, and those that hold their pages."""
    from ...images import sources

    documents = [image.document if isinstance(image, sources.DocumentPage) else image for image in images]
    return [document.path for document in documents if isinstance(document, sources.File)]


def count_files(images: Sequence["Source"]) -> int:
    """How many images there are, the pages of a document counted as one."""
    from ...images import sources

    return len({image.document.name if isinstance(image, sources.DocumentPage) else image.name for image in images})
