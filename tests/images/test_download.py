"""Images behind links: which are fetched here, what a host learns, and every way in which a download fails."""

import asyncio
import gzip
import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import trustme

from qubrid_cli.errors import ImageError
from qubrid_cli.images.download import MAX_BYTES, download
from qubrid_cli.images.sources import Bytes, FetchedLink, Link, Source, resolve_links

from ..conftest import KEY, Ask, Qvision, command, environment
from ..support.server import Asked, Raw, Reply, Server, refusal
from ..test_house import loaded_by

Script = Callable[[asyncio.StreamWriter, int], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\n"
UNTIL_CLOSE = OK + b"Connection: close\r\n\r\n"


def sending(*pieces: bytes) -> Script:
    """Sends pieces, then closes."""

    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def endless(head: bytes, piece: bytes, pause: float = 0.0) -> Script:
    """Sends a piece again and again, for as long as anybody takes it."""

    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return script


def silent(head: bytes = b"") -> Script:
    """Sends the beginning of something and nothing more."""

    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(head)
        await writer.drain()
        await asyncio.sleep(60)

    return script


def moved(*places: str, status: int = 302) -> Script:
    """Redirects to one place after the other; the last one for ever."""

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        there = places[min(number, len(places)) - 1]
        writer.write(f"HTTP/1.1 {status} Moved\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return script


def whole(body: bytes, *headers: str) -> Script:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *headers))
    return sending(OK + lines.encode() + b"\r\n" + body)


def link(server: Raw | Server, path: str = "/a.jpg", userinfo: str = "") -> Link:
    bare = server.url.removesuffix("/v1") + path
    return Link(bare, bare.replace("//", f"//{userinfo}@") if userinfo else bare)


def fetched(script: Script, **limits: float) -> bytes:
    with Raw(script) as server:
        return download(link(server), **{"timeout": 20.0, **limits})


def failure(script: Script, **limits: float) -> tuple[str, str]:
    """The code and the sentence, with the link and the host in it by these words."""
    with Raw(script) as server:
        with pytest.raises(ImageError) as caught:
            download(link(server), **{"timeout": 20.0, **limits})
        name, host = link(server).name, f"127.0.0.1:{server.port}"
        assert (caught.value.exit_code, bool(caught.value.hint)) == (4, True)
        return caught.value.code, caught.value.message.replace(name, "LINK").replace(host, "HOST")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the developer's own."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# Which links are fetched here


NAS, HERE, WEB = (
    Link(url, url) for url in ("http://nas.local/a.jpg", "http://localhost:1/a.jpg", "https://a.example/a.jpg")
)


@pytest.mark.parametrize(
    ("fetch", "endpoint", "here"),
    [
        pytest.param(None, "https://vision.example/v1", [NAS, HERE], id="an endpoint on the web"),
        pytest.param(None, "http://192.168.1.5:8000/v1", [HERE], id="an endpoint in this network"),
        pytest.param(None, "http://localhost:11434/v1", [], id="an endpoint on this machine"),
        pytest.param(None, None, [], id="the built-in endpoint"),
        pytest.param(True, "https://vision.example/v1", [NAS, HERE, WEB], id="--fetch"),
        pytest.param(True, None, [NAS, HERE, WEB], id="--fetch --offline"),
        pytest.param(False, "https://vision.example/v1", [], id="--no-fetch"),
    ],
)
def test_links_that_the_endpoint_cannot_reach_are_fetched_here(
    *, fetch: bool | None, endpoint: str | None, here: list[Link]
) -> None:
    images: list[Source] = [NAS, Bytes("data:,…", b""), HERE, WEB]
    found = resolve_links(images, fetch=fetch, endpoint=endpoint, download=lambda asked: asked.url.encode())
    assert [image.name for image in found] == [image.name for image in images]
    remote = [image for image in found if isinstance(image, FetchedLink)]
    assert [image.fetch() for image in remote] == [image.url.encode() for image in here]
    notes = [f"{image.name}: fetched here, because the endpoint cannot reach it" for image in here]
    assert [image.note for image in remote] == (notes if fetch is None else [None] * len(here))


