"""Connections: one for each describe, none if there is nothing to send, and none left open."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import RequestBody
from qubrid_cli.errors import NetworkError

from ..conftest import KEY, Ask
from ..support.server import Hold, Reply, Server, refusal, stream

SECONDS = 30


def test_describe_opens_one_connection_and_sends_the_body_with_its_length(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    run = describe("-", "what?", stdin=lighthouse.read_bytes())
    (asked,) = server.asked
    assert (run.exit_code, run.stdout, server.connections) == (0, b"A lighthouse.\n", 1)
    assert asked.headers["content-length"] == str(len(asked.body))
    assert "transfer-encoding" not in asked.headers
    assert asked.image_url.startswith("data:image/jpeg;base64,")


def test_describe_opens_one_connection_over_tls_too(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Server(context) as server:
        env = {"QUBRID_BASE_URL": server.url, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        run = describe(lighthouse, "what?", env=env)
        assert (run.exit_code, len(server.asked), server.connections) == (0, 1, 1)


def test_an_image_that_cannot_be_sent_opens_no_connection(describe: Ask, server: Server) -> None:
    run = describe("-", "what?", stdin=b"no image")
    assert (run.exit_code, server.asked, server.connections) == (4, [], 0)
    assert run.stderr.startswith("error: - is not an image that can be read")


def test_an_image_that_cannot_be_sent_is_reported_even_if_the_endpoint_is_away(describe: Ask, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    run = describe("bad.jpg", "what?", env={"QUBRID_BASE_URL": "http://127.0.0.1:1/v1"})
    assert (run.exit_code, run.stderr.splitlines()[0]) == (
        4,
        "error: bad.jpg is damaged or cut off (its header cannot be read)",
    )


def test_a_connection_that_the_server_closes_at_once_is_replaced(describe: Ask, lighthouse: Path) -> None:
    class Hasty(Server):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections > 1:
                await super()._serve(reader, writer)

    with Hasty() as server:
        run = describe(lighthouse, "what?", "--retry-max-wait", "0", env={"QUBRID_BASE_URL": server.url})
        assert (run.exit_code, len(server.asked), server.connections) == (0, 1, 2)


@pytest.fixture
def endpoint(server: Server) -> Iterator[Endpoint]:
    with Endpoint(server.url, key=KEY, timeout=SECONDS) as opened:
        yield opened


def test_nothing_is_opened_before_the_first_request(server: Server) -> None:
    with Endpoint(server.url, key=KEY, timeout=SECONDS):
        pass
    assert server.connections == 0


def test_closing_the_endpoint_closes_its_connection(lighthouse: Path) -> None:
    class Patient(Server):
        is_closed = threading.Event()

        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await super()._serve(reader, writer)
            await reader.read()
            self.is_closed.set()

    with Patient() as server:
        server.answer = Reply([b"{}"], headers={"Connection": "keep-alive"})
        with (
            Endpoint(server.url, timeout=SECONDS) as endpoint,
            endpoint.request_completion(RequestBody((lighthouse.read_bytes(),)), sent=threading.Event()) as response,
        ):
            assert b"".join(response.iter_chunks()) == b"{}"
            assert not server.is_closed.is_set()
        assert server.is_closed.wait(SECONDS)


def test_an_endpoint_sends_one_request_after_the_other(server: Server, endpoint: Endpoint) -> None:
    for body in (b'{"n": 1}', b'{"n": 22}'):
        sent = threading.Event()
        with endpoint.request_completion(RequestBody((body,)), sent=sent) as response:
            assert (response.status, sent.is_set()) == (200, True)
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


def test_a_cookie_of_the_server_is_sent_back(server: Server, endpoint: Endpoint) -> None:
    """Load balancers bind a client to one machine by a cookie."""
    server.answer = Reply([b"{}"], headers={"Set-Cookie": "machine=7; Path=/"})
    for _ in range(2):
        with endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event()) as response:
            list(response.iter_chunks())
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, "machine=7"]


def test_a_user_in_the_base_url_replaces_the_key(server: Server) -> None:
    url = server.url.replace("//", "//me:hunter%202@")
    with (
        Endpoint(url, key=KEY, timeout=SECONDS) as endpoint,
        endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event()),
    ):
        pass
    (asked,) = server.asked
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert (asked.headers["authorization"], asked.headers["host"]) == ("Basic bWU6aHVudGVyIDI=", host)


def test_requests_go_through_the_proxy_with_its_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = server.url.removesuffix("/v1").replace("//", "//me:hunter2@")
    monkeypatch.setenv("ALL_PROXY", proxy.removeprefix("http://"))  # the scheme may be left out
    with (
        Endpoint("http://a.example/v1", key=KEY, timeout=SECONDS, allow_http=True) as endpoint,
        endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event()) as response,
    ):
        assert response.status == 200
    (asked,) = server.asked
    assert (asked.path, asked.headers["host"], asked.headers["proxy-authorization"]) == (
        "http://a.example/v1/chat/completions",
        "a.example",
        "Basic bWU6aHVudGVyMg==",
    )


def test_a_request_that_takes_too_long_as_a_whole_is_cut(server: Server, endpoint: Endpoint) -> None:
    server.answer = Reply((Hold(threading.Event()),))
    with pytest.raises(NetworkError, match="did not finish within --max-time"):  # noqa: SIM117
        with endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event(), within=0.2) as response:
            list(response.iter_chunks())


def test_a_port_without_a_server_refuses_the_connection() -> None:
    with (
        Endpoint("http://127.0.0.1:1/v1", timeout=SECONDS) as endpoint,
        pytest.raises(NetworkError, match=r"127\.0\.0\.1:1 refuses the connection"),
        endpoint.request_completion(RequestBody((b"",)), sent=threading.Event()),
    ):
        pass


def test_an_invalid_redirect_is_not_tried_again(server: Server, endpoint: Endpoint) -> None:
    server.answer = refusal(307, "", Location="http://[")
    with (
        pytest.raises(NetworkError, match="redirects to") as caught,
        endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event()),
    ):
        pass
    assert (caught.value.code, caught.value.is_temporary) == ("redirect", False)
