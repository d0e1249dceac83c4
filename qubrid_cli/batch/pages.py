"""The pages of documents; each page is an image of a run."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..images import sources
from .inputs import Task, resolve_source

if TYPE_CHECKING:  # loaded only by the runs that need it
    from ..images.documents.pages import Documents, PageChoice
    from .readers.lists import ImageId

#: The ``version`` of a page of a document that was downloaded.
_PAGES_VERSION = r"(\d{1,7}) pages"


class SelectedPages(NamedTuple):
    """The pages of a document that a run uses.

    Attributes:
        numbers: empty for an image without pages.
        version: of a downloaded document, the number of all its pages, so that a later run need not download it.
    """

    numbers: Sequence[int] = ()
    version: str | None = None


_NO_PAGES = SelectedPages()


class PageFinder:
    """Finds the pages of documents, each of which is an image of a run. Its methods may be called from any thread.

    Args:
        open_source: resolves the source of a task.
        choice: the pages to use; all of a document if it is ``None``.
        password: of encrypted documents.

    Attributes:
        left_out: the PDFs in folders that were left out, because the library that reads them is not installed.
        recall_version: returns the ``version`` that an earlier run has recorded with a page of a link, so that documents
            that are done are not downloaded again.
    """

    def __init__(
        self,
        open_source: Callable[[Task], sources.Source] = resolve_source,
        choice: "PageChoice | None" = None,
        password: str | None = None,
    ) -> None:
        self.left_out: set[str] = set()
        self.recall_version: Callable[[Task], str | None] | None = None
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
        """Return the bytes of a link or of standard input, if they were read to see whether it is a document."""
        is_kept = isinstance(source, sources.FetchedLink | sources.Stdin) and self._documents is not None
        return self.documents.find_data(source) if is_kept else None

    def find_pages(
        self, source: str, *, is_argument: bool, prompt: str | None = None, image_id: "ImageId" = None
    ) -> SelectedPages:
        """Find the pages of an image.

        Args:
            is_argument: the image is an argument of the command. Other links are downloaded here, one after another, only
                if they end in ``.pdf`` or ``.tiff``.
            prompt: of the image in the list; ``image_id`` is its ``id`` there.

        Raises:
            ImageError: it is a document that cannot be opened, or it does not have a chosen page.
        """
        if self._choice is None and not sources.may_be_document(source):
            return _NO_PAGES
        image = self._open_source(Task(1, source))
        if isinstance(image, sources.Link | sources.DocumentPage):
            return _NO_PAGES
        is_certain = is_argument or self._choice is not None or sources.has_document_suffix(source)
        if isinstance(image, sources.FetchedLink):
            return self._find_pages_of_link(image, Task(1, source, prompt, image_id)) if is_certain else _NO_PAGES
        if self._choice is None and isinstance(image, sources.File) and sources.detect_document(image) is None:
            return _NO_PAGES
        return SelectedPages(self.documents.find_pages(image, self._choice))

    def _find_pages_of_link(self, link: sources.FetchedLink, task: Task) -> SelectedPages:
        """Find the pages of a document that is downloaded, unless an earlier run has recorded how many there are."""
        if self.recall_version is not None:
            first = 1 if self._choice is None else self._choice.ranges[0][0]
            page_task = replace(task, source=sources.DocumentPage.format_name(task.source, first))
            version = self.recall_version(page_task) or ""
            if match := re.fullmatch(_PAGES_VERSION, version):
                count = int(match[1])
                numbers = range(1, count + 1) if self._choice is None else self._choice.select(link.name, count, "page")
                return SelectedPages(numbers, version)
        numbers = self.documents.find_pages(link, self._choice)
        return SelectedPages(numbers, f"{self.documents.open(link).page_count} pages" if numbers else None)
