"""Changing config.toml: comments stay, nothing wrong gets in, and whoever pulls the plug finds one file or the other."""

import codecs
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qubrid_cli.errors import ConfigError, UsageError
from qubrid_cli.settings.config_edit import set_value, unset_value
from qubrid_cli.settings.config_file import parse_key

from ..conftest import Qvision, command, environment

COMMENTED = """# Mine.
model = "a"  # the best

# For work.
[profiles.work]  # behind the VPN
base_url = "https://llm.example.com/v1"
headers = { X-Team = "vision" }  # needed

# The end.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(COMMENTED)
    return path


def test_only_the_value_changes(file: Path) -> None:
    set_value(file, ["model"], "b")
    set_value(file, ["profiles", "work", "base_url"], "https://x.example.com/v1")
    assert file.read_text() == COMMENTED.replace('"a"', '"b"').replace("llm.example", "x.example")


def test_carriage_returns_stay(file: Path) -> None:
    file.write_bytes(COMMENTED.replace("\n", "\r\n").encode())
    set_value(file, ["model"], "b")
    assert file.read_bytes() == COMMENTED.replace("\n", "\r\n").replace('"a"', '"b"').encode()


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_stay_whatever_is_added_or_removed(end: str, mark: bytes, file: Path) -> None:
    file.write_bytes(mark + COMMENTED.replace("\n", end).encode())
    set_value(file, ["retries"], "1")
    set_value(file, ["profiles", "work", "retries"], "1")
    set_value(file, ["profiles", "new", "headers", "X"], "1")
    unset_value(file, ["profiles", "work", "headers"])
    data = file.read_bytes()
    assert (data.startswith(mark + b"# Mine."), data.count(codecs.BOM_UTF8)) == (True, bool(mark))
    assert set(re.findall(b"\r?\n", data)) == {end.encode()}


def test_without_line_ends_of_its_own_a_file_keeps_its_mix(file: Path) -> None:
    file.write_bytes(b"# a\r\nmodel = 'a'\n")
    set_value(file, ["model"], "b")
    assert file.read_bytes() == b'# a\r\nmodel = "b"\n'


TABLES = """# Mine.
model = "a"

# the work server
# behind the VPN
[profiles.work] # w
model = "w"

# the home server
[profiles.home]
model = "h" # tiny

# The end.
"""


@pytest.mark.parametrize(
    ("key", "new"),
    [
        ("retries", TABLES.replace('"a"\n', '"a"\nretries = 3\n')),
        ("profiles.work.retries", TABLES.replace('"w"\n', '"w"\nretries = 3\n')),
    ],
)
def test_a_new_key_does_not_come_between_a_table_and_the_comment_above_it(key: str, new: str, file: Path) -> None:
    file.write_text(TABLES)
    set_value(file, parse_key(key), "3")
    assert file.read_text().replace("\n\n", "\n") == new.replace("\n\n", "\n")


@pytest.mark.parametrize(
    ("key", "begins", "ends"),
    [("profiles.work", "# the work server", "# the home server"), ("profiles.home", "# the home server", "# The end.")],
)
def test_a_table_goes_with_the_comment_above_it_and_no_other(key: str, begins: str, ends: str, file: Path) -> None:
    file.write_text(TABLES)
    unset_value(file, parse_key(key))
    assert file.read_text() == TABLES[: TABLES.index(begins)] + TABLES[TABLES.index(ends) :]


def test_a_comment_that_stands_by_itself_stays_when_the_table_before_it_or_behind_it_goes(file: Path) -> None:
    for name in ("work", "home"):
        file.write_text(TABLES.replace("# the home", "# Section.\n\n# the home"))
        unset_value(file, ["profiles", name])
        assert "\n\n# Section.\n\n" in file.read_text()
    unset_value(file, ["profiles", "work"])
    assert [line for line in file.read_text().splitlines() if line] == [
        "# Mine.",
        'model = "a"',
        "# Section.",
        "# The end.",
    ]


def test_what_looks_like_a_comment_above_a_table_and_is_a_text_stays(file: Path) -> None:
    file.write_text('prompt = """\n# not a comment\n[profiles.x]\n"""\n# one\n[profiles.work]\nmodel = "#tied-0"\n')
    set_value(file, ["retries"], "3")
    assert tomllib.loads(file.read_text()) == {
        "prompt": "# not a comment\n[profiles.x]\n",
        "retries": 3,
        "profiles": {"work": {"model": "#tied-0"}},
    }
    assert "\n# one\n[profiles.work]\n" in file.read_text()


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("model", "Qwen/Qwen3-VL-Plus", "Qwen/Qwen3-VL-Plus"),
        ("model", '"quoted"', "quoted"),
        ("model", "1", "1"),
        ("model", "true", "true"),
        ("system", 'Say "yes"\nor no # really', 'Say "yes"\nor no # really'),
        ("prompt", "1\nmodel = 2", "1\nmodel = 2"),
        ("max_tokens", "2048", 2048),
        ("max_tokens", "2_048", 2048),
        ("temperature", "0", 0),
        ("labels", "false", False),
        ("profiles.work.headers", '{ X-A = "b" }', {"X-A": "b"}),
        ("profiles.work.headers.X-New", "1", "1"),
        ("profiles.new.base_url", "http://h/v1", "http://h/v1"),
        ("profiles.work.key_env", "WORK_KEY", "WORK_KEY"),
        ('prices."Qwen/Qwen3-VL-8B-Instruct".input', "0.25", 0.25),
        ("prices.'a.b'.output", "1", 1),
        ("presets.alt.prompt", "Alt text.", "Alt text."),
    ],
)
def test_a_value_is_toml_or_a_text_whichever_the_key_takes(key: str, value: str, found: object, file: Path) -> None:
    set_value(file, parse_key(key), value)
    there: object = tomllib.loads(file.read_text())
    for name in parse_key(key):
        assert isinstance(there, dict)
        there = there[name]
    assert there == found
    assert all(line in file.read_text() for line in ("# Mine.", "  # the best", "# For work.", "# The end."))


