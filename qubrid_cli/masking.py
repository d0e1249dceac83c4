"""How a secret is kept out of what people see. Pure."""

import re
from collections.abc import Iterable

#: A key as short as this would be half told by its end.
_SHORT = 12
_SECRET = re.compile("auth|cookie|credential|key|passw|secret|session|signature|token", re.IGNORECASE)


def is_secret(header: str) -> bool:
    """Whether what a header of this name holds is nobody else's business."""
    return _SECRET.search(header) is not None


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Text of a server with each secret, should it echo it, taken out; the longest first, for one may hold another."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return text


def hinted(key: str) -> str:
    """What tells the owner which key it is, and nobody else anything: its last four characters, if it is long enough."""
    return f"…{key[-4:]}" if len(key) >= _SHORT else "…"
