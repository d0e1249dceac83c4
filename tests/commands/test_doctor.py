"""``qvision doctor``: it finds what is wrong, says what to do, never hangs and never shows the key."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pexpect
import pytest
import trustme

from qubrid_cli.commands.doctor.check import run_with_timeout

from ..conftest import KEY, NOWHERE, Qvision, at_home, command, environment
from ..support.empty import REPLIES
from ..support.server import DONE, JSON, Asked, Hold, Pause, Raw, Reply, Server, delta, refusal, stream

MODEL = "Qwen/Qwen3-VL-Plus"
LISTED = Reply([json.dumps({"data": [{"id": MODEL}]}).encode()], headers=JSON)
#: The checks of this machine, which come last.
MACHINE = ["formats", "keyring", "terminal", "versions"]
SETTINGS = ["config", "profile", "base_url", "model", "key"]
#: A proxy where nothing listens, so that no test looks up Qubrid's host.
DEAD_PROXY = {"HTTPS_PROXY": "http://127.0.0.1:9"}


def answering(listed: Reply = LISTED, described: Reply | None = None) -> Callable[[Asked], Reply]:
    answer = described or stream("A blue square.")
    return lambda request: listed if request.method == "GET" else answer


class Doctor:
    """``qvision doctor --json`` against the test server, with a key."""

    def __init__(self, qvision: Qvision, server: Server) -> None:
        self._qvision = qvision
        self._env = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}

    def __call__(self, *arguments: object, env: Mapping[str, str] = {}) -> tuple[int, dict[str, Any]]:
        """The exit code, and the checks by name."""
        run = self._qvision("doctor", "--json", *arguments, env={**self._env, **env})
        assert KEY not in run.stderr + run.stdout.decode()
        report = json.loads(run.stdout)
        assert (report["schema_version"], report["ok"], run.stdout.count(b"\n")) == (1, run.exit_code == 0, 1)
        assert all(set(check) == {"name", "status", "message", "hint"} for check in report["checks"])
        by_name = {check["name"]: check for check in report["checks"]}
        assert len(by_name) == len(report["checks"])
        return run.exit_code, by_name


@pytest.fixture
def doctor(qvision: Qvision, server: Server) -> Doctor:
    server.answer = answering()
    return Doctor(qvision, server)


def problems(checks: Mapping[str, Any]) -> dict[str, str]:
    """The checks that did not pass, without the formats, which depend on the machine."""
    return {name: check["status"] for name, check in checks.items() if check["status"] != "ok" and name != "formats"}


def test_all_checks_pass_from_the_settings_to_the_answer(doctor: Doctor, server: Server) -> None:
    code, checks = doctor()
    assert (code, problems(checks)) == (0, {})
    assert list(checks) == [*SETTINGS, "dns", "tcp", "endpoint", "models", "request", *MACHINE]
    assert checks["base_url"]["message"] == f"{server.url} (QUBRID_BASE_URL)"
    assert checks["key"]["message"] == f"…{KEY[-4:]} from QUBRID_API_KEY"
    assert checks["request"]["message"].endswith(": A blue square.")
    assert [request.path for request in server.asked] == ["/v1/models", "/v1/chat/completions"]
    assert [request.headers["authorization"] for request in server.asked] == [f"Bearer {KEY}"] * 2
    assert server.asked[1].json["max_tokens"] == 16
    assert server.asked[1].image_url.startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "name", ["choices null", "no text, streamed", "blanks", "only tool calls", "refusal, streamed"]
)
def test_an_answer_without_text_fails_the_request_check(doctor: Doctor, server: Server, name: str) -> None:
    server.answer = answering(described=REPLIES[name])
    code, checks = doctor()
    assert (code, problems(checks)) == (5, {"request": "fail"})
    assert checks["request"]["hint"]


@pytest.mark.parametrize("name", ["out of tokens", "out of tokens, streamed"])
def test_a_model_that_thinks_for_all_of_the_few_tokens_works(doctor: Doctor, server: Server, name: str) -> None:
    server.answer = answering(described=REPLIES[name])
    code, checks = doctor()
    assert (code, checks["request"]["status"]) == (0, "ok")
    assert "with no text in its first 16 tokens" in checks["request"]["message"]


def test_no_request_sends_no_image(doctor: Doctor, server: Server) -> None:
    code, checks = doctor("--no-request")
    assert (code, "request" in checks, [request.method for request in server.asked]) == (0, False, ["GET"])


def test_a_pipe_gets_aligned_text_with_hints_on_their_own_lines(qvision: Qvision, server: Server) -> None:
    server.answer = answering(described=stream("A\x1b[2J\nblue square."))
    run = qvision("doctor", "--base-url", server.url, "-m", "nope")
    lines = run.stdout.decode().splitlines()
    assert (run.exit_code, run.stderr, lines[1:5]) == (
        0,
        "",
        [
            "ok   profile   qubrid (default)",
            f"ok   base_url  {server.url} (--base-url)",
            "ok   model     nope (--model)",
            "ok   key       not set, and not needed",
        ],
    )
    assert lines[9:11] == [
        "warn listed    nope is not in the endpoint's list",
        "               hint: See the list with: qvision models; choose a model with -m.",
    ]
    assert lines[11].endswith(r": A\x1b[2J blue square.")


def test_a_terminal_gets_colors(server: Server, tmp_path: Path) -> None:
    server.answer = answering(refusal(404, {}))
    env = environment({**at_home(tmp_path), "QUBRID_BASE_URL": server.url, "TERM": "xterm-256color"})
    (program, *arguments) = command("doctor", "--no-request")
    child = pexpect.spawn(program, arguments, env=env, timeout=30, dimensions=(40, 100))
    child.expect(pexpect.EOF)
    assert isinstance(child.before, bytes)
    shown = child.before.decode()
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[32mok" in shown
    assert "\x1b[33mwarn" in shown
    assert "color, UTF-8, 100 columns" in shown


def test_offline_needs_no_settings_and_no_key(qvision: Qvision) -> None:
    run = qvision("doctor", "--offline", "--json")
    checks = {check["name"]: check for check in json.loads(run.stdout)["checks"]}
    assert (run.exit_code, list(checks)) == (0, [*SETTINGS, "endpoint", "models", "request", *MACHINE])
    assert "No model was asked" in checks["request"]["message"]


def test_a_broken_file_is_shown_with_its_line_and_the_rest_is_checked(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('model = "x"\n[profiles\n')
    code, checks = doctor(env={"QVISION_CONFIG": str(path)})
    assert (code, problems(checks)) == (3, {"config": "fail"})
    assert checks["config"]["message"].startswith(f"{path}, line 2, column 10: ")
    assert checks["request"]["status"] == "ok"


def test_an_invalid_preset_fails_the_config_check(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[presets.bill]\nmax_tokens = 5\n")
    code, checks = doctor(env={"QVISION_CONFIG": str(tmp_path / "own.toml")})
    assert (code, problems(checks)) == (3, {"config": "fail"})
    assert checks["config"]["message"] == f"{tmp_path / 'own.toml'}: presets.bill has no prompt"


def test_an_unknown_preset_fails_the_config_check(doctor: Doctor, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('preset = "capton"\n')
    code, checks = doctor(env={"QVISION_CONFIG": str(file)})
    assert (code, problems(checks)) == (3, {"config": "fail"})
    assert (
        checks["config"]["message"] == f"{file}, line 1: preset is capton, which does not exist; did you mean caption?"
    )


def test_an_unknown_profile_leaves_only_the_checks_of_this_machine(doctor: Doctor, server: Server) -> None:
    code, checks = doctor("--profile", "nope")
    assert (code, list(checks), server.asked) == (3, ["config", "settings", *MACHINE], [])
    assert checks["settings"]["message"] == "there is no profile nope, named by --profile"


def test_a_profile_without_a_model_fails_and_sends_no_image(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[profiles.own]\nbase_url = "http://127.0.0.1:9/v1"\n')
    code, checks = doctor("--profile", "own", env={"QVISION_CONFIG": str(tmp_path / "own.toml")})
    assert (code, checks["model"]["message"]) == (3, "profile own has no model")
    assert "request" not in checks


def test_a_missing_key_decides_the_exit_code(qvision: Qvision) -> None:
    run = qvision("doctor", "--json", env=DEAD_PROXY)
    checks = {check["name"]: check for check in json.loads(run.stdout)["checks"]}
    assert (run.exit_code, problems(checks)) == (3, {"key": "fail", "endpoint": "fail"})
    assert list(checks) == [*SETTINGS, "network", "endpoint", *MACHINE]
    assert "qvision auth login" in checks["key"]["hint"]


def test_a_key_stored_for_another_origin_is_a_warning(doctor: Doctor, server: Server, qvision: Qvision) -> None:
    stored = qvision("auth", "login", "--stdin", stdin=KEY.encode(), env={"QUBRID_BASE_URL": "https://example.com/v1"})
    assert stored.exit_code == 0
    code, checks = doctor(env={"QUBRID_API_KEY": ""})
    assert (code, problems(checks)) == (0, {"key": "warn"})
    assert checks["key"]["message"].endswith("is not sent: it was stored for https://example.com")
    assert not any("authorization" in request.headers for request in server.asked)


def test_a_refused_key_exits_with_3(doctor: Doctor, server: Server) -> None:
    server.answer = refusal(401, {"error": {"message": f"Bad key {KEY}"}})
    code, checks = doctor()
    assert (code, problems(checks), "request" in checks) == (3, {"models": "fail"}, False)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_endpoint_without_a_list_of_models_is_a_warning(doctor: Doctor, server: Server, status: int) -> None:
    server.answer = answering(refusal(status, {}))
    code, checks = doctor()
    assert (code, problems(checks), checks["request"]["status"]) == (0, {"models": "warn"}, "ok")


def test_a_wrong_address_is_told_apart_from_one_without_a_list(doctor: Doctor, server: Server) -> None:
    server.answer = refusal(404, {})
    code, checks = doctor("--no-request")
    assert (code, problems(checks)) == (5, {"address": "fail"})
    assert checks["address"]["hint"] == "Check --base-url: it usually ends in /v1."


def test_a_closed_port_ends_the_network_checks(doctor: Doctor) -> None:
    with Server() as gone:
        url = gone.url
    code, checks = doctor("--base-url", url)
    assert (code, problems(checks), list(checks)) == (5, {"tcp": "fail"}, [*SETTINGS, "dns", "tcp", *MACHINE])


def test_a_host_that_does_not_resolve_fails_the_dns_check(doctor: Doctor) -> None:
    code, checks = doctor("--base-url", f"https://{'a' * 70}.com/v1")
    assert (code, problems(checks), list(checks)) == (5, {"dns": "fail"}, [*SETTINGS, "dns", *MACHINE])


def test_a_silent_endpoint_times_out(doctor: Doctor, server: Server) -> None:
    server.answer = Reply([Hold()])
    code, checks = doctor("--timeout", "1")
    assert (code, checks["endpoint"]["status"]) == (5, "fail")
    assert checks["endpoint"]["message"] == f"127.0.0.1:{server.port} did not answer within 1 s"


def test_an_answer_that_never_begins_times_out(doctor: Doctor, server: Server) -> None:
    server.answer = answering(described=Reply([Hold()]))
    code, checks = doctor("--timeout", "1")
    assert (code, checks["request"]["status"]) == (5, "fail")
    assert checks["request"]["message"] == f"127.0.0.1:{server.port} did not answer within 1 s"


def test_an_endless_answer_times_out_and_names_the_option_of_doctor(doctor: Doctor, server: Server) -> None:
    pieces = [piece for _ in range(50) for piece in (delta("blue "), Pause(0.2))]
    server.answer = answering(described=Reply(pieces))
    code, checks = doctor("--timeout", "1")
    assert (code, checks["request"]["message"], checks["request"]["hint"]) == (
        5,
        f"127.0.0.1:{server.port} did not answer within 1 s",
        "Try again, or raise --timeout.",
    )


@pytest.mark.parametrize("text", ["A blue", ""])
def test_an_answer_cut_by_our_own_token_limit_passes(doctor: Doctor, server: Server, text: str) -> None:
    pieces = [delta(text)] if text else []
    server.answer = answering(described=Reply([*pieces, delta("", finish="length"), DONE]))
    code, checks = doctor()
    assert (code, problems(checks)) == (0, {})


@pytest.mark.parametrize(
    "described",
    [
        Reply([delta("A"), delta("", finish="content_filter"), DONE]),
        refusal(500, {"error": "image input is not supported"}),
        refusal(404, {"error": {"code": "model_not_found", "message": f"no model for {KEY}"}}),
        Reply([b"<html>"]),
        Reply([delta("A")], hang_up=True),
    ],
)
def test_a_failed_request_exits_with_5(doctor: Doctor, server: Server, described: Reply) -> None:
    server.answer = answering(described=described)
    code, checks = doctor()
    assert (code, problems(checks)) == (5, {"request": "fail"})


@pytest.mark.parametrize("listed", [b"{", b'{"data":' + b"[" * 5000, b"null", b"<p>", b'{"error": "busy"}'])
def test_an_invalid_list_of_models_does_not_prevent_the_request(doctor: Doctor, server: Server, listed: bytes) -> None:
    server.answer = answering(Reply([listed], headers=JSON))
    code, checks = doctor()
    assert (code, list(problems(checks))) == (0 if listed == b"<p>" else 5, ["models"])
    assert checks["request"]["status"] == "ok"


def test_the_list_of_models_is_cached_for_completion(doctor: Doctor, tmp_path: Path) -> None:
    doctor("--no-request")
    (cache,) = (tmp_path / "home").rglob("models-*.json")
    assert json.loads(cache.read_bytes())["models"] == [MODEL]


async def serve(writer: asyncio.StreamWriter, _: int) -> None:
    body = json.dumps({"data": [{"id": MODEL}]})
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
    await writer.drain()


@pytest.mark.parametrize(
    ("days", "trusted", "status", "says"),
    [
        (400, True, "ok", "certificate valid until "),
        (3, True, "warn", "in 2 days"),
        (-1, True, "fail", "certificate has expired"),
        (400, False, "fail", "cannot be trusted"),
    ],
)
def test_the_certificate_is_checked(
    doctor: Doctor, tmp_path: Path, days: int, trusted: object, status: str, says: str
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days)).configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    env = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")} if trusted else {}
    with Raw(serve, tls) as server:
        code, checks = doctor("--base-url", server.url, "--no-request", env=env)
    assert (code, checks["tls"]["status"]) == (5 if status == "fail" else 0, status)
    assert says in checks["tls"]["message"]
    assert ("endpoint" in checks) == (status != "fail")


def test_plain_http_where_tls_is_expected_fails_the_tls_check(doctor: Doctor, server: Server) -> None:
    code, checks = doctor("--base-url", server.url.replace("http:", "https:"), "--timeout", "1")
    assert (code, checks["tls"]["status"]) == (
        5,
        "fail",
    )  # on a busy machine, a second may be too short for the keyring
    assert checks["tls"]["hint"] == "It may speak plain http: check --base-url."


def test_unreadable_certificate_files_exit_with_3(doctor: Doctor) -> None:
    with Raw(serve) as server:
        url = server.url.replace("http:", "https:")
        code, checks = doctor("--base-url", url, env={"SSL_CERT_FILE": str(NOWHERE)})
    assert (code, problems(checks)) == (3, {"tls": "fail"})


def test_an_unusable_home_folder_changes_nothing(doctor: Doctor) -> None:
    code, checks = doctor(env=at_home(NOWHERE))
    assert (code, problems(checks)) == (0, {})


def test_a_function_that_never_returns_times_out() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError):
        run_with_timeout(never.wait, 0.01)
    never.set()


def test_a_function_that_ends_in_time_returns_or_raises_as_usual() -> None:
    assert run_with_timeout(lambda: 7, 60) == 7
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(lambda: 1 // 0, 60)


#: A keyring that waits for its user in a thread that is not a daemon.
WAITING = """
import threading
from keyring.backend import KeyringBackend
class Keyring(KeyringBackend):
    priority = 1
    def get_password(self, service, name):
        waiting = threading.Thread(target=threading.Event().wait)
        waiting.start()
        waiting.join()
    set_password = delete_password = get_password