# What arrives


def test_all_bytes_arrive_with_a_length_in_chunks_or_until_the_end() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n\x00\x01\x02\r\n1\r\n\x03\r\n0\r\n\r\n"
    assert fetched(whole(b"\0\1\2\3")) == fetched(sending(UNTIL_CLOSE, b"\0\1\2\3")) == fetched(sending(chunked))


def test_exactly_the_limit_still_arrives() -> None:
    assert len(fetched(whole(bytes(MAX_BYTES)))) == MAX_BYTES


def test_an_encoding_that_was_not_requested_is_decoded() -> None:
    assert fetched(whole(gzip.compress(b"\0\1"), "Content-Encoding: gzip")) == b"\0\1"


@pytest.mark.parametrize(
    "text", [b"P3\n1 1\n255\n0 0 0\n", b'<?xml version="1.0"?>\n<svg><title>html</title></svg>', b"<!-- x --><svg/>"]
)
def test_text_that_may_be_an_image_is_left_to_the_decoder(text: bytes) -> None:
    assert fetched(whole(text, "Content-Type: text/html")) == text


ZEROS = bytes(65_536)


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        pytest.param(sending(OK + b"Content-Length: 60000000\r\n\r\n"), "too_large", "LINK is larger than 50 MB", id="60 MB, announced"),
        pytest.param(endless(UNTIL_CLOSE, ZEROS), "too_large", "LINK is larger than 50 MB", id="for ever, no length"),
        pytest.param(
            endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + ZEROS + b"\r\n"), "too_large", "LINK is larger than 50 MB",
            id="for ever, in chunks",
        ),
        pytest.param(
            whole(gzip.compress(bytes(60_000_000)), "Content-Encoding: gzip"), "too_large", "LINK is larger than 50 MB", id="60 MB, packed"
        ),
        pytest.param(
            whole(gzip.compress(gzip.compress(b"x")), "Content-Encoding: gzip, gzip"), "image",
            "LINK has a content encoding that is not supported", id="packed twice",
        ),
        pytest.param(
            whole(b"no gzip", "Content-Encoding: gzip"), "protocol",
            "LINK: the response from HOST cannot be read: Error -3 while decompressing data: incorrect header check", id="packed badly",
        ),
        pytest.param(sending(), "network", "LINK: the connection to HOST broke: Server disconnected without sending a response", id="closed before headers"),
        pytest.param(
            sending(OK + b"Content-Length: 9\r\n\r\nabc"), "network", "LINK: the connection to HOST broke: peer closed connection without sending complete message body (received 3 bytes, expected 9)",
            id="closed early"
        ),
        pytest.param(sending(b"nonsense\r\n\r\n"), "protocol", "LINK: HOST does not speak HTTP", id="no HTTP"),
        pytest.param(moved("/a.jpg"), "redirects", "LINK redirects more than 5 times", id="a redirect in a circle"),
        pytest.param(moved("file:///etc/passwd"), "redirect", "LINK redirects to a file URL, not http or https", id="a redirect to a file"),
        pytest.param(moved("https://"), "image", "LINK is, or redirects to, an invalid URL", id="a redirect to nowhere"),
        pytest.param(moved("http://[::1/"), "redirect", "LINK: HOST redirects to an invalid URL", id="a redirect to nonsense"),
        pytest.param(moved("http://h:x/"), "redirect", "LINK: HOST redirects to an invalid URL", id="a redirect to no port"),
        pytest.param(moved("http://a..\u00e4.example/"), "redirect", "LINK: HOST redirects to an invalid URL", id="a redirect to no name"),
        pytest.param(whole(b" <!DOCTYPE html><p>No"), "not_an_image", "LINK is not an image but a web page", id="a web page"),
        pytest.param(whole(b"\xef\xbb\xbf<!-- 1 --><!-- 2 -->\n<HTML>\xe9"), "not_an_image", "LINK is not an image but a web page", id="an old web page"),
        pytest.param(
            whole(b'<?xml version="1.0"?><!DOCTYPE html>'), "not_an_image", "LINK is not an image but a web page", id="a strict web page"
        ),
        pytest.param(whole(b'{"error": "no"}'), "not_an_image", "LINK is not an image but text", id="text"),
    ],
)  # fmt: skip
def test_each_failure_has_its_own_message(script: Script, code: str, says: str) -> None:
    assert failure(script) == (code, says)


