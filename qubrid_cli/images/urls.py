"""URLs: the bytes in a ``data:`` URL, how near a host is, and how a URL is shown without its password.

Everything here is decided by the text of the URL alone; no name is looked up.
"""

import base64
import enum
import os
import re
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, parse_qsl, unquote_to_bytes, urlencode, urlsplit, urlunsplit

from ..frozen import frozen
from ..text import is_secret_parameter

#: Bytes that are encoded at once. Three bytes become four characters, so the pieces join without padding.
_ENCODE_CHUNK_BYTES = 3 * 64 * 1024

#: Characters of a ``data:`` URL's head that are shown.
_MAX_HEAD_LENGTH = 60

#: Where a user and a password may be: between a scheme (not a drive such as C:) or two slashes, and the last @.
_AUTHORITY = r"(?s)([a-zA-Z][a-zA-Z0-9+.-]+:/{0,2}|//).*@"
#: The same for a URL inside the path or query of another URL.
_INNER_AUTHORITY = r"//[^/?#\s]*@"


#: For a proxy that wants to know who uses it.
PROXY_LOGIN_HINT = (
    "Put the user and the password into HTTPS_PROXY, HTTP_PROXY or ALL_PROXY: http://USER:PASSWORD@HOST:PORT"
)


#: What follows the bucket is the name of an object, unescaped: it may have blanks, #, ? and %.
_OBJECT_URL = re.compile(r"(s3|gs|az)://", re.IGNORECASE)


def is_object_url(text: str) -> bool:
    """Whether a text is the URL of an object or a folder in a bucket: ``s3://``, ``gs://`` or ``az://``."""
    return text[2:5] == "://" and _OBJECT_URL.match(text) is not None


def is_object_folder(url: str) -> bool:
    """Whether the URL of an object can only be that of a folder or a whole bucket."""
    return (url.endswith("/") or url.count("/") == 2) and not url.endswith("://")


class Reach(enum.IntEnum):
    """From where a host can be reached."""

    THIS_MACHINE = 0
    LOCAL_NETWORK = 1
    INTERNET = 2


