"""How runs on one results file divide the work: who comes to an image first claims it, and the others pass it over.

At its end a run comes back to what it has passed over, when that is settled or given up. A claim is a lock, so that
those of a run that was killed are free at once, and there is nothing to clear away.
"""

# MERGED DOCSTRING of qubrid_cli.opening: How a results file is opened, and refused where it is something else.

# MERGED DOCSTRING of qubrid_cli.journal: The results file, which is its own journal: what stands in it need not be asked again. Lines are only ever added, each by one write under a lock, so that several runs can share the file. A run that was killed leaves at most a torn line at the end, which the next writer cuts off. When the last run on a file ends, lines go whose place later ones have taken, so that every image has one for each question. Nothing is synced to the disk before the end: what was written outlives the program, however that dies, if not a loss of power.

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
from . import entries
from .inputs import InputItem, Task
from .tasks import ClaimedElsewhere, Done, Failed, Outcome

#: Bytes that are looked at before anything else is.
_HEAD_BYTES = 1 << 16


def open_results(path: Path) -> int:
    """The file, open and in use; once more where it was replaced in between.

    Raises:
        UsageError: it cannot be used, or is something else by its first bytes.
    """
    while True:
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"-o {path} is not a regular file", hint="Leave out -o to write to standard output.")
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            hint = "Make the folder first." if isinstance(error, FileNotFoundError) else "Check the permissions."
            raise UsageError(f"-o {path} cannot be written: {error.strerror}", hint=hint) from error
        if not _may_hold_results(descriptor):
            os.close(descriptor)
            raise error_for_foreign_file(path)
        files.lock_shared(descriptor)
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def error_for_foreign_file(path: Path) -> UsageError:
    """What is said of a file that holds something else than results."""
    return UsageError(
        f"-o {path} is not a results file, and stays as it is",
        hint="Name another file; results are added only to what a run has written.",
    )


def _may_hold_results(descriptor: int) -> bool:
    """Whether an object begins where the file does, or at another line; the first one may be damaged."""
    head = os.read(descriptor, _HEAD_BYTES).lstrip()
    return not head or head.startswith(b"{") or b'\n{"' in head


#: So many damaged lines more than results, at any place, are no accident.
_DAMAGED_LINES_LIMIT = 100


class RecordedAnswer(NamedTuple):
    """An answer that is there.

    Attributes:
        record: its line; empty where another run is seeing to it.
        has_own_line: there is a line for this very source; else it is another name for the same image.
    """

    record: entries.Record
    has_own_line: bool


class Journal:
    """A results file that is open for a run; any thread may use it. A context manager.

    Args:
        keeps_texts: remember also what was said, for ``has_text``.

    Attributes:
        damaged_count: lines that cannot be read; they stay as they are.

    Raises:
        UsageError: the file cannot be used, or holds something else than results.
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
        self._descriptor = open_results(path)
        try:
            self._read_new_lines()
            if self.damaged_count > self._result_count:
                raise error_for_foreign_file(path)
            with files.lock_for_writing(self._descriptor):
                self._read_new_lines()
                self._repair_end()
        except BaseException:
            os.close(self._descriptor)
            raise

    def find_answer(self, key: str, source: str) -> RecordedAnswer | None:
        """The answer to a question, if the file has it whole, also where another run wrote it meanwhile.

        Args:
            source: the name of the image, as in its record.
        """
        with self._lock:
            self._read_new_lines()
            offset = self._offsets.get(entries.digest(key))
            if offset is None:
                return None
            line = entries.read_line_at(self._descriptor, offset)
            place = entries.parse_line(line)
            if place is None or place.key != key:  # somebody has changed the file under our feet
                return None
            is_named = place.sources == (source,) or entries.digest(key, source) in self._answer_ids
            return RecordedAnswer(place.record, is_named)

    def claim(self, key: str) -> bool:
        """Reserve a question, so that no other run asks it; false where another one has. It ends with the process."""
        with self._lock:
            number = _compute_claim_id(key)
            is_ours = number in self._claim_ids or files.claim(self._descriptor, number)
            if is_ours:
                self._claim_ids.add(number)
            return is_ours

    def release(self, key: str) -> None:
        """Let a question go that was claimed: it is answered, or is not going to be."""
        with self._lock:
            number = _compute_claim_id(key)
            if number in self._claim_ids:
                self._claim_ids.remove(number)
                files.release_claim(self._descriptor, number)

    def is_claimed_by_other_run(self, key: str) -> bool:
        """Whether another run that is alive has claimed a question."""
        with self._lock:
            if self._is_closed or _compute_claim_id(key) in self._claim_ids:
                return False
            is_free = files.claim(self._descriptor, _compute_claim_id(key))
            if is_free:
                files.release_claim(self._descriptor, _compute_claim_id(key))
            return not is_free

    def has_text(self, source: str, text: str) -> bool:
        """Whether this text is an answer about this source that the file has, or had when the run began."""
        with self._lock:
            return self._text_digests is not None and entries.digest_text(source, text) in self._text_digests

    def has_failed(self, key: str, source: str, prompt: str) -> bool:
        """Whether a line says that this question had no answer."""
        question = entries.ResultLine(key, False, False, (source,), prompt, {}).question_id
        with self._lock:
            return question in self._failed_questions

    def append(self, line: bytes) -> None:
        """Add a line, all of it or nothing.

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
        """Let the file go, synced to the disk; without superseded lines, unless another run is using it.

        Raises:
            OutputError: the disk failed.
        """
        with self._lock:
            try:
                self._read_new_lines()
                os.fsync(self._descriptor)
                if self._has_superseded and files.try_lock_exclusive(self._descriptor):
                    with suppress(OSError):  # no room, or a folder that is closed to us: they do no harm
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
        """Take in the lines that were added since."""
        if os.fstat(self._descriptor).st_size <= self._read_offset:
            return
        try:
            for offset, line in entries.read_lines(self._descriptor, self._read_offset):
                self._read_offset = offset + len(line) + 1
                if place := entries.parse_line(line):
                    self._result_count += 1
                    self._index_line(place, offset)
                elif line.strip():
                    self.damaged_count += 1
                if self.damaged_count > self._result_count + _DAMAGED_LINES_LIMIT:  # there is no need to read all of it
                    raise error_for_foreign_file(self._path)
        except entries.LineTooLongError as error:
            raise error_for_foreign_file(self._path) from error

    def _index_line(self, line: entries.ResultLine, offset: int) -> None:
        if self._text_digests is not None and line.is_ok:
            caption = entries.format_caption(line.record)
            self._text_digests.update(entries.digest_text(source, caption) for source in line.sources)
        question = line.question_id
        self._has_superseded |= question in self._failed_questions
        if not line.is_ok:
            self._failed_questions.add(question)
        elif line.key is not None:
            name = entries.digest(line.key)
            self._has_superseded |= (
                self._content_by_subject.setdefault(line.subject_id, line.content_id) != line.content_id
            )
            if name in self._offsets:
                self._has_superseded |= line.answer_id in self._answer_ids or not line.is_duplicate
                self._answer_ids.add(line.answer_id)
            if not line.is_duplicate or name not in self._offsets:
                self._offsets[name] = offset

    def _repair_end(self) -> None:
        """Cut off the torn line that a killed run left; where only its end is missing, give it that."""
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
            raise error_for_foreign_file(self._path)

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) == len(data):
                return
            reason = os.strerror(errno.ENOSPC)
        except OSError as error:
            reason = error.strerror or str(error)
        with suppress(OSError):
            os.ftruncate(self._descriptor, before)
        raise OutputError(f"cannot write {self._path}: {reason}", hint="Is the disk full?")