def test_a_page_made_for_slow_matching_is_recognized_quickly() -> None:
    assert fetched(whole(b"<!---->" * 200_000)) == b"<!---->" * 200_000


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (304, "HOST did not send LINK (HTTP 304)"),
        (400, "HOST did not send LINK (HTTP 400)"),
        (401, "HOST requires a user and a password for LINK (HTTP 401)"),
        (403, "HOST denies access to LINK (HTTP 403)"),
        (404, "HOST has nothing at LINK (HTTP 404)"),
        (410, "HOST has nothing at LINK (HTTP 410)"),
        (429, "HOST limits requests and did not send LINK (HTTP 429)"),
        (503, "HOST failed to send LINK (HTTP 503)"),
    ],
)
def test_each_status_has_its_own_message(status: int, says: str) -> None:
    head = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    assert failure(sending(head)) == ("not_fetched", says)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(silent(), id="silence before headers"),
        pytest.param(endless(OK, b"X-Drip: 1\r\n", 0.05), id="headers without end"),
        pytest.param(endless(OK + b"Content-Length: 9999\r\n\r\n", b"\0", 0.05), id="a body drop by drop"),
        pytest.param(endless(UNTIL_CLOSE, b"\0", 0.05), id="a body drop by drop, no length"),
    ],
)
def test_a_download_that_takes_too_long_is_stopped(script: Script) -> None:
    assert failure(script, within=0.5) == ("max_time", "LINK did not arrive within 0.5 s")


@pytest.mark.parametrize(
    "script", [silent(), silent(OK), silent(UNTIL_CLOSE + b"abc")], ids=["at once", "in the headers", "in the body"]
)
def test_a_download_without_data_is_stopped(script: Script) -> None:
    assert failure(script, timeout=0.3) == ("timeout", "LINK: HOST sent no data for 0.3 s")


def message(url: str) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        download(Link(url, url), timeout=5)
    return caught.value.code, caught.value.message


def test_a_stalled_handshake_is_stopped() -> None:
    class Silent(Raw):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG002
            await asyncio.sleep(60)

    with Silent(silent()) as server:
        url, host = link(server).url.replace("http:", "https:"), f"127.0.0.1:{server.port}"
        for limits, code, says in (
            ({"timeout": 0.3}, "timeout", f"{url}: {host} did not accept a connection in time"),
            ({"timeout": 20.0, "within": 0.3}, "max_time", f"{url} did not arrive within 0.3 s"),
        ):
            with pytest.raises(ImageError) as caught:
                download(Link(url, url), **limits)
            assert (caught.value.code, caught.value.message) == (code, says)


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_closed_port_is_reported(deaf: int) -> None:
    url = f"http://127.0.0.1:{deaf}/a.jpg"
    assert message(url) == ("network", f"{url}: 127.0.0.1:{deaf} refuses the connection")


def test_an_unknown_host_is_reported() -> None:
    url = "http://[fe80::1%25nowhere]/a.jpg"  # which fails like an unknown name does, but needs no name server for that
    assert message(url) == ("no_such_host", f"{url}: there is no host named [fe80::1%25nowhere]")


@pytest.mark.parametrize(
    "url", ["http://ä..example/a.jpg", f"http://a.example/{'a' * 70_000}", "http://a.example/\udcff"]
)
def test_an_invalid_url_is_reported(url: str) -> None:
    assert message(url) == ("image", f"{url} is, or redirects to, an invalid URL")


