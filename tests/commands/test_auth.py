"""``qvision auth``: where the key is sent, and that nobody sees it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from ..conftest import KEY, Qvision, Run, at_home, command, environment
from ..support.server import Server, refusal

SECRET = "qk-stored-9876543210"


def login(qvision: Qvision, *arguments: object, key: str = SECRET, env: dict[str, str] | None = None) -> Run:
    run = qvision("auth", "login", "--stdin", *arguments, stdin=key.encode(), env=env or {})
    assert SECRET not in run.stderr + run.stdout.decode()
    return run


def keys(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "home").rglob("keys.toml")
    return path


def test_a_key_is_stored_shown_used_and_removed(
    qvision: Qvision, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    elsewhere = {"QUBRID_BASE_URL": server.url}
    origin = server.url.removesuffix("/v1")
    run = login(qvision, key=f" Bearer {SECRET}\n", env=elsewhere)
    assert (run.exit_code, run.stdout) == (0, b"")
    assert run.stderr.endswith(f"stored the key of profile qubrid for {origin} in {keys(tmp_path)}\n")
    assert qvision("describe", lighthouse, env=elsewhere).exit_code == 0
    assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    run = qvision("auth", "status", env=elsewhere)
    assert (run.exit_code, run.stdout.decode(), run.stderr) == (
        0,
        f"profile qubrid: key …3210 from {keys(tmp_path)}, sent to {origin}\n",
        "",
    )
    run = qvision("auth", "logout")
    assert (run.exit_code, run.stderr) == (0, "removed the key of profile qubrid\n")
    assert SECRET not in keys(tmp_path).read_text()
    assert qvision("auth", "logout").stderr == "no key is stored for profile qubrid\n"


def test_a_stored_key_is_not_sent_to_another_origin_and_a_note_says_so(
    qvision: Qvision, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    login(qvision)
    run = qvision("describe", lighthouse, "--base-url", server.url)
    assert (run.exit_code, "authorization" in server.asked[0].headers) == (0, False)
    note = f"note: the key from {keys(tmp_path)} is not sent: it was stored for https://platform.qubrid.com\n"
    assert run.stderr == note
    assert qvision("describe", lighthouse, "--base-url", server.url, "--quiet").stderr == ""


def test_the_key_of_a_profile_is_not_sent_to_the_address_in_qubrid_base_url(
    qvision: Qvision, server: Server, lighthouse: Path
) -> None:
    env = {"OPENAI_API_KEY": KEY, "QUBRID_BASE_URL": server.url}
    run = qvision("describe", lighthouse, "--profile", "openai", env=env)
    assert (run.exit_code, "authorization" in server.asked[0].headers) == (0, False)
    assert run.stderr.splitlines() == [
        "note: QUBRID_BASE_URL overrides the URL of profile openai",
        f"note: the key from OPENAI_API_KEY is not sent: {server.url} is not the URL of profile openai",
    ]


@pytest.mark.parametrize(
    ("arguments", "env", "exit_code", "status"),
    [
        ([], {}, 3, {"needed": True, "key": None, "where": None, "sent": False}),
        (
            [],
            {"QUBRID_API_KEY": KEY},
            0,
            {"needed": True, "key": "…6789", "where": "QUBRID_API_KEY", "sent": True},
        ),
        (
            [],
            {"QUBRID_API_KEY": "qk-45678901"},
            0,
            {"needed": True, "key": "…", "where": "QUBRID_API_KEY", "sent": True},
        ),
    ],
)
def test_status_is_json_for_programs(
    arguments: list[str], env: dict[str, str], exit_code: int, status: dict[str, object], qvision: Qvision
) -> None:
    run = qvision("auth", "status", "--json", *arguments, env=env)
    about = {"profile": "qubrid", "origin": "https://platform.qubrid.com"}
    assert (run.exit_code, json.loads(run.stdout)) == (exit_code, about | status)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        ([], 3, "profile qubrid: no key\n"),
        (["--profile", "openai"], 3, "profile openai: no key\n"),
        (["--profile", "ollama"], 0, "profile ollama: no key, and none is needed\n"),
        (["--base-url", "http://localhost:1/v1"], 0, "profile qubrid: no key, and none is needed\n"),
    ],
)
def test_status_says_whether_a_key_is_missing(
    arguments: list[str], exit_code: int, says: str, qvision: Qvision
) -> None:
    run = qvision("auth", "status", *arguments)
    assert (run.exit_code, run.stdout.decode()) == (exit_code, says)


def test_an_authorization_header_replaces_the_key(
    qvision: Qvision, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'[profiles.w]\nbase_url = "{server.url}"\nmodel = "m"\nkey_env = "K"\n')
    env = {"QVISION_CONFIG": str(file), "QVISION_PROFILE": "w", "K": KEY}
    qvision("config", "set", "profiles.w.headers.Authorization", "Basic c2VjcmV0", env=env)
    server.answer = refusal(400, {"error": "not c2VjcmV0, nor Basic c2VjcmV0"})
    run = qvision("describe", lighthouse, env=env)
    assert server.asked[0].headers["authorization"] == "Basic c2VjcmV0"
    assert ("[key], nor [key]" in run.stderr, "c2VjcmV0" in run.stderr) == (True, False)
    assert qvision("auth", "status", env=env).stdout == b"profile w: no key; the Authorization header is sent instead\n"
    for shown in (["config", "show"], ["config", "show", "--json"], ["config", "get", "profiles"]):
        run = qvision(*shown, env=env)
        assert (b"c2VjcmV0" in run.stdout, b"(hidden)" in run.stdout) == (False, True)


def test_a_secret_header_is_not_sent_over_plain_http(qvision: Qvision, lighthouse: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[profiles.w]\nbase_url = "http://192.0.2.1/v1"\nmodel = "m"\nheaders = { X-Api-Key = "secret" }\n')
    run = qvision("describe", lighthouse, "--profile", "w", env={"QVISION_CONFIG": str(file)})
    assert (run.exit_code, "the key is not sent to 192.0.2.1 over plain http" in run.stderr) == (3, True)


@pytest.mark.parametrize("key", ["", " \n", "Bearer ", "a b", "é", "qk-1\nqk-2"])
def test_an_invalid_key_is_not_stored(key: str, qvision: Qvision, tmp_path: Path) -> None:
    run = login(qvision, key=key)
    assert run.exit_code in {2, 3}
    assert list((tmp_path / "home").rglob("*")) == []


def test_a_note_names_the_variable_that_overrides_the_stored_key(qvision: Qvision) -> None:
    assert login(qvision, env={"QUBRID_API_KEY": KEY}).stderr.endswith(
        "note: QUBRID_API_KEY is set, and is used instead of the stored key\n"
    )
    assert qvision("auth", "logout", env={"QUBRID_API_KEY": KEY}).stderr == (
        "removed the key of profile qubrid\nnote: QUBRID_API_KEY is still set\n"
    )


def test_without_a_terminal_the_hint_names_stdin(qvision: Qvision) -> None:
    run = qvision("auth", "login", stdin=b"qk-secret")
    assert (run.exit_code, run.stderr) == (
        2,
        "error: cannot prompt: standard input is not a terminal\nhint: Pipe the key in: qvision auth login --stdin < key.txt\n",
    )


def test_a_typed_key_is_hidden(tmp_path: Path) -> None:
    program, *rest = command("auth", "login", "--profile", "openai")
    env = environment({**at_home(tmp_path), "TERM": "xterm"})
    child: pexpect.spawn[str] = pexpect.spawn(program, rest, env=env, timeout=60, encoding="utf-8")
    child.expect_exact("Key for https://api.openai.com (hidden): ")
    child.waitnoecho()
    child.sendline(SECRET)
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, SECRET in str(child.before)) == (0, False)
    (file,) = tmp_path.rglob("keys.toml")
    assert f'key = "{SECRET}"' in file.read_text()


def test_a_key_that_a_terminal_would_cut_is_refused(tmp_path: Path) -> None:
    program, *rest = command("auth", "login")
    child: pexpect.spawn[str] = pexpect.spawn(
        program, rest, env=environment(at_home(tmp_path)), timeout=60, encoding="utf-8"
    )
    child.expect_exact("(hidden): ")
    child.waitnoecho()
    child.sendline("k" * 4095)
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, list(tmp_path.rglob("*"))) == (3, [])
    report = str(child.before).replace("\x1b[1;31m", "").replace("\x1b[36m", "").replace("\x1b[0m", "")
    assert "error: the key is too long to type: a terminal line holds 4095 characters\r\nhint: Pipe" in report


def test_ctrl_c_at_the_prompt_stores_nothing(tmp_path: Path) -> None:
    program, *rest = command("auth", "login")
    child: pexpect.spawn[str] = pexpect.spawn(
        program, rest, env=environment(at_home(tmp_path)), timeout=60, encoding="utf-8"
    )
    child.expect_exact("(hidden): ")
    child.waitnoecho()
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, list(tmp_path.rglob("*"))) == (130, [])
    report = "\r\n\x1b[1;31merror:\x1b[0m stopped by Ctrl-C\r\n\x1b[36mhint:\x1b[0m Nothing was stored.\r\n"
    assert str(child.before) == report


#: Runs the program with a umask of 0, and records the mode of every file before each audit event and at the end.
#: No file can become readable unseen, because that would need an audit event of its own.
WATCHED = """
import os, stat, sys
from qubrid_cli import cli
folder, seen, busy = sys.argv.pop(1), set(), False
def look(event="", arguments=()):
    global busy
    if not busy:
        busy = True
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                seen.add((name.split(".")[1 if name[0] == "." else 0], oct(stat.S_IMODE(os.stat(path).st_mode))))
        busy = False
