"""The API key: where it comes from, where it may be sent, and where ``qvision auth`` stores it.

Sources are a variable, the file ``keys.toml``, and the system's keyring (with the extra ``keyring``). The file has a table
for each profile, with the origin that the key was stored for. There is no ``--key`` option, because ``ps`` and the shell's
history would show it.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import AuthError, ConfigError, KeyringError
from ..files import file_lock, write_atomic
from ..frozen import frozen
from ..operating_system import IS_WINDOWS, format_set_variable
from ..providers import find_provider
from ..text import quote_name, redact_secrets
from .checks import get_origin
from .config_file import get_config_folder
from .fields import DEFAULT_PROFILE, QUBRID_URL, Settings

_KEY_FILE_HEADER = "# Written by qvision auth login. Each key goes to its own origin and to no other.\n"
_KEYRING_SERVICE = "qvision"
_KEYRING_HINT = "Unlock it; or log in again, and the key goes into a file: qvision auth login"
#: What people paste with a key: the shell command that sets it, ``Bearer``, quotes, spaces.
_PASTED_PREFIX = re.compile(
    r"""[\s"']*((?:export\s+|set\s+|\$env:)?[A-Z][A-Z0-9_]*_(?:KEY|TOKEN)\s*=)?[\s"']*((?i:bearer)(?![^\s"']))?[\s"']*"""
)
_PASTED_SUFFIX = re.compile(r"[\s\"']+\Z")
#: Characters; keys are far shorter, and servers refuse longer headers.
_MAX_KEY_LENGTH = 4096


@frozen
class Key:
    """A key and its source.

    Attributes:
        text: as it is sent after ``Bearer``.
        location: such as ``QUBRID_API_KEY`` or the file's name.
        withheld_reason: why it is not sent to the current URL; ``None`` if it is.
    """

    text: str
    location: str
    withheld_reason: str | None = None


@frozen
class StoredKey:
    """An entry of the key file.

    Attributes:
        origin: scheme, host and port of the endpoint that the key was stored for.
        key: ``None`` if it is in the keyring.
    """

    origin: str
    key: str | None


class Keychain:
    """The system's keyring. Its methods raise ``KeyringError`` if it fails, is locked or is not installed."""

    @property
    def is_installed(self) -> bool:
        """Whether the extra ``keyring`` is installed."""
        try:
            import keyring  # noqa: F401  # only whether it can be loaded
        except ImportError:
            return False
        return True

    def get(self, name: str) -> str | None:
        """The secret that is stored under a name; ``None`` if there is none."""
        with _translate_errors():
            import keyring

            return keyring.get_password(_KEYRING_SERVICE, name)

    def put(self, name: str, secret: str) -> None:
        """Store a secret, and check that it was stored: the null backend accepts secrets and drops them."""
        with _translate_errors(secret):
            import keyring

            keyring.set_password(_KEYRING_SERVICE, name, secret)
            if keyring.get_password(_KEYRING_SERVICE, name) != secret:
                raise KeyringError("the keyring does not store keys", hint=_KEYRING_HINT)

    def remove(self, name: str) -> None:
        """Remove the secret that is stored under a name, if there is one."""
        with _translate_errors():
            import keyring
            from keyring.errors import PasswordDeleteError

            try:
                keyring.delete_password(_KEYRING_SERVICE, name)
            except PasswordDeleteError:
                if keyring.get_password(_KEYRING_SERVICE, name) is not None:
                    raise

    def get_backend_name(self) -> str | None:
        """The name of the backend, which is not contacted; ``None`` if there is none, or the extra is not installed."""
        if not self.is_installed:
            return None
        with _translate_errors():
            import keyring

            backend = keyring.get_keyring()
            return backend.name if backend.priority > 0 else None