"""


def test_a_keyring_that_never_answers_does_not_delay_the_exit(qvision: Qvision, tmp_path: Path) -> None:
    (tmp_path / "own_keyring.py").write_text(WAITING)
    keys = tmp_path / "home" / "qvision" / "keys.toml"
    for file in (keys, tmp_path / "home" / "Library" / "Application Support" / "qvision" / "keys.toml"):
        file.parent.mkdir(parents=True)
        file.write_text('[qubrid]\norigin = "https://platform.qubrid.com"\n')
        file.chmod(0o600)
    python_path = environment()["PYTHONPATH"]
    env = {"PYTHON_KEYRING_BACKEND": "own_keyring.Keyring", "PYTHONPATH": f"{tmp_path}{os.pathsep}{python_path}"}
    run = qvision("doctor", "--no-request", "--json", "--timeout", "1", env=env | DEAD_PROXY)
    checks = {check["name"]: check for check in json.loads(run.stdout)["checks"]}
    assert (run.exit_code, checks["key"]["message"]) == (3, "the keyring did not return the key within 1 s")


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_ctrl_c_keeps_the_finished_checks(arguments: list[str], server: Server, tmp_path: Path) -> None:
    is_requested, hold = threading.Event(), Hold()

    def answer(_: Asked) -> Reply:
        is_requested.set()
        return Reply([hold], headers=JSON)

    server.answer = answer
    env = environment({**at_home(tmp_path), "QUBRID_BASE_URL": server.url})
    with subprocess.Popen(
        command("doctor", *arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert is_requested.wait(30)
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (130, b"error: stopped by Ctrl-C\n")
    if arguments:
        report = json.loads(stdout)
        assert (report["ok"], [check["name"] for check in report["checks"]]) == (False, [*SETTINGS, "dns", "tcp"])
