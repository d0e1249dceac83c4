"""The httpx client for an endpoint: its headers, its proxies, its certificates."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address

import httpx

from . import __version__
from .errors import ConfigError


def certificates(url: httpx.URL, transport: httpx.BaseTransport | None) -> ssl.SSLContext | None:
    """The certificates that are trusted, read from their file in 30 ms; ``None`` where there is nothing to verify."""
    is_plain = transport is not None or (is_loopback(url.host) and url.scheme == "http")
    return None if is_plain else httpx.create_ssl_context()


def opened(
    url: httpx.URL,
    key: str | None,
    headers: Mapping[str, str],
    transport: httpx.BaseTransport | None,
    trusted: ssl.SSLContext | None,
) -> httpx.Client:
    """A client for one endpoint, not connected yet.

    Args:
        trusted: see ``certificates``.
    """
    is_here = is_loopback(url.host)
    return httpx.Client(
        headers=_headers(key, headers),
        # What is meant for this machine goes through no proxy; SSL_CERT_FILE counts for the transport all the same.
        transport=transport or (httpx.HTTPTransport(verify=trusted or False) if is_here else None),
        trust_env=not is_here,
        verify=trusted or True,
    )


def host(url: httpx.URL) -> str:
    """What an endpoint is called: its host, and its port where that is not the usual one."""
    return url.netloc.decode("ascii", "replace").rpartition("@")[2]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _headers(key: str | None, headers: Mapping[str, str]) -> httpx.Headers:
    common = {
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",  # a compressing proxy holds tokens back until a block is full
        "Content-Type": "application/json",
        "User-Agent": f"qvision/{__version__}",
    }
    found = httpx.Headers(common | {"Authorization": f"Bearer {key}"} if key else common)
    found.update(headers)
    return found


@contextmanager
def configured() -> Iterator[None]:
    """What httpx cannot even begin with: an address, a proxy or a certificate file that is set wrongly."""
    try:
        yield
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(
            f"the base URL cannot be used: {error}", hint="Check --base-url and QUBRID_BASE_URL."
        ) from error
    except (ValueError, ImportError) as error:  # whose words may hold the proxy's password
        raise ConfigError(
            "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used", hint="Set an http or https proxy."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"the certificates cannot be read: {error.strerror}", hint="Check SSL_CERT_FILE and SSL_CERT_DIR."
        ) from error
