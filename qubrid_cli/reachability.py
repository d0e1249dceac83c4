"""The way to a host, step by step: its name, a connection, and how that is secured."""

import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from .checks import Check, bounded, failed, ok, warned
from .errors import ConfigError, NetworkError
from .response import tls_error

_DAY = 86_400.0
#: Days of a certificate that is about to expire: Let's Encrypt renews after 60 of 90, and mails at 20 and 10 before.
_SOON = 10
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def walk(url: str, seconds: float) -> Iterator[Check]:
    """Go there; ends with the first step that fails.

    Args:
        url: of the endpoint, http or https.
        seconds: for each step.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    if _has_proxy(parts.scheme, host):
        yield ok("network", "through the proxy that is set, which finds and reaches the host; DNS and TCP are left out")
        return
    try:
        addresses = bounded(lambda: _looked_up(host, port), seconds)
    except TimeoutError:
        yield failed("dns", NetworkError(f"no answer about {host} within {seconds:g} s", hint="Check the network."))
        return
    except (OSError, UnicodeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "Check --base-url, and the network: perhaps there is none."
        yield failed("dns", NetworkError(f"there is no address for {host}: {said}", hint=hint))
        return
    known = _some([address for address, _ in addresses])
    yield ok("dns", f"{host} is an address already" if known == host else f"{host} is {known}")
    yield from _connected(host, port, addresses, seconds, secure=parts.scheme == "https")


def _has_proxy(scheme: str, host: str) -> bool:
    is_here = host in _LOOPBACK or host.endswith(".localhost")
    return not is_here and bool(getproxies().keys() & {scheme, "all"}) and not proxy_bypass(host)


def _looked_up(host: str, port: int) -> list[tuple[str, int]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


def _some(addresses: list[str]) -> str:
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")


def _connected(
    host: str, port: int, addresses: list[tuple[str, int]], seconds: float, *, secure: bool
) -> Iterator[Check]:
    started = time.perf_counter()
    deadline = started + seconds
    said = "it has no address"
    for address in addresses:
        try:
            connection = socket.create_connection(address, max(0.001, deadline - time.perf_counter()))
        except OSError as error:
            said = "it does not answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            continue
        with connection:
            yield ok("tcp", f"{address[0]} accepts connections at port {port} ({_since(started)})")
            if secure:
                yield _tls(connection, host, seconds)
        return
    hint = "Is the server running, and is the port in --base-url right?"
    yield failed("tcp", NetworkError(f"no connection to port {port} of {host}: {said}", hint=hint))


def _tls(connection: socket.socket, host: str, seconds: float) -> Check:
    """Secure a connection, and say how long the host's certificate will do."""
    try:
        return bounded(lambda: _secured(connection, host, seconds), seconds)
    except TimeoutError:
        hint = "Perhaps it speaks plain http: check --base-url."
        return failed("tls", NetworkError(f"{host} did not secure the connection within {seconds:g} s", hint=hint))
    except OSError as error:  # SSLError is one
        unsecured = NetworkError(f"no secure connection to {host}: {error.strerror or error}", hint="Check --base-url.")
        return failed("tls", tls_error(error, host) or unsecured)


def _secured(connection: socket.socket, host: str, seconds: float) -> Check:
    try:
        context = httpx.create_ssl_context()  # with the certificates that the request will have
    except OSError as error:
        said = f"the certificates cannot be read: {error.strerror}"
        return failed("tls", ConfigError(said, hint="Check SSL_CERT_FILE and SSL_CERT_DIR."))
    connection.settimeout(seconds)
    with context.wrap_socket(connection, server_hostname=host) as secured:
        return _certificate(secured, time.time())


def _certificate(secured: ssl.SSLSocket, now: float) -> Check:
    ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    date = time.strftime("%Y-%m-%d", time.gmtime(ends))
    if ends - now < _SOON * _DAY:
        left = int((ends - now) // _DAY)
        return warned(
            "tls", f"the certificate expires on {date}, in {left} days", "Whoever runs the server must renew it."
        )
    return ok("tls", f"{secured.version()}, certificate until {date}")


def _since(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"
