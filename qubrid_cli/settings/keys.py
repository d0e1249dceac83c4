"""The API key: where it comes from, where it may go, and what is refused before it can do harm.

It is never an option, for an option shows in ``ps`` and in the shell's history.
"""

# MERGED DOCSTRING of qubrid_cli.keyfile: The file ``keys.toml``: a key for each profile, for its owner's eyes alone, and the origin that it was meant for.

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ..errors import AuthError, ConfigError, KeyringError
from ..files import file_lock, write_atomic
from ..frozen import frozen
from .fields import DEFAULT_PROFILE, get_origin
from .resolve import Settings

_KEY_FILE_HEADER = "# Written by qvision auth login. Each key goes to its own origin and to no other.\n"


@frozen
class StoredKey:
    """A key that was stored, or that the keyring has.

    Attributes:
        origin: scheme, host and port of the endpoint that it was stored for.
        key: ``None`` where the keyring has it.
    """

    origin: str
    key: str | None


def read_key_file(path: Path) -> dict[str, StoredKey]:
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
    return _parse_key_file(data, path)


def _parse_key_file(data: bytes, path: Path) -> dict[str, StoredKey]:
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
        found[profile] = StoredKey(origin, key)
    return found


def update_key_file(path: Path, profile: str, key: StoredKey | None) -> None:
    """Store a key, or with ``None`` forget it; those of other profiles stay, and so does a link.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(target):
            known = read_key_file(path)
            if key is None:
                known.pop(profile, None)
            else:
                known[profile] = key
            write_atomic(target, _format_key_file(known), mode=0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="Check its folder's permissions.") from error


def _format_key_file(keys: Mapping[str, StoredKey]) -> bytes:
    """The file; all that is in it is printable ASCII, which JSON and TOML quote in the same way."""
    lines = [_KEY_FILE_HEADER]
    for profile, stored in keys.items():
        lines += [f"\n[{profile}]\n", f"origin = {json.dumps(stored.origin)}\n"]
        if stored.key is not None:
            lines.append(f"key = {json.dumps(stored.key)}\n")
    return "".join(lines).encode()


_KEY_PAGE_URL = "https://platform.qubrid.com/api-keys"
#: What people paste around a key: a line of a shell that sets it, ``Bearer``, quotes, blanks.
_PASTED_PREFIX = re.compile(
    r"""[\s"']*((?:export\s+|set\s+|\$env:)?[A-Z][A-Z0-9_]*_(?:KEY|TOKEN)\s*=)?[\s"']*((?i:bearer)(?![^\s"']))?[\s"']*"""
)
_PASTED_SUFFIX = re.compile(r"[\s\"']+\Z")
#: Characters; servers take no longer header, and no key comes near it.
_MAX_KEY_LENGTH = 4096


class Keychain(Protocol):
    """What the module ``keychain`` has; it is loaded when a key is kept there, and not before."""

    def get(self, name: str, /) -> str | None:
        """What is kept under a name."""

    def put(self, name: str, secret: str, /) -> None:
        """Keep something."""

    def remove(self, name: str, /) -> None:
        """Forget it."""


#: Opens the keyring; ``None`` where the extra is not installed.
KeychainOpener = Callable[[], Keychain | None]


@frozen
class Key:
    """A key, and where it was found.

    Attributes:
        text: as it goes behind ``Bearer``.
        location: such as ``QUBRID_API_KEY`` or the file's name.
        withheld_reason: why it does not go to the address that is set; ``None`` where it does.
    """

    text: str
    location: str
    withheld_reason: str | None = None


