"""URLs: the bytes in ``data:`` URLs, from where a host can be reached, proxies, and how passwords are hidden.

No host name is looked up: everything depends on the text of the URL, and for proxies on the environment.
"""

import base64
import enum
import os
import re
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, parse_qsl, unquote_to_bytes, urlencode, urlsplit, urlunsplit

from .frozen import frozen
from .text import is_secret_parameter

#: Bytes that are encoded at once: a multiple of three, so that only the last piece is padded.
_ENCODE_CHUNK_BYTES = 3 * 64 * 1024

#: Characters of a ``data:`` URL's head that are shown.
_MAX_HEAD_LENGTH = 60

#: A user and a password are between a scheme (not a drive such as C:) or two slashes, and the last @.
_AUTHORITY = r"(?s)([a-zA-Z][a-zA-Z0-9+.-]+:/{0,2}|//).*@"
#: The same for a URL inside the path or query of another URL.
_INNER_AUTHORITY = r"//[^/?#\s]*@"

#: The hint for a proxy that requires a login.
PROXY_LOGIN_HINT = (
    "Put the user and the password into HTTPS_PROXY, HTTP_PROXY or ALL_PROXY: http://USER:PASSWORD@HOST:PORT"
)

#: The name of the bucket and of the object follow. They are not percent-encoded, and may contain spaces, #, ? and %.
_OBJECT_URL = re.compile(r"(s3|gs|az)://", re.IGNORECASE)


def is_object_url(text: str) -> bool:
    """Whether a text is the URL of an object or a folder in a bucket: ``s3://``, ``gs://`` or ``az://``."""
    return text[2:5] == "://" and _OBJECT_URL.match(text) is not None


def is_object_folder(url: str) -> bool:
    """Whether an object URL names a folder or a whole bucket."""
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
    """From where the host of a URL can be reached, by its name or address.

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
    """Whether the host of a URL is this machine: no proxy is used then, and a key may be sent over plain http."""
    return classify_reach(url) is Reach.THIS_MACHINE


def find_proxy(url: str) -> str | None:
    """The host and port of the proxy for requests to a URL; ``None`` if they go directly."""
    proxy = find_proxy_url(url)
    return None if proxy is None else proxy.rpartition("@")[2].rpartition("//")[2].partition("/")[0]


def find_proxy_url(url: str) -> str | None:
    """The URL of the proxy for requests to a URL, with its password, from the environment or the system; else ``None``."""
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
    """Whether requests to a URL go through a proxy."""
    return find_proxy(url) is not None


def strip_root_dot(url: str) -> str:
    """Remove the dot after the name of this machine: most resolvers look up ``localhost.`` in DNS, which may fail."""
    parts = split(url)
    if not is_this_machine(url):
        return url
    return urlunsplit(parts._replace(netloc=re.sub(r"\.(?=(:\d*)?\Z)", "", parts.netloc)))


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, also in the forms that only resolvers accept: 127.1, 0x7f000001, 0177.0.0.1."""
    try:
        address = ip_address(host)
    except ValueError:
        if not _NUMERIC_HOST.fullmatch(host):  # inet_aton ignores anything after a space
            return None
        from socket import inet_aton  # takes 3 ms to load

        try:
            return IPv4Address(inet_aton(host))
        except OSError:
            return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@frozen
class DataUrl:
    """A file as a base64 ``data:`` URL, the form that every server accepts."""

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

    Source: RFC 2397; whitespace and missing padding are accepted, as in browsers (WHATWG Fetch, section 6).
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
        ValueError: it is not a URL. The message is the end of a sentence; Python's own could contain the password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if the port is not a number
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def strip_credentials(url: str) -> str:
    """Remove user and password from a web URL, also from the URLs inside its path and query.

    Raises:
        ValueError: it is not a URL or has no host; the message is the end of a sentence.
    """
    parts = split(url)
    if not parts.hostname:
        raise ValueError("has no host")
    path_and_query = re.sub(_INNER_AUTHORITY, "//…@", urlunsplit(parts._replace(scheme="", netloc="")))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path_and_query}"


def get_userinfo(url: str) -> str:
    """The user and password in a URL, such as ``me:secret``, not decoded; empty if it has none."""
    return split(url).netloc.rpartition("@")[0]


def redact(text: str) -> str:
    """Hide what could be a password, and shorten data, in text that may be a URL, even a broken one."""
    if text[:5].lower() == "data:":
        return shorten_data_url(text)
    return re.sub(_AUTHORITY, r"\1…@", text) if "@" in text else text


def add_query(url: str, query: Mapping[str, str]) -> str:
    """Add a query to a URL that has none."""
    return f"{url}?{urlencode(query)}" if query else url


def mask_query(url: str) -> str:
    """Hide the values of the parameters that are probably secret; other URLs are unchanged."""
    base, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(is_secret_parameter(name) for name, _ in pairs):
        return url
    return (
        f"{base}?{'&'.join(f'{name}=…' if is_secret_parameter(name) else f'{name}={value}' for name, value in pairs)}"
    )


def shorten_data_url(url: str) -> str:
    """The head of a ``data:`` URL, which is used as its name."""
    head = url[len("data:") :].partition(",")[0]
    return f"data:{head[:_MAX_HEAD_LENGTH]},…"