@contextmanager
def _translate_errors(*secrets: str) -> Iterator[None]:
    try:
        yield
    except KeyringError:
        raise
    except Exception as error:  # third-party backends raise anything, even with the key in the message
        if isinstance(error, ModuleNotFoundError) and error.name == "keyring":
            message = "the key is in the keyring, which this qvision cannot open"
            raise KeyringError(message, hint="Run: pip install keyring") from error
        from keyring.errors import KeyringError as LibraryError

        text = redact_secrets(str(error), secrets).partition(". ")[0] if isinstance(error, LibraryError) else ""
        raise KeyringError(
            f"the keyring does not answer: {text or type(error).__name__}", hint=_KEYRING_HINT
        ) from error


def clean_pasted_key(pasted: str, location: str) -> str | None:
    """Remove what people paste with a key; ``None`` if nothing is left.

    Raises:
        AuthError: it is too long, or contains characters that are not allowed in a header.
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
            f"{location} contains a space, a line break or a character outside ASCII",
            hint=f"Copy the key again from {_find_keys_page(QUBRID_URL) if 'QUBRID' in location else 'where it was created'}.",
        )
    return key


def locate_key_file() -> Path:
    """The path of the key file, in the default folder: the folder of ``QVISION_CONFIG`` may be shared with others."""
    return get_config_folder() / "keys.toml"


def find_key(settings: Settings, env: Mapping[str, str], path: Path, keychain: Keychain) -> Key | None:
    """Find the key of the profile, in its variable or stored; ``None`` if there is none.

    Args:
        path: the key file.

    Raises:
        AuthError: it contains characters that are not allowed in a header.
        ConfigError: the stored key cannot be read.
    """
    if settings.has_authorization:
        return None
    variable = settings.key_env
    if variable and (text := clean_pasted_key(env.get(variable, ""), variable)):
        reason = f"{settings.base_url} is not the URL of profile {settings.profile}"
        return Key(text, variable, None if settings.is_base_url_trusted else reason)
    entries = read_key_file(path)
    # A profile without a URL of its own is Qubrid's under another name, and uses Qubrid's key unless it has its own.
    is_qubrids = settings.profile_base_url is None and settings.profile not in entries
    owner = DEFAULT_PROFILE if is_qubrids else settings.profile
    if (stored := entries.get(owner)) is None:
        return None
    is_same_origin = stored.origin == get_origin(settings.base_url)
    withheld_reason = None if is_same_origin else f"it was stored for {stored.origin}"
    if stored.key is not None:
        return Key(clean_pasted_key(stored.key, str(path)) or "", str(path), withheld_reason)
    return Key(_read_from_keyring(owner, stored.origin, keychain), "the keyring", withheld_reason)


def require_key(key: Key | None, settings: Settings) -> str | None:
    """The text of the key to send; ``None`` if no key may be sent to this endpoint, and none is needed.

    Raises:
        AuthError: a key is needed, but missing or withheld.
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
    page = _find_keys_page(settings.base_url)
    run = "Run: " if page is None else f"Create a key at {page} and run: "
    raise AuthError(
        f"no API key: {variable} is not set, and none is stored for profile {settings.profile}",
        hint=f"{run}{_format_login_command(settings.profile)}, or: {format_set_variable(str(variable), 'YOUR_KEY')}; "
        "or add --offline to try it without.",
        code="no_key",
    )


def _find_keys_page(url: str) -> str | None:
    """The page where users of an endpoint create keys; ``None`` if it is not known."""
    provider = find_provider(url)
    return None if provider is None else provider.keys_page


def store_key(settings: Settings, key: str, path: Path, keychain: Keychain) -> tuple[str, str | None]:
    """Store the key of the profile, for the origin of the current URL.

    Returns:
        Where it is stored; and why the keyring could not store it or remove the previous key, or ``None``.
    """
    profile, origin = settings.profile, get_origin(settings.base_url)
    previous = read_key_file(path).get(profile)
    is_in_keyring, problem = keychain.is_installed, None
    if is_in_keyring:
        try:
            keychain.put(_format_entry_name(profile, origin), key)
        except KeyringError as error:
            is_in_keyring, problem = False, error.message
    stored = StoredKey(origin, None if is_in_keyring else key)
    update_key_file(path, profile, stored)
    if previous is not None and previous.key is None and previous != stored:
        problem = _remove_from_keyring(_format_entry_name(profile, previous.origin), keychain) or problem
    return "the keyring" if is_in_keyring else str(path), problem


