"""The prompt: from the command line, a file or standard input."""

from pathlib import Path
from typing import BinaryIO

from .errors import UsageError, printable

#: Asked when nobody said what to ask.
DEFAULT = "Describe this image."


def read(text: str, *, option: str, stdin: BinaryIO) -> str:
    """The text that an option such as ``-p`` names: ``@FILE`` a file, ``-`` standard input, ``@@x`` the text ``@x``.

    A line break at the end of a file or of standard input is not part of the prompt.

    Args:
        option: how the option is called, for messages.
        stdin: what ``-`` reads.

    Raises:
        UsageError: unreadable, not UTF-8, or empty.
    """
    if text == "-":
        found = _text(stdin.read(), f"standard input, for {option} -,")
    elif text.startswith("@@"):
        found = text[1:]
    elif text.startswith("@"):
        found = _text(_bytes(text[1:], option), text[1:])
    else:
        found = text
    return checked(found, option)


def checked(text: str, where: str) -> str:
    """The prompt itself, refused when there is nothing in it: an empty variable in a script, more often than not."""
    if not text.strip():
        raise UsageError(f"{where} is empty", hint="Say what you want to know, in quotes, or leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # how Python passes on an argument's bytes that are none
        raise UsageError(f"{where} is not UTF-8 text", hint="Check the terminal's encoding.") from error
    return text


def label(number: int, name: str) -> str:
    """The text part before one of several images: its number, and its name without the folder, which is private."""
    bare = name.split("?", maxsplit=1)[0].rstrip("/").replace("\\", "/").rpartition("/")[2]
    known = bare and bare != "-" and not name.startswith("data:")
    return f"Image {number}: {printable(bare)}" if known else f"Image {number}"


def _bytes(name: str, option: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"cannot read {name}, named by {option}: {reason}",
            hint=f"For a text that begins with @, double it: {option} '@@{name}'",
        ) from error


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8 text", hint="The prompt is text; images are named without -p."
        ) from error
