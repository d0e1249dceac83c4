"""Options that several commands have, each with one meaning everywhere."""

import enum
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from ..payload import Limits


class Color(enum.StrEnum):
    """When to use colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"

    @property
    def forced(self) -> bool | None:
        """``True`` or ``False`` where the user decided, else ``None``."""
        return {"always": True, "never": False}.get(self.value)


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # "nan" is within every range, and no JSON
        raise typer.BadParameter(f"{value} is not a number to count with.")
    return value


Prompt = Annotated[
    str | None,
    typer.Option("--prompt", "-p", metavar="TEXT", help="What to ask; @FILE reads a file, - standard input."),
]
System = Annotated[
    str | None,
    typer.Option("--system", "-s", metavar="TEXT", help="System prompt; @FILE reads a file, - standard input."),
]

Model = Annotated[str | None, typer.Option("--model", "-m", metavar="ID", help="Model to ask. [Qwen/Qwen3-VL-Plus]")]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="Endpoint to ask. [https://platform.qubrid.com/v1]")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Tokens to answer with at most. [16384]")
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", min=0, callback=_finite, metavar="X", help="Randomness. [0.1]")
]
TopP = Annotated[
    float | None, typer.Option("--top-p", min=0, max=1, callback=_finite, metavar="X", help="Nucleus sampling. [1]")
]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-O", metavar="KEY=JSON", help="Any other field of the request, such as seed=42; repeatable."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.001,
        max=1e6,
        callback=_finite,
        metavar="SECONDS",
        help="Give up after so long without a byte. [300]",
    ),
]
Retries = Annotated[
    int | None, typer.Option("--retries", min=0, metavar="N", help="Ask again when what went wrong may pass. [4]")
]
RetryMaxWait = Annotated[
    float | None,
    typer.Option(
        "--retry-max-wait", min=0, max=1e6, callback=_finite, metavar="SECONDS", help="Wait before that at most. [60]"
    ),
]
MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time", min=0.001, max=1e6, callback=_finite, metavar="SECONDS", help="Give up a request after so long."
    ),
]
AllowHttp = Annotated[
    bool, typer.Option("--allow-http", help="Send the key over plain http too, in a network you trust.")
]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Ask for the answer in one piece.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask the built-in endpoint: no key, no network, no model.")]

MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", min=1024, metavar="N", help="Shrink images to N pixels at most. [2621440]")
]
MaxSide = Annotated[
    int | None, typer.Option("--max-side", min=32, metavar="N", help="Shrink the longer side to N pixels at most.")
]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", min=1, max=95, metavar="N", help="JPEG quality. [85, and 90 for screenshots and pages of text]"
    ),
]
Frame = Annotated[
    int,
    typer.Option(
        "--frame", min=1, metavar="N", help="Frame of an animation, or page of a TIFF, to send. [1]", show_default=False
    ),
]
Original = Annotated[
    bool, typer.Option("--original", help="Send images unshrunk (upright, and without metadata all the same).")
]
Fetch = Annotated[
    bool | None,
    typer.Option(
        "--fetch/--no-fetch",
        help="Fetch links here and send the images; never do. [those that the endpoint cannot reach]",
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per request.")]
Field = Annotated[
    str | None, typer.Option("--field", metavar="PATH", help="Print one value of that object, such as images.0.sha256.")
]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answer to a file, replaced as a whole.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]
Stats = Annotated[
    bool | None,
    typer.Option("--stats/--no-stats", help="End with a line of statistics. [on a terminal]", show_default=False),
]
Thinking = Annotated[bool, typer.Option("--thinking", help="Show on stderr what the model thinks before it answers.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No spinner, notes or statistics; errors stay.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what goes over the wire.")]
ColorWhen = Annotated[Color, typer.Option("--color", help="When to use colour.", show_default=True)]

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


def argument(text: str | None) -> str:
    """The prompt from the command line, or the one that everybody has in mind."""
    from .. import prompts

    return prompts.DEFAULT if text is None else prompts.checked(text, "the prompt")


def files_of(*texts: str | None) -> list[Path]:
    """The files that options such as ``-p @FILE`` read."""
    return [Path(text[1:]) for text in texts if text and re.match("@[^@]", text)]


def limits(
    max_pixels: int | None, max_side: int | None, quality: int | None, frame: int, *, original: bool
) -> "Limits":
    """How images are to be sent.

    Raises:
        UsageError: unshrunk, and shrunk all the same.
    """
    from ..payload import Limits

    if original:
        if max_pixels is not None or max_side is not None:
            raise UsageError("--original excludes --max-pixels and --max-side", hint="Leave one of them out.")
        return Limits(None, None, quality, frame)
    return Limits(max_pixels or Limits().max_pixels, max_side, quality, frame)
