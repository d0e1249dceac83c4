"""How output looks, by options, environment and terminal: its color, the width of its lines, whether they are repainted."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import IO, Any

#: Columns; longer lines of prose are hard to read.
MAX_PROSE_WIDTH = 100
#: Variables by which a user of a screen reader asks for plain lines.
_ACCESSIBLE_VARIABLES = ("QVISION_ACCESSIBLE", "ACCESSIBLE")
#: Terminals that do not understand escape sequences.
_DUMB_TERMINALS = frozenset({"dumb", "unknown"})


def settle_color(choice: str | None, env: MutableMapping[str, str]) -> None:
    """Set ``NO_COLOR`` and ``FORCE_COLOR`` as ``--color`` says, so that all output follows it, also that of a pager.

    Args:
        choice: the value of ``--color``; without it, ``NO_COLOR`` overrides ``FORCE_COLOR``.
    """
    if choice == "never" or (choice != "always" and env.get("NO_COLOR")):
        env["NO_COLOR"] = "1"
        env.pop("FORCE_COLOR", None)
    elif choice == "always":
        env["FORCE_COLOR"] = "1"
        env.pop("NO_COLOR", None)
    elif not env.get("FORCE_COLOR"):
        env.pop("FORCE_COLOR", None)  # with an empty value, Rich would not treat a terminal as one


def is_color_forced(env: Mapping[str, str] = os.environ) -> bool:
    """Whether output has color even if it does not go to a terminal."""
    return bool(env.get("FORCE_COLOR")) and not env.get("NO_COLOR")


def has_color(stream: IO[Any] | None, env: Mapping[str, str] = os.environ) -> bool:
    """Whether text on a stream has color."""
    if stream is None or env.get("NO_COLOR"):
        return False
    if is_color_forced(env):
        return True
    if sys.platform == "win32" and not any(env.get(name) for name in ("WT_SESSION", "ANSICON", "TERM")):
        return False  # the old console of Windows shows escape sequences
    return stream.isatty() and not is_dumb(env)


def is_dumb(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal does not understand escape sequences."""
    return env.get("TERM", "").lower() in _DUMB_TERMINALS


def may_repaint(env: Mapping[str, str] = os.environ) -> bool:
    """Whether lines on a terminal may be redrawn, which a screen reader would read out again and again."""
    is_accessible = any(env.get(name, "").lower() not in {"", "0", "false", "no"} for name in _ACCESSIBLE_VARIABLES)
    return not is_accessible and not is_dumb(env)


def measure_width(stream: IO[Any]) -> int:
    """The columns of a stream's terminal; 80 if they are unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def wrap(text: str, stream: IO[Any] | None) -> str:
    """Wrap the lines of a text at spaces if the stream is a terminal; words that are longer than a line stay whole."""
    if stream is None or not stream.isatty():
        return text
    width = min(measure_width(stream), MAX_PROSE_WIDTH)
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    """Wrap a line, but not after its label. A line with a command is left to the terminal, so that it can be pasted."""
    import textwrap

    if "qvision " in line and not line.startswith("error: "):
        return line
    line = line.replace(": ", ":\xa0", 1)
    lines = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(":\xa0", ": ", 1)
