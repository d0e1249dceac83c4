"""What stands between the program and an endpoint: proxies, the wrong port, another protocol. Each is named, once."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.models import list_models_once
from qubrid_cli.errors import ConnectionSetupError, EndpointError, UnreachableError
from tests.client.test_faults import sending
from tests.conftest import Ask, Qvision
from tests.support.server import Loopback, Raw, Server, refusal

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
PAGE = "a web page instead of an error message"
NO_BODY = b"Content-Length: 0\r\n\r\n"


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def fail(url: str, key: str | None = None) -> EndpointError:
    """The error for a request to an address."""
    with pytest.raises(EndpointError) as caught, Endpoint(url, key=key, timeout=5) as endpoint:
        list_models_once(endpoint, None)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "message", "kind"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x16", "speaks https, not plain http", ConnectionSetupError),
        (b"\x15\x03\x01\x00\x02\x02F", "speaks https, not plain http", ConnectionSetupError),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "speaks https, not plain http (HTTP 400): Client sent an HTTP request to an HTTPS server.",
            ConnectionSetupError,
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>",
            f"speaks https, not plain http (HTTP 400): {PAGE}: 400 The plain HTTP request was sent to HTTPS port",
            ConnectionSetupError,
        ),
        (
            b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
            "speaks only HTTP/2, which this program does not",
            ConnectionSetupError,
        ),
        (
            b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
            "speaks only HTTP/2, which this program does not",
            ConnectionSetupError,
        ),
        (b"HTTP/1.1 302 Found\r\n" + NO_BODY, "sent a redirect without an address (HTTP 302)", ConnectionSetupError),
        (
            b"HTTP/1.1 407 No\r\n" + NO_BODY,
            "requires a login (HTTP 407)",
            ConnectionSetupError,
        ),
        (
            HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
            "sent headers that are longer than 100 KB",
            ConnectionSetupError,
        ),
        (
            HEAD + b"Content-Encoding: xz\r\n\r\n\x0b\x02\x80",
            "answered with the content encoding xz, which this program did not request",
            EndpointError,
        ),
    ],
)
def test_an_answer_in_another_protocol_is_named_and_not_retried(
    answer: bytes, message: str, kind: type[EndpointError]
) -> None:
    with Raw(sending(answer)) as server:
        error = fail(server.url)
    assert (error.message, type(error)) == (f"127.0.0.1:{server.port} {message}", kind)
    assert not error.is_temporary


def test_an_error_in_an_unknown_encoding_keeps_its_status() -> None:
    with Raw(sending(b"HTTP/1.1 503 No\r\nContent-Encoding: xz\r\nConnection: close\r\n\r\n\x0b\x02")) as server:
        assert fail(server.url).message == f"127.0.0.1:{server.port} failed (HTTP 503)"


class Nginx(Loopback):
    """Answers a handshake with text."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()


def test_https_to_a_port_of_plain_http_is_named() -> None:
    with Nginx() as server:
        error = fail(server.url.replace("http:", "https:"))
    assert error.message.startswith(
        f"no secure connection to 127.0.0.1:{server.port}, which seems to speak plain http: "
    )
    assert (type(error), error.code) == (ConnectionSetupError, "tls")


@pytest.mark.parametrize(
    ("url", "answer", "message", "kind"),
    [
        ("https://a.example/v1", b"407 Login", "the proxy {proxy} requires a login: 407 Login", ConnectionSetupError),
        ("https://a.example/v1", b"403 No", "the proxy {proxy} refused: 403 No", ConnectionSetupError),
        ("https://a.example/v1", b"503 No", "the proxy {proxy} cannot connect to a.example: 503 No", UnreachableError),
        ("http://a.example/v1", b"407 Login", "the proxy {proxy} requires a login (HTTP 407)", ConnectionSetupError),
    ],
)
def test_the_refusal_of_a_proxy_is_the_proxys(
    url: str, answer: bytes, message: str, kind: type[EndpointError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Raw(sending(b"HTTP/1.1 " + answer + b"\r\n" + NO_BODY)) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
        error = fail(url)
    assert (error.message, type(error)) == (message.format(proxy=f"127.0.0.1:{proxy.port}"), kind)
    assert error.code == ("network" if kind is UnreachableError else "proxy")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_away_is_named_without_its_password(
    scheme: str, deaf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://me:hunter2@127.0.0.1:{deaf}/")
    error = fail(f"{scheme}://a.example/v1")
    assert error.message == f"no connection to the proxy 127.0.0.1:{deaf}: it refuses the connection"
    assert (type(error), error.is_fatal, error.is_temporary) == (ConnectionSetupError, True, False)


def test_describe_and_doctor_name_the_proxy(qvision: Qvision, lighthouse: Path, deaf: int) -> None:
    env = {
        "HTTPS_PROXY": f"http://me:hunter2@127.0.0.1:{deaf}",
        "QUBRID_BASE_URL": "https://a.example/v1",
        "QUBRID_API_KEY": "k",
    }
    for arguments in (["describe", lighthouse, "-v"], ["doctor"]):
        run = qvision(*arguments, env=env)
        shown = run.stderr + run.stdout.decode()
        assert f"no connection to the proxy 127.0.0.1:{deaf}: it refuses the connection" in shown
        assert f"through the proxy 127.0.0.1:{deaf}" in shown
        assert "hunter2" not in shown


def test_verbose_shows_the_whole_body_without_secrets(describe: Ask, server: Server, lighthouse: Path) -> None:
    words = "x" * 500 + "\x1b[2J " + "qk-test-key-0123"
    server.answer = refusal(400, {"error": {"message": words, "detail": [1, 2]}})
    run = describe(lighthouse, "what?", "-v", env={"QUBRID_API_KEY": "qk-test-key-0123"})
    body = next(line for line in run.stderr.splitlines() if line.startswith('{"error"'))
    assert body == '{"error": {"message": "' + "x" * 500 + '\\u001b[2J [key]", "detail": [1, 2]}}'
