"""The API key: where it comes from, and what is refused before it can do harm.

It is never an option, for an option shows in ``ps`` and in the shell's history.
"""

import re
from collections.abc import Mapping

from .errors import AuthError

VARIABLE = "QUBRID_API_KEY"

_HOW_TO_GET_ONE = (
    "Make a key at https://platform.qubrid.com/api-keys and run: export QUBRID_API_KEY=YOUR_KEY; "
    "or add --offline to try it without."
)


def find(env: Mapping[str, str], *, required: bool) -> str | None:
    """The key of this environment, as it goes behind ``Bearer``; ``None`` where there is none and none is needed.

    People paste it with ``Bearer`` in front, in quotes or with blanks around it: all of that is taken off.

    Raises:
        AuthError: a key is required and missing, or it has characters that no header may hold.
    """
    key = re.sub(r"\A[\s\"']*(bearer(?![^\s\"']))?[\s\"']*|[\s\"']+\Z", "", env.get(VARIABLE, ""), flags=re.IGNORECASE)
    if not key:
        if required:
            raise AuthError("no API key: QUBRID_API_KEY is not set", hint=_HOW_TO_GET_ONE, code="no_key")
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise AuthError(
            "QUBRID_API_KEY holds a blank, a line break or a character outside ASCII",
            hint="Copy the key once more from https://platform.qubrid.com/api-keys.",
        )
    return key


def scrubbed(text: str, key: str | None) -> str:
    """Text of a server with the key, should it echo it, taken out."""
    return text.replace(key, "[key]") if key else text
