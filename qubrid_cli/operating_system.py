"""Differences between operating systems: commands, encodings, locks, open files, pipes, Ctrl-C, and folders for settings.

Functions with a rule for Windows take ``is_windows``, so that the rules of both kinds of systems can be tested on either.
"""

import errno
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import socket
    from concurrent.futures import Future

IS_WINDOWS = sys.platform == "win32"

_Result = TypeVar("_Result")

#: Seconds between the checks for Ctrl-C during a wait; Windows does not interrupt waits for locks and sockets.
_WAIT_SLICE = 0.2
#: Seconds between attempts to replace a file that another program has open, 6 s in all: virus scanners, indexers and
#: programs that synchronize folders have new files open for a moment.
_REPLACE_WAITS = (0.05, 0.15, 0.4, 0.9, 1.5, 3.0)
#: Seconds between attempts to lock.
_LOCK_WAIT = 0.05


def split_command(command: str, *, is_windows: bool = IS_WINDOWS) -> list[str]:
    r"""Split a command with arguments, such as that in ``EDITOR``; on Windows, a backslash separates folders.

    Raises:
        ValueError: a quote is not closed.
    """
    if not is_windows:
        import shlex

        return shlex.split(command)
    if os.path.isfile(command):  # C:\Program Files\Notepad++\notepad++.exe
        return [command]
    words = re.findall(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+|\S""", command)
    if any(word in {'"', "'"} for word in words):
        raise ValueError("No closing quotation")
    return [re.sub(r"""["']""", "", word) for word in words]


def find_editor_command(env: Mapping[str, str], *, is_interactive: bool, is_windows: bool = IS_WINDOWS) -> list[str]:
    """The program in ``VISUAL`` or ``EDITOR``, and its arguments; otherwise ``vi``, or on Windows Notepad.

    Args:
        is_interactive: the program runs in a terminal; otherwise, without one of the variables, there is no editor.

    Raises:
        ValueError: a quote is not closed.
    """
    from shutil import which

    command = env.get("VISUAL", "").strip() or env.get("EDITOR", "").strip()
    words = split_command(command, is_windows=is_windows)
    if not words and is_interactive:
        words = ["notepad" if is_windows else "vi"]
    if words and is_windows:  # Windows itself adds only .exe to the name of a program; those of editors may end in .cmd
        words[0] = which(words[0]) or words[0]
    return words


def format_set_variable(name: str, value: str, *, is_windows: bool = IS_WINDOWS) -> str:
    """The command that sets an environment variable; on Windows, one that works in ``cmd`` and in PowerShell.

    The one for Windows sets the variable only for programs that are started later, from other windows.
    """
    return f"setx {name} {value}" if is_windows else f"export {name}={value}"


def get_pipe_encoding(encoding: str, env: Mapping[str, str]) -> str:
    """The encoding of text that is written to a pipe or a file: UTF-8, unless ``PYTHONIOENCODING`` names another one.

    UTF-8 is right for JSON (RFC 8259, section 8.1), and for the redirection of ``cmd`` and PowerShell 7.4. Older versions of
    PowerShell decode the output of programs as ``[Console]::OutputEncoding`` says.

    Args:
        encoding: that of Python's standard output.
    """
    return encoding if env.get("PYTHONIOENCODING", "").partition(":")[0] else "utf-8"


def get_list_encodings(*, is_windows: bool = IS_WINDOWS) -> tuple[str, ...]:
    """The encodings of names that are not UTF-8: on Windows, that of its own programs and that of its console."""
    return ("mbcs", "oem") if is_windows else ()


