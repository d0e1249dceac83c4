"""The system's own keyring, where the extra ``keyring`` is installed and something answers. The home of keyring."""

from collections.abc import Iterator
from contextlib import contextmanager

import keyring
from keyring.errors import KeyringError as _KeyringError
from keyring.errors import PasswordDeleteError

from ..errors import KeyringError
from ..text import redact_secrets

_SERVICE = "qvision"
_HINT = "Unlock it; or log in once more, and the key goes into a file: qvision auth login"


def get(name: str) -> str | None:
    """What is kept under a name.

    Raises:
        KeyringError: the keyring does not answer, or is locked; so do the others.
    """
    with _translate_errors():
        return keyring.get_password(_SERVICE, name)


def get_backend_name() -> str | None:
    """What the system's keyring is called, without asking it for anything; ``None`` where there is none."""
    with _translate_errors():
        found = keyring.get_keyring()
        return found.name if found.priority > 0 else None


def put(name: str, secret: str) -> None:
    """Keep something; what a keyring accepts and forgets, as its null backend does, counts as refused."""
    with _translate_errors(secret):
        keyring.set_password(_SERVICE, name, secret)
        if keyring.get_password(_SERVICE, name) != secret:
            raise KeyringError("the keyring does not keep what it is given", hint=_HINT)


def remove(name: str) -> None:
    """Forget what is kept under a name, if anything is."""
    with _translate_errors():
        try:
            keyring.delete_password(_SERVICE, name)
        except PasswordDeleteError:
            if keyring.get_password(_SERVICE, name) is not None:
                raise


@contextmanager
def _translate_errors(*secrets: str) -> Iterator[None]:
    try:
        yield
    except KeyringError:
        raise
    except _KeyringError as error:
        said = redact_secrets(str(error), secrets).partition(". ")[0] or type(error).__name__
        raise KeyringError(f"the keyring does not answer: {said}", hint=_HINT) from error
    except Exception as error:  # backends are anybody's, and let anything through, with the key in it
        raise KeyringError(f"the keyring does not answer: {type(error).__name__}", hint=_HINT) from error