os.umask(0)
sys.addaudithook(look)
try:
    code = cli.main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
look()
print(sorted(seen))
sys.exit(code)
"""


def test_the_key_file_is_never_readable_by_others_at_any_moment(tmp_path: Path) -> None:
    env = environment(at_home(tmp_path / "home"))
    for arguments in (["login", "--stdin"], ["login", "--stdin", "--profile", "openai"], ["logout"]):
        watched = [sys.executable, "-c", WATCHED, str(tmp_path / "home"), "auth", *arguments]
        done = subprocess.run(watched, input=SECRET.encode(), capture_output=True, env=env, check=True, timeout=60)
        assert done.stdout.decode() == "[('keys', '0o600')]\n"
    (folder,) = {path.parent for path in tmp_path.rglob("keys.toml")}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_command_prints_a_key(qvision: Qvision, server: Server, lighthouse: Path) -> None:
    server.answer = lambda request: refusal(401, {"error": f"bad key {request.headers['authorization'].split()[-1]}"})
    env = {"QUBRID_BASE_URL": server.url}
    login(qvision, env=env)
    for variables in ({}, {"QUBRID_API_KEY": SECRET}):
        for arguments in (
            ["config", "show"],
            ["config", "show", "--json"],
            ["auth", "status"],
            ["auth", "status", "--json"],
            ["describe", lighthouse, "-v"],
            ["describe", lighthouse, "-v", "--json"],
        ):
            run = qvision(*arguments, env=env | variables)
            assert SECRET not in run.stderr + run.stdout.decode()
    assert server.asked[-1].headers["authorization"] == f"Bearer {SECRET}"
    run = qvision("describe", lighthouse, "--base-url", "http://192.0.2.1/v1", env={"QUBRID_API_KEY": SECRET})
    assert (run.exit_code, SECRET in run.stderr) == (3, False)


#: A keyring that is a file in the current folder.
BACKEND = """
import json, pathlib
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError
FILE = pathlib.Path("keyring.json")
class Keyring(KeyringBackend):
    priority = 1
    def _all(self):
        return json.loads(FILE.read_text()) if FILE.exists() else {}
    def get_password(self, service, name):
        return self._all().get(f"{service}/{name}")
    def set_password(self, service, name, password):
        FILE.write_text(json.dumps(self._all() | {f"{service}/{name}": password}))
    def delete_password(self, service, name):
        keys = self._all()
        if keys.pop(f"{service}/{name}", None) is None:
            raise PasswordDeleteError("not found")
        FILE.write_text(json.dumps(keys))
