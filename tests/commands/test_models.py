"""``qvision models``: the lists that servers send, and servers without one."""

import asyncio
import json
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
import trustme

from qubrid_cli.client.models import parse_model_ids
from qubrid_cli.errors import EndpointError
from qubrid_cli.settings.fields import QUBRID_URL
from qubrid_cli.settings.model_cache import BUILT_IN_MODELS, get_built_in_models, suggest_model

from ..conftest import KEY, Qvision, Run, at_home, command, environment
from ..support.server import JSON, Asked, Hold, Loopback, Raw, Reply, Server, refusal, stream


def answer(body: object, status: int = 200) -> Reply:
    return Reply([body if isinstance(body, bytes) else json.dumps(body).encode()], status=status, headers=JSON)


@pytest.fixture
def models(qvision: Qvision, server: Server) -> "Models":
    return Models(qvision, server)


class Models:
    """``qvision models`` against the test server, with a key."""

    def __init__(self, qvision: Qvision, server: Server) -> None:
        self._qvision = qvision
        self._env = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}

    def __call__(self, *arguments: object) -> Run:
        run = self._qvision("models", *arguments, env=self._env)
        assert KEY not in run.stderr + run.stdout.decode()
        return run


OURS = [{"id": "a/one", "object": "model", "owned_by": "x"}, {"id": "two:8b"}]


@pytest.mark.parametrize("body", [{"object": "list", "data": OURS}, OURS, b"\xef\xbb\xbf" + json.dumps(OURS).encode()])
def test_ids_come_one_on_each_line_in_the_servers_order(models: Models, server: Server, body: object) -> None:
    server.answer = answer(body)
    run = models()
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"a/one\ntwo:8b\n", "")
    (request,) = server.asked
    assert (request.method, request.path, request.body) == ("GET", "/v1/models", b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_as_json_it_is_one_object(models: Models, server: Server) -> None:
    server.answer = answer({"data": OURS})
    run = models("--json")
    assert json.loads(run.stdout) == {
        "schema_version": 1,
        "ok": True,
        "source": "endpoint",
        "dated": None,
        "base_url": server.url,
        "models": [{"id": "a/one"}, {"id": "two:8b"}],
        "error": None,
    }
    assert run.stdout.count(b"\n") == 1


def test_entries_without_an_id_and_duplicates_are_skipped() -> None:
    data = {"data": [{"id": "a"}, {"id": 7}, {"id": None}, {"id": " "}, {}, "b", None, ["c"], {"id": "a"}, {"id": "d"}]}
    assert parse_model_ids(data, "host") == ("a", "d")


@pytest.mark.parametrize("data", [{"data": None}, {"data": []}, []])
def test_an_empty_list_is_empty(data: object) -> None:
    assert parse_model_ids(data, "host") == ()


@pytest.mark.parametrize("data", [None, "text", 7, {"models": []}, {"data": "x"}, {"data": {"id": "a"}}])
def test_anything_else_than_a_list_is_an_error(data: object) -> None:
    with pytest.raises(EndpointError, match="host answered with something other than a list of models"):
        parse_model_ids(data, "host")


def test_an_empty_list_prints_nothing_and_a_note(models: Models, server: Server) -> None:
    server.answer = answer({"data": None})
    run = models()
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"", "note: the endpoint's list is empty\n")


def test_control_characters_in_an_id_are_escaped(models: Models, server: Server) -> None:
    server.answer = answer({"data": [{"id": "a\x1b[2Jb\nc\x9bd\ud800"}]})
    assert models().stdout == b"a\\x1b[2Jb\\nc\\x9bd\\ud800\n"
    assert json.loads(models("--json").stdout)["models"] == [{"id": "a\x1b[2Jb\nc\x9bd\ud800"}]
    assert b"\x9b" not in models("--json").stdout


def test_a_server_that_echoes_the_key_does_not_show_it(models: Models, server: Server) -> None:
    server.answer = answer({"data": [{"id": f"model for {KEY}"}]})
    assert models().stdout == b"model for [key]\n"


def test_no_key_is_needed_if_the_server_accepts_none(qvision: Qvision, server: Server) -> None:
    server.answer = answer({"data": OURS})
    run = qvision("models", "--base-url", server.url)
    assert (run.exit_code, "authorization" in server.asked[0].headers) == (0, False)


def unlisted(listed: Reply, completed: Reply) -> Callable[[Asked], Reply]:
    """A server whose list of models and whose chat completions answer differently."""
    return lambda asked: listed if asked.method == "GET" else completed


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize(
    "completed",
    [
        answer({"error": {"message": "model is required"}}, 400),
        answer({}, 401),
        answer({"detail": "no model"}, 404),
        stream("A"),
    ],
)
def test_an_endpoint_without_a_list_is_an_error_that_does_not_blame_the_address(
    models: Models, server: Server, status: int, completed: Reply
) -> None:
    server.answer = unlisted(answer(b"", status), completed)
    run = models()
    assert (run.exit_code, run.stdout) == (5, b"")
    assert run.stderr == (
        f"error: 127.0.0.1:{server.port} does not list its models (HTTP {status})\n"
        "hint: The address may still be right: see the endpoint's documentation for its models.\n"
    )
    assert [(asked.method, asked.body) for asked in server.asked] == [("GET", b""), ("POST", b"{}")]


