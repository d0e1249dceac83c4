"""A results file that is open: its lines are indexed, appended, restored if another program removes them, and rewritten.

Before each write, the file is compared with what this run knows of it. If another program has replaced, deleted or
shortened it, the lines of this run are written again; if that is impossible, to another file.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ... import files
from ...errors import OutputError, UsageError
from ...operating_system import IS_WINDOWS
from ...text import format_count, quote_name
from .. import entries
from ..sidecars.captions import format_caption
from . import lines
from .force import ForceMark
from .index import LineIndex
from .indexing import IndexedLines, ReportProgress
from .rescue import OwnLines, open_rescue_file
from .rewriting import get_damaged_path, rewrite

#: Bytes read from the start of a file to decide whether it may be a results file.
_HEAD_BYTES = 1 << 16
#: A file with this many more damaged lines than results is refused: 600 random bytes have three line breaks.
_DAMAGED_LINES_LIMIT = 10
#: Bytes at the end of the indexed lines that are compared to notice a change.
_END_BYTES = 64


def _report_nothing(_name: str, _done: int, _total: int) -> None:
    """Show no progress."""


class LockedResultsFile:
    """An open results file, locked as in use. Not safe for threads.

    Args:
        notify: shows a message to the user.
        report: shows the progress of long work.

    Attributes:
        descriptor: of the file; it may change with each ``append``, and ``on_reopened`` is called then.
        problem: why the lines go to another file, once that is so.
        notes: what the user should know about the file after it is closed.

    Raises:
        UsageError: the file cannot be opened, or is not a results file.
    """

    def __init__(
        self,
        path: Path,
        *,
        notify: Callable[[str], None] = lambda _: None,
        report: ReportProgress = _report_nothing,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self.problem: OutputError | None = None
        self.on_reopened: Callable[[], None] = lambda: None
        self._text_digests: set[bytes] = set()
        self._notify = notify
        self._report = report
        self._must_restore = False
        self._end = b""
        self._text_offset = 0
        self.descriptor = _open_results(path)
        try:
            real_path = Path(os.path.realpath(path))
            with suppress(OSError):  # a folder that cannot be read or written
                files.remove_temporary_files(real_path)
            self._lines = self._read_all()
            with files.lock_for_writing(self.descriptor):
                self.read_new_lines()
                self._repair_end()
            self._remember_end()
            self.force_mark = ForceMark(real_path)
            self._own_lines = OwnLines(real_path.parent)
        except BaseException:
            os.close(self.descriptor)
            raise

    @property
    def index(self) -> LineIndex:
        """The index of all lines."""
        return self._lines.index

    @property
    def size(self) -> int:
        """The bytes of all lines that are indexed."""
        return self._lines.size

    def append(self, line: bytes) -> None:
        """Append a line: all of it or nothing.

        Raises:
            OutputError: it could not be written.
        """
        self._restore_if_changed()
        with files.lock_for_writing(self.descriptor):
            self.read_new_lines()
            self._repair_end()
            self._write(line)
            self.read_new_lines()
        self._remember_end()
        self._own_lines.add(line)

    def close(self) -> None:
        """Sync the file to the disk, remove superseded lines unless another run is using it, and close it.

        Raises:
            OutputError: the disk failed.
        """
        try:
            if self._own_lines.count:
                self._restore_if_changed()
            self.read_new_lines()
            os.fsync(self.descriptor)
            self._rewrite()
        except OSError as error:
            raise OutputError(f"cannot write {quote_name(self.path)}: {error.strerror}") from error
        finally:
            self._own_lines.close()
            if self.descriptor >= 0:
                os.close(self.descriptor)

    def _release(self) -> None:
        """Close the file just before it is replaced, because Windows does not replace an open file.

        This ends the lock that keeps other runs away. If one opens the file at this very moment, replacing it fails.
        """
        if IS_WINDOWS:
            os.close(self.descriptor)
            self.descriptor = -1

    def _rewrite(self) -> None:
        """Remove superseded and damaged lines, save the index, and note what became of damaged lines."""
        damaged = self._lines.damaged
        is_rewritten = False
        if not self._is_changed():
            path = Path(os.path.realpath(self.path))
            is_rewritten = self._remove_lines(path)
            self._lines.save(path)
        if damaged:
            fate = f"moved to {get_damaged_path(self.path)}" if is_rewritten else "ignored"
            numbers = [number for _, number in damaged]
            self.notes.append(lines.format_damaged_note(quote_name(self.path), numbers, fate))

    def _remove_lines(self, path: Path) -> bool:
        """Remove superseded and damaged lines; false if there are none, another run uses the file, or it is impossible."""
        damaged = self._lines.damaged
        if self.force_mark.exists or not (self.index.has_superseded or damaged):
            return False
        removed = None
        if files.try_lock_exclusive(self.descriptor):
            self.read_new_lines()  # those of a run that has just ended
            with suppress(OSError):  # a full disk or a read-only folder; such lines do no harm
                removed = rewrite(
                    self.descriptor,
                    path,
                    superseded=self.index.find_superseded(),
                    damaged=[offset for offset, _ in damaged],
                    report=self._report,
                    release=self._release,
                )
        if removed is not None:
            self._lines.follow_rewriting(*removed)
        return removed is not None

    def _read_all(self) -> IndexedLines:
        """Index the whole file.

        Raises:
            UsageError: it is not a results file.
        """
        indexed = IndexedLines(self._report)
        try:
            indexed.read_all(self.descriptor, Path(os.path.realpath(self.path)))
        except lines.NotResultsError as error:
            raise _build_foreign_file_error(self.path) from error
        limit = indexed.result_count + _DAMAGED_LINES_LIMIT if indexed.result_count else 0
        if len(indexed.damaged) > limit:
            raise _build_foreign_file_error(self.path)
        return indexed

    def read_new_lines(self) -> None:
        """Index the lines that this run or another has appended.

        Raises:
            UsageError: a line is longer than any line of a results file.
        """
        try:
            self._lines.read_new(self.descriptor)
        except lines.NotResultsError as error:
            raise _build_foreign_file_error(self.path) from error

    def has_text(self, source: str, text: str) -> bool:
        """Whether an answer about this source has this text. The first call reads the whole file."""
        with suppress(lines.NotResultsError):
            for offset, data in lines.read_lines(self.descriptor, self._text_offset):
                self._text_offset = offset + len(data) + 1
                self._report("reading", self._text_offset, self.size)
                if (line := entries.parse_line(data)) is not None and line.is_ok:
                    caption = format_caption(line.record)
                    self._text_digests.update(entries.digest_text(name, caption) for name in line.sources)
        return entries.digest_text(source, text) in self._text_digests

    def _remember_end(self) -> None:
        size = min(_END_BYTES, self.size)
        self._end = lines.read_at(self.descriptor, self.size - size, size)

    def _is_changed(self) -> bool:
        """Whether another program has replaced, deleted, shortened or overwritten the file."""
        try:
            if not os.path.samestat(os.stat(self.path), os.fstat(self.descriptor)):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # the path cannot be read at the moment, but the open file can still be written
            return False
        return lines.read_at(self.descriptor, self.size - len(self._end), len(self._end)) != self._end

    def _restore_if_changed(self) -> None:
        """Write the lines of this run again if the file lacks them; if it is not a results file any more, to another one.

        Raises:
            OutputError: they could not be written.
        """
        if not (self._must_restore or self._is_changed()):
            return
        self._must_restore = True
        path = self.path
        try:
            count = self._restore()
        except UsageError as error:
            self._rescue(error)
            count = 0
        self._must_restore = False
        self._remember_end()
        if count:
            restored = format_count(count, "line was", "lines were")
            self._notify(f"{quote_name(path)} was changed by another program; {restored} written to it again")

    def _restore(self) -> int:
        """Write the lines of this run to the file that now has the path; return how many were written.

        An empty file, such as one that is created because the old one was deleted, gets all lines.

        Raises:
            OutputError: they could not be written.
            UsageError: it is not a results file.
        """
        old = new = self.descriptor
        if not (os.path.exists(self.path) and os.path.samestat(os.stat(self.path), os.fstat(old))):
            new = _open_results(self.path)
        try:
            self.descriptor = new
            with files.lock_for_writing(new):
                count = self._copy_from(old) if new != old and os.fstat(new).st_size == 0 else 0
                self._lines, self._text_offset = self._read_all(), 0
                self._repair_end()
                count += self._write_own_lines()
        except BaseException:
            self.descriptor = old
            if new != old:
                os.close(new)
            raise
        self._replace_descriptor(old)
        return count

    def _copy_from(self, old: int) -> int:
        count = 0
        try:
            for _, line in lines.read_lines(old):
                self._write(line + b"\n")
                count += 1
        except OutputError:
            os.ftruncate(self.descriptor, 0)
            raise
        return count

    def _write_own_lines(self) -> int:
        missing = 0
        for line in self._own_lines.find_missing(self.descriptor):
            self._write(line)
            missing += 1
        self.read_new_lines()
        return missing

    def _rescue(self, error: UsageError) -> None:
        """From now on, write to another file.

        Raises:
            OutputError: that is impossible too.
        """
        name, old = self.path, self.descriptor
        try:
            self.descriptor, self.path = open_rescue_file(Path(os.path.realpath(name)))
        except OSError as rescue_error:
            raise OutputError(f"{error.message.removeprefix('-o ')}, and {rescue_error}") from error
        self._lines, self._text_offset = IndexedLines(self._report), 0
        self._write_own_lines()
        self._replace_descriptor(old)
        reason = "was replaced by another file" if os.path.lexists(name) else "was deleted with its folder"
        self.problem = OutputError(
            f"{quote_name(name)} {reason} during the run, so the answers of this run are in {quote_name(self.path)}",
            hint=f"To keep them, append that file to a results file: cat {quote_name(self.path)} >> {quote_name(name)}",
        )

    def _replace_descriptor(self, old: int) -> None:
        """Close the descriptor that was used before, and claim again what was claimed by it."""
        if self.descriptor != old:
            self.on_reopened()
            os.close(old)

    def _repair_end(self) -> None:
        """Cut off the torn line of a run that was killed, or end a line that lacks only its line break."""
        size = os.fstat(self.descriptor).st_size
        if size == self.size:
            return
        os.lseek(self.descriptor, self.size, os.SEEK_SET)
        tail = os.read(self.descriptor, size - self.size)
        if entries.is_torn(tail) or (self._lines.result_count and not tail.strip(b"\0")):
            os.ftruncate(self.descriptor, self.size)
        elif self._lines.result_count or entries.parse_line(tail):  # a line that lacks only its end, or is damaged
            self._write(b"\n")
            self.read_new_lines()
        else:
            raise _build_foreign_file_error(self.path)

    def _write(self, data: bytes) -> None:
        size = os.fstat(self.descriptor).st_size
        try:
            if os.write(self.descriptor, data) == len(data):
                return
            reason = os.strerror(errno.ENOSPC)
        except OSError as error:
            reason = error.strerror or str(error)
        with suppress(OSError):
            os.ftruncate(self.descriptor, size)
        raise OutputError(f"cannot write {quote_name(self.path)}: {reason}", hint="Is the disk full?")


def _open_results(path: Path) -> int:
    """Open a results file and lock it as in use; once more if another run has replaced it meanwhile.

    Raises:
        UsageError: it cannot be opened, or its first bytes are not those of a results file.
    """
    while True:
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(
                    f"-o {quote_name(path)} is not a regular file", hint="Leave out -o for standard output."
                )
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            hint = "Create the folder first." if isinstance(error, FileNotFoundError) else "Check the permissions."
            raise UsageError(f"-o {quote_name(path)} cannot be written: {error.strerror}", hint=hint) from error
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
        f"-o {quote_name(path)} is not a results file, and was not changed",
        hint="Name another file; a run appends only to files that a run has written.",
    )