"""


@pytest.fixture
def keyring(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that writes a keyring backend and returns the environment that selects it."""

    def write(source: str) -> dict[str, str]:
        (tmp_path / "own_keyring.py").write_text(source)
        path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
        return {"PYTHON_KEYRING_BACKEND": "own_keyring.Keyring", "PYTHONPATH": path}

    return write


def test_the_key_is_stored_in_the_keyring_if_there_is_one(
    qvision: Qvision, server: Server, lighthouse: Path, tmp_path: Path, keyring: Callable[[str], dict[str, str]]
) -> None:
    env = keyring(BACKEND) | {"QUBRID_BASE_URL": server.url}
    run = login(qvision, env=env)
    assert run.stderr.endswith(" in the keyring\n")
    assert SECRET not in keys(tmp_path).read_text()
    assert json.loads((tmp_path / "keyring.json").read_text()) == {
        f"qvision/qubrid at {server.url.removesuffix('/v1')}": SECRET
    }
    assert qvision("describe", lighthouse, env=env).exit_code == 0
    assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert b"from the keyring, sent to" in qvision("auth", "status", env=env).stdout
    qvision("auth", "logout", env=env)
    assert json.loads((tmp_path / "keyring.json").read_text()) == {}


def test_a_login_for_another_address_removes_the_old_key_from_the_keyring(
    qvision: Qvision, tmp_path: Path, keyring: Callable[[str], dict[str, str]]
) -> None:
    env = keyring(BACKEND)
    login(qvision, env=env)
    login(qvision, "--base-url", "https://other.example.com/v1", env=env)
    assert json.loads((tmp_path / "keyring.json").read_text()) == {
        "qvision/qubrid at https://other.example.com": SECRET
    }
    qvision("auth", "logout", env=env)
    assert json.loads((tmp_path / "keyring.json").read_text()) == {}


