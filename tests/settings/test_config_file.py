"""The file config.toml: what may stand in it, and what is said when something else does."""

import os
import re
from pathlib import Path

import pytest

from qubrid_cli.errors import ConfigError
from qubrid_cli.metrics import Price
from qubrid_cli.settings import config_file
from qubrid_cli.settings.config_file import Config, get_config_path, load_config, parse_config

from ..conftest import NOWHERE

FILE = Path("/c.toml")

WHOLE = """
profile = "work"
max_tokens = 512
temperature = 1

[profiles.work]
base_url = "https://llm.example.com/v1/chat/completions"
headers = { X-Team = "vision" }
key_env = "WORK_KEY"

[presets.alt]
prompt = "Alt text."
schema = "x.json"

[prices."Qwen/Qwen3-VL-8B-Instruct"]
input = 0.25
output = 1
"""


def test_a_whole_file_is_read_and_its_values_are_brought_into_form() -> None:
    assert parse_config(WHOLE, FILE) == Config(
        FILE,
        {"profile": "work", "max_tokens": 512, "temperature": 1.0},
        {
            "work": {
                "base_url": "https://llm.example.com/v1",
                "headers": {"X-Team": "vision"},
                "key_env": "WORK_KEY",
            }
        },
        {"alt": {"prompt": "Alt text.", "schema": "x.json"}},
        {"Qwen/Qwen3-VL-8B-Instruct": Price(0.25, 1.0)},
    )


def test_an_empty_file_says_nothing() -> None:
    assert parse_config("# nothing\n", FILE) == Config(FILE)


PRESET = "Available: describe, caption, alt, ocr, tags, photo, table, chart, ui, json"
THERE_IS = "Available: qubrid, ollama, lmstudio, vllm, openrouter, openai"


