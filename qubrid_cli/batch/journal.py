"""The results file as a journal, so that an image with an answer in it need not be sent again.

Lines are only appended, each by one write under a lock, so several runs can share the file. They divide the work by
claims: the first run to reach an image claims it, and the others postpone it. A claim is a lock, which ends with its
process, so nothing has to be cleaned up after a run that was killed. Such a run leaves at most a torn line at the end,
which the next writer cuts off.

When the last run on a file ends, superseded lines are removed, so that every image has one line per question. The file
is synced to the disk only then: written lines survive a crash of the program, but not a loss of power.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from .. import files
from ..errors import OutputError, UsageError
from ..frozen import frozen
from . import entries
from .inputs import InputItem, Task
from .sidecars.answers import format_caption
from .tasks import Done, Failed, LoadedImage, Outcome

#: Bytes read from the start of a file to decide whether it may be a results file.
_HEAD_BYTES = 1 << 16
#: Reading stops at this many more damaged lines than results: the file is not a results file.
_DAMAGED_LINES_LIMIT = 100
#: Seconds between checks whether other runs have released the images that were postponed.
_POLL_SECONDS = 0.2


class RecordedAnswer(NamedTuple):
    """An answer in the results file.

    Attributes:
        record: its line.
        has_own_line: the line is for this source; otherwise it is for the same image under another name.
    """

    record: entries.Record
    has_own_line: bool


@frozen
class ClaimedByOtherRun:
    """An image that another run has claimed; it comes again when that run has finished with it."""

    task: Task
    key: str


class Journal:
    """A results file that is open for a run. A context manager; its methods may be called from any thread.

    Args:
        remember_texts: remember the text of every answer, for ``has_text``.

    Attributes:
        damaged_count: unreadable lines, which are left in the file.

    Raises:
        UsageError: the file cannot be opened, or is not a results file.
    """

    def __init__(self, path: Path, *, remember_texts: bool = False) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._offsets: dict[bytes, int] = {}
        self._answer_ids: set[bytes] = set()
        self._failed_questions: set[bytes] = set()
        self._content_by_subject: dict[bytes, bytes] = {}
        self._text_digests: set[bytes] | None = set() if remember_texts else None
        self._has_superseded = self._is_closed = False
        self._claim_ids: set[int] = set()
        self._read_offset = self._result_count = self.damaged_count = 0
        self._descriptor = _open_results(path)
        try:
            self._read_new_lines()
            if self.damaged_count > self._result_count:
                raise _build_foreign_file_error(path)
            with files.lock_for_writing(self._descriptor):
                self._read_new_lines()
                self._repair_end()
        except BaseException:
            os.close(self._descriptor)
            raise

    def find_answer(self, key: str, source: str) -> RecordedAnswer | None:
        """Find the complete answer with this key, including one that another run has just written.

        Args:
            source: the name of the image, as in its record.
        """
        with self._lock:
            self._read_new_lines()
            offset = self._offsets.get(entries.digest(key))
            if offset is None:
                return None
            line = entries.parse_line(entries.read_line_at(self._descriptor, offset))
            if line is None or line.key != key:  # another program has changed the file
                return None
            has_own_line = line.sources == (source,) or entries.digest(key, source) in self._answer_ids
            return RecordedAnswer(line.record, has_own_line)

    def claim(self, key: str) -> bool:
        """Reserve a key until it is released or the process ends; false if another run has claimed it."""
        with self._lock:
            claim_id = _compute_claim_id(key)
            is_ours = claim_id in self._claim_ids or files.claim(self._descriptor, claim_id)
            if is_ours:
                self._claim_ids.add(claim_id)
            return is_ours

    def release(self, key: str) -> None:
        """Release a key if this run has claimed it: it is answered, or will not be."""
        with self._lock:
            claim_id = _compute_claim_id(key)
            if claim_id in self._claim_ids:
                self._claim_ids.remove(claim_id)
                files.release_claim(self._descriptor, claim_id)

    def is_claimed_by_other_run(self, key: str) -> bool:
        """Whether another running process has claimed a key."""
        with self._lock:
            claim_id = _compute_claim_id(key)
            if self._is_closed or claim_id in self._claim_ids:
                return False
            is_free = files.claim(self._descriptor, claim_id)
            if is_free:
                files.release_claim(self._descriptor, claim_id)
            return not is_free

    def has_text(self, source: str, text: str) -> bool:
        """Whether an answer about this source has, or had when the run began, this text."""
        with self._lock:
            return self._text_digests is not None and entries.digest_text(source, text) in self._text_digests

    def has_failed(self, key: str, source: str, prompt: str) -> bool:
        """Whether the file has a failure for this image and prompt."""
        question = entries.ResultLine(key, False, False, (source,), prompt, {}).question_id
        with self._lock:
            return question in self._failed_questions

    def append(self, line: bytes) -> None:
        """Append a line: all of it or nothing.

        Raises:
            OutputError: it could not be written.
        """
        assert line.endswith(b"\n")
        with self._lock, files.lock_for_writing(self._descriptor):
            self._read_new_lines()
            self._repair_end()
            self._write(line)
            self._read_new_lines()

    def close(self) -> None:
        """Sync the file to the disk, remove superseded lines unless another run is using it, and close it.

        Raises:
            OutputError: the disk failed.
        """
        with self._lock:
            try:
                self._read_new_lines()
                os.fsync(self._descriptor)
                if self._has_superseded and files.try_lock_exclusive(self._descriptor):
                    with suppress(OSError):  # a full disk or a read-only folder; superseded lines do no harm
                        entries.compact(self._descriptor, Path(os.path.realpath(self._path)))
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
            finally:
                self._is_closed = True
                os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_new_lines(self) -> None:
        """Index the lines that this run or another has appended."""
        if os.fstat(self._descriptor).st_size <= self._read_offset:
            return
        try:
            for offset, data in entries.read_lines(self._descriptor, self._read_offset):
                self._read_offset = offset + len(data) + 1
                if line := entries.parse_line(data):
                    self._result_count += 1
                    self._index_line(line, offset)
                elif data.strip():
                    self.damaged_count += 1
                if self.damaged_count > self._result_count + _DAMAGED_LINES_LIMIT:
                    raise _build_foreign_file_error(self._path)
        except entries.LineTooLongError as error:
            raise _build_foreign_file_error(self._path) from error

    def _index_line(self, line: entries.ResultLine, offset: int) -> None:
        if self._text_digests is not None and line.is_ok:
            caption = format_caption(line.record)
            self._text_digests.update(entries.digest_text(source, caption) for source in line.sources)
        self._has_superseded |= line.question_id in self._failed_questions
        if not line.is_ok:
            self._failed_questions.add(line.question_id)
        elif line.key is not None:
            content_id = self._content_by_subject.setdefault(line.subject_id, line.content_id)
            self._has_superseded |= content_id != line.content_id
            key = entries.digest(line.key)
            if key in self._offsets:
                self._has_superseded |= line.answer_id in self._answer_ids or not line.is_duplicate
                self._answer_ids.add(line.answer_id)
            if not line.is_duplicate or key not in self._offsets:
                self._offsets[key] = offset

    def _repair_end(self) -> None:
        """Cut off the torn line of a run that was killed, or end a line that lacks only its line break."""
        size = os.fstat(self._descriptor).st_size
        if size == self._read_offset:
            return
        os.lseek(self._descriptor, self._read_offset, os.SEEK_SET)
        tail = os.read(self._descriptor, size - self._read_offset)
        if entries.parse_line(tail):
            self._write(b"\n")
            self._read_new_lines()
        elif entries.is_torn(tail) or (self._result_count and not tail.strip(b"\0")):
            os.ftruncate(self._descriptor, self._read_offset)
        else:
            raise _build_foreign_file_error(self._path)

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) == len(data):
                return
            reason = os.strerror(errno.ENOSPC)
        except OSError as error:
            reason = error.strerror or str(error)
        with suppress(OSError):
            os.ftruncate(self._descriptor, size)
        raise OutputError(f"cannot write {self._path}: {reason}", hint="Is the disk full?")


def _open_results(path: Path) -> int:
    """Open a results file and lock it as in use; once more if another run has replaced it meanwhile.

    Raises:
        UsageError: it cannot be opened, or its first bytes are not those of a results file.
    """
    while True:
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"-o {path} is not a regular file", hint="Leave out -o to write to standard output.")
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            hint = "Create the folder first." if isinstance(error, FileNotFoundError) else "Check the permissions."
            raise UsageError(f"-o {path} cannot be written: {error.strerror}", hint=hint) from error
        head = os.read(descriptor, _HEAD_BYTES).lstrip()
        if head and not head.startswith(b"{") and b'\n{"' not in head:  # the first line may be damaged
            os.close(descriptor)
            raise _build_foreign_file_error(path)
        files.lock_shared(descriptor)
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def _build_foreign_file_error(path: Path) -> UsageError:
    return UsageError(
        f"-o {path} is not a results file, and was not changed",
        hint="Name another file; a run appends only to files that a run has written.",
    )


def _compute_claim_id(key: str) -> int:
    """Derive the number of a claim from a key; two keys with the same number would only wait for each other."""
    return int.from_bytes(entries.digest(key)[:7])


class WorkSharing:
    """One run's part of the work on a results file that other runs may use at the same time.

    Attributes:
        has_found_all: all images have been found; only postponed ones may still come.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changed = threading.Condition()
        self._postponed: list[tuple[Task, str]] = []
        self._in_progress_count = 0
        self._is_closed = False
        self.has_found_all = False

    def has_failed(self, loaded: LoadedImage, prompt: str) -> bool:
        """Whether the file has a failure for this image and prompt."""
        return self._journal.has_failed(loaded.key, loaded.source.name, prompt)

    def find_or_claim(self, loaded: LoadedImage) -> RecordedAnswer | ClaimedByOtherRun | None:
        """Find the answer about an image, or claim the image.

        If ``None`` is returned, this run has claimed the image until ``finish``.
        """
        key, source = loaded.key, loaded.source.name
        if (answer := self._journal.find_answer(key, source)) is not None:
            return answer
        if source == "-":  # it cannot be read again, so it is never postponed
            return None
        if not self._journal.claim(key):
            return ClaimedByOtherRun(loaded.task, key)
        answer = self._journal.find_answer(key, source)  # it may have been written and released meanwhile
        if answer is not None:
            self._journal.release(key)
        return answer

    def finish(self, outcome: Outcome | ClaimedByOtherRun) -> None:
        """Release an image whose outcome has been written, or postpone it if another run has claimed it."""
        if isinstance(outcome, Done | Failed) and outcome.key is not None:
            self._journal.release(outcome.key)
        with self._changed:
            self._in_progress_count -= 1
            if isinstance(outcome, ClaimedByOtherRun):
                self._postponed.append((outcome.task, outcome.key))
            self._changed.notify()

    def close(self) -> None:
        """Stop waiting for postponed images."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def iterate_inputs(self, inputs: Iterator[InputItem]) -> Iterator[InputItem]:
        """Yield the inputs, then each postponed image again once it is free. For a thread of its own: it waits."""
        for item in inputs:
            self._count_started()
            yield item
        self.has_found_all = True
        while (task := self._wait_for_postponed()) is not None:
            self._count_started()
            yield task

    def _count_started(self) -> None:
        with self._changed:
            self._in_progress_count += 1

    def _wait_for_postponed(self) -> Task | None:
        """Wait until a postponed image is free and return it; ``None`` if none is left."""
        with self._changed:
            while (self._in_progress_count or self._postponed) and not self._is_closed:
                for position, (task, key) in enumerate(self._postponed):
                    if not self._journal.is_claimed_by_other_run(key):
                        del self._postponed[position]
                        return task
                self._changed.wait(_POLL_SECONDS if self._postponed else None)
        return None