#: Written out because ``is_private`` of ``ipaddress`` covers different ranges in different Python versions.
_NETWORKS = {
    # Loopback, and 0.0.0.0 and ::, which connect to this machine (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
    Reach.THIS_MACHINE: tuple(map(ip_network, ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"))),
    # Private (RFC 1918), shared by a provider's customers or Tailscale (RFC 6598), link-local (RFC 3927, RFC 4291),
    # unique-local (RFC 4193) and its predecessor, site-local.
    Reach.LOCAL_NETWORK: tuple(map(ip_network, (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
        "fe80::/10", "fc00::/7", "fec0::/10",
    ))),
}  # fmt: skip

#: Names that public DNS does not resolve: mDNS (RFC 6762), ICANN's private-use name, those of many routers, RFC 8375.
_PRIVATE_NAME = r"(?:.*\.)?(?:local|internal|lan|home\.arpa)|[^.]*"
_NUMERIC_HOST = re.compile(r"[0-9a-fx.]+")


def classify_reach(url: str) -> Reach:
    """From where the host of a URL can be reached, judged by its name or address.

    Raises:
        ValueError: it is not a URL.
    """
    host = (split(url).hostname or "").removesuffix(".")
    if (address := _parse_address(host)) is not None:
        return next(
            (reach for reach, networks in _NETWORKS.items() if any(address in network for network in networks)),
            Reach.INTERNET,
        )
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return Reach.THIS_MACHINE
    return Reach.LOCAL_NETWORK if re.fullmatch(_PRIVATE_NAME, host) else Reach.INTERNET


def is_this_machine(url: str) -> bool:
    """Whether the host of a URL is this machine: then it is reached without a proxy, and a key may use plain http."""
    return classify_reach(url) is Reach.THIS_MACHINE


def find_proxy(url: str) -> str | None:
    """The proxy through which a request to a URL goes, as host and port; ``None`` if it goes through none."""
    proxy = find_proxy_url(url)
    return None if proxy is None else proxy.rpartition("@")[2].rpartition("//")[2].partition("/")[0]


def find_proxy_url(url: str) -> str | None:
    """The URL of that proxy, with its password if it has one; the environment or the system sets it."""
    if sys.platform not in {"darwin", "win32"} and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # takes 13 ms to load

    parts = split(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_this_machine(url) or proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def uses_proxy(url: str) -> bool:
    """Whether a request to a URL goes through a proxy."""
    return find_proxy(url) is not None


def strip_root_dot(url: str) -> str:
    """Remove the dot after a host that is this machine: most resolvers do not know ``localhost.``, and may ask DNS."""
    parts = split(url)
    if not is_this_machine(url):
        return url
    return urlunsplit(parts._replace(netloc=re.sub(r"\.(?=(:\d*)?\Z)", "", parts.netloc)))


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, also in the forms that only resolvers accept: 127.1, 0x7f000001, 0177.0.0.1."""
    try:
        address = ip_address(host)
    except ValueError:
        if not _NUMERIC_HOST.fullmatch(host):  # inet_aton ignores anything after a blank
            return None
        from socket import inet_aton  # takes 3 ms to load

        try:
            return IPv4Address(inet_aton(host))
        except OSError:
            return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@frozen
class DataUrl:
    """A file as a base64 ``data:`` URL, the form that every server reads."""

    mime: str
    data: bytes

    def __len__(self) -> int:
        """Characters; all are ASCII."""
        return len(self._prefix) + 4 * -(-len(self.data) // 3)

    def __str__(self) -> str:
        """The whole URL."""
        return b"".join(self.iter_chunks()).decode("ascii")

    @property
    def _prefix(self) -> bytes:
        return f"data:{self.mime};base64,".encode()

    def iter_chunks(self) -> Iterator[bytes]:
        """The URL, in pieces."""
        yield self._prefix
        data = memoryview(self.data)
        for start in range(0, len(data), _ENCODE_CHUNK_BYTES):
            yield base64.b64encode(data[start : start + _ENCODE_CHUNK_BYTES])


def decode_data_url(url: str) -> bytes:
    """The bytes in a ``data:`` URL.

    Raises:
        ValueError: it has no comma, or its base64 is invalid.

    Source: RFC 2397; blanks and missing padding are accepted as browsers do (WHATWG Fetch, section 6).
    """
    head, comma, payload = url[len("data:") :].partition(",")
    if not comma:
        raise ValueError("no comma in it")
    data = unquote_to_bytes(payload)
    if not re.search(r";\s*base64\Z", head, re.IGNORECASE):
        return data
    encoded = b"".join(data.split())  # the command base64 inserts line breaks
    return base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)


def split(url: str) -> SplitResult:
    """The parts of a URL.

    Raises:
        ValueError: it is not a URL; the message is the end of a sentence, without Python's own, which may quote the password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if the port is not a number
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def strip_credentials(url: str) -> str:
    """A web URL without user and password, also in the URLs inside its path and query.

    Raises:
        ValueError: it is not a URL or has no host; the message is the end of a sentence.
    """
    parts = split(url)
    if not parts.hostname:
        raise ValueError("has no host")
    rest = re.sub(_INNER_AUTHORITY, "//…@", urlunsplit(parts._replace(scheme="", netloc="")))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{rest}"


def get_userinfo(url: str) -> str:
    """The user and password in a URL as written there, ``me:secret``; empty if there are none."""
    return split(url).netloc.rpartition("@")[0]


def redact(text: str) -> str:
    """Text that may be a URL, even a broken one, without anything that could be a password and without long data."""
    if text[:5].lower() == "data:":
        return shorten_data_url(text)
    return re.sub(_AUTHORITY, r"\1…@", text) if "@" in text else text


def add_query(url: str, query: Mapping[str, str]) -> str:
    """A URL without a query, with the parameters added."""
    return f"{url}?{urlencode(query)}" if query else url


def mask_query(url: str) -> str:
    """A URL without the values of the parameters that are probably secret; a URL without such parameters is unchanged."""
    base, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(is_secret_parameter(name) for name, _ in pairs):
        return url
    return (
        f"{base}?{'&'.join(f'{name}=…' if is_secret_parameter(name) else f'{name}={value}' for name, value in pairs)}"
    )


def shorten_data_url(url: str) -> str:
    """The head of a ``data:`` URL, which serves as its name."""
    head = url[len("data:") :].partition(",")[0]
    return f"data:{head[:_MAX_HEAD_LENGTH]},…"
