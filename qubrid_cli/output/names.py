"""Names of files on standard output, for other programs to use, as ``find`` and ``grep`` print them."""

import os
import select
import stat
import sys

from ..text import escape_control_characters
from .streams import Output, translate_stdout_errors


def write_name(name: str, end: str) -> None:
    """Write a name without delay, with its exact bytes, by which other programs find the file.

    On a terminal, control characters are escaped.

    Args:
        end: the text after the name; its only control characters may be tabs and the end of the line.

    Raises:
        OutputError: standard output cannot be written.
        BrokenPipeError: the reader has closed the pipe.
    """
    output = Output()
    if output.is_terminal or sys.stdout is None:
        output.write(escape_control_characters(name) + end, is_styled=True)
        return
    try:
        data = os.fsencode(name)
    except UnicodeEncodeError:  # a link; it cannot be the name of a file
        data = name.encode(errors="replace")
    with translate_stdout_errors():
        sys.stdout.buffer.write(data + end.encode(errors="replace"))
        sys.stdout.buffer.flush()


def has_reader() -> bool:
    """Whether standard output has a reader; false once the other end of a pipe is closed.

    On Windows only a write would show this, so the answer is always true.
    """
    if sys.stdout is None or not hasattr(select, "poll"):
        return True
    mode = os.fstat(sys.stdout.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return True
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