#: A keyring whose exceptions contain the key.
LEAKING = """
from keyring.backend import KeyringBackend
class Keyring(KeyringBackend):
    priority = 1
    def get_password(self, service, name):
        raise ZeroDivisionError
    def set_password(self, service, name, password):
        raise KeyError(f"no room for {password}")
    def delete_password(self, service, name):
        raise AttributeError
"""


def test_the_key_is_hidden_in_any_error_of_a_keyring(
    qvision: Qvision, tmp_path: Path, keyring: Callable[[str], dict[str, str]]
) -> None:
    run = login(qvision, env=keyring(LEAKING))
    assert (run.exit_code, run.stderr.splitlines()[0]) == (0, "note: the keyring does not answer: KeyError")
    assert SECRET in keys(tmp_path).read_text()


@pytest.mark.parametrize("arguments", [["auth", "status"], ["auth", "logout"], ["describe", "IMAGE"]])
def test_a_missing_keyring_comes_with_a_hint(
    arguments: list[str],
    qvision: Qvision,
    lighthouse: Path,
    keyring: Callable[[str], dict[str, str]],
) -> None:
    login(qvision, env=keyring(BACKEND))
    run = qvision(*(lighthouse if argument == "IMAGE" else argument for argument in arguments))
    assert run.exit_code == 3
    assert run.stderr.splitlines()[-1] == (
        "hint: Unlock it; or log in again, and the key goes into a file: qvision auth login"
    )
    assert login(qvision).exit_code == 0
    assert qvision("auth", "logout").stderr == "removed the key of profile qubrid\n"


@pytest.mark.parametrize("extra", ["", "x"])
def test_a_key_of_4096_characters_is_stored_and_a_longer_one_refused(
    extra: str, qvision: Qvision, tmp_path: Path
) -> None:
    run = login(qvision, key="k" * 4096 + extra)
    assert run.exit_code == (3 if extra else 0)
    assert bool(list((tmp_path / "home").rglob("keys.toml"))) != bool(extra)


@pytest.mark.parametrize("backend", ["fail", "null"])
def test_the_key_goes_to_the_file_if_the_keyring_loses_it(backend: str, qvision: Qvision, tmp_path: Path) -> None:
    run = login(qvision, env={"PYTHON_KEYRING_BACKEND": f"keyring.backends.{backend}.Keyring"})
    assert (run.exit_code, run.stderr.startswith("note: the keyring does not ")) == (0, True)
    assert SECRET in keys(tmp_path).read_text()
