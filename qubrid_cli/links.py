"""Which links are fetched here: those that the user wants so, and those that the endpoint cannot reach."""

import enum
import re
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from . import urls
from .sources import Link, Remote, Source


class Reach(enum.IntEnum):
    """From where a host can be reached."""

    MACHINE = 0
    NETWORK = 1
    WORLD = 2


#: Written out, for ``ipaddress`` counts other ranges as private from one Python to the next. 0.0.0.0 and :: connect
#: to this machine (RFC 1122, 3.2.1.3); RFC 4291, 2.5.3.
_OF_THIS_MACHINE = tuple(map(ip_network, ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")))
#: Private (RFC 1918), shared by a provider's customers or a private net of Tailscale (RFC 6598), link-local (RFC 3927,
#: RFC 4291), unique-local (RFC 4193) and its forerunner, site-local.
_OF_THIS_NETWORK = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fe80::/10", "fc00::/7", "fec0::/10"),
    )
)  # fmt: skip
#: Names that the world's name servers do not know: mDNS (RFC 6762), ICANN's for private use, many routers', RFC 8375.
_PRIVATE_NAME = re.compile(r"(?:.*\.)?(?:local|internal|lan|home\.arpa)|[^.]*")


def reach(url: str) -> Reach:
    """From where the host of a URL can be reached, by its name or address alone: nothing is looked up."""
    host = (urls.split(url).hostname or "").rstrip(".")
    address = _address(host)
    if address is not None:
        ranges = {Reach.MACHINE: _OF_THIS_MACHINE, Reach.NETWORK: _OF_THIS_NETWORK}
        return next((near for near, nets in ranges.items() if any(address in net for net in nets)), Reach.WORLD)
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return Reach.MACHINE
    return Reach.NETWORK if _PRIVATE_NAME.fullmatch(host) else Reach.WORLD


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host.partition("%")[0])  # behind it, the interface of a link-local address
    except ValueError:
        return _classic(host)
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _classic(host: str) -> IPv4Address | None:
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


def resolved(
    images: Iterable[Source], *, fetch: bool | None, endpoint: str | None, download: Callable[[Link], bytes]
) -> list[Source]:
    """The images, with the links that are fetched here turned into sources that do so when they are read.

    Args:
        fetch: all links or none; ``None`` for those that are nearer to this machine than to the endpoint.
        endpoint: its URL; ``None`` for the built-in one, which takes any link and looks at none.
        download: all bytes behind a link.
    """

    def is_out_of_reach(link: Link) -> bool:
        return endpoint is not None and reach(link.url) < reach(endpoint)

    def settled(image: Source) -> Source:
        if not isinstance(image, Link) or not (is_out_of_reach(image) if fetch is None else fetch):
            return image
        note = f"{image.name}: fetched here, for the endpoint cannot reach it" if fetch is None else None
        return Remote(image.name, partial(download, image), note)

    return [settled(image) for image in images]


def secrets(images: Iterable[Source]) -> set[str]:
    """What an endpoint that echoes a link would betray: the user and password in it, up to the ``@``."""
    found = {urls.userinfo(image.url) for image in images if isinstance(image, Link)}
    return {f"{secret}@" for secret in found if secret}
