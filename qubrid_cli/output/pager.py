"""Shows pages of the manual: drawn and through the pager on a terminal, elsewhere as Markdown."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from ..operating_system import split_command
from .appearance import MAX_PROSE_WIDTH
from .streams import Output, translate_stdout_errors

#: As git sets them: ``less`` ends at once if the page fits on the screen, shows colors, and leaves the page on the screen.
_LESS_OPTIONS = "FRX"


def show_page(source: str, topics: Collection[str]) -> None:
    """Show a page of the manual.

    Args:
        topics: the pages that ``qvision help`` has; of a link to one of them, only the text is shown.
    """
    output = Output()
    if not output.is_terminal:
        output.write(source)
        return
    link = r"\[([^]]+)\]\((\w[\w-]*)\.md[^)]*\)"
    text = _draw(re.sub(link, lambda match: match[1] if match[2] in topics else match[0], source))
    pager = _find_pager(os.environ)
    if pager is None or not _run_pager(pager, text):
        with translate_stdout_errors():
            print(text, end="", flush=True)


def _draw(source: str) -> str:
    from .blocks import Page, build_page_parser
    from .terminal import make_console

    console, page = make_console(), Page()
    page.parsed = build_page_parser().parse(source)
    with console.capture() as capture:
        console.print(page, width=min(console.width, MAX_PROSE_WIDTH))
    rows = (row.rstrip() for row in capture.get().splitlines())
    return re.sub("\n{3,}", "\n\n", "".join(f"{row}\n" for row in rows))


def _find_pager(env: Mapping[str, str]) -> Sequence[str] | None:
    """The command line of the pager; ``None`` if it is not installed, ``PAGER`` is empty or ``cat``, or the terminal is dumb."""
    if env.get("TERM") == "dumb":
        return None
    try:
        command = split_command(env.get("PAGER", "less"))
    except ValueError:
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


def _run_pager(command: Sequence[str], text: str) -> bool:
    """Run the pager until its user quits; return whether it could be started."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env={"LESS": _LESS_OPTIONS, **os.environ})  # noqa: S603  # the command of the user
    except OSError:
        return False
    assert process.stdin is not None
    with suppress(OSError, KeyboardInterrupt), process.stdin:  # the user may quit before the end
        process.stdin.write(text.encode(errors="replace"))
    while process.returncode is None:
        with suppress(KeyboardInterrupt):  # Ctrl-C is for the pager
            process.wait()
    return True
