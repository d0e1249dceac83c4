"""What stands on the command line becomes values: body fields, the prompt, standard input, limits."""

import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import UsageError

if TYPE_CHECKING:
    from ..payload import Limits
    from ..settings import Settings

#: A word that needs no quotes, so that reasoning_effort=low can be typed.
_WORD = re.compile(r"[A-Za-z][\w.-]*")


def params(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Body fields from ``KEY=JSON``; a value that is a plain word counts as a string.

    Raises:
        UsageError: no ``=``, no JSON, or a field that has an option of its own.
    """
    from ..chat import RESERVED

    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-O {pair} is not KEY=JSON", hint="For example: -O seed=42")
        if key in RESERVED:
            raise UsageError(f"-O does not set {key}", hint=_option_for(key))
        try:
            found[key] = json.loads(text)
            json.dumps(found[key], allow_nan=False)  # Python reads NaN and 1e999, which are no JSON
        except (ValueError, RecursionError) as error:
            if not _WORD.fullmatch(text):
                raise UsageError(
                    f"-O {pair}: {text!r} is not JSON", hint=f"Text goes in quotes: -O '{key}=\"text\"'"
                ) from error
            found[key] = text
    return found


def _option_for(key: str) -> str:
    names = {"messages": "They are made of the prompt, -s and the images.", "stream": "Use --no-stream."}
    return names.get(key, f"Use --{key.replace('_', '-')}.")


def stdin(arguments: Sequence[str | None]) -> BinaryIO:
    """Standard input, for whatever reads ``-``.

    Args:
        arguments: everything that may be ``-``.

    Raises:
        UsageError: two of them read it, or it is a terminal.
    """
    readers = arguments.count("-")
    if readers > 1:
        raise UsageError("two things read standard input: - stands there twice", hint="Name a file for one of them.")
    if readers and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input, which is a terminal", hint="Pipe something in, or leave the - out.")
    if not readers:
        return io.BytesIO()
    # Not sys.stdin.buffer: Python cannot end while a thread that waits for a pipe holds that one's lock.
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # not ours to close


def prompt(option: str | None, standard_input: BinaryIO) -> str | None:
    """The prompt that ``-p`` gives, if it is given."""
    from .. import prompts

    return None if option is None else prompts.read(option, option="-p", stdin=standard_input)


def system(option: str | None, standard_input: BinaryIO) -> str | None:
    """The system prompt that ``-s`` gives, if it is given."""
    from .. import prompts

    return None if option is None else prompts.read(option, option="-s", stdin=standard_input)


def argument(text: str | None) -> str | None:
    """The prompt from the command line, if there is one."""
    from .. import prompts

    return None if text is None else prompts.checked(text, "the prompt")


def files_of(*texts: str | None) -> list[Path]:
    """The files that options such as ``-p @FILE`` read."""
    return [Path(text[1:]) for text in texts if text and re.match("@[^@]", text)]


def limits(settings: "Settings", frame: int, *, original: bool) -> "Limits":
    """How images are to be sent; ``--original`` wins over what a file says.

    Raises:
        UsageError: unshrunk, and shrunk all the same.
    """
    from ..payload import Limits
    from ..settings import Origin

    if original:
        if any(settings.origins[name].origin is Origin.OPTION for name in ("max_pixels", "max_side")):
            raise UsageError("--original excludes --max-pixels and --max-side", hint="Leave one of them out.")
        return Limits(None, None, settings.quality, frame)
    return Limits(settings.max_pixels, settings.max_side, settings.quality, frame)
