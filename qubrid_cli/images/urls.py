"""What a URL says by itself: its bytes, where it is a ``data:`` URL, and how it is shown without a password."""

import base64
import enum
import re
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit, urlunsplit

from ..frozen import frozen
from . import urls


class Reach(enum.IntEnum):
    """From where a host can be reached."""

    THIS_MACHINE = 0
    LOCAL_NETWORK = 1
    INTERNET = 2


#: Written out, for ``ipaddress`` counts other ranges as private from one Python to the next. 0.0.0.0 and :: connect
#: to this machine (RFC 1122, 3.2.1.3); RFC 4291, 2.5.3.
_THIS_MACHINE_NETWORKS = tuple(map(ip_network, ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")))

#: Private (RFC 1918), shared by a provider's customers or a private net of Tailscale (RFC 6598), link-local (RFC 3927,
#: RFC 4291), unique-local (RFC 4193) and its forerunner, site-local.
_LOCAL_NETWORKS = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fe80::/10", "fc00::/7", "fec0::/10"),
    )
)  # fmt: skip

#: Names that the world's name servers do not know: mDNS (RFC 6762), ICANN's for private use, many routers', RFC 8375.
_PRIVATE_NAME = re.compile(r"(?:.*\.)?(?:local|internal|lan|home\.arpa)|[^.]*")


def classify_reach(url: str) -> Reach:
    """From where the host of a URL can be reached, by its name or address alone: nothing is looked up."""
    host = (urls.split(url).hostname or "").rstrip(".")
    address = _parse_address(host)
    if address is not None:
        ranges = {Reach.THIS_MACHINE: _THIS_MACHINE_NETWORKS, Reach.LOCAL_NETWORK: _LOCAL_NETWORKS}
        return next((near for near, nets in ranges.items() if any(address in net for net in nets)), Reach.INTERNET)
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return Reach.THIS_MACHINE
    return Reach.LOCAL_NETWORK if _PRIVATE_NAME.fullmatch(host) else Reach.INTERNET


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host.partition("%")[0])  # behind it, the interface of a link-local address
    except ValueError:
        return _parse_legacy_ipv4(host)
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _parse_legacy_ipv4(host: str) -> IPv4Address | None:
    """An IPv4 address in a form that resolvers still accept (``inet_aton``): 127.1, 0x7f000001, 0177.0.0.1."""
    parts = host.split(".")
    if len(parts) > 4 or not all(
        re.fullmatch("0x[0-9a-f]{1,16}|0[0-7]{0,16}|[1-9][0-9]{0,16}", part) for part in parts
    ):
        return None
    *front, last = (int(part, 16 if part[:2] == "0x" else 8 if part[0] == "0" else 10) for part in parts)
    if any(number > 255 for number in front) or last >= 256 ** (4 - len(front)):
        return None
    return IPv4Address(sum(number << 8 * (3 - place) for place, number in enumerate(front)) + last)


#: Bytes of a file at once; three bytes become four letters, so that pieces join without padding.
_ENCODE_CHUNK_BYTES = 3 * 64 * 1024


@frozen
class DataUrl:
    """A file as a ``data:`` URL, in the one form that every server reads."""

    mime: str
    data: bytes

    def __len__(self) -> int:
        """Letters, all of them ASCII."""
        return len(self._prefix) + 4 * -(-len(self.data) // 3)

    def __str__(self) -> str:
        """All of it."""
        return b"".join(self.iter_chunks()).decode("ascii")

    @property
    def _prefix(self) -> bytes:
        return f"data:{self.mime};base64,".encode()

    def iter_chunks(self) -> Iterator[bytes]:
        """The URL, a piece at a time."""
        yield self._prefix
        whole = memoryview(self.data)
        for start in range(0, len(whole), _ENCODE_CHUNK_BYTES):
            yield b64encode(whole[start : start + _ENCODE_CHUNK_BYTES])


#: Characters of a ``data:`` URL's head that are shown.
_MAX_HEAD_LENGTH = 60

#: What may be a user and a password: all between a scheme (no drive such as C:), or two slashes, and the last @.
_AUTHORITY = re.compile(r"([a-z][a-z0-9+.-]+:/{0,2}|//).*@", re.IGNORECASE | re.DOTALL)
#: The same in a URL that stands in another one's path or query.
_INNER_AUTHORITY = re.compile(r"//[^/?#\s]*@")


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


def strip_credentials(url: str) -> str:
    """A URL on the web as it may be shown: with neither user nor password, also in URLs that its query holds.

    Raises:
        ValueError: it is none, or names no host; as the end of a sentence.
    """
    parts = split(url)
    if not parts.hostname:
        raise ValueError("names no host")
    rest = _INNER_AUTHORITY.sub("//…@", urlunsplit(parts._replace(scheme="", netloc="")))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{rest}"


def get_userinfo(url: str) -> str:
    """The user and password in a URL as they stand there, ``me:secret``; empty where there are none."""
    return split(url).netloc.rpartition("@")[0]


def redact(text: str) -> str:
    """What may be a URL, and perhaps a broken one, as it may be shown: nothing that could be a password, no long data."""
    return shorten_data_url(text) if text[:5].lower() == "data:" else _AUTHORITY.sub(r"\1…@", text)


def shorten_data_url(url: str) -> str:
    """What a ``data:`` URL is called: its head."""
    head = url[len("data:") :].partition(",")[0]
    return f"data:{head[:_MAX_HEAD_LENGTH]},…"


def decode_data_url(url: str) -> bytes:
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
