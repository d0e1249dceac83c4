"""The certificate authorities that are trusted: one TLS context for the whole process.

In this order: the file or folder that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names, the system's store, and the bundle of
certifi if the system has none. A system's folder of hashed files costs nothing to load, because OpenSSL opens only the file
of the authority that it needs; a bundle takes 45 to 73 ms of CPU.
"""

import os
import re
import socket
import ssl
import sys
import threading

#: Folders of hashed certificates: Debian, Ubuntu, SUSE and Alpine; Fedora and Red Hat.
_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
#: Bundles: Debian, Ubuntu and Alpine; Fedora and Red Hat; SUSE; FreeBSD and Alpine.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
#: The name of a certificate in a folder that OpenSSL can search: the hash of its subject and a number.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")

#: In DER: the tag of the optional version, and the object identifiers 2.5.4.3 and 2.5.4.10.
_VERSION_TAG, _COMMON_NAME, _ORGANIZATION = 0xA0, b"\x55\x04\x03", b"\x55\x04\x0a"

_lock = threading.Lock()
_context: ssl.SSLContext | None = None


def load_tls_context() -> ssl.SSLContext:
    """Return the process's TLS context for clients, which verifies the certificate and the host name.

    Raises:
        OSError: the file that ``SSL_CERT_FILE`` names cannot be read (``ssl.SSLError`` is an ``OSError``).
    """
    global _context  # noqa: PLW0603  # loading it takes up to 73 ms
    with _lock:
        if _context is None:
            _context = _build_context()
        return _context


def describe_source() -> str:
    """Where the certificates come from, for people."""
    named = [f"{name} ({os.environ[name]})" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    if named:
        return " and ".join(named)
    if sys.platform in {"darwin", "win32"}:
        return "the system's store"
    folder, bundle = _find_system_store()
    return folder or bundle or "certifi"


def _build_context() -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE") or None, os.environ.get("SSL_CERT_DIR") or None
    if not file and not folder:
        if sys.platform in {"darwin", "win32"}:
            return _build_platform_context()
        folder, file = _find_system_store()
        if not file and not folder:
            import certifi

            file = certifi.where()
    context = ssl.create_default_context(cafile=file, capath=folder)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _build_platform_context() -> ssl.SSLContext:
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _find_system_store() -> tuple[str | None, str | None]:
    """The folder of hashed certificates, else the bundle, of this Linux or BSD system."""
    paths = ssl.get_default_verify_paths()
    for folder in dict.fromkeys((paths.capath, *_FOLDERS)):
        try:
            if folder and any(map(_HASHED_NAME.fullmatch, os.listdir(folder))):
                return folder, None
        except OSError:
            continue
    return None, next((file for file in (paths.cafile, *_BUNDLES) if file and os.path.isfile(file)), None)


def find_issuer(host: str, timeout: float) -> str | None:
    """Ask a host for its certificate without trusting it, and return the name of the authority that issued it.

    Args:
        host: with its port, if it is not 443.
        timeout: seconds for the connection, and again for the handshake.
    """
    name, _, port = host.rpartition(":") if re.search(r":[0-9]+\Z", host) else (host, "", "443")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((name.strip("[]"), int(port)), timeout) as connection,
            context.wrap_socket(connection, server_hostname=name) as secured,
        ):
            return _parse_issuer(secured.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError, IndexError):
        return None


def _parse_issuer(certificate: bytes) -> str | None:
    """The common name of the issuer, else its organization, in a DER certificate (RFC 5280, section 4.1)."""
    (_, signed), *_ = _read_der(_read_der(certificate)[0][1])
    fields = [value for tag, value in _read_der(signed) if tag != _VERSION_TAG]
    names = {}
    for _, attributes in _read_der(fields[2]):  # after the serial number and the algorithm
        for _, attribute in _read_der(attributes):
            (_, kind), (_, text) = _read_der(attribute)
            names[kind] = text.decode("utf-8", "replace")
    return names.get(_COMMON_NAME) or names.get(_ORGANIZATION)


def _read_der(data: bytes) -> list[tuple[int, bytes]]:
    """The elements that follow each other in DER: tags and contents (X.690, sections 8.1 and 10.1)."""
    elements, position = [], 0
    while position < len(data):
        tag, size = data[position : position + 2]
        position += 2
        if size & 0x80:  # the long form: the number of bytes that hold the size
            start, position = position, position + (size & 0x7F)
            size = int.from_bytes(data[start:position])
        elements.append((tag, data[position : position + size]))
        position += size
    return elements
