"""Finds the images that are done without reading them: by the size and the modification time of their files."""

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...errors import ImageError, UsageError
from ...images.arguments import expand_home, split_name
from ...images.sources import DocumentPage, FetchedLink, File, Link, Source, is_url
from ...urls import is_object_url
from .. import entries, inputs
from ..inputs import Task
from ..journal import Journal
from ..tasks import BatchPlan, build_question

#: Nanoseconds within which a file may change again without a new modification time: where times have fractions (the tick
#: of a kernel is 10 ms at most), and where they have none (FAT: two seconds).
_FINE_TICK, _COARSE_TICK = 20_000_000, 2_000_000_000
_SECOND = 1_000_000_000
#: Between the path of a document and the number of a page.
_PAGE_MARK = "#page="
#: Ends of a path that mean nothing.
_IGNORED_ENDS = ("/", "/.", os.sep)


class DoneFinder:
    """Finds images that have an answer in the results file, in the thread that finds the images.

    Args:
        may_skip: whether an image with an answer needs nothing else, such as a sidecar.
        results_folder: the folder of the results; by default, that of the journal. If it is empty, paths are absolute.
        image_folder: to which the paths of images are relative; by default, the current folder.
    """

    def __init__(
        self,
        plan: BatchPlan,
        journal: Journal,
        may_skip: Callable[[Source], bool] | None = None,
        *,
        results_folder: str | None = None,
        image_folder: str = "",
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._may_skip = may_skip
        self._results_folder = journal.folder if results_folder is None else results_folder
        self._image_folder = image_folder
        self._folders: tuple[str, str] = ("", "")  # of the last image, as named and as in its line
        self._has_common_prompt = not plan.batch_request.request.may_have_placeholders

    def locate(self, task: Task) -> Task:
        """Add path and version of its file to a task; the path of an object in a bucket is its URL."""
        if is_object_url(task.source):
            return replace(task, path=task.source)
        if (parts := inputs.split_member(task.source)) is not None:
            return replace(task, path=f"{self._make_relative(parts[0])}/{parts[1]}", version=compute_version(parts[0]))
        path, page = _find_file(task)
        if path is None:
            return task
        path = os.path.join(self._image_folder, path) if self._image_folder else path
        relative_path = self._make_relative(path)
        if page is not None:
            relative_path = f"{relative_path}{_PAGE_MARK}{page}"
        version = compute_version(path)
        # Built directly, because ``replace`` takes five times as long: a tenth of the work on an image that is done.
        return Task(task.index, task.source, task.prompt, task.id, relative_path, version, task.row, task.place)

    def is_done(self, task: Task) -> bool:
        """Whether the results file has the answer about an image, which has not changed since."""
        return self._find(task) is not None

    def find_answer(self, task: Task) -> entries.Record | None:
        """Find that answer."""
        answer = self._find(task)
        return self._journal.read_answer(answer) if isinstance(answer, int) else answer

    def _find(self, task: Task) -> int | entries.Record | None:
        """Find that answer, or the offset of its line, which most runs need not read."""
        if self._plan.is_verifying or task.source == "-":
            return None
        with suppress(ImageError, UsageError):  # loading the image reports it
            if task.path is None:
                return self._find_link(task)
            _, mark, number = task.path.rpartition(_PAGE_MARK)
            page = int(number) if mark and number.isdecimal() else 1
            compute_key = partial(self._compute_key, task, page)
            question = build_question(task, task.source, self._get_prompt(task), None)
            if task.version is None and not is_object_url(task.source):
                return None
            offset = self._journal.find_unchanged(question, task.version, compute_key)
            if offset is not None and (self._may_skip is None or self._may_skip(self._plan.open_source(task))):
                return offset
        return None

    def _find_link(self, task: Task) -> int | entries.Record | None:
        source = self._plan.open_source(task)
        question = build_question(task, source.name, self._get_prompt(task), None)
        answer: int | entries.Record | None
        if isinstance(source, Link):
            recorded = self._journal.find_answer(self._compute_key(task, 1, source.url), question)
            answer = recorded.record if recorded is not None and recorded.has_own_line else None
        elif isinstance(source, FetchedLink):
            answer = self._journal.find_unchanged(question, None, partial(self._compute_key, task, 1))
        elif isinstance(source, DocumentPage) and isinstance(source.document, FetchedLink):
            compute_key = partial(self._compute_key, task, source.number)
            answer = self._journal.find_unchanged(question, task.version, compute_key)
        else:
            return None
        return answer if answer is None or self._may_skip is None or self._may_skip(source) else None

    def recall_version(self, task: Task) -> str | None:
        """The version that the results file states for an image, whatever it is now."""
        if self._plan.is_verifying:
            return None
        with suppress(ImageError, UsageError):
            task = self.locate(task)
            name = self._plan.open_source(task).name
            return self._journal.find_version(build_question(task, name, self._get_prompt(task), None))
        return None

    def _get_prompt(self, task: Task) -> str:
        if task.prompt is None and self._has_common_prompt:
            return self._plan.batch_request.request.prompt
        return self._plan.batch_request.build_request(task).prompt

    def _compute_key(self, task: Task, page: int, image_id: str) -> str:
        return self._plan.batch_request.compute_key(task, image_id, page=page)

    def _make_relative(self, path: str) -> str:
        """Write a path relative to the folder of the results file, with slashes; links to folders are resolved."""
        folder, name = os.path.split(path)
        if folder != self._folders[0] or not self._folders[1]:
            real = folder
            with suppress(ValueError):  # a NUL in a list, or another drive
                real = os.path.realpath(folder or os.curdir)
                if self._results_folder:
                    real = os.path.relpath(real, self._results_folder)
            self._folders = folder, real.replace(os.sep, "/")
        return name if self._folders[1] == "." else f"{self._folders[1]}/{name}"


def _find_file(task: Task) -> tuple[str | None, int | None]:
    """The path of the file of an image, and its page."""
    if task.source == "-":
        return None, None
    if not is_url(task.source):
        name, page = split_name(task.source)
        path = expand_home(name)
        return os.fspath(Path(path)) if path.endswith(_IGNORED_ENDS) else path, page
    with suppress(ImageError):
        source = inputs.resolve_source(task)
        if isinstance(source, DocumentPage) and isinstance(source.document, File):
            return os.fspath(source.document.path), source.number
        if isinstance(source, File):
            return os.fspath(source.path), None
    return None, None


def compute_version(path: str) -> str | None:
    """The size and modification time of a file; ``None`` if it cannot be read, or may change again at the same time."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    tick = _FINE_TICK if status.st_mtime_ns % _SECOND else _COARSE_TICK
    if not stat.S_ISREG(status.st_mode) or time.time_ns() - status.st_mtime_ns < tick:
        return None
    return f"{status.st_size}-{status.st_mtime_ns}"