@pytest.mark.parametrize(
    "everywhere",
    [
        answer(b"", 404),
        answer({"detail": "Not Found"}, 404),
        answer(b"", 405),
        Reply([b"<!doctype html><title>App</title>"]),
    ],
)
def test_a_wrong_address_is_told_apart(models: Models, server: Server, everywhere: Reply) -> None:
    server.answer = everywhere
    run = models()
    assert run.exit_code == 5
    assert ", and has no chat completions at this address either\nhint: Check --base-url: " in run.stderr
    assert json.loads(models("--json").stdout)["error"]["code"] == "wrong_address"


@pytest.mark.parametrize(
    ("model", "suggestion"),
    [
        ("Hunyuan/Hunyuan-OCR-1B", "tencent/HunyuanOCR"),
        ("qwen3-vl-plus", "Qwen/Qwen3-VL-Plus"),
        ("Qwen/Qwen3-VL-Flsh", "Qwen/Qwen3-VL-Flash"),
        ("Qwen/Qwen3.5-397B", "Qwen/Qwen3.5-397B-A17B"),
        ("kimi-k2.5", "moonshotai/Kimi-K2.5"),
        ("gpt-4o", None),
        ("llava", None),
    ],
)
def test_the_most_similar_name_is_suggested(model: str, suggestion: str | None) -> None:
    assert suggest_model(model, BUILT_IN_MODELS) == suggestion
    assert suggest_model(model, ()) is None


@pytest.mark.parametrize("cached", [(), ("other/hunyuan-ocr-1b",)])
def test_the_error_about_an_unknown_model_names_the_most_similar_one(
    qvision: Qvision, server: Server, lighthouse: Path, cached: tuple[str, ...]
) -> None:
    """Of the list that was read last, and of Qubrid's documented models."""
    env = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url, "QUBRID_MODEL": "Hunyuan/Hunyuan-OCR-1B"}
    if cached:
        server.answer = answer({"data": [{"id": name} for name in cached]})
        qvision("models", env=env)
    server.answer = answer({"error": {"message": "no such model", "code": "model_not_found"}}, 404)
    run = qvision("describe", lighthouse, env=env)
    name = cached[0] if cached else "tencent/HunyuanOCR"
    assert (run.exit_code, f"; did you mean {name}?\nhint: Check its name" in run.stderr) == (5, True)


def test_only_qubrids_own_address_has_a_built_in_list() -> None:
    assert get_built_in_models(QUBRID_URL) == BUILT_IN_MODELS
    assert get_built_in_models("http://127.0.0.1:8000/v1") == ()


class Tunnel(Loopback):
    """A proxy that connects every tunnel to one local port, whatever its address."""

    def __init__(self, port: int) -> None:
        self._port = port
        super().__init__()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        finally:
            server_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_the_built_in_list_is_shown_and_marked_if_qubrid_sends_none(
    qvision: Qvision, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("platform.qubrid.com").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()

    with Raw(script, tls) as server, Tunnel(server.port) as proxy:
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        run = qvision("models", *arguments, env=env)
        assert [request.path for request in server.asked] == ["/v1/models"]
    assert run.exit_code == 0
    if arguments:
        assert json.loads(run.stdout) == {
            "schema_version": 1,
            "ok": True,
            "source": "built-in",
            "dated": "2026-11",
            "base_url": QUBRID_URL,
            "models": [{"id": name} for name in BUILT_IN_MODELS],
            "error": None,
        }
    else:
        assert run.stdout.decode().split() == list(BUILT_IN_MODELS)
        assert run.stderr == (
            "note: platform.qubrid.com does not list its models; "
            "these are the vision models in its documentation of 2026-11\n"
        )


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, 3, "refused the key"),
        (403, 5, "did not permit this request"),
        (400, 5, "refused the request"),
        (302, 5, "sent a redirect without an address"),
    ],
)
def test_a_refusal_has_the_usual_message_and_exit_code(
    models: Models, server: Server, status: int, code: int, says: str
) -> None:
    server.answer = refusal(status, {"error": {"message": "No."}})
    run = models()
    assert (run.exit_code, run.stdout, says in run.stderr) == (code, b"", True)


def test_a_failure_is_the_same_json_object(models: Models, server: Server) -> None:
    server.answer = refusal(400, {"error": {"message": "No."}})
    run = models("--json")
    result = json.loads(run.stdout)
    error = result.pop("error")
    nothing: dict[str, object] = {"source": None, "dated": None, "base_url": None, "models": []}
    assert (run.exit_code, result) == (5, {"schema_version": 1, "ok": False} | nothing)
    assert (set(error), error["status"]) == ({"code", "message", "hint", "status", "request_id"}, 400)
    assert run.stderr == f"error: {error['message']}\nhint: {error['hint']}\n"