@pytest.mark.parametrize(
    ("source", "key", "new"),
    [
        ("retries = 1", "model", 'retries = 1\nmodel = "b"\n'),
        ("profiles.w.model = 'a'", "profiles.w.model", 'profiles.w.model = "b"\n'),
        ("[profiles.w] # w\n", "model", 'model = "b"\n\n[profiles.w] # w\n'),
    ],
)
def test_a_file_may_be_written_in_any_way(source: str, key: str, new: str, file: Path) -> None:
    file.write_text(source)
    set_value(file, parse_key(key), "b")
    assert file.read_text() == new


def test_a_table_on_one_line_takes_a_table_more(file: Path) -> None:
    file.write_text("[profiles]\nw = { model = 'a' } # w\n")
    set_value(file, ["profiles", "w", "headers", "X"], "b")
    assert tomllib.loads(file.read_text()) == {"profiles": {"w": {"model": "a", "headers": {"X": "b"}}}}
    assert file.read_text().endswith("} # w\n")


def test_a_dotted_key_is_removed_with_all_that_led_to_it(file: Path) -> None:
    file.write_text("profiles.w.model = 'a'\nretries = 1\n")
    unset_value(file, ["profiles", "w", "model"])
    assert file.read_text() == "retries = 1\n"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("modle", "x", "modle is not a setting"),
        ("profiles.work.modle", "x", "profiles.work.modle is not a setting"),
        ("max_tokens", "many", "max_tokens is not a whole number"),
        ("max_tokens", "0", "max_tokens is below 1"),
        ("profiles.work", "x", "profiles.work is not a table"),
        ("model.x", "1", "model is not a string"),
        ("api_key", "qk-secret", "api_key is not a setting"),
        ("profiles.work.key_env", "qk-secret", "profiles.work.key_env is not the name of a variable in upper case"),
        ("profiles.work.headers.Authorization", "qk-secret\n", "profiles.work.headers has a value for Authorization"),
        ("base_url", "http://me:qk-secret@h", "base_url must not contain a user name or password"),
        ("profile", "nope", "profile is nope, which does not exist"),
    ],
)
def test_what_would_not_be_right_is_refused_and_a_key_not_repeated(key: str, value: str, says: str, file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        set_value(file, parse_key(key), value)
    assert caught.value.message.startswith(f"{file}: {says}")
    assert "qk-secret" not in caught.value.format_report()
    assert file.read_text() == COMMENTED


def test_a_broken_file_is_never_overwritten(file: Path) -> None:
    file.write_text("model = \n")
    with pytest.raises(ConfigError, match="line 1, column 9: Invalid value"):
        set_value(file, ["model"], "b")
    with pytest.raises(ConfigError, match="line 1, column 9: Invalid value"):
        unset_value(file, ["model"])
    assert file.read_text() == "model = \n"


@pytest.mark.parametrize("key", ["", ".", "a.", "a b", "Qwen/x", "a = 1\nb", "[a]", "a#", "a\n"])
def test_what_is_no_key_is_a_usage_error(key: str) -> None:
    with pytest.raises(UsageError, match=r"is not a key of a TOML file$"):
        parse_key(key)


def test_a_key_or_a_table_is_removed_and_the_rest_stays(file: Path) -> None:
    unset_value(file, ["model"])
    assert tomllib.loads(file.read_text()) == {
        "profiles": {"work": {"base_url": "https://llm.example.com/v1", "headers": {"X-Team": "vision"}}}
    }
    unset_value(file, ["profiles", "work", "headers"])
    unset_value(file, ["profiles"])
    assert tomllib.loads(file.read_text()) == {}
    with pytest.raises(ConfigError, match=r"does not set profiles\.work\.model$"):
        unset_value(file, ["profiles", "work", "model"])


def test_a_profile_that_is_chosen_is_not_removed(file: Path) -> None:
    set_value(file, ["profile"], "work")
    with pytest.raises(ConfigError, match=r"profile is work, which does not exist$"):
        unset_value(file, ["profiles", "work"])


def test_a_file_is_made_for_its_owners_eyes_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    set_value(file, ["model"], "a")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.chmod(0o640)
    set_value(file, ["model"], "b")
    assert (file.stat().st_mode & 0o777, file.read_text()) == (0o640, 'model = "b"\n')
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_link_stays_and_its_target_changes(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "there" / "config.toml"
    link.parent.mkdir()
    link.symlink_to("../config.toml")
    set_value(link, ["model"], "b")
    assert (link.is_symlink(), file.read_text()) == (True, COMMENTED.replace('"a"', '"b"'))


def test_two_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    env = environment({"QVISION_CONFIG": str(tmp_path / "config.toml")})
    names = [f"profiles.p{number}.model" for number in range(8)]
    running = [subprocess.Popen(command("config", "set", name, "m"), env=env) for name in names]
    assert [one.wait(60) for one in running] == [0] * 8
    found = tomllib.loads((tmp_path / "config.toml").read_text())
    assert found == {"profiles": {f"p{number}": {"model": "m"} for number in range(8)}}
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


#: Forks runs and kills each, so that it cannot react, at the n-th thing that it does with a file or a folder, until one
#: ends before its n-th. Prints the file after each run.
KILLED = """
import json, os, signal, sys
from qubrid_cli import cli
from qubrid_cli.settings import config_edit, config_file
def watch(event, arguments):
    global left
    if event in {"open", "os.rename", "os.chmod", "os.remove", "os.listdir", "os.scandir", "fcntl.flock"}:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
path, old, step, status = os.environ["QVISION_CONFIG"], sys.stdin.read(), 0, signal.SIGKILL
while status == signal.SIGKILL:
    step += 1
    with open(path, "w") as file:
        file.write(old)
    child = os.fork()
    if not child:
        left = step
        sys.addaudithook(watch)
        try:
            os._exit(cli.main(["config", "set", "model", "b"]))
        finally:
            os._exit(99)
    status = os.waitpid(child, 0)[1]
    with open(path) as file:
        print(json.dumps(file.read()))
sys.exit(status)
"""

if hasattr(os, "fork"):

    def test_killed_at_any_step_it_leaves_the_old_file_or_the_new_one(file: Path) -> None:
        old, new = COMMENTED, COMMENTED.replace('"a"', '"b"')
        env = environment({"QVISION_CONFIG": str(file)})
        done = subprocess.run(
            [sys.executable, "-c", KILLED], input=old.encode(), capture_output=True, env=env, timeout=60, check=True
        )
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(seen) > 5
        assert seen == [old] * seen.index(new) + [new] * (len(seen) - seen.index(new))
        assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_file_that_cannot_be_written_is_an_error(qvision: Qvision) -> None:
    run = qvision("config", "set", "model", "a", env={"QVISION_CONFIG": os.devnull})
    assert (run.exit_code, run.stdout) == (3, b"")
    assert f"error: {os.devnull} is not a regular file" in run.stderr