def _remove_from_keyring(name: str, keychain: Keychain) -> str | None:
    """Remove an entry that is no longer used; return the reason if that fails, else ``None``."""
    try:
        keychain.remove(name)
    except KeyringError as error:
        return f"the previous key is still in the keyring, under {name}: {error.message}"
    return None


def remove_key(profile: str, path: Path, keychain: Keychain) -> bool:
    """Remove the stored key of a profile; return whether there was one."""
    stored = read_key_file(path).get(profile)
    if stored is None:
        return False
    if stored.key is None:
        keychain.remove(_format_entry_name(profile, stored.origin))
    update_key_file(path, profile, None)
    return True


def _read_from_keyring(profile: str, origin: str, keychain: Keychain) -> str:
    text = keychain.get(_format_entry_name(profile, origin)) or ""
    key = clean_pasted_key(text, "the key in the keyring")
    if key is None:
        raise AuthError(
            f"the keyring has lost the key of profile {profile}", hint=f"Run: {_format_login_command(profile)}"
        )
    return key


def _format_entry_name(profile: str, origin: str) -> str:
    return f"{profile} at {origin}"


def _format_login_command(profile: str) -> str:
    return "qvision auth login" + ("" if profile == DEFAULT_PROFILE else f" --profile {profile}")


def read_key_file(path: Path) -> dict[str, StoredKey]:
    """Read the entries of the key file, by profile; empty if there is no file.

    Raises:
        ConfigError: other users can read the file, or it is damaged.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not IS_WINDOWS and mode & 0o077:
                raise ConfigError(
                    f"{quote_name(path)} holds keys, and other users can read it (mode {mode & 0o777:04o})",
                    hint=f"Run: chmod 600 {quote_name(path)}",
                    code="key_file_mode",
                )
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {quote_name(path)}: {error.strerror}", hint="Check its permissions.") from error
    return _parse_key_file(data, path)


def _parse_key_file(data: bytes, path: Path) -> dict[str, StoredKey]:
    import tomllib

    damaged = ConfigError(  # without any of the content, which may be a key
        f"{quote_name(path)} is not a valid key file", hint="Remove it, and log in again: qvision auth login"
    )
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        raise damaged from None
    entries = {}
    for profile, table in tables.items():
        origin, key = (table.get("origin"), table.get("key")) if isinstance(table, dict) else (None, None)
        if not isinstance(origin, str) or not isinstance(key, str | None):
            raise damaged
        entries[profile] = StoredKey(origin, key)
    return entries


def update_key_file(path: Path, profile: str, entry: StoredKey | None) -> None:
    """Store the entry of a profile, or remove it if it is ``None``. A symbolic link is kept.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(target):
            entries = read_key_file(path)
            if entry is None:
                entries.pop(profile, None)
            else:
                entries[profile] = entry
            write_atomic(target, _format_key_file(entries), mode=0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot write {quote_name(path)}: {error.strerror}", hint="Check its folder's permissions."
        ) from error


def _format_key_file(entries: Mapping[str, StoredKey]) -> bytes:
    """The content of the file, which is all printable ASCII: JSON and TOML quote that in the same way."""
    lines = [_KEY_FILE_HEADER]
    for profile, entry in entries.items():
        lines += [f"\n[{profile}]\n", f"origin = {json.dumps(entry.origin)}\n"]
        if entry.key is not None:
            lines.append(f"key = {json.dumps(entry.key)}\n")
    return "".join(lines).encode()
