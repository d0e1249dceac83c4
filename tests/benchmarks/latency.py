"""The time to the first word over TLS with a round trip of 100 ms, compared with ``vipsthumbnail`` and ``curl``.

A relay on loopback delays the bytes in both directions by half a round trip, and the first bytes of a client by one more: that
is when TCP's own handshake would be over. The authority of the server's certificate is added to copies of the system's
certificates: the bundle, which curl loads, and the folder of hashed files. Skipped if the system has no such folder.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from ..support.server import Loopback
from . import peers
from .batching import PEER
from .pairs import Ratio, median_ms
from .preparation import written
from .wire import Stopwatch

ROUND_TRIP = 0.1
SYSTEM_FOLDER, SYSTEM_BUNDLE = Path("/etc/ssl/certs"), Path("/etc/ssl/certs/ca-certificates.crt")


class Relay(Loopback):
    """Passes the bytes of each connection on to a port of this machine, with the delay of a long way."""

    def __init__(self, port: int) -> None:
        self._to = port
        super().__init__()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = time.perf_counter()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(
            self._pass_on(reader, far_writer, opened + ROUND_TRIP), self._pass_on(far_reader, writer, opened)
        )

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, earliest: float) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            data = b"-"
            while data:
                arrival, data = await on_the_way.get()
                await asyncio.sleep(arrival - time.perf_counter())
                writer.write(data)
            writer.close()

        delivery = asyncio.ensure_future(deliver())
        try:
            data = b"-"
            while data:
                data = await reader.read(1 << 18)
                on_the_way.put_nowait((max(time.perf_counter(), earliest) + ROUND_TRIP / 2, data))
            await delivery
        finally:
            delivery.cancel()


@dataclass(frozen=True)
class _Times:
    """Seconds: from the start of the program to the first byte of its output, and CPU."""

    first_word: float
    cpu: float


def _time(arguments: Sequence[str], env: Mapping[str, str]) -> _Times:
    start = time.perf_counter()
    process = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.read(1)
        first_word = time.perf_counter() - start
        output.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return _Times(first_word, usage.ru_utime + usage.ru_stime)


def _trust(authority: trustme.CA, folder: Path) -> dict[str, str]:
    """The variables that name the bundle and the folder of the system's certificates, with the authority added."""
    bundle, hashed = folder / "bundle.pem", folder / "certs"
    bundle.write_bytes(SYSTEM_BUNDLE.read_bytes() + authority.cert_pem.bytes())
    hashed.mkdir()
    for certificate in SYSTEM_FOLDER.glob("*.0"):
        shutil.copy(certificate, hashed)
    authority.cert_pem.write_to_path(str(hashed / "authority.pem"))
    subprocess.run(["openssl", "rehash", str(hashed)], check=True, stderr=subprocess.DEVNULL)
    return {"SSL_CERT_FILE": str(bundle), "SSL_CERT_DIR": str(hashed)}


def run(pairs: int) -> list[Ratio]:
    """The ratios."""
    if peers.missing("vipsthumbnail", "base64", "curl", "openssl") or not list(SYSTEM_FOLDER.glob("*.0")):
        return []
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with tempfile.TemporaryDirectory() as name, Stopwatch(context) as server, Relay(server.port) as relay:
        url = f"https://localhost:{relay.port}/v1"
        trust = _trust(authority, Path(name))
        photo = str(written(Path(name), "12 MP JPEG"))
        describe = [str(peers.qvision() / "qvision"), "describe", photo, "caption", "--no-stream", "--base-url", url]
        env = peers.clean() | {"QUBRID_API_KEY": "k", "URL": url}
        variants: dict[str, Callable[[], _Times]] = {
            "folder of hashed files": lambda: _time(describe, env | {"SSL_CERT_DIR": trust["SSL_CERT_DIR"]}),
            "bundle": lambda: _time(describe, env | {"SSL_CERT_FILE": trust["SSL_CERT_FILE"]}),
            "peer": lambda: _time(["sh", "-c", PEER, "sh", photo], env | {"CURL_CA_BUNDLE": trust["SSL_CERT_FILE"]}),
        }
        times: dict[str, list[_Times]] = {variant: [] for variant in variants}
        for number in range(pairs + 1):
            for variant, measure in variants.items():
                measured = measure()
                if number:  # the first run only warms the caches
                    times[variant].append(measured)
    for variant, measured_times in times.items():
        print(f"first word over TLS, {variant}: {median_ms(one.first_word for one in measured_times)}")
    return [
        Ratio(
            f"first word over TLS, round trip {ROUND_TRIP:g} s, {variant}: time, of vipsthumbnail + curl",
            [ours.first_word / peer.first_word for ours, peer in zip(times[variant], times["peer"], strict=True)],
            target,
        )
        for variant, target in (("folder of hashed files", 0.85), ("bundle", 0.92))
    ]
