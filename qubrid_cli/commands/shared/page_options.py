"""Pages on the command line: which ones, and the password of their document."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...errors import UsageError
from ...frozen import frozen
from ...text import quote_name

if TYPE_CHECKING:
    from ...images.documents.pages import PageChoice


@frozen
class PageOptions:
    """What the command line says about pages."""

    choice: "PageChoice | None"
    password: str | None


def read_options(pages: str | None, frame: int | None, password_file: str | None, stdin: BinaryIO) -> PageOptions:
    """The values of ``--pages``, ``--frame`` and ``--password-file``.

    Raises:
        UsageError: they exclude each other, are not valid, or the password cannot be read.
    """
    if pages is not None and frame is not None:
        raise UsageError("--pages and --frame exclude each other", hint="--frame N is the same as --pages N.")
    choice = None
    if (text := pages if frame is None else str(frame)) is not None:
        from ...images.documents.pages import parse_pages

        choice = parse_pages(text)
    return PageOptions(choice, None if password_file is None else _read_password(password_file, stdin))


def _read_password(name: str, stdin: BinaryIO) -> str:
    try:
        data = stdin.read() if name == "-" else Path(name).expanduser().read_bytes()
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(
            f"cannot read --password-file {quote_name(name)}: {reason}", hint="It contains only the password."
        ) from error
    if not password or "\n" in password:
        problem = "has more than one line" if password else "is empty"
        raise UsageError(f"--password-file {quote_name(name)} {problem}", hint="It contains only the password.")
    return password
