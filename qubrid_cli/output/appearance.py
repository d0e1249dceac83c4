"""Whether output has color, how wide its lines are, and whether they may be repainted: by options, environment and terminal."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import IO, Any

#: Columns; longer lines of prose are hard to read.
MAX_PROSE_WIDTH = 100
#: Variables by which a user of a screen reader asks for plain lines.
_ACCESSIBLE_VARIABLES = ("QVISION_ACCESSIBLE", "ACCESSIBLE")
#: Terminals that know no escape sequences.
_DUMB_TERMINALS = frozenset({"dumb", "unknown"})


def settle_color(choice: str | None, env: MutableMapping[str, str]) -> None:
    """Let the environment say what ``--color`` says, so that all output follows it, also that of an editor or a pager.

    Args:
        choice: the value of ``--color``, if the option was used. Otherwise, ``NO_COLOR`` overrides ``FORCE_COLOR``.
    """
    if choice == "never" or (choice != "always" and env.get("NO_COLOR")):
        env["NO_COLOR"] = "1"
        env.pop("FORCE_COLOR", None)
    elif choice == "always":
        env["FORCE_COLOR"] = "1"
        env.pop("NO_COLOR", None)
    elif not env.get("FORCE_COLOR"):
        env.pop("FORCE_COLOR", None)  # for Rich, an empty one forbids everything that a terminal can do


def is_color_forced(env: Mapping[str, str] = os.environ) -> bool:
    """Whether escape sequences are written wherever the output goes."""
    return bool(env.get("FORCE_COLOR")) and not env.get("NO_COLOR")


def has_color(stream: IO[Any] | None, env: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to a stream has color."""
    if stream is None or env.get("NO_COLOR"):
        return False
    if is_color_forced(env):
        return True
    if sys.platform == "win32" and not any(env.get(name) for name in ("WT_SESSION", "ANSICON", "TERM")):
        return False  # the old console of Windows shows escape sequences
    return stream.isatty() and not is_dumb(env)


def is_dumb(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal knows no escape sequences."""
    return env.get("TERM", "").lower() in _DUMB_TERMINALS


def may_repaint(env: Mapping[str, str] = os.environ) -> bool:
    """Whether lines on a terminal may be redrawn, which a screen reader would read out again and again."""
    is_accessible = any(env.get(name, "").lower() not in {"", "0", "false", "no"} for name in _ACCESSIBLE_VARIABLES)
    return not is_accessible and not is_dumb(env)


def measure_width(stream: IO[Any]) -> int:
    """The columns of the terminal that a stream is; 80 if it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def wrap(text: str, stream: IO[Any] | None) -> str:
    """Break the lines of a text at blanks if the stream is a terminal; words that are longer than a line stay whole."""
    if stream is None or not stream.isatty():
        return text
    width = min(measure_width(stream), MAX_PROSE_WIDTH)
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    """Break a line, but not behind its label. A command can be pasted only if the terminal itself wraps it."""
    import textwrap

    if "qvision " in line and not line.startswith("error: "):
        return line
    line = line.replace(": ", ":\xa0", 1)
    lines = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(":\xa0", ": ", 1)
