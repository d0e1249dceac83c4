"""What this installation and this terminal can do."""

import importlib.metadata
import locale
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping

from . import __version__, decoder
from .checks import Check, bounded, ok, warned
from .errors import KeyringError

_EXTRAS = {"HEIC": "pip install pi-heif"}
_LIBRARIES = ("httpx", "PIL", "rich", "typer")
#: What a library is called where it is installed from.
_PACKAGES = {"PIL": "Pillow"}


def inspect(env: Mapping[str, str], open_keyring: Callable[[], str | None], seconds: float) -> Iterator[Check]:
    """Look at the formats, the keyring, the terminal and the versions.

    Args:
        open_keyring: names the system's keyring; ``None`` where there is none, or the extra is not installed.
        seconds: that the keyring may take.
    """
    yield _formats(decoder.optional())
    yield _keyring(open_keyring, seconds)
    yield _terminal(env)
    yield ok("versions", ", ".join(_versions()))


def _formats(optional: Mapping[str, bool]) -> Check:
    missing = [name for name, is_there in optional.items() if not is_there]
    there = [name for name in optional if name not in missing]
    if not missing:
        return ok("formats", f"{', '.join(there)} beside those that are always there")
    hints = [_EXTRAS.get(name, "install a Pillow that has it") for name in missing]
    return warned("formats", f"cannot read {', '.join(missing)}", f"For {missing[0]}: {hints[0]}")


def _keyring(open_keyring: Callable[[], str | None], seconds: float) -> Check:
    try:
        name = bounded(open_keyring, seconds)
    except TimeoutError:
        error = KeyringError(f"the keyring did not answer within {seconds:g} s", hint="Unlock it.")
        return warned("keyring", error.message, error.hint)
    except KeyringError as error:
        return warned("keyring", error.message, "Keys are kept in a file that nobody else may read.")
    return ok("keyring", name or "none, so keys are kept in a file that nobody else may read")


def _terminal(env: Mapping[str, str]) -> Check:
    if sys.stdout is None or not sys.stdout.isatty():
        return ok("terminal", "none here: plain text, no colour")
    encoding = (sys.stdout.encoding or locale.getpreferredencoding(False)).upper()
    is_dumb = env.get("TERM", "") in {"dumb", "unknown"}
    colour = "no colour" if is_dumb or env.get("NO_COLOR") else "colour"
    said = f"{colour}, {encoding}, {shutil.get_terminal_size().columns} columns"
    if not encoding.startswith("UTF"):
        return warned("terminal", said, "Other characters show as question marks; set LC_ALL=C.UTF-8.")
    if is_dumb:
        return warned("terminal", f"{said}, and answers are not drawn while they come", "Set TERM to what it is.")
    return ok("terminal", said)


def _versions() -> Iterator[str]:
    yield f"qvision {__version__}"
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in _LIBRARIES:
        own = getattr(sys.modules.get(name), "__version__", None)
        package = _PACKAGES.get(name, name)
        yield f"{package} {own or importlib.metadata.version(package)}"
