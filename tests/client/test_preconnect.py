"""The early connection: used once, verified like any other, and never opened in vain."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from qubrid_cli import certificates
from qubrid_cli.client import preconnect

from ..conftest import Ask, Qvision
from ..support.server import Server

SECONDS = 30


@dataclass
class Authority:
    """A certificate authority that only the test knows, and the file that makes it trusted."""

    path: Path

    def __post_init__(self) -> None:
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(self.path))

    def context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def env(self, server: Server) -> dict[str, str]:
        return {"QUBRID_BASE_URL": server.url, "SSL_CERT_FILE": str(self.path), "SSL_CERT_DIR": ""}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca.pem")


@pytest.mark.parametrize("extra", [[], ["-p", "what?"], ["--json"]], ids=str)
def test_a_describe_uses_the_connection_that_was_opened_early(
    describe: Ask, lighthouse: Path, authority: Authority, extra: list[str]
) -> None:
    with Server(authority.context("127.0.0.1")) as server:
        run = describe(lighthouse, *extra, env=authority.env(server))
        assert (run.exit_code, len(server.asked), server.connections) == (0, 1, 1)


@pytest.mark.parametrize(
    "line",
    [
        "describe {image} hi --dry-run",
        "describe {image} hi --offline",
        "describe {image} --help",
        "describe {image} one two",
        "describe {image} hi --no-such-option",
        "describe nope.jpg hi",
        "describe {image} hi --temperature x",
        "batch {image} caption --dry-run",
        "--help",
        "--version",
        "config show",
    ],
)
def test_a_command_line_that_sends_nothing_opens_no_connection(
    qvision: Qvision, lighthouse: Path, authority: Authority, line: str
) -> None:
    with Server(authority.context("127.0.0.1")) as server:
        qvision(*line.format(image=lighthouse).split(), env=authority.env(server) | {"QUBRID_API_KEY": "qk-1"})
        assert (server.asked, server.connections) == ([], 0)


def test_an_authority_that_is_not_trusted_gets_neither_key_nor_image(
    describe: Ask, lighthouse: Path, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger.pem")
    with Server(stranger.context("127.0.0.1")) as server:
        run = describe(lighthouse, "--json", env=authority.env(server))
        assert (run.exit_code, run.json["error"]["code"], server.asked) == (5, "certificate", [])


def test_a_certificate_for_another_host_gets_neither_key_nor_image(
    describe: Ask, lighthouse: Path, authority: Authority
) -> None:
    with Server(authority.context("example.org")) as server:
        run = describe(lighthouse, "--json", env=authority.env(server))
        assert (run.exit_code, run.json["error"]["code"], server.asked) == (5, "certificate", [])


def test_an_early_connection_that_the_server_has_closed_is_replaced(
    describe: Ask, lighthouse: Path, authority: Authority
) -> None:
    class Hasty(Server):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections > 1:
                await super()._serve(reader, writer)

    with Hasty(authority.context("127.0.0.1")) as server:
        run = describe(lighthouse, "--retry-max-wait", "0", env=authority.env(server))
        assert (run.exit_code, len(server.asked), server.connections) == (0, 1, 2)


class Waiting(Server):
    """Notes when a client closes its connection."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.closed = threading.Event()
        super().__init__(tls)

    async def _serve(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)  # ends with the connection, or with its reset
        finally:
            self.closed.set()


def _started(server: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=authority.path)
    monkeypatch.setattr(certificates, "_context", context)
    preconnect.start(server.url)
    assert server.connected.wait(SECONDS)


CLOSINGS: dict[str, Callable[[Server], object]] = {
    "cancelled": lambda _: preconnect.cancel(),
    "taken and closed": lambda server: preconnect.take("127.0.0.1", server.port, SECONDS).close(),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("how", CLOSINGS)
def test_a_connection_that_is_not_used_is_closed(
    how: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Waiting(authority.context("127.0.0.1")) as server:
        _started(server, authority, monkeypatch)
        assert preconnect.take("127.0.0.1", server.port + 1, 0) is None
        CLOSINGS[how](server)
        assert server.closed.wait(SECONDS)
        assert preconnect.take("127.0.0.1", server.port, 0) is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/v1", "https://", "https://[", "nonsense", "https://exämple.org/v1"]
)
def test_no_connection_is_started_to_what_is_not_a_plain_https_address(url: str) -> None:
    preconnect.start(url)
    assert preconnect._connection is None


def test_no_connection_is_started_where_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    preconnect.start("https://api.example.org/v1")
    assert preconnect._connection is None
