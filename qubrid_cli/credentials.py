"""The API key: where it comes from, where it may go, and what is refused before it can do harm.

It is never an option, for an option shows in ``ps`` and in the shell's history.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from . import keyfile
from .errors import AuthError, KeyringError
from .fields import origin
from .frozen import frozen
from .profiles import DEFAULT
from .settings import Settings

_PAGE = "https://platform.qubrid.com/api-keys"
#: What people paste around a key: a line of a shell that sets it, ``Bearer``, quotes, blanks.
_BEFORE = re.compile(
    r"""[\s"']*((?:export\s+|set\s+|\$env:)?[A-Z][A-Z0-9_]*_(?:KEY|TOKEN)\s*=)?[\s"']*((?i:bearer)(?![^\s"']))?[\s"']*"""
)
_BEHIND = re.compile(r"[\s\"']+\Z")
#: Characters; servers take no longer header, and no key comes near it.
_LONGEST = 4096


class Keychain(Protocol):
    """What the module ``keychain`` has; it is loaded when a key is kept there, and not before."""

    def get(self, name: str, /) -> str | None:
        """What is kept under a name."""

    def put(self, name: str, secret: str, /) -> None:
        """Keep something."""

    def remove(self, name: str, /) -> None:
        """Forget it."""


#: Opens the keyring; ``None`` where the extra is not installed.
Opening = Callable[[], Keychain | None]


@frozen
class Key:
    """A key, and where it was found.

    Attributes:
        text: as it goes behind ``Bearer``.
        where: such as ``QUBRID_API_KEY`` or the file's name.
        barred: why it does not go to the address that is set; ``None`` where it does.
    """

    text: str
    where: str
    barred: str | None = None


def cleaned(pasted: str, where: str) -> str | None:
    """A key without what people paste around it; ``None`` where nothing is left.

    Raises:
        AuthError: it is too long, or has characters that no header may hold.
    """
    key = _BEHIND.sub("", _BEFORE.sub("", pasted, count=1))
    if not key:
        return None
    if len(key) > _LONGEST:
        raise AuthError(f"{where} is longer than {_LONGEST:,} characters", hint="Is it the key, and nothing else?")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise AuthError(
            f"{where} holds a blank, a line break or a character outside ASCII",
            hint=f"Copy the key once more from {_PAGE if 'QUBRID' in where else 'where it was made'}.",
        )
    return key


def find(settings: Settings, env: Mapping[str, str], path: Path, open_keychain: Opening) -> Key | None:
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
    if variable and (key := cleaned(env.get(variable, ""), variable)):
        barred = (
            None if settings.is_trusted else f"{settings.base_url} is not the address of profile {settings.profile}"
        )
        return Key(key, variable, barred)
    all_stored = keyfile.read(path)
    # A profile with no address of its own is Qubrid's under another name, and has Qubrid's key where it has none itself.
    owner = DEFAULT if settings.home is None and settings.profile not in all_stored else settings.profile
    stored = all_stored.get(owner)
    if stored is None:
        return None
    barred = None if stored.origin == origin(settings.base_url) else f"it was stored for {stored.origin}"
    if stored.key is not None:
        return Key(cleaned(stored.key, str(path)) or "", str(path), barred)
    return Key(_kept(owner, stored.origin, open_keychain), "the keyring", barred)


def required(key: Key | None, settings: Settings) -> str | None:
    """The key as it is sent; ``None`` where there is none that may be, and none is needed.

    Raises:
        AuthError: a key is needed and missing.
    """
    if key is not None and key.barred is None:
        return key.text
    if not settings.needs_key or settings.offline:
        return None
    if key is not None:
        raise AuthError(
            f"the key from {key.where} is not sent: {key.barred}",
            hint=f"Run: {_login(settings.profile)}",
            code="no_key",
        )
    variable = settings.key_env
    at_qubrid = f"Make a key at {_PAGE} and run: " if settings.home is None else "Run: "
    raise AuthError(
        f"no API key: {variable} is not set, and none is stored for profile {settings.profile}",
        hint=f"{at_qubrid}{_login(settings.profile)}, or: export {variable}=YOUR_KEY; "
        "or add --offline to try it without.",
        code="no_key",
    )


def keep(settings: Settings, key: str, path: Path, open_keychain: Opening) -> tuple[str, str | None]:
    """Store the key of the chosen profile, for the origin of the address that is set.

    Returns:
        Where it is now, and why it is not in the keyring where there is one, or why the one before it is there still.
    """
    profile, there = settings.profile, origin(settings.base_url)
    before = keyfile.read(path).get(profile)
    keychain, why_not = open_keychain(), None
    if keychain is not None:
        try:
            keychain.put(_name(profile, there), key)
        except KeyringError as error:
            keychain, why_not = None, error.message
    new = keyfile.Stored(there, None if keychain else key)
    keyfile.keep(path, profile, new)
    if before is not None and before.key is None and before != new:
        why_not = _removed(_name(profile, before.origin), open_keychain) or why_not
    return "the keyring" if keychain else str(path), why_not


def _removed(name: str, open_keychain: Opening) -> str | None:
    """Forget what the keyring has under a name that nothing leads to any more; why it cannot be, else ``None``."""
    try:
        _opened(open_keychain).remove(name)
    except KeyringError as error:
        return f"the key before it is still in the keyring, under {name}: {error.message}"
    return None


def forget(profile: str, path: Path, open_keychain: Opening) -> bool:
    """Remove the stored key of a profile; whether there was one."""
    stored = keyfile.read(path).get(profile)
    if stored is None:
        return False
    if stored.key is None:
        _opened(open_keychain).remove(_name(profile, stored.origin))
    keyfile.keep(path, profile, None)
    return True


def _kept(profile: str, there: str, open_keychain: Opening) -> str:
    key = cleaned(_opened(open_keychain).get(_name(profile, there)) or "", "the key in the keyring")
    if key is None:
        raise AuthError(f"the keyring has lost the key of profile {profile}", hint=f"Run: {_login(profile)}")
    return key


def _opened(open_keychain: Opening) -> Keychain:
    keychain = open_keychain()
    if keychain is None:
        raise KeyringError("the key is in the keyring, which this qvision cannot open", hint="Run: pip install keyring")
    return keychain


def _name(profile: str, there: str) -> str:
    return f"{profile} at {there}"


def _login(profile: str) -> str:
    return "qvision auth login" + ("" if profile == DEFAULT else f" --profile {profile}")
