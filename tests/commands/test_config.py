"""``qvision config``, and what the configuration file does to other commands."""

import json
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qubrid_cli.settings.fields import BUILT_IN_PROFILES, FIELDS, PROFILE_FIELDS

from ..conftest import KEY, Qvision, at_home, command, environment
from ..support.server import DONE, USAGE, Reply, Server, delta, document, event, stream

Write = Callable[[str], dict[str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a configuration and returns the environment that selects it."""

    def write(text: str) -> dict[str, str]:
        (tmp_path / "c.toml").write_text(text)
        return {"QVISION_CONFIG": str(tmp_path / "c.toml")}

    return write


def shown(qvision: Qvision, *arguments: object, env: dict[str, str]) -> Any:
    run = qvision(*arguments, "config", "show", "--json", env=env)
    assert (run.exit_code, run.stderr) == (0, "")
    return json.loads(run.stdout)


PROFILE: dict[str, Any] = {
    "model": "p",
    "base_url": "http://p/v1",
    "max_tokens": 3,
    "temperature": 0.3,
    "top_p": 0.3,
    "think": "low",
    "timeout": 3.0,
    "retries": 3,
    "retry_max_wait": 3.0,
    "max_time": 3.0,
    "allow_http": True,
    "offline": True,
    "prompt": "p",
    "system": "p",
    "preset": "alt",
    "max_pixels": 3333,
    "max_side": 333,
    "quality": 33,
    "background": "#333333",
    "detail": "low",
    "image_order": "first",
    "coordinates": "pixels",
    "labels": False,
    "loop_check": False,
    "params": {"seed": 42},
    "query": {"api-version": "2"},
    "headers": {"X-A": "p"},
    "key_env": "P_KEY",
    "key_header": "api-key",
    "decisions": True,
}


def toml(table: dict[str, Any]) -> str:
    def value(of: Any) -> str:
        return (
            "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in of.items()) + "}"
            if isinstance(of, dict)
            else json.dumps(of)
        )

    return "".join(f"{name} = {value(of)}\n" for name, of in table.items())


def test_every_setting_shows_its_origin_profile(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    env = write("[profiles.work]\n" + toml(PROFILE))
    assert set(PROFILE) == set(PROFILE_FIELDS)
    settings = shown(qvision, "--profile", "work", env=env)
    where = f"profiles.work in {tmp_path / 'c.toml'}"
    assert settings == {"profile": {"value": "work", "origin": "option", "where": "--profile"}} | {
        name: {"value": value, "origin": "profile", "where": where} for name, value in PROFILE.items()
    }


def test_every_setting_shows_its_origin_config(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    top = {name: value for name, value in PROFILE.items() if FIELDS[name].is_global}
    env = write('profile = "qubrid"\n' + toml({n: v for n, v in top.items() if n not in BUILT_IN_PROFILES["qubrid"]}))
    settings = shown(qvision, env=env)
    built = {"origin": "default", "where": "built-in profile qubrid"}
    config = {"origin": "config", "where": str(tmp_path / "c.toml")}
    assert settings == {name: {"value": value, **built} for name, value in BUILT_IN_PROFILES["qubrid"].items()} | {
        name: {"value": value, **config} for name, value in top.items() if name not in BUILT_IN_PROFILES["qubrid"]
    } | {
        "profile": {"value": "qubrid", **config},
        "params": {"value": {}, "origin": "default", "where": "default"},
        "query": {"value": {}, "origin": "default", "where": "default"},
        "headers": {"value": {}, "origin": "default", "where": "default"},
        "key_header": {"value": None, "origin": "default", "where": "default"},
        "decisions": {"value": False, "origin": "default", "where": "default"},
    }
    env = write(toml(top))
    assert {name: setting for name, setting in shown(qvision, env=env).items() if name in top} == {
        name: {"value": value, **config} for name, value in top.items()
    }


def test_every_setting_shows_its_origin_environment(qvision: Qvision, write: Write) -> None:
    env = write("[profiles.work]\n" + toml(PROFILE))
    env |= {"QVISION_PROFILE": "work", "QVISION_MODEL": "e", "QUBRID_BASE_URL": "http://e/v1", "QVISION_OFFLINE": "0"}
    env |= {"QVISION_THINK": "off"}
    settings = shown(qvision, env=env)
    assert settings.pop("query")["value"] == {}  # the profile's belongs to the profile's own address
    assert {name: tuple(setting.values()) for name, setting in settings.items() if setting["origin"] != "profile"} == {
        "profile": ("work", "environment", "QVISION_PROFILE"),
        "model": ("e", "environment", "QVISION_MODEL"),
        "base_url": ("http://e/v1", "environment", "QUBRID_BASE_URL"),
        "think": ("off", "environment", "QVISION_THINK"),
        "offline": (False, "environment", "QVISION_OFFLINE"),
    }


def test_every_setting_shows_its_origin_default(qvision: Qvision) -> None:
    settings = shown(qvision, env={})
    built = {"origin": "default", "where": "built-in profile qubrid"}
    plain = {"origin": "default", "where": "default"}
    defaults = {name: field.default for name, field in FIELDS.items()}
    assert settings == {name: {"value": value, **plain} for name, value in defaults.items()} | {
        name: {"value": value, **built} for name, value in BUILT_IN_PROFILES["qubrid"].items()
    }


OPTIONS: dict[str, tuple[list[object], Any]] = {
    "profile": (["--profile", "qubrid"], "qubrid"),
    "model": (["-m", "o"], "o"),
    "base_url": (["--base-url", "http://o/v1"], "http://o/v1"),
    "max_tokens": (["--max-tokens", 1], 1),
    "temperature": (["--temperature", 0], 0),
    "top_p": (["--top-p", 1], 1),
    "think": (["--think", "off"], "off"),
    "timeout": (["--timeout", 1], 1),
    "retries": (["--retries", 0], 0),
    "retry_max_wait": (["--retry-max-wait", 0], 0),
    "max_time": (["--max-time", 1], 1),
    "allow_http": (["--allow-http"], True),
    "offline": (["--offline"], True),
    "max_pixels": (["--max-pixels", 1111], 1111),
    "max_side": (["--max-side", 111], 111),
    "quality": (["--quality", 11], 11),
    "background": (["--background", "red"], "#ff0000"),
    "detail": (["--detail", "high"], "high"),
    "image_order": (["--image-order", "last"], "last"),
    "coordinates": (["--coordinates", "percent"], "percent"),
    "labels": (["--labels"], True),
    "loop_check": (["--loop-check"], True),
}


def test_every_setting_shows_its_origin_option(qvision: Qvision, write: Write) -> None:
    """Only settings with an option of ``config show``: prompts and keys have none."""
    env = write("[profiles.qubrid]\n" + toml(PROFILE))
    env |= {"QVISION_PROFILE": "work", "QVISION_MODEL": "e", "QUBRID_BASE_URL": "http://e/v1", "QVISION_OFFLINE": "0"}
    given = [argument for arguments, _ in OPTIONS.values() for argument in arguments]
    run = qvision("config", "show", "--json", *given, env=env)
    settings = json.loads(run.stdout)
    assert {
        name: (setting["value"], setting["where"])
        for name, setting in settings.items()
        if setting["origin"] == "option"
    } == {name: (value, f"--{name.replace('_', '-')}") for name, (_, value) in OPTIONS.items()}
    without_option = {"prompt", "system", "preset", "params", "query", "headers", "key_env", "key_header", "decisions"}
    assert set(settings) - set(OPTIONS) == without_option


def test_show_is_aligned_in_a_pipe(qvision: Qvision) -> None:
    lines = qvision("config", "show").stdout.decode().splitlines()
    assert lines[:3] == [
        "profile         qubrid                          default",
        "model           Qwen/Qwen3-VL-Plus              built-in profile qubrid",
        "base_url        https://platform.qubrid.com/v1  built-in profile qubrid",
    ]
    assert len(lines) == len(FIELDS)


def test_show_is_a_table_on_a_terminal_without_control_characters(write: Write) -> None:
    env = environment({**write('prompt = "\\u001b[2Jred [red]x[/]"'), "TERM": "xterm"})
    program, *rest = command("config", "show")
    child: pexpect.spawn[str] = pexpect.spawn(
        program, rest, env=env, timeout=60, encoding="utf-8", dimensions=(50, 120)
    )
    child.expect(pexpect.EOF)
    text = str(child.before)
    assert ("setting" in text, "\x1b[2J" in text, "[2Jred [red]x[/]" in text) == (True, False, True)


def test_set_get_unset_and_path(qvision: Qvision, tmp_path: Path) -> None:
    file = tmp_path / "new" / "c.toml"
    env = {"QVISION_CONFIG": str(file)}
    assert qvision("config", "path", env=env).stdout.decode() == f"{file}\n"
    for key, value in (("model", "Q/X"), ("temperature", "0.5"), ("prices.'Q/X.1'.input", "0.25")):
        run = qvision("config", "set", key, value, env=env)
        assert (run.exit_code, run.stdout, run.stderr) == (0, b"", "")
    got = [
        qvision("config", "get", key, env=env).stdout
        for key in ("model", "temperature", "prices", 'prices."Q/X.1".input')
    ]
    assert got == [b"Q/X\n", b"0.5\n", b'{"Q/X.1": {"input": 0.25}}\n', b"0.25\n"]
    assert qvision("config", "unset", "model", env=env).exit_code == 0
    run = qvision("config", "get", "model", env=env)
    assert (run.exit_code, run.stdout, run.stderr) == (
        3,
        b"",
        f"error: {file} does not set model\nhint: For the value in effect: qvision config show\n",
    )


def test_a_negative_number_is_read_as_a_value(qvision: Qvision) -> None:
    run = qvision("config", "set", "temperature", "-1")
    assert (run.exit_code, "temperature is below 0" in run.stderr) == (3, True)


def test_the_file_in_the_platforms_folder_is_created_and_used(qvision: Qvision, tmp_path: Path) -> None:
    assert qvision("config", "set", "model", "mine").exit_code == 0
    path = Path(qvision("config", "path").stdout.decode().rstrip("\n"))
    assert (path.name, path.parent.name, path.read_text()) == ("config.toml", "qvision", 'model = "mine"\n')
    assert tmp_path in path.parents
    assert shown(qvision, env={})["model"] == {"value": "mine", "origin": "config", "where": str(path)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "show"],
        ["config", "get", "model"],
        ["config", "set", "model", "x"],
        ["auth", "status"],
        ["describe", "IMAGE", "--offline"],
    ],
)
def test_a_broken_file_stops_every_command_and_is_not_changed(
    arguments: list[str], qvision: Qvision, write: Write, lighthouse: Path, tmp_path: Path
) -> None:
    env = write('model = "x"\n[profiles.work\n')
    run = qvision(*(lighthouse if argument == "IMAGE" else argument for argument in arguments), env=env)
    assert (run.exit_code, run.stdout) == (3, b"")
    assert run.stderr.startswith(f"error: {tmp_path / 'c.toml'}, line 2, column 15: ")
    assert (tmp_path / "c.toml").read_text() == 'model = "x"\n[profiles.work\n'


def test_a_broken_file_is_an_error_in_the_record(qvision: Qvision, write: Write, lighthouse: Path) -> None:
    run = qvision("describe", lighthouse, "--offline", "--json", env=write("modle = 'x'"))
    assert (run.exit_code, run.json["error"]["code"], run.json["error"]["hint"][:11]) == (3, "config", "Available: ")


#: An editor that writes its first argument to the file.
EDITOR = "import sys; open(sys.argv[2], 'w').write(sys.argv[1])"


def editor(text: str) -> str:
    return shlex.join([sys.executable, "-c", EDITOR, text])


def test_a_valid_edit_replaces_the_file(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    env = write("# old\n")
    run = qvision("config", "edit", env=env | {"VISUAL": editor("# new\nretries = 1\n"), "EDITOR": "false"})
    assert (run.exit_code, run.stderr, (tmp_path / "c.toml").read_text()) == (0, "", "# new\nretries = 1\n")
    assert list(tmp_path.glob("edited-*")) == []


def test_an_invalid_edit_is_refused_and_its_text_kept(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    env = write("# old\n")
    run = qvision("config", "edit", env=env | {"EDITOR": editor("retries = \n")})
    (copy,) = tmp_path.glob("edited-*")
    assert (run.exit_code, run.stderr) == (
        3,
        f"error: {copy}, line 1, column 11: Invalid value\nhint: Nothing was changed; your text is in {copy}\n",
    )
    assert (copy.read_text(), (tmp_path / "c.toml").read_text()) == ("retries = \n", "# old\n")


def test_an_editor_repairs_a_broken_file(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    env = write("retries = \n")
    assert qvision("config", "edit", env=env | {"EDITOR": editor("retries = 1\n")}).exit_code == 0
    assert (tmp_path / "c.toml").read_text() == "retries = 1\n"


def test_a_change_made_during_the_edit_is_not_overwritten(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    env = write("# old\n")
    both = f"open({str(tmp_path / 'c.toml')!r}, 'w').write('# theirs'); open(sys.argv[1], 'w').write('# mine')"
    run = qvision("config", "edit", env=env | {"EDITOR": shlex.join([sys.executable, "-c", f"import sys; {both}"])})
    (copy,) = tmp_path.glob("edited-*")
    assert (run.exit_code, copy.read_text(), (tmp_path / "c.toml").read_text()) == (3, "# mine", "# theirs")
    assert f"Your text is in {copy}" in run.stderr


@pytest.mark.parametrize(
    ("editor", "exit_code", "says"),
    [
        ("true", 0, "nothing was changed\n"),
        ("false", 3, "error: false exited with 1; nothing was changed\n"),
        ("no-such-editor", 3, "error: cannot run no-such-editor: No such file or directory\nhint: Check VISUAL"),
        ("'", 3, "error: invalid editor command: ' (No closing quotation)\n"),
        (" ", 3, "error: no editor is set\n"),
        ("", 3, "error: no editor is set\nhint: For example: export EDITOR=nano\n"),
    ],
)
def test_without_an_edit_nothing_is_changed(
    editor: str, exit_code: int, says: str, qvision: Qvision, tmp_path: Path
) -> None:
    env = {"QVISION_CONFIG": str(tmp_path / "c.toml"), "EDITOR": editor}
    run = qvision("config", "edit", env=env)
    assert (run.exit_code, run.stderr[: len(says)], (tmp_path / "c.toml").exists()) == (exit_code, says, False)
    assert list(tmp_path.glob("edited-*")) == []


def test_the_text_of_a_failing_editor_is_kept(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    failing = "import sys; open(sys.argv[1], 'w').write('# mine'); sys.exit(1)"
    run = qvision("config", "edit", env=write("# old\n") | {"EDITOR": shlex.join([sys.executable, "-c", failing])})
    (copy,) = tmp_path.glob("edited-*")
    assert (run.exit_code, copy.read_text(), (tmp_path / "c.toml").read_text()) == (3, "# mine", "# old\n")
    assert run.stderr.endswith(f" exited with 1; nothing was changed\nhint: Your text is in {copy}\n")


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("\nmodle = 'x'\n", "line 2: modle is not a setting; did you mean model?", "Available: "),
        ("[presets.x]\nmax_tokens = 0\n", "presets.x.max_tokens is below 1: 0", "For example: max_tokens = 2048"),
        ("preset = 'capton'\n", "line 1: preset is capton, which does not exist; did you mean caption?", "Available: "),
    ],
)
def test_the_hint_for_an_invalid_edit_names_the_correction(
    text: str, says: str, hint: str, qvision: Qvision, write: Write, tmp_path: Path
) -> None:
    run = qvision("config", "edit", env=write("# old\n") | {"EDITOR": editor(text)})
    (copy,) = tmp_path.glob("edited-*")
    assert (run.exit_code, says in run.stderr, f"\nhint: {hint}" in run.stderr) == (3, True, True)
    assert run.stderr.endswith(f" Nothing was changed; your text is in {copy}\n")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("presets.x.max_tokens", "abc", "presets.x.max_tokens is not a whole number: 'abc'"),
        ("presets.x.schema", "a [[", "presets.x.schema: "),
        ("presets.x.schema", "none.json", "presets.x.schema: cannot read "),
        ("preset", "capton", "preset is capton, which does not exist"),
        ("profiles.w.preset", "capton", "profiles.w.preset is capton, which does not exist"),
    ],
)
def test_an_invalid_preset_is_not_set(
    key: str, value: str, says: str, qvision: Qvision, write: Write, tmp_path: Path
) -> None:
    run = qvision("config", "set", key, value, env=write("# mine\n"))
    assert (run.exit_code, (tmp_path / "c.toml").read_text()) == (3, "# mine\n")
    assert run.stderr.startswith(f"error: {tmp_path / 'c.toml'}: {says}")


def test_a_preset_is_set_key_by_key(qvision: Qvision, write: Write, tmp_path: Path) -> None:
    env = write("[presets.old]\nmax_tokens = 'wrong'\n")
    for key, value in (("schema", "title"), ("prompt", "5"), ("max_tokens", "9")):
        assert qvision("config", "set", f"presets.x.{key}", value, env=env).exit_code == 0
    assert tomllib.loads((tmp_path / "c.toml").read_text())["presets"]["x"] == {
        "schema": "title",
        "prompt": "5",
        "max_tokens": 9,
    }


@pytest.mark.parametrize("arguments", [["--profile", "ollama", "describe"], ["describe", "--profile", "ollama"]])
def test_a_profile_is_named_before_or_after_the_command(
    arguments: list[str], qvision: Qvision, server: Server, lighthouse: Path, write: Write
) -> None:
    env = write(f'[profiles.ollama]\nbase_url = "{server.url}"\n')
    run = qvision(*arguments, lighthouse, "what?", env=env)
    (request,) = server.asked
    assert (run.exit_code, run.stderr, "authorization" in request.headers) == (0, "", False)
    body = {name: value for name, value in request.json.items() if name != "messages"}
    assert body == {"model": "qwen3-vl:8b", "stream": True, "stream_options": {"include_usage": True}}


def test_ollama_needs_no_key_and_is_on_this_machine(qvision: Qvision, lighthouse: Path) -> None:
    """The time is too short for whatever may listen there on a developer's machine."""
    run = qvision("--profile", "ollama", "describe", lighthouse, "-v", "--retries", "0", "--max-time", "0.001")
    assert (run.exit_code, run.stderr.startswith("POST http://localhost:11434/v1/chat/completions (")) == (5, True)


def test_the_same_profile_twice_is_one_and_two_are_a_usage_error(qvision: Qvision) -> None:
    assert qvision("--profile", "vllm", "config", "show", "--profile", "vllm").exit_code == 0
    run = qvision("--profile", "ollama", "config", "show", "--profile", "vllm")
    assert (run.exit_code, run.stderr) == (
        2,
        "error: two profiles, ollama and vllm\nhint: Name one, before or after the command.\n",
    )


def test_a_profile_sets_what_is_sent_and_how(qvision: Qvision, server: Server, lighthouse: Path, write: Write) -> None:
    env = write(
        f'[profiles.work]\nbase_url = "{server.url}"\nmodel = "m"\nmax_tokens = 9\nprompt = "Why?"\nsystem = "Brief."\n'
        'headers = { X-Team = "vision", User-Agent = "mine" }\nkey_env = "WORK_KEY"\nmax_side = 100\nlabels = false\n'
    )
    env |= {"WORK_KEY": KEY, "QVISION_PROFILE": "work"}
    run = qvision("describe", lighthouse, lighthouse, "--json", env=env)
    (request,) = server.asked
    assert request.json["messages"][0] == {"role": "system", "content": "Brief."}
    assert [part["text"] for part in request.json["messages"][1]["content"] if part["type"] == "text"] == ["Why?"]
    assert (request.json["model"], request.json["max_tokens"], "temperature" in request.json) == ("m", 9, False)
    assert [request.headers[name] for name in ("x-team", "user-agent", "authorization")] == [
        "vision",
        "mine",
        f"Bearer {KEY}",
    ]
    assert (run.json["prompt"], run.json["images"][0]["sent"]["width"]) == ("Why?", 96)
    qvision("describe", lighthouse, "How?", "-s", "Long.", "--max-tokens", "5", "--original", "--json", env=env)
    assert (server.asked[1].json["max_tokens"], server.asked[1].json["messages"][0]["content"]) == (5, "Long.")


def test_a_price_gives_the_cost_in_the_record_and_in_the_statistics(
    qvision: Qvision, server: Server, lighthouse: Path, write: Write
) -> None:
    env = write('[prices."test/vlm"]\ninput = 10\noutput = 2.5\n') | {"QUBRID_BASE_URL": server.url}
    server.answer = stream("A lighthouse.")
    run = qvision("describe", lighthouse, "--json", env=env)
    assert run.json["cost"] == {"amount": 0.00132, "currency": "USD", "source": "prices"}
    run = qvision("describe", lighthouse, "--stats", env=env)
    assert " · 120 → 48 tokens · $0.0013 · " in run.stderr
    assert qvision("describe", lighthouse, "--field", "cost.amount", env=env).stdout == b"0.00132\n"
    assert qvision("describe", lighthouse, "--field", "cost", env=write("") | env).stdout == b"null\n"


def test_another_users_settings_are_not_read(qvision: Qvision, tmp_path: Path) -> None:
    qvision("config", "set", "model", "mine")
    other = qvision("config", "show", "--json", env=at_home(tmp_path / "other"))
    assert json.loads(other.stdout)["model"]["origin"] == "default"


def test_the_cost_that_an_endpoint_reports_comes_before_the_users_prices(
    qvision: Qvision, server: Server, lighthouse: Path, write: Write
) -> None:
    env = write('[prices."test/vlm"]\ninput = 10\noutput = 2.5\n') | {"QUBRID_BASE_URL": server.url}
    reported = event({"choices": [], "usage": {**USAGE, "cost": 0.0123}})
    server.answer = Reply([delta("A lighthouse.", finish="stop"), reported, DONE])
    run = qvision("describe", lighthouse, "--json", "--stats", env=env)
    assert run.json["cost"] == {"amount": 0.0123, "currency": "USD", "source": "server"}
    assert " · 120 → 48 tokens · $0.0123 (reported) · " in run.stderr
    top_level = event({"choices": [], "usage": USAGE, "cost": "0.5", "x_metrics": {"cost": 0.7}})
    server.answer = Reply([delta("A lighthouse.", finish="stop"), top_level, DONE])
    run = qvision("describe", lighthouse, "--field", "cost.amount", env=env)
    assert run.stdout == b"0.5\n"
    whole = document("A lighthouse.")
    server.answer = Reply(whole.pieces, headers={**whole.headers, "x-litellm-response-cost": "3.45e-05"})
    run = qvision("describe", lighthouse, "--no-stream", "--json", env=env)
    assert run.json["cost"] == {"amount": 3.45e-05, "currency": "USD", "source": "server"}


SECRET = "sk-query-0123456789"


def test_a_profile_for_a_server_with_a_query_and_a_key_header_needs_nothing_by_hand(
    qvision: Qvision, server: Server, lighthouse: Path, write: Write
) -> None:
    """As Azure's classic addresses: the pasted address, the key in a header of its own, and fields that it always gets."""
    env = write(f"""
[profiles.azure]
base_url = "{server.url}/chat/completions?api-version=2024-10-21&code={SECRET}"
model = "eyes"
key_env = "AZURE_KEY"
key_header = "api-key"
params = {{ seed = 42, user = "me", api_secret = "{SECRET}" }}
query = {{ tenant = 7, since = 2024-10-21 }}
""")
    env |= {"AZURE_KEY": f"Bearer {KEY}", "QVISION_PROFILE": "azure"}
    server.answer = stream(f"It echoes {KEY} and {SECRET}.")
    run = qvision("describe", lighthouse, "-v", "-O", "seed=1", env=env)
    (request,) = server.asked
    assert request.path == f"/v1/chat/completions?tenant=7&since=2024-10-21&api-version=2024-10-21&code={SECRET}"
    assert (request.headers["api-key"], "authorization" in request.headers) == (KEY, False)
    assert {name: request.json[name] for name in ("seed", "user")} == {"seed": 1, "user": "me"}
    url = f"{server.url}/chat/completions?tenant=7&since=2024-10-21&api-version=2024-10-21&code=…"
    assert f"POST {url} with the key in the header api-key (" in run.stderr
    assert '"seed": 1, "user": "me", "api_secret": "(hidden)"' in run.stderr
    outputs = [run]
    outputs += [qvision("config", "show", *json, env=env) for json in ([], ["--json"])]
    outputs += [qvision("config", "get", key, env=env) for key in ("profiles", "profiles.azure.base_url")]
    outputs += [qvision("auth", "status", env=env)]
    outputs += [qvision("doctor", env=env), qvision("models", env=env)]
    shown = "".join(output.stdout.decode() + output.stderr for output in outputs[1:])
    assert (SECRET in shown + run.stderr, KEY in shown) == (False, False)
    assert "in the header api-key" in shown
    assert 'params    {"seed": 42, "user": "me", "api_secret": "(hidden)"} (profiles.azure' in shown
    assert f"{server.url}?tenant=7&since=2024-10-21&api-version=2024-10-21&code=… (profiles.azure" in shown
    assert {asked.path.partition("?")[2] for asked in server.asked} == {request.path.partition("?")[2]}


@pytest.mark.parametrize("value", ["maybe", "1"])
def test_an_invalid_level_is_a_usage_error_with_the_levels(qvision: Qvision, lighthouse: Path, value: str) -> None:
    run = qvision("describe", lighthouse, "--think", value, "--offline")
    assert (run.exit_code, f"'{value}' is not one of on, off, low, medium, high" in run.stderr) == (2, True)


def test_think_and_the_same_field_by_hand_exclude_each_other_on_one_command_line(
    qvision: Qvision, lighthouse: Path
) -> None:
    arguments = ("describe", lighthouse, "--dry-run", "-O", "reasoning_effort=low")
    run = qvision(*arguments, "--think", "off")
    assert (run.exit_code, run.stderr.splitlines()[0]) == (
        2,
        "error: --think and -O reasoning_effort exclude each other",
    )
    run = qvision(*arguments, "--json", env={"QVISION_THINK": "off"})
    request = json.loads(run.stdout)["request"]
    assert (request["reasoning_effort"], "enable_thinking" in request) == ("low", False)
