"""The results file, which is its own journal: what stands in it need not be asked again.

Lines are only ever added, each by one write under a lock, so that several runs can share the file. A run that was
killed leaves at most a torn line at the end, which the next writer cuts off. When the last run on a file ends, lines
go whose place later ones have taken, so that every image has one for each question. Nothing is synced to the disk before the end: what
was written outlives the program, however that dies, if not a loss of power.
"""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from . import compaction, entries, locking, opening
from .errors import OutputError

#: So many damaged lines more than results, at any place, are no accident.
_MANY_DAMAGED = 100


class Settled(NamedTuple):
    """An answer that is there.

    Attributes:
        record: its line; empty where another run is seeing to it.
        is_named: there is a line for this very source; else it is another name for the same image.
    """

    record: entries.Record
    is_named: bool


class Journal:
    """A results file that is open for a run; any thread may use it. A context manager.

    Args:
        keeps_texts: remember also what was said, for ``has_said``.

    Attributes:
        damaged: lines that cannot be read; they stay as they are.

    Raises:
        UsageError: the file cannot be used, or holds something else than results.
    """

    def __init__(self, path: Path, *, keeps_texts: bool = False) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._offsets: dict[bytes, int] = {}
        self._names: set[bytes] = set()
        self._failed: set[bytes] = set()
        self._contents: dict[bytes, bytes] = {}
        self._texts: set[bytes] | None = set() if keeps_texts else None
        self._has_superseded = self._is_closed = False
        self._claims: set[int] = set()
        self._end = self._results = self.damaged = 0
        self._descriptor = opening.opened(path)
        try:
            self._catch_up()
            if self.damaged > self._results:
                raise opening.foreign(path)
            with locking.writing(self._descriptor):
                self._catch_up()
                self._mend()
        except BaseException:
            os.close(self._descriptor)
            raise

    def settled(self, key: str, source: str) -> Settled | None:
        """The answer to a question, if the file has it whole, also where another run wrote it meanwhile.

        Args:
            source: the name of the image, as in its record.
        """
        with self._lock:
            self._catch_up()
            offset = self._offsets.get(entries.digest(key))
            if offset is None:
                return None
            line = compaction.line_at(self._descriptor, offset)
            place = entries.place(line)
            if place is None or place.key != key:  # somebody has changed the file under our feet
                return None
            is_named = place.sources == (source,) or entries.digest(key, source) in self._names
            return Settled(place.record, is_named)

    def claim(self, key: str) -> bool:
        """Reserve a question, so that no other run asks it; false where another one has. It ends with the process."""
        with self._lock:
            number = _number(key)
            is_ours = number in self._claims or locking.claim(self._descriptor, number)
            if is_ours:
                self._claims.add(number)
            return is_ours

    def release(self, key: str) -> None:
        """Let a question go that was claimed: it is answered, or is not going to be."""
        with self._lock:
            number = _number(key)
            if number in self._claims:
                self._claims.remove(number)
                locking.release(self._descriptor, number)

    def is_claimed_elsewhere(self, key: str) -> bool:
        """Whether another run that is alive has claimed a question."""
        with self._lock:
            if self._is_closed or _number(key) in self._claims:
                return False
            is_free = locking.claim(self._descriptor, _number(key))
            if is_free:
                locking.release(self._descriptor, _number(key))
            return not is_free

    def has_said(self, source: str, text: str) -> bool:
        """Whether this text is an answer about this source that the file has, or had when the run began."""
        with self._lock:
            return self._texts is not None and entries.said(source, text) in self._texts

    def has_failed(self, key: str, source: str, prompt: str) -> bool:
        """Whether a line says that this question had no answer."""
        question = entries.Place(key, False, False, (source,), prompt, {}).question
        with self._lock:
            return question in self._failed

    def append(self, line: bytes) -> None:
        """Add a line, all of it or nothing.

        Raises:
            OutputError: it could not be written.
        """
        assert line.endswith(b"\n")
        with self._lock, locking.writing(self._descriptor):
            self._catch_up()
            self._mend()
            self._write(line)
            self._catch_up()

    def close(self) -> None:
        """Let the file go, synced to the disk; without superseded lines, unless another run is using it.

        Raises:
            OutputError: the disk failed.
        """
        with self._lock:
            try:
                self._catch_up()
                os.fsync(self._descriptor)
                if self._has_superseded and locking.use_alone(self._descriptor):
                    with suppress(OSError):  # no room, or a folder that is closed to us: they do no harm
                        compaction.rewrite(self._descriptor, os.path.realpath(self._path))
            except OSError as error:
                raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
            finally:
                self._is_closed = True
                os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _catch_up(self) -> None:
        """Take in the lines that were added since."""
        if os.fstat(self._descriptor).st_size <= self._end:
            return
        try:
            for offset, line in compaction.lines(self._descriptor, self._end):
                self._end = offset + len(line) + 1
                if place := entries.place(line):
                    self._results += 1
                    self._enter(place, offset)
                elif line.strip():
                    self.damaged += 1
                if self.damaged > self._results + _MANY_DAMAGED:  # there is no need to read all of it
                    raise opening.foreign(self._path)
        except compaction.OverlongError as error:
            raise opening.foreign(self._path) from error

    def _enter(self, place: entries.Place, offset: int) -> None:
        if self._texts is not None and place.is_ok:
            caption = entries.caption(place.record)
            self._texts.update(entries.said(source, caption) for source in place.sources)
        question = place.question
        self._has_superseded |= question in self._failed
        if not place.is_ok:
            self._failed.add(question)
        elif place.key is not None:
            name = entries.digest(place.key)
            self._has_superseded |= self._contents.setdefault(place.subject, place.content) != place.content
            if name in self._offsets:
                self._has_superseded |= place.answer in self._names or not place.is_copy
                self._names.add(place.answer)
            if not place.is_copy or name not in self._offsets:
                self._offsets[name] = offset

    def _mend(self) -> None:
        """Cut off the torn line that a killed run left; where only its end is missing, give it that."""
        size = os.fstat(self._descriptor).st_size
        if size == self._end:
            return
        os.lseek(self._descriptor, self._end, os.SEEK_SET)
        tail = os.read(self._descriptor, size - self._end)
        if entries.place(tail):
            self._write(b"\n")
            self._catch_up()
        elif entries.is_torn(tail) or (self._results and not tail.strip(b"\0")):
            os.ftruncate(self._descriptor, self._end)
        else:
            raise opening.foreign(self._path)

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


def _number(key: str) -> int:
    """What stands for a key among the claims: two keys that share one would only wait for each other."""
    return int.from_bytes(entries.digest(key)[:7])