def replace_file(
    source: "Path",
    target: "Path",
    *,
    is_windows: bool = IS_WINDOWS,
    replace: Callable[["Path", "Path"], None] = os.replace,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Rename a file to a name that may exist; on Windows, wait some seconds for a program that has either open.

    Raises:
        OSError: the file cannot be renamed.
    """
    for seconds in _REPLACE_WAITS if is_windows else ():
        try:
            replace(source, target)
        except PermissionError:
            sleep(seconds)
        else:
            return
    replace(source, target)


def wait_until(wait: Callable[[float | None], bool], *, is_windows: bool = IS_WINDOWS) -> None:
    """Wait without a time limit, for example for an event, so that Ctrl-C interrupts the wait.

    Args:
        wait: waits at most this many seconds (``None``: without a limit), and returns whether the event has happened.
    """
    while not wait(_WAIT_SLICE if is_windows else None):
        pass


def call_interruptibly(function: Callable[[], _Result], *, is_windows: bool = IS_WINDOWS) -> _Result:
    """Call a function that waits for the network, so that Ctrl-C interrupts it: on Windows, in a thread."""
    if not is_windows or threading.current_thread() is not threading.main_thread():
        return function()
    from concurrent.futures import wait

    future = call_in_thread(function, "interruptible")
    while not wait([future], _WAIT_SLICE).done:
        pass
    return future.result()


def call_in_thread(function: Callable[[], _Result], name: str) -> "Future[_Result]":
    """Call a function in a daemon thread with this name; the future gets its result, or the exception that it raises."""
    from concurrent.futures import Future

    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # future.result() raises it
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def receive(connected: "socket.socket", size: int, timeout: float | None, *, is_windows: bool = IS_WINDOWS) -> bytes:
    """Read from a socket so that Ctrl-C interrupts it.

    Raises:
        TimeoutError: no data arrived for ``timeout`` seconds.
    """
    if not is_windows:
        connected.settimeout(timeout)
        return connected.recv(size)
    ends_at = None if timeout is None else time.monotonic() + timeout
    while True:
        seconds_left = _WAIT_SLICE if ends_at is None else max(0.001, ends_at - time.monotonic())
        connected.settimeout(min(_WAIT_SLICE, seconds_left))
        try:
            return connected.recv(size)
        except TimeoutError:
            if ends_at is not None and time.monotonic() >= ends_at:
                raise


def open_nonblocking(name: str, flags: int) -> int:
    """Open a file for reading, without blocking: a terminal would wait for input, and the caller may refuse it.

    Only where a pipe cannot be waited for later, opening it waits for its writer.
    """
    if sys.platform != "linux" and stat.S_ISFIFO(os.stat(name).st_mode):
        return os.open(name, flags)
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def wait_for_writer(descriptor: int) -> None:
    """Wait until a pipe from ``open_nonblocking`` has data, or its writer has closed it; from then on, reading it blocks.

    It must not be opened a second time, which would wait for another writer: one with little data has closed it by then.
    """
    if sys.platform == "linux":  # elsewhere, poll does not wait for a writer, but opening the pipe did
        import select

        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        ready.poll()
        os.set_blocking(descriptor, True)


class FileLocks(Protocol):
    """Locks on single bytes of an open file, which end with the process that holds them.

    Attributes:
        can_convert: a shared lock becomes an exclusive one in one step.
    """

    can_convert: bool

    def lock(self, descriptor: int, position: int, *, is_shared: bool, wait: bool) -> None:
        """Lock a byte.

        Raises:
            OSError: another process holds the lock (``EACCES``, ``EAGAIN``), or the file system has no locks.
        """
        ...

    def unlock(self, descriptor: int, position: int) -> None:
        """Release a lock.

        Raises:
            OSError: the byte is not locked.
        """
        ...

    def lock_file(self, descriptor: int) -> None:
        """Wait for an exclusive lock on a file that serves only as a lock; it also excludes threads of this process.

        Raises:
            OSError: the file system has no locks.
        """
        ...


class Kernel(Protocol):
    """The two functions of Windows that lock a byte of a file; neither waits."""

    def lock(self, descriptor: int, position: int, is_shared: bool) -> None:  # noqa: FBT001  # positional, as in the C function
        """``LockFileEx``.

        Raises:
            OSError: ``EACCES`` if the byte is locked, even by the same handle.
        """
        ...

    def unlock(self, descriptor: int, position: int) -> None:
        """``UnlockFileEx``."""
        ...


class WindowsLocks:
    """Locks on Windows, where each handle of a file has its own locks, and a lock cannot be converted."""

    can_convert = False

    def __init__(self, kernel: Kernel, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._kernel = kernel
        self._sleep = sleep

    def lock(self, descriptor: int, position: int, *, is_shared: bool, wait: bool) -> None:
        """Lock a byte; it is polled, because Ctrl-C does not interrupt a wait for a lock of Windows."""
        while True:
            try:
                self._kernel.lock(descriptor, position, is_shared)
            except OSError as error:
                if not wait or error.errno != errno.EACCES:
                    raise
                self._sleep(_LOCK_WAIT)
            else:
                return

    def unlock(self, descriptor: int, position: int) -> None:
        """Release a lock."""
        self._kernel.unlock(descriptor, position)

    def lock_file(self, descriptor: int) -> None:
        """Wait for an exclusive lock on a file that serves only as a lock."""
        self.lock(descriptor, 0, is_shared=False, wait=True)


if sys.platform == "win32":

    class _Kernel32:
        """``LockFileEx`` and ``UnlockFileEx``, because ``msvcrt.locking`` has no shared locks."""

        def __init__(self) -> None:
            import ctypes
            from ctypes import wintypes

            class Overlapped(ctypes.Structure):
                _fields_ = (
                    ("internal", ctypes.c_size_t),
                    ("internal_high", ctypes.c_size_t),
                    ("offset", wintypes.DWORD),
                    ("offset_high", wintypes.DWORD),
                    ("event", wintypes.HANDLE),
                )

            dword, handle, pointer = wintypes.DWORD, wintypes.HANDLE, ctypes.POINTER(Overlapped)
            self._ctypes, self._overlapped = ctypes, Overlapped
            library = ctypes.WinDLL("kernel32", use_last_error=True)
            self._lock, self._unlock = library.LockFileEx, library.UnlockFileEx
            self._lock.argtypes = (handle, dword, dword, dword, dword, pointer)
            self._unlock.argtypes = (handle, dword, dword, dword, pointer)
            self._lock.restype = self._unlock.restype = wintypes.BOOL

        def lock(self, descriptor: int, position: int, is_shared: bool) -> None:  # noqa: FBT001  # as above
            flags = 1 if is_shared else 3  # LOCKFILE_FAIL_IMMEDIATELY, and LOCKFILE_EXCLUSIVE_LOCK
            self._call(self._lock, descriptor, position, flags, 0)

        def unlock(self, descriptor: int, position: int) -> None:
            self._call(self._unlock, descriptor, position, 0)

        def _call(self, function: Callable[..., int], descriptor: int, position: int, *arguments: int) -> None:
            import msvcrt

            overlapped = self._overlapped(offset=position & 0xFFFFFFFF, offset_high=position >> 32)
            if not function(msvcrt.get_osfhandle(descriptor), *arguments, 1, 0, self._ctypes.byref(overlapped)):
                raise self._ctypes.WinError(self._ctypes.get_last_error())

    @cache
    def get_locks() -> FileLocks:
        """The locks of this system."""
        return WindowsLocks(_Kernel32())

else:
    import fcntl

    class _PosixLocks:
        """POSIX locks, which belong to a process and end when it closes any descriptor of the file."""

        can_convert = True

        def lock(self, descriptor: int, position: int, *, is_shared: bool, wait: bool) -> None:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.lockf(descriptor, kind | (0 if wait else fcntl.LOCK_NB), 1, position)

        def unlock(self, descriptor: int, position: int) -> None:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, position)

        def lock_file(self, descriptor: int) -> None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    @cache
    def get_locks() -> FileLocks:
        """The locks of this system."""
        return _PosixLocks()


def find_xdg_folder(
    variable: str, default: str, *, env: Mapping[str, str] = os.environ, system: str = sys.platform
) -> Path | None:
    """The folder that platformdirs would return on Linux in the usual case; ``None`` in all other cases.

    A shortcut, because loading platformdirs takes 4 % of the time of a ``describe``.

    Args:
        default: the folder below the home folder, if the variable does not hold an absolute path.

    Source: XDG Base Directory Specification 0.8, "Environment variables".
    """
    base, home = env.get(variable, ""), env.get("HOME", "")
    if not system.startswith("linux") or "ANDROID_ROOT" in env:
        return None
    if os.path.isabs(base):
        return Path(base, "qvision")
    return Path(home, default, "qvision") if os.path.isabs(home) else None