def test_a_certificate_of_an_unknown_authority_is_not_trusted() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Raw(whole(b"\0"), context) as server:
        code, said = message(link(server).name)
        assert (code, server.asked) == ("certificate", [])
        assert f"the certificate of 127.0.0.1:{server.port} was issued by trustme" in said


def test_ssl_cert_file_adds_an_authority(qvision: Qvision, lighthouse: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Raw(whole(lighthouse.read_bytes()), context) as server:
        env = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "SSL_CERT_DIR": ""}
        assert qvision("describe", "--fetch", link(server).url, "--offline", env=env).exit_code == 0


def test_https_to_a_port_with_plain_http_is_reported() -> None:
    class Plain(Raw):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Plain(silent()) as server:
        url = link(server).url.replace("http:", "https:")
        code, said = message(url)
        assert (code, f"{url}: no secure connection to 127.0.0.1:{server.port}" in said) == ("tls", True)


# What a host learns


def test_a_host_gets_the_user_agent_and_the_path_and_nothing_else(qvision: Qvision, lighthouse: Path) -> None:
    with Raw(whole(lighthouse.read_bytes())) as server:
        run = qvision("describe", "--fetch", f"{link(server).url}?x=1#part", "--offline", env={"QUBRID_API_KEY": KEY})
        (asked,) = server.asked
        assert (run.exit_code, asked.method, asked.path, asked.body) == (0, "GET", "/a.jpg?x=1", b"")
        assert set(asked.headers) == {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert KEY not in str(asked)


def test_the_key_does_not_follow_a_redirect_either(describe: Ask, server: Server, lighthouse: Path) -> None:
    with Raw(whole(lighthouse.read_bytes())) as behind, Raw(moved(link(behind).url)) as before:
        assert describe("--fetch", link(before).url, "what?").exit_code == 0
        assert KEY not in f"{before.asked}{behind.asked}"
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


BASIC = "Basic bWU6aHVudGVyMg=="  # me:hunter2


def test_a_password_goes_to_its_own_origin_only(lighthouse: Path) -> None:
    data = lighthouse.read_bytes()
    places: list[str] = []

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        await (moved(places[number - 1]) if number <= len(places) else whole(data))(writer, 1)

    with Raw(script) as first, Raw(moved(link(first, "/3").url)) as other:
        places += ["/2", link(other, "/other").url]
        assert download(link(first, "/1", userinfo="me:hunter2"), timeout=20) == data
        sent = [(asked.path, asked.headers.get("authorization")) for asked in first.asked + other.asked]
        assert sent == [("/1", BASIC), ("/2", BASIC), ("/3", BASIC), ("/other", None)]


def test_a_percent_encoded_password_is_sent_decoded() -> None:
    with Raw(whole(b"\0")) as server:
        download(link(server, userinfo="m%40e:p%2Fw%3A"), timeout=20)
        assert server.asked[0].headers["authorization"] == "Basic bUBlOnAvdzo="


def test_a_refused_password_is_reported() -> None:
    with Raw(sending(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")) as server:
        with pytest.raises(ImageError) as caught:
            download(link(server, userinfo="me:hunter2"), timeout=20)
        said = f"127.0.0.1:{server.port} refused the user and password in {link(server).name} (HTTP 401)"
        assert caught.value.message == said


@pytest.mark.parametrize("status", [200, 302, 401, 404, 500])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_password_is_shown_nowhere(
    describe: Ask, server: Server, lighthouse: Path, status: int, form: list[str]
) -> None:
    with Server() as host:
        host.answer = Reply([lighthouse.read_bytes()], status=status, headers={"Location": "http://me:hunter2@/"})
        run = describe("--fetch", link(host, userinfo="me:hunter2").url, lighthouse, "what?", "-v", "--stats", *form)
        assert run.exit_code == (0 if status == 200 else 4)
        assert b"hunter2" not in run.stdout + run.stderr.encode()
        assert b"hunter2" not in b"".join(asked.body for asked in server.asked)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_password_that_the_endpoint_echoes_is_removed(describe: Ask, server: Server, form: list[str]) -> None:
    def answer(asked: Asked) -> Reply:
        return refusal(400, {"error": {"message": f"cannot fetch {asked.image_url}"}})

    server.answer = answer
    run = describe("http://me:hunter2@127.0.0.1:9/a.jpg", "what?", *form)
    assert server.asked[0].image_url == "http://me:hunter2@127.0.0.1:9/a.jpg"
    said = run.stdout.decode() + run.stderr
    assert (run.exit_code, "hunter2" in said, "cannot fetch http://127.0.0.1:9/a.jpg" in said) == (5, False, True)


# The program


def test_a_fetched_image_has_the_record_of_a_file(qvision: Qvision, lighthouse: Path) -> None:
    data = lighthouse.read_bytes()
    with Raw(whole(data)) as server:
        url = f"http://127.0.0.1:{server.port}/a.jpg"
        found = qvision("describe", "--fetch", url, "--offline", "--json").json
    of_the_file = qvision("describe", lighthouse, "--offline", "--json").json["images"][0]
    assert found["images"] == [of_the_file | {"source": url}]
    assert (found["ok"], found["warnings"], of_the_file["sha256"]) == (True, [], sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("script", "options", "says"),
    [
        pytest.param(moved("/a.jpg"), [], "redirects more than 5 times", id="a redirect in a circle"),
        pytest.param(endless(UNTIL_CLOSE, b"\0", 0.05), ["--max-time", "1"], "did not arrive within 1 s", id="drops"),
        pytest.param(silent(OK), ["--timeout", "0.5"], "sent no data for 0.5 s", id="silence"),
        pytest.param(endless(UNTIL_CLOSE, ZEROS), [], "is larger than 50 MB", id="no end"),
        pytest.param(
            sending(OK + b"Content-Length: 9\r\n\r\n\xff\xd8"), [], "broke: peer closed connection", id="half"
        ),
    ],
)
def test_a_failed_download_exits_4(qvision: Qvision, script: Script, options: list[str], says: str) -> None:
    with Raw(script) as server:
        run = qvision("describe", "--fetch", link(server).url, "--offline", "--json", *options)
        found = run.json
        assert (run.exit_code, found["images"][0]["source"], found["images"][0]["sha256"]) == (
            4,
            link(server).name,
            None,
        )
        assert says in found["error"]["message"]


def test_a_length_that_is_too_short_gives_a_damaged_image(qvision: Qvision, large_lighthouse: Path) -> None:
    with Raw(sending(OK + b"Content-Length: 30000\r\n\r\n" + large_lighthouse.read_bytes())) as server:
        run = qvision("describe", "--fetch", link(server).url, "--offline")
        assert (run.exit_code, f"{link(server).name} is damaged or cut off" in run.stderr) == (4, True)


def test_an_endpoint_that_cannot_reach_a_link_gets_the_image_and_the_user_a_note(
    qvision: Qvision, server: Server, lighthouse: Path
) -> None:
    """The endpoint is on the web, by way of a proxy; what is on this machine does not go that way."""
    env = {"QUBRID_BASE_URL": "http://vision.example/v1", "HTTP_PROXY": server.url.removesuffix("/v1")}
    with Raw(whole(lighthouse.read_bytes())) as host:
        url = link(host).url
        found = qvision("describe", url, "what?", "--json", env=env).json
        note = f"{url}: fetched here, because the endpoint cannot reach it"
        assert (found["ok"], found["warnings"], len(host.asked)) == (True, [note], 1)
        assert [asked.path for asked in server.asked] == ["http://vision.example/v1/chat/completions"]
        assert server.asked[0].image_url.startswith("data:image/jpeg;base64,")
        plain = qvision("describe", url, "what?", "--no-fetch", "--json", env=env).json
        assert (plain["warnings"], server.asked[1].image_url, len(host.asked)) == ([], url, 1)


def test_an_endpoint_on_this_machine_gets_the_link(describe: Ask, server: Server) -> None:
    found = describe("http://127.0.0.1:9/a.jpg", "what?", "--json").json
    assert (found["ok"], found["warnings"], server.asked[0].image_url) == (True, [], "http://127.0.0.1:9/a.jpg")


def test_a_link_that_fails_affects_only_its_own_request(describe: Ask, server: Server, lighthouse: Path) -> None:
    with Raw(sending(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")) as host:
        run = describe("--fetch", "--each", link(host).url, lighthouse, "what?", "--json")
        assert (run.exit_code, [line["ok"] for line in run.json_lines], len(server.asked)) == (4, [False, True], 1)


def test_a_proxy_that_cannot_be_used_is_exit_3_and_its_password_not_shown(qvision: Qvision) -> None:
    env = {"ALL_PROXY": "gopher://me:hunter2@127.0.0.1:1"}
    run = qvision("describe", "--fetch", "http://a.example/a.jpg", "--offline", "--json", env=env)
    assert (run.exit_code, b"hunter2" in run.stdout, "hunter2" in run.stderr) == (3, False, False)


@pytest.mark.parametrize(
    ("url", "answer", "says"),
    [
        (
            "https://a.example/a.jpg",
            "407 No",
            "https://a.example/a.jpg: the proxy 127.0.0.1:{port} requires a login: 407 No",
        ),
        ("https://a.example/a.jpg", "403 No", "https://a.example/a.jpg: the proxy 127.0.0.1:{port} refused: 403 No"),
        ("https://a.example/a.jpg", "503 No", "the proxy 127.0.0.1:{port} cannot connect to a.example: 503 No"),
        ("http://a.example/a.jpg", "407 No", "http://a.example/a.jpg: the proxy 127.0.0.1:{port} requires a login"),
        ("http://a.example/a.jpg", "502 No", "a.example failed to send http://a.example/a.jpg (HTTP 502)"),
    ],
)
def test_the_refusal_of_a_proxy_is_reported(qvision: Qvision, url: str, answer: str, says: str) -> None:
    with Raw(sending(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())) as proxy:
        env = {"ALL_PROXY": f"http://me:hunter2@127.0.0.1:{proxy.port}"}
        run = qvision("describe", "--fetch", url, "--offline", env=env)
    assert says.format(port=proxy.port) in run.stderr
    assert (run.exit_code, "hunter2" in run.stderr) == (4, False)


def test_an_unreachable_proxy_is_not_reported_as_an_unreachable_host(qvision: Qvision, deaf: int) -> None:
    env = {"ALL_PROXY": f"http://me:hunter2@127.0.0.1:{deaf}"}
    run = qvision("describe", "--fetch", "http://a.example/a.jpg", "--offline", env=env)
    assert (run.exit_code, "hunter2" in run.stderr) == (4, False)
    assert (
        f"http://a.example/a.jpg: no connection to the proxy 127.0.0.1:{deaf}: it refuses the connection" in run.stderr
    )


def test_ctrl_c_ends_a_download_at_once() -> None:
    asked = threading.Event()

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        asked.set()
        await silent(OK + b"Content-Length: 999\r\n\r\nabc")(writer, number)

    with Raw(script) as server:
        program = subprocess.Popen(
            command("describe", "--fetch", link(server).url, "--offline", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert asked.wait(30)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=20)  # far below what the download itself may take
        assert (program.returncode, b"Traceback" in err) == (130, False)
        assert json.loads(out)["error"]["code"] == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "is_loaded"),
    [
        ([Path("lighthouse")], False),
        (["http://127.0.0.1:9/a.jpg"], False),
        (["--fetch", Path("lighthouse")], False),
        (["--fetch", "http://127.0.0.1:9/a.jpg"], True),
    ],
)
def test_the_downloader_is_loaded_only_when_needed(
    lighthouse: Path, arguments: list[str | Path], *, is_loaded: bool
) -> None:
    words = [str(lighthouse) if isinstance(argument, Path) else argument for argument in arguments]
    assert ("qubrid_cli.images.download" in loaded_by("describe", *words, "--offline")) is is_loaded