def _compute_claim_id(key: str) -> int:
    """What stands for a key among the claims: two keys that share one would only wait for each other."""
    return int.from_bytes(entries.digest(key)[:7])


#: Seconds after which is looked again whether others are through with what was passed over.
_POLL_SECONDS = 0.2


class WorkSharing:
    """The part of one run."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changed = threading.Condition()
        self._postponed: list[tuple[Task, str]] = []
        self._in_progress_count = 0
        self._is_closed = False
        self._has_found_all = False

    def has_found_all(self) -> bool:
        """Whether all has been found, but for what was passed over and comes once more."""
        return self._has_found_all

    def find_or_claim(self, key: str, source: str) -> RecordedAnswer | None:
        """The answer to a question about an image, if there is one; an empty record where another run is asking.

        With ``None`` the question is ours, until ``end``.
        """
        if (known := self._journal.find_answer(key, source)) is not None:
            return known
        if source == "-":  # it cannot be read once more
            return None
        if not self._journal.claim(key):
            return RecordedAnswer({}, has_own_line=True)
        known = self._journal.find_answer(key, source)  # it may have been written and let go in between
        if known is not None:
            self._journal.release(key)
        return known

    def finish(self, outcome: Outcome) -> None:
        """An image of ours is through, and what there is to keep of it is written."""
        if isinstance(outcome, Done | Failed) and outcome.key is not None:
            self._journal.release(outcome.key)
        with self._changed:
            self._in_progress_count -= 1
            if isinstance(outcome, ClaimedElsewhere):
                self._postponed.append((outcome.task, outcome.key))
            self._changed.notify()

    def close(self) -> None:
        """Wait for nothing any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def iterate_inputs(self, inputs: Iterator[InputItem]) -> Iterator[InputItem]:
        """What is found, and once more each of what was passed over. For a thread of its own: it waits."""
        for one in inputs:
            self._count_started()
            yield one
        self._has_found_all = True
        while (task := self._wait_for_postponed()) is not None:
            self._count_started()
            yield task

    def _count_started(self) -> None:
        with self._changed:
            self._in_progress_count += 1

    def _wait_for_postponed(self) -> Task | None:
        """One that was passed over and is free by now; ``None`` where none is left."""
        with self._changed:
            while (self._in_progress_count or self._postponed) and not self._is_closed:
                for place, (task, key) in enumerate(self._postponed):
                    if not self._journal.is_claimed_by_other_run(key):
                        del self._postponed[place]
                        return task
                self._changed.wait(_POLL_SECONDS if self._postponed else None)
        return None