def test_a_wrong_setting_is_the_same_json_object(qvision: Qvision) -> None:
    run = qvision("models", "--json", "--profile", "nope")
    assert (run.exit_code, json.loads(run.stdout)["error"]["code"]) == (3, "config")


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_ctrl_c_is_reported_and_exits_with_130(arguments: list[str], server: Server, tmp_path: Path) -> None:
    is_requested, hold = threading.Event(), Hold()

    def wait(_: Asked) -> Reply:
        is_requested.set()
        return Reply([hold], headers=JSON)

    server.answer = wait
    env = environment({**at_home(tmp_path), "QUBRID_BASE_URL": server.url})
    with subprocess.Popen(
        command("models", *arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert is_requested.wait(30)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (130, b"error: stopped by Ctrl-C\n")
    assert [json.loads(line)["error"]["code"] for line in stdout.splitlines()] == ["interrupted"] * len(arguments)


def test_max_time_limits_the_command(models: Models, server: Server) -> None:
    server.answer = Reply([Hold()], headers=JSON)
    run = models("--max-time", "0.3")
    assert (run.exit_code, "did not finish within --max-time\nhint: Raise --max-time." in run.stderr) == (5, True)


def test_an_error_with_status_200_is_an_error(models: Models, server: Server) -> None:
    server.answer = answer({"error": {"message": "Not today", "code": "invalid_api_key"}})
    run = models()
    assert (run.exit_code, "Not today" in run.stderr) == (3, True)


def test_a_truncated_or_invalid_list_is_an_error(models: Models, server: Server) -> None:
    server.answer = answer(b'{"data": [{"id": "a"')
    run = models()
    assert (run.exit_code, run.stderr.partition("\n")[0]) == (
        5,
        f"error: the list of models from 127.0.0.1:{server.port} is not valid JSON",
    )
    server.answer = answer(b'{"data": ' + b"[" * 200_000)
    assert models().exit_code == 5


def test_an_endless_list_is_not_read_to_its_end(models: Models, server: Server) -> None:
    server.answer = Reply([b'{"data": ["', *[b"x" * 1_000_000] * 20, b'"]}'], headers=JSON)
    run = models()
    assert (run.exit_code, "is larger than 16 MB" in run.stderr) == (5, True)


def test_a_deeply_nested_error_is_still_an_error(models: Models, server: Server) -> None:
    server.answer = answer(b'{"error":' * 700 + b"1" + b"}" * 700, 400)
    run = models()
    assert run.exit_code == 5


def test_a_temporary_failure_is_retried_at_most_twice(models: Models, server: Server) -> None:
    busy = Reply([b"{}"], status=503, headers=JSON | {"Retry-After": "0"})
    server.answer = busy
    assert (models().exit_code, len(server.asked)) == (5, 3)
    server.answer = lambda _: answer({"data": OURS}) if len(server.asked) == 5 else busy
    assert (models().stdout, len(server.asked)) == (b"a/one\ntwo:8b\n", 5)
    server.answer = busy
    assert (models("--retries", "0").exit_code, len(server.asked)) == (5, 6)


def test_the_offline_endpoint_has_one_model_and_caches_nothing(qvision: Qvision, tmp_path: Path) -> None:
    run = qvision("models", "--offline")
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"offline\n", "")
    assert list((tmp_path / "home").rglob("models-*.json")) == []


def test_the_key_is_not_sent_over_plain_http(qvision: Qvision) -> None:
    run = qvision("models", "--base-url", "http://192.0.2.1/v1", env={"QUBRID_API_KEY": KEY})
    assert (run.exit_code, "is not sent to 192.0.2.1 over plain http" in run.stderr) == (3, True)


def test_the_cached_list_holds_no_key_and_an_unusable_cache_folder_changes_nothing(
    models: Models, qvision: Qvision, server: Server, tmp_path: Path
) -> None:
    server.answer = answer({"data": OURS})
    models()
    (cache,) = (tmp_path / "home").rglob("models-*.json")
    assert json.loads(cache.read_bytes()) == {
        "schema_version": 1,
        "base_url": server.url,
        "models": ["a/one", "two:8b"],
    }
    run = qvision("models", "--base-url", server.url, env=at_home(Path(__file__) / "nowhere"))
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"a/one\ntwo:8b\n", "")


def test_a_terminal_gets_a_table_with_the_set_model_marked(server: Server, tmp_path: Path) -> None:
    server.answer = answer({"data": [*OURS, {"id": "evil\x1b]0;title\x07"}]})
    env = environment({**at_home(tmp_path), "QUBRID_BASE_URL": server.url, "QVISION_MODEL": "two:8b"})
    (program, *arguments) = command("models")
    child = pexpect.spawn(program, arguments, env=env, timeout=30, dimensions=(24, 80))
    child.expect(pexpect.EOF)
    assert isinstance(child.before, bytes)
    shown = child.before.decode()
    child.close()
    assert "\x1b]0" not in shown
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["a/one"],
        ["two:8b", "set"],
        [r"evil\x1b]0;title\x07"],
    ]