def clean_pasted_key(pasted: str, location: str) -> str | None:
    """A key without what people paste around it; ``None`` where nothing is left.

    Raises:
        AuthError: it is too long, or has characters that no header may hold.
    """
    key = _PASTED_SUFFIX.sub("", _PASTED_PREFIX.sub("", pasted, count=1))
    if not key:
        return None
    if len(key) > _MAX_KEY_LENGTH:
        raise AuthError(
            f"{location} is longer than {_MAX_KEY_LENGTH:,} characters", hint="Is it the key, and nothing else?"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise AuthError(
            f"{location} holds a blank, a line break or a character outside ASCII",
            hint=f"Copy the key once more from {_KEY_PAGE_URL if 'QUBRID' in location else 'where it was made'}.",
        )
    return key


def find_key(settings: Settings, env: Mapping[str, str], path: Path, open_keychain: KeychainOpener) -> Key | None:
    """The key of the chosen profile: the environment's, else the stored one; ``None`` where there is none.

    Args:
        path: of the file with stored keys.

    Raises:
        AuthError: it has characters that no header may hold.
        ConfigError: the stored one cannot be read.
    """
    if settings.has_authorization:
        return None
    variable = settings.key_env
    if variable and (key := clean_pasted_key(env.get(variable, ""), variable)):
        barred = (
            None
            if settings.is_base_url_trusted
            else f"{settings.base_url} is not the address of profile {settings.profile}"
        )
        return Key(key, variable, barred)
    all_stored = read_key_file(path)
    # A profile with no address of its own is Qubrid's under another name, and has Qubrid's key where it has none itself.
    owner = (
        DEFAULT_PROFILE
        if settings.profile_base_url is None and settings.profile not in all_stored
        else settings.profile
    )
    stored = all_stored.get(owner)
    if stored is None:
        return None
    barred = None if stored.origin == get_origin(settings.base_url) else f"it was stored for {stored.origin}"
    if stored.key is not None:
        return Key(clean_pasted_key(stored.key, str(path)) or "", str(path), barred)
    return Key(_read_from_keyring(owner, stored.origin, open_keychain), "the keyring", barred)


def require_key(key: Key | None, settings: Settings) -> str | None:
    """The key as it is sent; ``None`` where there is none that may be, and none is needed.

    Raises:
        AuthError: a key is needed and missing.
    """
    if key is not None and key.withheld_reason is None:
        return key.text
    if not settings.needs_key or settings.offline:
        return None
    if key is not None:
        raise AuthError(
            f"the key from {key.location} is not sent: {key.withheld_reason}",
            hint=f"Run: {_format_login_command(settings.profile)}",
            code="no_key",
        )
    variable = settings.key_env
    at_qubrid = f"Make a key at {_KEY_PAGE_URL} and run: " if settings.profile_base_url is None else "Run: "
    raise AuthError(
        f"no API key: {variable} is not set, and none is stored for profile {settings.profile}",
        hint=f"{at_qubrid}{_format_login_command(settings.profile)}, or: export {variable}=YOUR_KEY; "
        "or add --offline to try it without.",
        code="no_key",
    )


def store_key(settings: Settings, key: str, path: Path, open_keychain: KeychainOpener) -> tuple[str, str | None]:
    """Store the key of the chosen profile, for the origin of the address that is set.

    Returns:
        Where it is now, and why it is not in the keyring where there is one, or why the one before it is there still.
    """
    profile, there = settings.profile, get_origin(settings.base_url)
    before = read_key_file(path).get(profile)
    keychain, why_not = open_keychain(), None
    if keychain is not None:
        try:
            keychain.put(_format_entry_name(profile, there), key)
        except KeyringError as error:
            keychain, why_not = None, error.message
    new = StoredKey(there, None if keychain else key)
    update_key_file(path, profile, new)
    if before is not None and before.key is None and before != new:
        why_not = _remove_from_keyring(_format_entry_name(profile, before.origin), open_keychain) or why_not
    return "the keyring" if keychain else str(path), why_not


def _remove_from_keyring(name: str, open_keychain: KeychainOpener) -> str | None:
    """Forget what the keyring has under a name that nothing leads to any more; why it cannot be, else ``None``."""
    try:
        _require_keychain(open_keychain).remove(name)
    except KeyringError as error:
        return f"the key before it is still in the keyring, under {name}: {error.message}"
    return None


def remove_key(profile: str, path: Path, open_keychain: KeychainOpener) -> bool:
    """Remove the stored key of a profile; whether there was one."""
    stored = read_key_file(path).get(profile)
    if stored is None:
        return False
    if stored.key is None:
        _require_keychain(open_keychain).remove(_format_entry_name(profile, stored.origin))
    update_key_file(path, profile, None)
    return True


def _read_from_keyring(profile: str, origin: str, open_keychain: KeychainOpener) -> str:
    key = clean_pasted_key(
        _require_keychain(open_keychain).get(_format_entry_name(profile, origin)) or "", "the key in the keyring"
    )
    if key is None:
        raise AuthError(
            f"the keyring has lost the key of profile {profile}", hint=f"Run: {_format_login_command(profile)}"
        )
    return key


def _require_keychain(open_keychain: KeychainOpener) -> Keychain:
    keychain = open_keychain()
    if keychain is None:
        raise KeyringError("the key is in the keyring, which this qvision cannot open", hint="Run: pip install keyring")
    return keychain


def _format_entry_name(profile: str, origin: str) -> str:
    return f"{profile} at {origin}"


def _format_login_command(profile: str) -> str:
    return "qvision auth login" + ("" if profile == DEFAULT_PROFILE else f" --profile {profile}")
