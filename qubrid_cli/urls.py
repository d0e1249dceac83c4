"""What a URL says by itself: its bytes, where it is a ``data:`` URL, and how it is shown without a password."""

import base64
import re
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit, urlunsplit

#: Characters of a ``data:`` URL's head that are shown.
_MAX_HEAD = 60


def split(url: str) -> SplitResult:
    """The parts of a URL.

    Raises:
        ValueError: it is none, as the end of a sentence (Python's own words for it may hold the password).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def without_password(url: str) -> str:
    """A URL on the web as it may be shown: with neither user nor password.

    Raises:
        ValueError: it is none, or names no host; as the end of a sentence.
    """
    parts = split(url)
    if not parts.hostname:
        raise ValueError("names no host")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def userinfo(url: str) -> str:
    """The user and password in a URL as they stand there, ``me:secret``; empty where there are none."""
    return split(url).netloc.rpartition("@")[0]


def shown(text: str) -> str:
    """What may be a URL, and perhaps a broken one, as it may be shown: nothing that could be a password, no long data."""
    if text[:5].lower() == "data:":
        return data_name(text)
    if "@" not in text or not re.match(r"[a-z][a-z0-9+.-]+:/", text, re.IGNORECASE):
        return text
    return f"{text.partition(':')[0]}://…@{text.rpartition('@')[2]}"


def data_name(url: str) -> str:
    """What a ``data:`` URL is called: its head."""
    head = url[len("data:") :].partition(",")[0]
    return f"data:{head[:_MAX_HEAD]},…"


def data(url: str) -> bytes:
    """The bytes in a ``data:`` URL.

    Raises:
        ValueError: it has no comma, or is no base64.

    Source: RFC 2397; blanks and a missing end of base64 as browsers take them (WHATWG Fetch, section 6).
    """
    head, comma, payload = url[len("data:") :].partition(",")
    if not comma:
        raise ValueError("no comma in it")
    raw = unquote_to_bytes(payload)
    if not re.search(r";\s*base64\Z", head, re.IGNORECASE):
        return raw
    packed = b"".join(raw.split())  # the command base64 breaks its lines; they mean nothing
    return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