@pytest.mark.parametrize(
    ("source", "says", "hint"),
    [
        ("modle = 'x'", "modle is not a setting; did you mean model?", "Available: "),
        ("[profile.x]\nmodel = 'm'", "profile is not a string; did you mean profiles?", "For example: [profiles.NAME]"),
        ("preset.x.prompt = 'm'", "preset is not a string; did you mean presets?", "For example: [presets.NAME]"),
        ("preset = 'capton'", "preset is capton, which does not exist; did you mean caption?", PRESET),
        (
            "profiles.x.preset = 'capton'",
            "profiles.x.preset is capton, which does not exist; did you mean caption?",
            PRESET,
        ),
        ("[profils.x]", "profils is not a setting; did you mean profiles?", "Available: "),
        (
            "[profiles.x]\nmax-tokens = 1",
            "profiles.x.max-tokens is not a setting; did you mean max_tokens?",
            "Available: ",
        ),
        ("[presets.x]\nprompts = 'a'", "presets.x.prompts is not a setting; did you mean prompt?", "Available: "),
        ('[prices."a/b"]\nin = 1', 'prices."a/b".in is not a setting', "Available: input, output"),
        (
            '[prices."a/b"]\ninput = "1"',
            'prices."a/b".input is not a number',
            "USD per million tokens, such as 0.25.",
        ),
        ("[prices.a]\ninput = -1", "prices.a.input is below 0", "USD per million tokens, such as 0.25."),
        ("prices = 1", "prices is not a table", "For example: [prices]"),
        ("profiles.x = 1", "profiles.x is not a table", "For example: [profiles.x]"),
        ("[profiles.'a b']", "profiles has the name 'a b'", "Names are made of letters, digits, - and _."),
        ("headers = {}", "headers is not a setting", "It belongs in a profile: profiles.qubrid.headers"),
        ("key_env = 'K'", "key_env is not a setting", "It belongs in a profile: profiles.qubrid.key_env"),
        (
            "api_key = 'qk-1'",
            "api_key is not a setting",
            "API keys are not stored with the settings: qvision auth login",
        ),
        ("profile = 'nope'", "profile is nope, which does not exist", THERE_IS),
        ("model = ''", "model is empty", 'For example: model = "Qwen/Qwen3-VL-Plus"'),
        ("model = 1", "model is not a string", 'For example: model = "Qwen/Qwen3-VL-Plus"'),
        ("max_tokens = 0", "max_tokens is below 1", "For example: max_tokens = 2048"),
        ("max_tokens = 1.5", "max_tokens is not a whole number", "For example: max_tokens = 2048"),
        ("max_tokens = true", "max_tokens is not a whole number", "For example: max_tokens = 2048"),
        ("top_p = 1.1", "top_p is not between 0 and 1", "For example: top_p = 1"),
        ("temperature = nan", "temperature is not a number", "For example: temperature = 0.1"),
        ("quality = 96", "quality is not between 1 and 95", "For example: quality = 85"),
        ("labels = 'no'", "labels is neither true nor false", "For example: labels = false"),
        (
            "base_url = 'http://me:secret@h/v1'",
            "base_url must not contain a user name or password",
            'For example: base_url = "http://localhost:11434/v1"',
        ),
    ],
)
def test_what_nobody_understands_is_refused_with_its_place_and_what_was_meant(
    source: str, says: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(source, FILE)
    without_line = re.sub(r"^/c\.toml, line \d+: ", "/c.toml: ", caught.value.message)
    assert (caught.value.exit_code, without_line) == (3, f"/c.toml: {says}")
    assert str(caught.value.hint).startswith(hint)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("# modle\n\nmodle = 'x'", ", line 3: modle is not a setting"),
        ("model = 'm'\n[profiles.a]\nretries = 1\n[profiles.b]\nretries = -1", ", line 5: profiles.b.retries is below"),
        ('prompt = """\nretries = 5\n"""\nretries = "x"\r\n', ", line 4: retries is not a whole number"),
        ("\n[[modle]]\nx = [\n1,\n]\n", ", line 2: modle is not a setting"),
        ("profiles.w = { model = 'm',  retries = -1 }", ", line 1: profiles.w.retries is below"),
        ('"\\u006dodle" = 1', ": modle is not a setting"),
    ],
)
def test_what_nobody_understands_comes_with_its_line_where_that_is_seen(source: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(source, FILE)
    assert caught.value.message.startswith(f"/c.toml{says}")


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ("1", "is not a table of strings"),
        ("{ 'a b' = 'x' }", "contains an invalid header name, 'a b'"),
        ("{ Host = 'x' }", "contains Host, which the request sets itself"),
        ("{ X = 1 }", "has a value for X that is not a string of printable ASCII"),
        ('{ X = "a\\nY: b" }', "has a value for X that is not a string of printable ASCII"),
        ("{ X = 'a', x = 'b' }", "contains a header twice"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_without_their_values(headers: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"[profiles.w]\nheaders = {headers}", FILE)
    assert caught.value.message == f"/c.toml, line 2: profiles.w.headers {says}"


def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("[profiles.w]\nkey_env = 'qk-secret'", FILE)
    assert caught.value.format_report() == (
        "error: /c.toml, line 2: profiles.w.key_env is not the name of a variable in upper case, such as MY_KEY\n"
        'hint: For example: key_env = "MY_API_KEY"'
    )


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"model = ", "line 1, column 9: Invalid value"),
        (b"a = 1\nmodel 'x'\n", "line 2, column 7: Expected '=' after a key in a key/value pair"),
        (b"a = 1\na = 2\n", "line 2, column 6: Cannot overwrite a value"),
        (b"a = [1,\n", "line 2, column 1: Invalid value"),
        (b"a = 1\n\n# \xff\n", "line 3, column 3: this is not UTF-8 text"),
    ],
)
def test_a_broken_file_is_named_with_line_and_column(data: bytes, where: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_config({"QVISION_CONFIG": str(file)})
    assert caught.value.message == f"{file}, {where}"
    assert file.read_bytes() == data


def test_a_file_too_deep_to_be_read_is_an_error_like_any_other() -> None:
    with pytest.raises(ConfigError, match=r"^/c\.toml, line 1, column "):
        parse_config("a = " + "[" * 100_000, FILE)


def test_a_byte_order_mark_and_carriage_returns_are_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbfmax_tokens = 1\r\nmodel = 'm'\r\n")
    assert load_config({"QVISION_CONFIG": str(file)}).defaults == {"max_tokens": 1, "model": "m"}


def test_a_file_that_is_not_there_says_nothing_unless_a_variable_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, str(NOWHERE))
    assert load_config({"QVISION_CONFIG": ""}) == Config(config_file.get_config_folder() / "config.toml")
    with pytest.raises(ConfigError, match=r"^QVISION_CONFIG names .*none\.toml, which does not exist$"):
        load_config({"QVISION_CONFIG": str(NOWHERE / "none.toml")})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot read .*: Is a directory$"):
        load_config({"QVISION_CONFIG": str(tmp_path)})


def test_the_file_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert get_config_path({"QVISION_CONFIG": "~/a.toml"}) == tmp_path / "a.toml"
    assert get_config_path({"QVISION_CONFIG": "b.toml"}) == Path(os.path.abspath("b.toml"))
    assert load_config({"QVISION_CONFIG": os.devnull}) == Config(Path(os.devnull))
