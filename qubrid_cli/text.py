"""How a secret is kept out of what people see. Pure."""

import re
from collections.abc import Iterable

#: What acts on a terminal instead of showing: C0, DEL, C1, the bidirectional overrides, and halves of surrogate
#: pairs (how Python spells a file name that is not UTF-8).
_UNPRINTABLE_PATTERN = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def escape_control_characters(text: str) -> str:
    r"""Text from a file name, a server or an argument as one harmless line: control characters become ``\x1b``."""
    return text if text.isprintable() else re.sub(_UNPRINTABLE_PATTERN, lambda match: ascii(match[0])[1:-1], text)


_CONTROL_CHARACTERS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def strip_control_characters(text: str) -> str:
    """Text of several lines without its control characters, so without any escape sequence; line breaks and tabs stay."""
    return text.translate(_CONTROL_CHARACTERS)


_NUMBER_PATTERN = re.compile("0*([0-9]+)")


def natural_key(name: str) -> str:
    """A sort key that puts ``2.jpg`` before ``10.jpg``: each number in the name is preceded by its length."""
    return _NUMBER_PATTERN.sub(lambda match: f"\0{chr(1 + len(match[1]))}{match[1]}", name)


def format_size(size: int) -> str:
    """Bytes in powers of ten: ``214 KB``, ``4.1 MB``."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 999_500 else f"{size / 1e6:.1f} MB"


#: A key as short as this would be half told by its end.
_MIN_KEY_LENGTH = 12
_SECRET_HEADER_PATTERN = re.compile("auth|cookie|credential|key|passw|secret|session|signature|token", re.IGNORECASE)


def is_secret_header(header: str) -> bool:
    """Whether what a header of this name holds is nobody else's business."""
    return _SECRET_HEADER_PATTERN.search(header) is not None


def redact_secrets(text: str, secrets: Iterable[str]) -> str:
    """Text of a server with each secret, should it echo it, taken out; the longest first, for one may hold another."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return text


def mask_key(key: str) -> str:
    """What tells the owner which key it is, and nobody else anything: its last four characters, if it is long enough."""
    return f"…{key[-4:]}" if len(key) >= _MIN_KEY_LENGTH else "…"
