"""The connection is opened while the image is being prepared, and nothing else changes by that."""

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import RequestBody
from qubrid_cli.errors import NetworkError

from ..conftest import KEY, Ask, command, environment
from ..support.server import Hold, Reply, Server, refusal, stream

SECONDS = 30


@contextmanager
def asking(server: Server, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which waits for an image on its standard input."""
    known = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url, **env}
    run = subprocess.Popen(
        command("describe", "-", "what?", *arguments),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(known),
    )  # fmt: skip
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def test_the_connection_stands_before_the_image_is_there(server: Server, lighthouse: Path) -> None:
    with asking(server) as run:
        assert server.connected.wait(SECONDS)
        assert (run.poll(), server.asked) == (None, [])
        out, _ = run.communicate(lighthouse.read_bytes(), timeout=SECONDS)
    (asked,) = server.asked
    assert (run.returncode, out, server.connections) == (0, b"A lighthouse.\n", 1)
    assert asked.headers["content-length"] == str(len(asked.body))
    assert "transfer-encoding" not in asked.headers
    assert asked.image_url.startswith("data:image/jpeg;base64,")


def test_it_is_secured_by_then(lighthouse: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Server(context) as server, asking(server, SSL_CERT_FILE=str(tmp_path / "ca.pem")) as run:
        assert server.connected.wait(SECONDS)  # asyncio says so when the handshake is over
        assert run.poll() is None
        run.communicate(lighthouse.read_bytes(), timeout=SECONDS)
        assert (run.returncode, len(server.asked), server.connections) == (0, 1, 1)


def test_an_image_that_cannot_be_sent_leaves_a_connection_and_no_request(server: Server) -> None:
    with asking(server) as run:
        assert server.connected.wait(SECONDS)
        _, said = run.communicate(b"no image", timeout=SECONDS)
    assert (run.returncode, server.asked) == (4, [])
    assert said.startswith(b"error: - is not an image that can be read")


def test_an_image_that_cannot_be_sent_is_what_is_told_also_where_nobody_is_there(describe: Ask, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    run = describe("bad.jpg", "what?", env={"QUBRID_BASE_URL": "http://127.0.0.1:1/v1"})
    assert (run.exit_code, run.stderr.splitlines()[0]) == (
        4,
        "error: bad.jpg is damaged or cut off (its header cannot be read)",
    )


def test_what_closes_the_idle_connection_is_asked_anew(lighthouse: Path) -> None:
    """Some servers wait for a request for a moment only."""

    class Hasty(Server):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections > 1:
                await super()._serve(reader, writer)

    with Hasty() as server, asking(server, "--retry-max-wait", "0") as run:
        assert server.connected.wait(SECONDS)
        run.communicate(lighthouse.read_bytes(), timeout=SECONDS)
        assert (run.returncode, len(server.asked)) == (0, 1)


@pytest.fixture
def endpoint(server: Server) -> Iterator[Endpoint]:
    with Endpoint(server.url, key=KEY, timeout=SECONDS) as opened:
        opened.preconnect()
        yield opened


def test_the_second_request_goes_the_plain_way(server: Server, endpoint: Endpoint) -> None:
    for body in (b'{"n": 1}', b'{"n": 22}'):
        with endpoint.request_completion(RequestBody((body,)), sent=threading.Event()) as response:
            assert response.status == 200
    assert [asked.body for asked in server.asked] == [b'{"n": 1}', b'{"n": 22}']


def test_a_redirect_within_the_origin_is_followed_with_the_body(server: Server, endpoint: Endpoint) -> None:
    moved = refusal(308, "", Location="/v2/chat/completions")
    server.answer = lambda asked: moved if asked.path.startswith("/v1") else stream("There.")
    with endpoint.request_completion(RequestBody((b'{"n": 1}',)), sent=threading.Event()) as response:
        assert response.status == 200
    assert [(asked.path, asked.body) for asked in server.asked] == [
        ("/v1/chat/completions", b'{"n": 1}'),
        ("/v2/chat/completions", b'{"n": 1}'),
    ]


def test_the_time_for_all_of_it_counts_here_too(server: Server, endpoint: Endpoint) -> None:
    server.answer = Reply((Hold(threading.Event()),))
    with pytest.raises(NetworkError, match="did not finish within --max-time"):  # noqa: SIM117
        with endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event(), within=0.2) as response:
            list(response.chunks())


def test_nobody_there_is_told_as_ever() -> None:
    with Endpoint("http://127.0.0.1:1/v1", timeout=SECONDS) as endpoint:
        endpoint.preconnect()
        with (
            pytest.raises(NetworkError, match=r"no connection to 127\.0\.0\.1:1"),
            endpoint.request_completion(RequestBody((b"",)), sent=threading.Event()),
        ):
            pass
