"""The checks of the network, step by step, and of this machine."""

import importlib.metadata
import locale
import platform
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ... import __version__, certificates
from ...client.endpoint import load_certificates
from ...errors import ConfigError, KeyringError, NetworkError
from ...http_errors import explain
from ...images import decode
from ...settings.keys import Keychain
from ...urls import find_proxy, strip_root_dot
from .check import Check, make_failure, make_ok, make_warning, run_with_timeout

_DAY_SECONDS = 86_400.0
#: Let's Encrypt renews its 90-day certificates after 60 days, so fewer than 10 remaining days mean that renewal fails.
_EXPIRY_WARNING_DAYS = 10
#: The package of each library by the name of its module.
_PACKAGES = {"httpx": "httpx", "PIL": "Pillow", "rich": "rich", "typer": "typer"}
_KEY_FILE_USED = "keys are stored in a file that only you can read"


def check_network(url: str, seconds: float) -> Iterator[Check]:
    """Resolve the host, connect to it, and negotiate TLS. Stop at the first step that fails.

    Args:
        url: the URL of the endpoint, http or https.
        seconds: the time limit of each step.
    """
    parts = urlsplit(strip_root_dot(url))
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    if (proxy := find_proxy(url)) is not None:
        yield make_ok("network", f"through the proxy {proxy}, so DNS, TCP and TLS are not checked here")
        return
    try:
        addresses = run_with_timeout(lambda: _resolve_host(host, port), seconds)
    except TimeoutError:
        message = f"the DNS lookup of {host} timed out after {seconds:g} s"
        yield make_failure("dns", NetworkError(message, hint="Check the network connection."))
        return
    except (OSError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "Check --base-url and the network connection."
        yield make_failure("dns", NetworkError(f"cannot resolve {host}: {reason}", hint=hint))
        return
    address_list = _format_addresses(addresses)
    yield make_ok("dns", f"{host} is an IP address" if address_list == host else f"{host} resolves to {address_list}")
    yield from _check_connection(host, port, addresses, seconds, secure=parts.scheme == "https")


def _resolve_host(host: str, port: int) -> list[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in entries))


def _format_addresses(addresses: list[str]) -> str:
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")


def _check_connection(host: str, port: int, addresses: list[str], seconds: float, *, secure: bool) -> Iterator[Check]:
    started = time.perf_counter()
    reason = "no address"
    for address in addresses:
        remaining = started + seconds - time.perf_counter()
        try:
            connection = socket.create_connection((address, port), max(0.001, remaining))
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            continue
        with connection:
            elapsed = (time.perf_counter() - started) * 1000
            yield make_ok("tcp", f"{address} accepts connections on port {port} ({elapsed:.0f} ms)")
            if secure:
                yield _check_tls(connection, host, seconds)
        return
    hint = "Check that the server is running and that the port in --base-url is right."
    yield make_failure("tcp", NetworkError(f"cannot connect to {host} on port {port}: {reason}", hint=hint))


def _check_tls(connection: socket.socket, host: str, seconds: float) -> Check:
    """Negotiate TLS on a connection, and check when the host's certificate expires."""
    try:
        return run_with_timeout(lambda: _negotiate_tls(connection, host, seconds), seconds)
    except TimeoutError:
        message = f"the TLS handshake with {host} timed out after {seconds:g} s"
        return make_failure("tls", NetworkError(message, hint="It may speak plain http: check --base-url."))
    except ConfigError as error:  # the trusted certificates cannot be read
        return make_failure("tls", error)
    except ssl.SSLError as error:
        failure = explain(error, host, url="--base-url", timeout=seconds, proxy=None)
        return make_failure("tls", NetworkError(failure.message, hint=failure.hint))
    except OSError as error:
        message = f"no secure connection to {host}: {error.strerror or error}"
        return make_failure("tls", NetworkError(message, hint="Check --base-url."))


def _negotiate_tls(connection: socket.socket, host: str, seconds: float) -> Check:
    context = load_certificates()  # the same as for the request
    connection.settimeout(seconds)
    with context.wrap_socket(connection, server_hostname=host) as secured:
        return _check_certificate(secured, time.time())


def _check_certificate(secured: ssl.SSLSocket, now: float) -> Check:
    expiry = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
    date = time.strftime("%Y-%m-%d", time.gmtime(expiry))
    days = int((expiry - now) // _DAY_SECONDS)
    if days < _EXPIRY_WARNING_DAYS:
        hint = "The operator of the server must renew it."
        return make_warning("tls", f"the certificate expires on {date}, in {days} days", hint)
    source = certificates.describe_source()
    return make_ok("tls", f"{secured.version()}, certificate valid until {date}; authorities from {source}")


def check_environment(env: Mapping[str, str], seconds: float) -> Iterator[Check]:
    """Check the image formats, the keyring, the terminal and the versions.

    Args:
        seconds: the time limit of the keyring.
    """
    yield _check_formats(decode.detect_optional_formats())
    yield _check_keyring(seconds)
    yield _check_terminal(env)
    yield make_ok("versions", ", ".join(_list_versions()))


def _check_formats(optional_formats: Mapping[str, bool]) -> Check:
    missing = [name for name, is_available in optional_formats.items() if not is_available]
    if not missing:
        return make_ok("formats", f"{', '.join(optional_formats)} and all standard formats")
    is_heic = missing[0] == "HEIC"
    hint = "For HEIC, run: pip install pi-heif" if is_heic else f"For {missing[0]}, install a build of Pillow with it."
    return make_warning("formats", f"cannot read {', '.join(missing)}", hint)


def _check_keyring(seconds: float) -> Check:
    try:
        name = run_with_timeout(Keychain().get_backend_name, seconds)
    except TimeoutError:
        return make_warning("keyring", f"the keyring did not answer within {seconds:g} s", "Unlock the keyring.")
    except KeyringError as error:
        return make_warning("keyring", error.message, f"Until it works, {_KEY_FILE_USED}.")
    return make_ok("keyring", name or f"not available, so {_KEY_FILE_USED}")


def _check_terminal(env: Mapping[str, str]) -> Check:
    if sys.stdout is None or not sys.stdout.isatty():
        return make_ok("terminal", "standard output is not a terminal: plain text without color")
    encoding = (sys.stdout.encoding or locale.getpreferredencoding(False)).upper()
    is_dumb = env.get("TERM", "") in {"dumb", "unknown"}
    color = "no color" if is_dumb or env.get("NO_COLOR") else "color"
    message = f"{color}, {encoding}, {shutil.get_terminal_size().columns} columns"
    if not encoding.startswith("UTF"):
        hint = f"Characters outside {encoding} show as question marks; set LC_ALL=C.UTF-8."
        return make_warning("terminal", message, hint)
    if is_dumb:
        hint = "Set TERM to the type of your terminal, such as xterm-256color."
        return make_warning("terminal", f"{message}, no live drawing of answers", hint)
    return make_ok("terminal", message)


def _list_versions() -> Iterator[str]:
    yield f"qvision {__version__}"
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name, package in _PACKAGES.items():
        loaded = getattr(sys.modules.get(name), "__version__", None)
        yield f"{package} {loaded or importlib.metadata.version(package)}"
