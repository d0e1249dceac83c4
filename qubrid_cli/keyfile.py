"""The file ``keys.toml``: a key for each profile, for its owner's eyes alone, and the origin that it was meant for."""

import json
import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigError
from .frozen import frozen
from .replacement import locked, replace

_HEAD = "# Written by qvision auth login. Each key goes to its own origin and to no other.\n"


@frozen
class Stored:
    """A key that was stored, or that the keyring has.

    Attributes:
        origin: scheme, host and port of the endpoint that it was stored for.
        key: ``None`` where the keyring has it.
    """

    origin: str
    key: str | None


def read(path: Path) -> dict[str, Stored]:
    """What is stored, by profile; nothing where there is no file.

    Raises:
        ConfigError: others may read the file, or it is not what we wrote.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if sys.platform != "win32" and mode & 0o077:
                raise ConfigError(
                    f"{path} holds keys, and others may read it (mode {mode & 0o777:04o})",
                    hint=f"Run: chmod 600 {shlex.quote(str(path))}",
                    code="key_file_mode",
                )
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.") from error
    return _parsed(data, path)


def _parsed(data: bytes, path: Path) -> dict[str, Stored]:
    broken = ConfigError(  # with nothing of what stands there, for it may be a key
        f"{path} is not as qvision auth login writes it", hint="Remove it, and log in again: qvision auth login"
    )
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        raise broken from None
    found = {}
    for profile, table in tables.items():
        origin, key = (table.get("origin"), table.get("key")) if isinstance(table, dict) else (None, None)
        if not isinstance(origin, str) or not (key is None or isinstance(key, str)):
            raise broken
        found[profile] = Stored(origin, key)
    return found


def keep(path: Path, profile: str, stored: Stored | None) -> None:
    """Store a key, or with ``None`` forget it; those of other profiles stay, and so does a link.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(target):
            known = read(path)
            if stored is None:
                known.pop(profile, None)
            else:
                known[profile] = stored
            replace(target, _written(known), mode=0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="Check its folder's permissions.") from error


def _written(known: Mapping[str, Stored]) -> bytes:
    """The file; all that is in it is printable ASCII, which JSON and TOML quote in the same way."""
    lines = [_HEAD]
    for profile, stored in known.items():
        lines += [f"\n[{profile}]\n", f"origin = {json.dumps(stored.origin)}\n"]
        if stored.key is not None:
            lines.append(f"key = {json.dumps(stored.key)}\n")
    return "".join(lines).encode()
