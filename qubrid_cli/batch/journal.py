"""The results file as a journal: an image with an answer in it is not requested again.

Lines are only appended, each by one write under a lock, so several runs can share the file. They divide the work by
claims: the first run to reach an image claims it, and the others postpone it. A claim is a lock, which ends with its
process, so nothing has to be cleaned up after a run that was killed. Such a run leaves at most a torn line at the end,
which the next writer cuts off.

When the last run on a file ends, superseded lines are removed, so that every image has one line per question, and
damaged lines are moved to ``FILE.damaged``. The file is synced to the disk only then: written lines survive a crash of
the program, but not a loss of power.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from .. import files
from ..errors import OutputError, UsageError
from . import entries
from .results.file import LockedResultsFile
from .results.index import AnswerPlace
from .results.lines import Question, hash_digest, quote, quote_id, read_at, read_line_at, read_lines
from .results.spool import Spool, adopt_spools


class RecordedAnswer(NamedTuple):
    """An answer in the results file.

    Attributes:
        record: its line.
        has_own_line: the line is for this image; otherwise it is for the same image under another name.
    """

    record: entries.Record
    has_own_line: bool


class SpooledLine(NamedTuple):
    """A line that a killed run with ``--ordered`` could not write yet, and its object."""

    data: bytes
    record: entries.Record


class Journal:
    """A results file that is open for a run. A context manager; its methods may be called from any thread.

    Args:
        is_ordered: lines that killed runs could not write yet keep waiting for earlier ones; otherwise they are written
            at once.
        is_forced: only answers of this run count, and those of the unfinished run with ``--force`` that it continues.
        options: of ``LockedResultsFile``.

    Attributes:
        continued_count: lines of that unfinished run.

    Raises:
        UsageError: the file cannot be opened, or is not a results file.
    """

    def __init__(self, path: Path, *, is_forced: bool = False, is_ordered: bool = False, **options: Any) -> None:
        self._lock = threading.RLock()
        self._is_closed = False
        self._claim_ids: set[int] = set()
        self._counts_from = 0  # the offset of the first line that counts
        self.continued_count = 0
        self._file = LockedResultsFile(path, **options)
        self._file.on_reopened = self._claim_again
        real_path = Path(os.path.realpath(path))
        self._spool = Spool(real_path)
        self._spooled: dict[tuple[str, Question], bytes] = {}
        if is_forced:
            self._begin_force()
        with suppress(OSError):  # a folder that cannot be read
            for spooled_lines in adopt_spools(real_path):
                self._adopt(spooled_lines, is_ordered=is_ordered)

    @property
    def folder(self) -> str:
        """The folder of the results file, without links."""
        return os.path.dirname(os.path.realpath(self._file.path))

    @property
    def notes(self) -> list[str]:
        """What the user should know about the file, after it is closed."""
        return self._file.notes

    def find_answer(self, key: str, question: Question) -> RecordedAnswer | None:
        """Find the complete answer with this key, including one that another run has just written.

        Args:
            question: the image and the prompt.
        """
        with self._lock:
            self._file.read_new_lines()
            offset = self._file.index.find_answer(quote(key))
            if offset is None or offset < self._counts_from:
                return None
            line = entries.parse_line(read_line_at(self._file.descriptor, offset))
            if line is None or line.key != key:  # another program has changed the file
                return None
            return RecordedAnswer(line.record, self._has_own_line(quote(key), question, line))

    def _has_own_line(self, key: bytes, question: Question, line: entries.ResultLine) -> bool:
        """Whether there is a line for the image of a question.

        Args:
            line: the line with this key. If it names this image under a path that no longer exists, the results file or
                the images were moved.
        """
        tags = {question.tag, question.name_tag}  # lines of earlier versions have only the name
        if any(self._file.index.has_own_answer(key, tag, since=self._counts_from) for tag in tags):
            return True
        answered = line.question
        if answered.source != question.source or question.source_id not in {answered.source_id, b"null"}:
            return False
        if b"null" in {question.path, answered.path} or answered.path == question.path:
            return True
        return not os.path.lexists(os.path.join(self.folder, str(line.record.get("path"))))

    def find_unchanged(self, question: Question, version: str | None, compute_key: Callable[[str], str]) -> int | None:
        """Find the answer about a file of this version, or about a link that was downloaded; return its offset.

        Args:
            version: of the file; ``None`` for a link.
            compute_key: computes the key of the answer from the SHA-256 of the file.
        """
        with self._lock:
            self._file.read_new_lines()
            for place in self._file.index.find_answers(question.tag):
                if place.offset < self._counts_from:
                    continue
                sha256 = self._find_sha256(place, question, version)
                if sha256 is not None and hash_digest(quote(compute_key(sha256))) == place.key:
                    return place.offset
        return None

    def _find_sha256(self, place: AnswerPlace, question: Question, version: str | None) -> str | None:
        """Find the SHA-256 in the line of an answer, if the line is about this version of this image."""
        if not place.source_at:
            return self._decode_sha256(place, question, version)
        expected = b'%b,"version":%b,' % (question.path, quote(version))
        size = place.path_at - place.source_at + len(expected)
        text = read_at(self._file.descriptor, place.offset + place.source_at, size)
        source, _, sha256 = text.partition(b',"sha256":"')
        if not text.endswith(expected) or (question.path == b"null" and source != question.source):
            return None
        return sha256[:64].decode(errors="replace")

    def _decode_sha256(self, place: AnswerPlace, question: Question, version: str | None) -> str | None:
        record = entries.parse_answer(read_line_at(self._file.descriptor, place.offset))
        if record is None or record.get("version") != version or not _is_about(record, question):
            return None
        sha256 = record["images"][0].get("sha256")
        return sha256 if isinstance(sha256, str) else None

    def read_answer(self, offset: int) -> entries.Record | None:
        """Read the answer at an offset that ``find_unchanged`` has returned."""
        with self._lock:
            return entries.parse_answer(read_line_at(self._file.descriptor, offset))

    def find_version(self, question: Question) -> str | None:
        """Find the version that the line of an answer about an image states."""
        with self._lock:
            self._file.read_new_lines()
            for place in self._file.index.find_answers(question.tag):
                if place.offset < self._counts_from:
                    continue
                record = entries.parse_answer(read_line_at(self._file.descriptor, place.offset))
                if record is not None and _is_about(record, question):
                    version = record.get("version")
                    return version if isinstance(version, str) else None
        return None

    def find_failure(self, key: str, question: Question) -> entries.Record | None:
        """Find the line of an image that failed with this key."""
        with self._lock:
            offset = self._file.index.find_failure(question.tag)
            line = None if offset is None else entries.parse_line(read_line_at(self._file.descriptor, offset))
            return line.record if line is not None and line.key == key else None

    def count_incomplete(self, key: str, question: Question) -> int:
        """Count how often the answer was cut off or did not fit its schema, over all runs since the last answer."""
        with self._lock:
            return self._file.index.count_incomplete(quote(key), question.tag)

    def has_answer(self, key: str) -> bool:
        """Whether there is a complete answer with this key, including one that another run has just written."""
        with self._lock:
            self._file.read_new_lines()
            offset = self._file.index.find_answer(quote(key))
            return offset is not None and offset >= self._counts_from

    def claim(self, key: str) -> bool:
        """Reserve a key until it is released or the process ends; false if another run has claimed it."""
        with self._lock:
            claim_id = _compute_claim_id(key)
            is_ours = claim_id in self._claim_ids or files.claim(self._file.descriptor, claim_id)
            if is_ours:
                self._claim_ids.add(claim_id)
            return is_ours

    def release(self, key: str) -> None:
        """Release a key if this run has claimed it: it is answered, or will not be."""
        with self._lock:
            claim_id = _compute_claim_id(key)
            if claim_id in self._claim_ids:
                self._claim_ids.remove(claim_id)
                files.release_claim(self._file.descriptor, claim_id)

    def is_claimed_by_other_run(self, key: str) -> bool:
        """Whether another running process has claimed a key."""
        with self._lock:
            claim_id = _compute_claim_id(key)
            if self._is_closed or claim_id in self._claim_ids:
                return False
            is_free = files.claim(self._file.descriptor, claim_id)
            if is_free:
                files.release_claim(self._file.descriptor, claim_id)
            return not is_free

    def has_text(self, source: str, text: str) -> bool:
        """Whether an answer about this source has this text."""
        with self._lock:
            return self._file.has_text(source, text)

    def has_failed(self, question: Question) -> bool:
        """Whether the file has a failure for this image and prompt."""
        with self._lock:
            tags = {question.tag, question.name_tag}
            return any(self._file.index.find_failure(tag) is not None for tag in tags)

    def append(self, line: bytes) -> None:
        """Append a line: all of it or nothing.

        Raises:
            OutputError: it could not be written.
        """
        assert line.endswith(b"\n")
        with self._lock:
            self._file.append(line)
            self._spool.remove(line)

    def spool(self, line: bytes) -> None:
        """Keep a line on the disk until it is appended.

        Raises:
            OutputError: it could not be written.
        """
        with self._lock:
            self._spool.add(line)

    def take_spooled(self, key: str, question: Question) -> SpooledLine | None:
        """Remove and return the line about an image that a killed run has left in its spool."""
        with self._lock:
            line = self._spooled.pop((key, question), None)
        parsed = None if line is None else entries.parse_line(line)
        return None if line is None or parsed is None else SpooledLine(line, parsed.record)

    def _adopt(self, spooled_lines: list[bytes], *, is_ordered: bool) -> None:
        """Take over the lines that a killed run could not write, unless the file has their answers."""
        for data in spooled_lines:
            line = entries.parse_line(data)
            if line is None or line.key is None or not line.is_ok:
                continue
            if (answer := self.find_answer(line.key, line.question)) is not None and answer.has_own_line:
                continue
            if is_ordered:
                self._spool.add(data)
                self._spooled[line.key, line.question] = data
            else:
                self.append(data)

    def take_problem(self) -> OutputError | None:
        """Return why the lines now go to another file; ``None`` if they do not, or if an earlier call has returned it."""
        problem, self._file.problem = self._file.problem, None
        return problem

    def finish_force(self) -> None:
        """Record that a run with ``--force`` has reached all images, so that the next one begins anew."""
        self._file.force_mark.delete()

    def close(self) -> None:
        """Sync the file to the disk, remove superseded lines unless another run is using it, and close it.

        Raises:
            OutputError: the disk failed, or the lines are in another file.
        """
        with self._lock:
            self._is_closed = True
            for line in self._spooled.values():  # of images that are not part of this run
                self._file.append(line)
            self._file.close()
            self._spool.close()
        if (problem := self.take_problem()) is not None:
            raise problem

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_force(self) -> None:
        """Count only the answers of this run, and of the unfinished one that it continues."""
        size = self._file.size
        offset = self._file.force_mark.read(self._file.descriptor)
        if offset is None:
            offset = size
            try:
                self._file.force_mark.write(self._file.descriptor, offset)
            except OSError as error:
                raise UsageError(
                    f"cannot write beside {self._file.path}: {error.strerror}", hint="Use another folder."
                ) from error
        self._counts_from = offset
        self.continued_count = sum(1 for _ in read_lines(self._file.descriptor, offset))

    def _claim_again(self) -> None:
        """Claim all keys again, because the file was reopened."""
        for claim_id in self._claim_ids:
            files.claim(self._file.descriptor, claim_id)


def _is_about(record: entries.Record, question: Question) -> bool:
    """Whether the answer with the tag of a question is about its image."""
    path = record.get("path")
    path = quote(path if isinstance(path, str) else None)
    if (path, quote_id(record.get("source_id"))) != (question.path, question.source_id):
        return False
    return path != b"null" or quote(record["images"][0]["source"]) == question.source


def _compute_claim_id(key: str) -> int:
    """Derive the number of a claim from a key; two keys with the same number would only wait for each other."""
    return int.from_bytes(entries.digest(key)[:7])
