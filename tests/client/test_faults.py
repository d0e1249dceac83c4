"""Every fault that a server or a network can have, over real sockets: each is reported, and nothing hangs."""

import asyncio
import gzip
import json
import shlex
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trustme

from qubrid_cli.client.endpoint import Endpoint

from ..conftest import KEY, Ask, environment
from ..support.server import (
    DONE,
    USAGE,
    X_METRICS,
    Asked,
    Raw,
    Reply,
    Server,
    delta,
    document,
    event,
    figures,
    refusal,
    stream,
)

Script = Callable[[asyncio.StreamWriter, int], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = HEAD + b"Connection: close\r\n\r\n"
WHOLE = delta("A light") + delta("house.", finish="stop") + figures() + DONE
PART = delta("A light")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sending(*pieces: bytes, pause: float = 0.0) -> Script:
    """Sends pieces, each for itself, then closes."""

    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause:
                await asyncio.sleep(pause)

    return script


def resetting(*pieces: bytes) -> Script:
    """Sends pieces, then resets the connection (RST instead of FIN)."""

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        await sending(*pieces, pause=0.1)(writer, number)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return script


def stalling(*pieces: bytes) -> Script:
    """Sends pieces, then nothing, and leaves the connection open."""

    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        await sending(*pieces)(writer, number)
        await asyncio.sleep(60)

    return script


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize(
    ("script", "options", "exit_code", "text", "code"),
    [
        pytest.param(resetting(), ["--retries", "0"], 5, "", "network", id="reset before headers"),
        pytest.param(sending(), ["--retries", "0"], 5, "", "network", id="closed before headers"),
        pytest.param(sending(b"nonsense\r\n\r\n"), ["--retries", "0"], 5, "", "network", id="no HTTP"),
        pytest.param(resetting(CHUNKED, chunk(PART)), [], 6, "A light", "network", id="reset in mid-stream"),
        pytest.param(resetting(CHUNKED, chunk(delta("<t"))), [], 6, "<t", "network", id="reset in what may be a tag"),
        pytest.param(resetting(CHUNKED, chunk(delta("<think>"))), [], 6, "", "network", id="reset behind a tag"),
        pytest.param(sending(UNTIL_CLOSE, PART, PART[:-20]), [], 6, "A light", "cut_off", id="closed within an event"),
        pytest.param(sending(f"Bearer {KEY} refused\r\n\r\n".encode()), ["--retries", "0"], 5, "", "network", id="no HTTP, with the key"),
        pytest.param(
            stalling(b"HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nContent-Length: 99\r\n\r\n"), ["--max-time", "0.5"], 5, "", "max_time",
            id="max-time in an error's body",
        ),
        pytest.param(
            stalling(CHUNKED, chunk(delta("A light") + delta("house.", finish="stop"))), ["--max-time", "1"], 0, "A lighthouse.", None,
            id="max-time behind the end",
        ),
        pytest.param(stalling(), ["--timeout", "0.5"], 5, "", "timeout", id="stall before headers"),
        pytest.param(stalling(CHUNKED), ["--timeout", "0.5"], 5, "", "timeout", id="stall after headers"),
        pytest.param(stalling(CHUNKED, chunk(PART)), ["--timeout", "0.5"], 6, "A light", "timeout", id="stall in mid-stream"),
        pytest.param(stalling(), ["--max-time", "0.5"], 5, "", "max_time", id="max-time before headers"),
        pytest.param(stalling(CHUNKED, chunk(PART)), ["--max-time", "1"], 6, "A light", "max_time", id="max-time in mid-stream"),
        pytest.param(stalling(UNTIL_CLOSE, PART), ["--max-time", "1"], 6, "A light", "max_time", id="max-time without length"),
        pytest.param(
            sending(*byte_by_byte(HEAD + b"X: " + b"x" * 9999), pause=0.05), ["--max-time", "0.7"], 5, "", "max_time",
            id="max-time in slow headers",
        ),
        pytest.param(sending(CHUNKED, chunk(PART)), [], 6, "A light", "network", id="FIN in chunked"),
        pytest.param(sending(HEAD + b"Content-Length: 9999\r\n\r\n", PART), [], 6, "A light", "network", id="length too long"),
        pytest.param(
            sending(HEAD + f"Content-Length: {len(PART)}\r\n\r\n".encode(), WHOLE), [], 6, "A light", "cut_off", id="length too short"
        ),
        pytest.param(sending(UNTIL_CLOSE, PART), [], 6, "A light", "cut_off", id="closed without an end"),
        pytest.param(
            sending(HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", b"no gzip"), [], 5, "", "protocol", id="bad gzip"
        ),
        pytest.param(resetting(CHUNKED, chunk(WHOLE)), [], 0, "A lighthouse.", None, id="reset behind the end"),
        pytest.param(sending(HEAD + b"Content-Length: 9999\r\n\r\n", WHOLE), [], 0, "A lighthouse.", None, id="length too long, whole"),
        pytest.param(stalling(CHUNKED, chunk(WHOLE)), [], 0, "A lighthouse.", None, id="open behind the end"),
        pytest.param(sending(*byte_by_byte(CHUNKED), chunk(WHOLE), b"0\r\n\r\n", pause=0.001), [], 0, "A lighthouse.", None, id="slow headers"),
        pytest.param(
            sending(CHUNKED, *map(chunk, byte_by_byte(WHOLE)), b"0\r\n\r\n"), [], 0, "A lighthouse.", None, id="byte by byte"
        ),
        pytest.param(
            sending(HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n", gzip.compress(WHOLE)), [], 0, "A lighthouse.", None,
            id="gzip",
        ),
        pytest.param(
            sending(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n", WHOLE), [], 0, "A lighthouse.", None,
            id="wrong Content-Type",
        ),
        pytest.param(sending(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", WHOLE), [], 0, "A lighthouse.", None, id="no Content-Type"),
    ],
)  # fmt: skip
def test_each_fault_ends_with_its_exit_code_and_the_text_so_far(
    describe: Ask, lighthouse: Path, script: Script, options: list[str], exit_code: int, text: str, code: str | None
) -> None:
    with Raw(script) as server:
        run = describe(lighthouse, "what?", "--json", "-v", *options, env={"QUBRID_BASE_URL": server.url})
        found = run.json
        assert (run.exit_code, found["text"], found["complete"]) == (exit_code, text, exit_code == 0)
        assert (found["error"] and found["error"]["code"]) == code
        assert len(server.asked) == 1


def test_fifty_thousand_small_chunks_arrive(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = Reply(
        [b"".join(delta(f"{n} ") for n in range(start, start + 500)) for start in range(0, 50_000, 500)] + [DONE]
    )
    assert describe(lighthouse, "what?").stdout == b"".join(f"{n} ".encode() for n in range(50_000)) + b"\n"


def test_a_chunk_of_ten_megabytes_arrives(describe: Ask, server: Server, lighthouse: Path) -> None:
    text = "".join(f"{number:07} " for number in range(1_250_000))
    server.answer = stream(text)
    assert describe(lighthouse, "what?").stdout == text.encode() + b"\n"


# Retries


def passing(server: Server, *failures: Reply) -> list[float]:
    """Let a server fail in these ways, one after the other, before it answers; return the times of the requests."""
    times: list[float] = []

    def answer(_: Asked) -> Reply:
        times.append(time.monotonic())
        return failures[len(times) - 1] if len(times) <= len(failures) else stream("At last.")

    server.answer = answer
    return times


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_a_temporary_error_is_retried(describe: Ask, server: Server, lighthouse: Path, status: int) -> None:
    times = passing(server, refusal(status, {"message": "busy"}, **{"Retry-After": "0"}))
    run = describe(lighthouse, "what?")
    assert (run.exit_code, run.stdout, len(times)) == (0, b"At last.\n", 2)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "code": "insufficient_quota"}},
        {"error": {"message": "no", "type": "insufficient_quota"}},
    ],
)
def test_missing_credits_are_not_retried(describe: Ask, server: Server, lighthouse: Path, body: object) -> None:
    times = passing(server, refusal(429, body, **{"Retry-After": "0"}))
    run = describe(lighthouse, "what?", "--json")
    assert (run.exit_code, run.json["error"]["code"], len(times)) == (5, "insufficient_quota", 1)


@pytest.mark.parametrize(("status", "exit_code"), [(400, 5), (401, 3), (403, 5), (404, 5), (413, 5), (422, 5)])
def test_a_permanent_error_is_not_retried(
    describe: Ask, server: Server, lighthouse: Path, status: int, exit_code: int
) -> None:
    times = passing(server, refusal(status, {"message": "no"}))
    assert (describe(lighthouse, "what?").exit_code, len(times)) == (exit_code, 1)


def test_a_stalled_handshake_times_out(describe: Ask, lighthouse: Path) -> None:
    class Silent(Raw):
        async def _serve(self, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

    with Silent(ANSWERING) as server:
        url = f"https://127.0.0.1:{server.port}/v1"
        run = describe(lighthouse, "what?", "--json", "--max-time", "1", "--base-url", url)
        # The program's own measure; ten seconds is what a handshake has by itself.
        assert (run.exit_code, run.json["timing"]["total_seconds"] < 10) == (5, True)


def test_verbose_reports_every_attempt(describe: Ask, server: Server, lighthouse: Path) -> None:
    busy = refusal(503, {"message": "busy"}, **{"Retry-After": "0", "X-Request-Id": "req-7"})
    passing(server, busy, busy)
    said = describe(lighthouse, "what?", "-v").stderr
    assert [line.split(" ")[:2] for line in said.splitlines() if not line.startswith('{"max_tokens"')] == [
        *(["POST", f"{server.url}/chat/completions"], ["HTTP", "503"], ['{"message":', '"busy"}'], ["503", "from"]),
        *(["POST", f"{server.url}/chat/completions"], ["HTTP", "503"], ['{"message":', '"busy"}'], ["503", "from"]),
        *(["POST", f"{server.url}/chat/completions"], ["HTTP", "200"]),
    ]
    assert said.count("request id req-7") == 2


def test_thinking_does_no_harm_when_stderr_cannot_be_written(
    server: Server, lighthouse: Path, quick_program: list[str]
) -> None:
    server.answer = stream("<think>hm</think>", "Yes.")
    script = f"{shlex.join(quick_program)} describe {lighthouse} --thinking -v --color always 2>/dev/full"
    env = environment({"QUBRID_BASE_URL": server.url})
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, check=False, timeout=60)
    assert (done.returncode, b"Yes." in done.stdout) == (0, True)


def test_a_retry_waits_as_long_as_the_server_asks(describe: Ask, server: Server, lighthouse: Path) -> None:
    busy = refusal(429, {"message": "busy"}, **{"Retry-After": "1"})
    times = passing(server, busy, busy)
    run = describe(lighthouse, "what?")
    assert (run.exit_code, run.stdout) == (0, b"At last.\n")
    assert [later - earlier >= 1 for earlier, later in pairwise(times)] == [True, True]


def test_a_longer_wait_than_the_limit_is_an_error(describe: Ask, server: Server, lighthouse: Path) -> None:
    times = passing(server, refusal(503, {"message": "busy"}, **{"Retry-After": "120"}))
    run = describe(lighthouse, "what?")
    assert (run.exit_code, "it asks to wait 120 s, longer than --retry-max-wait" in run.stderr, len(times)) == (
        5,
        True,
        1,
    )


def test_a_wait_beyond_max_time_is_an_error(describe: Ask, server: Server, lighthouse: Path) -> None:
    passing(server, refusal(503, {"message": "busy"}, **{"Retry-After": "30"}))
    run = describe(lighthouse, "what?", "--max-time", "10")
    assert (run.exit_code, "--max-time would be over before the retry" in run.stderr) == (5, True)


def test_retries_are_counted(describe: Ask, server: Server, lighthouse: Path) -> None:
    times = passing(server, *[refusal(500, {"message": "no"}, **{"Retry-After-Ms": "10"})] * 9)
    assert (describe(lighthouse, "what?", "--retries", "2").exit_code, len(times)) == (5, 3)


def test_a_connection_that_broke_before_the_first_token_is_retried(describe: Ask, lighthouse: Path) -> None:
    async def script(writer: asyncio.StreamWriter, number: int) -> None:
        faults = {1: resetting(), 2: sending(), 3: sending(CHUNKED, chunk(b": waiting\n\n"))}
        await faults.get(number, sending(CHUNKED, chunk(WHOLE), b"0\r\n\r\n"))(writer, number)

    with Raw(script) as server:
        run = describe(lighthouse, "what?", env={"QUBRID_BASE_URL": server.url})
        assert (run.exit_code, run.stdout, len(server.asked)) == (0, b"A lighthouse.\n", 4)


def test_an_error_event_before_the_first_token_is_retried(describe: Ask, server: Server, lighthouse: Path) -> None:
    times = passing(server, Reply([event({"error": {"message": "overloaded", "code": 503}})]))
    assert (describe(lighthouse, "what?").stdout, len(times)) == (b"At last.\n", 2)


def test_nothing_is_retried_after_the_first_token(describe: Ask, server: Server, lighthouse: Path) -> None:
    times = passing(server, Reply([delta("Half"), event({"error": {"message": "overloaded", "code": 503}})]))
    run = describe(lighthouse, "what?")
    assert (run.exit_code, run.stdout, len(times)) == (6, b"Half\n", 1)


@pytest.mark.parametrize(
    ("field", "message", "sent"),
    [
        ("stream_options", "Extra inputs are not permitted: stream_options", None),
        (
            "max_tokens",
            "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "max_completion_tokens",
        ),
        ("temperature", "'temperature' does not support 0.1 with this model.", None),
        ("top_p", "Unsupported parameter: 'top_p'", None),
    ],
)
def test_a_refused_field_is_dropped(
    describe: Ask, server: Server, lighthouse: Path, field: str, message: str, sent: str | None
) -> None:
    no = refusal(400, {"error": {"message": message, "param": field}})
    server.answer = lambda asked: no if field in asked.json else stream("Well.")
    found = describe(lighthouse, "what?", "--json").json
    assert (found["ok"], found["text"], len(found["warnings"]), len(server.asked)) == (True, "Well.", 1, 2)
    assert (sent is None) or server.asked[1].json[sent] == 16384


def test_an_endpoint_may_refuse_several_fields(describe: Ask, server: Server, lighthouse: Path) -> None:
    def answer(asked: Asked) -> Reply:
        for field in ("stream_options", "temperature", "top_p"):
            if field in asked.json:
                return refusal(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", field]}]})
        return stream("Well.")

    server.answer = answer
    found = describe(lighthouse, "what?", "--json").json
    assert (found["text"], len(found["warnings"]), len(server.asked)) == ("Well.", 3, 4)


# Where requests go


def test_nothing_is_sent_to_another_origin(describe: Ask, server: Server, lighthouse: Path) -> None:
    with Server() as elsewhere:
        server.answer = refusal(307, {}, Location=f"{elsewhere.url}/chat/completions")
        run = describe(lighthouse, "what?", "-v")
        assert (run.exit_code, elsewhere.asked) == (5, [])
        assert (
            f"127.0.0.1:{server.port} redirects to http://127.0.0.1:{elsewhere.port}, another origin; "
            "the request is not sent there" in run.stderr
        )


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


ANSWERING = sending(CHUNKED, chunk(WHOLE), b"0\r\n\r\n")


def test_a_certificate_of_nobody_known_is_not_trusted(describe: Ask, lighthouse: Path, tls: ssl.SSLContext) -> None:
    with Raw(ANSWERING, tls) as server:
        run = describe(lighthouse, "what?", "--json", env={"QUBRID_BASE_URL": server.url})
        assert (run.exit_code, run.json["error"]["code"], server.asked) == (5, "certificate", [])
        assert "SSL_CERT_FILE" in run.json["error"]["hint"]


def test_an_authority_of_ones_own_can_be_named(
    describe: Ask, lighthouse: Path, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Raw(stalling(CHUNKED, chunk(WHOLE)), tls) as server:  # which is cut off behind its end, over TLS too
        env = {"QUBRID_BASE_URL": server.url, "SSL_CERT_FILE": str(tmp_path / "ca.pem"), "SSL_CERT_DIR": ""}
        run = describe(lighthouse, "what?", env=env)
        assert (run.exit_code, run.stdout, server.asked[0].headers["authorization"]) == (
            0,
            b"A lighthouse.\n",
            f"Bearer {KEY}",
        )


def test_https_to_a_plain_port_says_so(describe: Ask, lighthouse: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    class Plain(Raw):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await script(reader, writer)

    with Plain(ANSWERING) as server:
        run = describe(lighthouse, "what?", "--json", "--base-url", f"https://127.0.0.1:{server.port}/v1")
        assert (run.exit_code, run.json["error"]["code"]) == (5, "tls")


def test_the_key_goes_over_plain_http_where_it_is_allowed() -> None:
    with Endpoint("http://192.0.2.1/v1", key=KEY, timeout=1, allow_http=True) as endpoint:
        assert endpoint.host == "192.0.2.1"


# Every form that an answer may have


CHUNKS: dict[str, list[bytes]] = {
    "LF": [WHOLE],
    "CRLF": [WHOLE.replace(b"\n", b"\r\n")],
    "CR": [WHOLE.replace(b"\n", b"\r")],
    "BOM": [b"\xef\xbb\xbf" + WHOLE],
    "comments": [b": OPENROUTER PROCESSING\n\n" + WHOLE.replace(b"\n\n", b"\n\n: ping\n\n")],
    "no blank behind data:": [WHOLE.replace(b"data: ", b"data:")],
    "event names": [WHOLE.replace(b"data: ", b"event: chunk\ndata: ")],
    "last event without its end": [WHOLE.rstrip(b"\n")],
    "without [DONE]": [WHOLE.replace(DONE, b"")],
    "figures first": [figures() + WHOLE.replace(figures(), b"")],
    "figures behind [DONE]": [WHOLE.replace(figures(), b"") + figures()],
    "a document": [p for p in document("A lighthouse.").pieces if isinstance(p, bytes)],
    "message in place of delta": [
        WHOLE.replace(b'"delta"', b'"message"'),
    ],
    "several lines of data": [WHOLE.replace(b', "choices"', b',\ndata: "choices"')],
}


@pytest.mark.parametrize("form", CHUNKS)
def test_every_form_of_an_answer_gives_the_same(describe: Ask, server: Server, lighthouse: Path, form: str) -> None:
    server.answer = Reply(CHUNKS[form])
    found = describe(lighthouse, "what?", "--json").json
    assert (found["ok"], found["text"], found["usage"], found["x_metrics"]) == (True, "A lighthouse.", USAGE, X_METRICS)


def test_unusual_characters_arrive_unchanged(describe: Ask, server: Server, lighthouse: Path) -> None:
    """Line separators that are none in JSON, and an emoji that a server cut in two halves."""
    halves = [json.dumps({"choices": [{"delta": {"content": text}}]}).encode() for text in ("\ud83c", "\udf89")]
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf"
    server.answer = Reply(
        [delta(odd), *(b"data: " + half + b"\n\n" for half in halves), delta("", finish="stop"), DONE]
    )
    assert describe(lighthouse, "what?").stdout == f"{odd}🎉\n".encode()


def test_a_missing_key_is_not_reported_as_refused(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = refusal(401, {"error": {"message": "no token"}})
    run = describe(lighthouse, "what?", env={"QUBRID_API_KEY": ""})
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert (run.exit_code, run.stderr.splitlines()) == (
        3,
        [
            f"error: {host} requires a key (HTTP 401): no token",
            "hint: Store one with: qvision auth login. It is sent only to this address.",
        ],
    )
