"""The pages of documents in a run: each is an image of it."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..images import sources
from .inputs import Task, resolve_source

if TYPE_CHECKING:  # loaded only by the runs that need it
    from ..images.documents.pages import Documents, PageChoice


class PageFinder:
    """Finds the pages of documents, each of which is an image of a run. Its methods may be called from any thread.

    Args:
        open_source: resolves the source of a task.
        choice: the pages to use; all of a document if it is ``None``.
        password: of encrypted documents.

    Attributes:
        left_out: the PDFs in folders that were left out, because the library that reads them is not installed.
    """

    def __init__(
        self,
        open_source: Callable[[Task], sources.Source] = resolve_source,
        choice: "PageChoice | None" = None,
        password: str | None = None,
    ) -> None:
        self.left_out: set[str] = set()
        self._open_source = open_source
        self._choice = choice
        self._password = password
        self._lock = threading.Lock()
        self._documents: Documents | None = None

    @property
    def documents(self) -> "Documents":
        """The open documents; a run without any does not load what opens them."""
        with self._lock:
            if self._documents is None:
                from ..images.documents.pages import Documents

                self._documents = Documents(self._password)
            return self._documents

    def find_data(self, source: sources.ReadableSource) -> bytes | None:
        """The bytes of a link or of standard input, if they were read because it might have been a document."""
        is_kept = isinstance(source, sources.FetchedLink | sources.Stdin) and self._documents is not None
        return self.documents.find_data(source) if is_kept else None

    def find_pages(self, source: str, *, is_argument: bool) -> Sequence[int]:
        """The numbers of the pages of an image; empty for one without pages.

        Args:
            is_argument: the user named it. Other links are downloaded one at a time here only if they end in ``.pdf`` or
                ``.tiff``.

        Raises:
            ImageError: it is a document that cannot be opened, or it does not have a chosen page.
        """
        if self._choice is None and not sources.may_be_document(source):
            return ()
        image = self._open_source(Task(1, source))
        if isinstance(image, sources.Link | sources.DocumentPage):
            return ()
        is_certain = is_argument or self._choice is not None or sources.has_document_suffix(source)
        if isinstance(image, sources.FetchedLink) and not is_certain:
            return ()
        if self._choice is None and isinstance(image, sources.File) and sources.detect_document(image) is None:
            return ()
        return self.documents.find_pages(image, self._choice)
