"""The way to a host, step by step: its name, a connection, and how that is secured."""

# MERGED DOCSTRING of qubrid_cli.equipment: What this installation and this terminal can do.

import importlib.metadata
import locale
import platform
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

import httpx

from ... import __version__
from ...client.errors import find_tls_error
from ...errors import ConfigError, KeyringError, NetworkError
from ...images import decode
from ...images.urls import strip_root_dot, uses_proxy
from .checks import Check, make_failure, make_ok, make_warning, run_with_timeout

_INSTALL_HINTS = {"HEIC": "pip install pi-heif"}
_LIBRARIES = ("httpx", "PIL", "rich", "typer")
#: What a library is called where it is installed from.
_DISTRIBUTION_NAMES = {"PIL": "Pillow"}


def check_environment(
    env: Mapping[str, str], find_keyring: Callable[[], str | None], seconds: float
) -> Iterator[Check]:
    """Look at the formats, the keyring, the terminal and the versions.

    Args:
        find_keyring: names the system's keyring; ``None`` where there is none, or the extra is not installed.
        seconds: that the keyring may take.
    """
    yield _check_formats(decode.detect_optional_formats())
    yield _check_keyring(find_keyring, seconds)
    yield _check_terminal(env)
    yield make_ok("versions", ", ".join(_list_versions()))


def _check_formats(optional_formats: Mapping[str, bool]) -> Check:
    missing = [name for name, is_there in optional_formats.items() if not is_there]
    there = [name for name in optional_formats if name not in missing]
    if not missing:
        return make_ok("formats", f"{', '.join(there)} beside those that are always there")
    hints = [_INSTALL_HINTS.get(name, "install a Pillow that has it") for name in missing]
    return make_warning("formats", f"cannot read {', '.join(missing)}", f"For {missing[0]}: {hints[0]}")


def _check_keyring(find_keyring: Callable[[], str | None], seconds: float) -> Check:
    try:
        name = run_with_timeout(find_keyring, seconds)
    except TimeoutError:
        error = KeyringError(f"the keyring did not answer within {seconds:g} s", hint="Unlock it.")
        return make_warning("keyring", error.message, error.hint)
    except KeyringError as error:
        return make_warning("keyring", error.message, "Keys are kept in a file that nobody else may read.")
    return make_ok("keyring", name or "none, so keys are kept in a file that nobody else may read")


def _check_terminal(env: Mapping[str, str]) -> Check:
    if sys.stdout is None or not sys.stdout.isatty():
        return make_ok("terminal", "none here: plain text, no colour")
    encoding = (sys.stdout.encoding or locale.getpreferredencoding(False)).upper()
    is_dumb = env.get("TERM", "") in {"dumb", "unknown"}
    colour = "no colour" if is_dumb or env.get("NO_COLOR") else "colour"
    said = f"{colour}, {encoding}, {shutil.get_terminal_size().columns} columns"
    if not encoding.startswith("UTF"):
        return make_warning("terminal", said, "Other characters show as question marks; set LC_ALL=C.UTF-8.")
    if is_dumb:
        return make_warning("terminal", f"{said}, and answers are not drawn while they come", "Set TERM to what it is.")
    return make_ok("terminal", said)


def _list_versions() -> Iterator[str]:
    yield f"qvision {__version__}"
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in _LIBRARIES:
        own = getattr(sys.modules.get(name), "__version__", None)
        package = _DISTRIBUTION_NAMES.get(name, name)
        yield f"{package} {own or importlib.metadata.version(package)}"


_DAY_SECONDS = 86_400.0
#: Days of a certificate that is about to expire: Let's Encrypt renews after 60 of 90, and mails at 20 and 10 before.
_EXPIRY_WARNING_DAYS = 10


def check_network(url: str, seconds: float) -> Iterator[Check]:
    """Go there; ends with the first step that fails.

    Args:
        url: of the endpoint, http or https.
        seconds: for each step.
    """
    parts = urlsplit(strip_root_dot(url))
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    if uses_proxy(url):
        yield make_ok(
            "network", "through the proxy that is set, which finds and reaches the host; DNS and TCP are left out"
        )
        return
    try:
        addresses = run_with_timeout(lambda: _look_up_addresses(host, port), seconds)
    except TimeoutError:
        yield make_failure(
            "dns", NetworkError(f"no answer about {host} within {seconds:g} s", hint="Check the network.")
        )
        return
    except (OSError, UnicodeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "Check --base-url, and the network: perhaps there is none."
        yield make_failure("dns", NetworkError(f"there is no address for {host}: {said}", hint=hint))
        return
    known = _format_addresses([address for address, _ in addresses])
    yield make_ok("dns", f"{host} is an address already" if known == host else f"{host} is {known}")
    yield from _check_connection(host, port, addresses, seconds, secure=parts.scheme == "https")


def _look_up_addresses(host: str, port: int) -> list[tuple[str, int]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(address[0]), port) for *_, address in found))


def _format_addresses(addresses: list[str]) -> str:
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")


def _check_connection(
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
            yield make_ok("tcp", f"{address[0]} accepts connections at port {port} ({_format_elapsed(started)})")
            if secure:
                yield _check_tls(connection, host, seconds)
        return
    hint = "Is the server running, and is the port in --base-url right?"
    yield make_failure("tcp", NetworkError(f"no connection to port {port} of {host}: {said}", hint=hint))


def _check_tls(connection: socket.socket, host: str, seconds: float) -> Check:
    """Secure a connection, and say how long the host's certificate will do."""
    try:
        return run_with_timeout(lambda: _negotiate_tls(connection, host, seconds), seconds)
    except TimeoutError:
        hint = "Perhaps it speaks plain http: check --base-url."
        return make_failure(
            "tls", NetworkError(f"{host} did not secure the connection within {seconds:g} s", hint=hint)
        )
    except OSError as error:  # SSLError is one
        unsecured = NetworkError(f"no secure connection to {host}: {error.strerror or error}", hint="Check --base-url.")
        return make_failure("tls", find_tls_error(error, host) or unsecured)


def _negotiate_tls(connection: socket.socket, host: str, seconds: float) -> Check:
    try:
        context = httpx.create_ssl_context()  # with the certificates that the request will have
    except OSError as error:
        said = f"the certificates cannot be read: {error.strerror}"
        return make_failure("tls", ConfigError(said, hint="Check SSL_CERT_FILE and SSL_CERT_DIR."))
    connection.settimeout(seconds)
    with context.wrap_socket(connection, server_hostname=host) as secured:
        return _check_certificate(secured, time.time())


def _check_certificate(secured: ssl.SSLSocket, now: float) -> Check:
    ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    date = time.strftime("%Y-%m-%d", time.gmtime(ends))
    if ends - now < _EXPIRY_WARNING_DAYS * _DAY_SECONDS:
        left = int((ends - now) // _DAY_SECONDS)
        return make_warning(
            "tls", f"the certificate expires on {date}, in {left} days", "Whoever runs the server must renew it."
        )
    return make_ok("tls", f"{secured.version()}, certificate until {date}")


def _format_elapsed(started: float) -> str:
    return f"{(time.perf_counter() - started) * 1000:.0f} ms"
