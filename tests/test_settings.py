"""Settings: option over environment over default."""

from typing import Any

import pytest

from qubrid_cli.errors import ConfigError
from qubrid_cli.settings import QUBRID, Origin, Settings, base_url, resolve

DEFAULTS: dict[str, Any] = {
    "model": "Qwen/Qwen3-VL-Plus",
    "base_url": "https://platform.qubrid.com/v1",
    "max_tokens": 16_384,
    "temperature": 0.1,
    "top_p": 1.0,
    "timeout": 300.0,
    "retries": 4,
    "retry_max_wait": 60.0,
    "max_time": None,
    "allow_http": False,
    "offline": False,
}


def settled(values: dict[str, Any], origin: Origin) -> Settings:
    """The defaults but for some values, which all come from one place."""
    origins = dict.fromkeys(DEFAULTS, Origin.DEFAULT) | dict.fromkeys(values, origin)
    return Settings(**(DEFAULTS | values), origins=origins)


def test_without_options_and_environment_all_is_as_documented() -> None:
    assert resolve({}, {}) == settled({}, Origin.DEFAULT)


def test_an_option_wins_over_the_environment() -> None:
    env = {"QVISION_MODEL": "a", "QUBRID_BASE_URL": "http://a/v1", "QVISION_OFFLINE": "0"}
    given = {
        "model": "b",
        "base_url": "http://b/v1",
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.0,
        "timeout": 1.0,
        "offline": True,
    }
    assert resolve(given, env) == settled(given, Origin.OPTION)


def test_the_environment_wins_over_the_default() -> None:
    env = {"QVISION_MODEL": "Org/Model ", "QUBRID_BASE_URL": " http://a:1/v1/ ", "QVISION_OFFLINE": "1"}
    values = {"model": "Org/Model ", "base_url": "http://a:1/v1", "offline": True}
    assert resolve({}, env) == settled(values, Origin.ENVIRONMENT)


def test_what_was_not_given_or_is_empty_counts_for_nothing() -> None:
    options = {"model": None, "offline": None}
    env = {"QVISION_MODEL": "", "QUBRID_BASE_URL": "", "QVISION_OFFLINE": "", "QVISION_TOP_P": "0.5"}
    assert resolve(options, env) == settled({}, Origin.DEFAULT)


@pytest.mark.parametrize(
    ("text", "offline"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        (" on ", True),
        ("0", False),
        ("False", False),
        ("no", False),
        ("off", False),
    ],
)
def test_a_switch_has_the_usual_words(text: str, *, offline: bool) -> None:
    assert resolve({}, {"QVISION_OFFLINE": text}) == settled({"offline": offline}, Origin.ENVIRONMENT)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://platform.qubrid.com/v1", QUBRID),
        ("https://platform.qubrid.com/v1/", QUBRID),
        ("https://platform.qubrid.com/v1/chat/completions", QUBRID),
        ("https://platform.qubrid.com/v1/chat/completions/", QUBRID),
        (" HTTPS://platform.qubrid.com/v1\n", QUBRID),
        ("https://Platform.Qubrid.com/v1", QUBRID),
        ("http://localhost:11434/v1", "http://localhost:11434/v1"),
        ("http://[::1]:8000/v1//", "http://[::1]:8000/v1"),
        ("http://h/v1//chat/completions", "http://h/v1"),
        ("http://h", "http://h"),
        ("http://h/", "http://h"),
        ("http://h/V1/Chat", "http://h/V1/Chat"),
    ],
)
def test_an_address_has_one_form(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is not an http or https URL"),
        ("localhost:11434/v1", "is not an http or https URL"),
        ("ftp://h/v1", "is not an http or https URL"),
        ("http:///v1", "is not an http or https URL"),
        ("http://h:port/v1", "is not a URL"),
        ("http://h:70000/v1", "is not a URL"),
        ("http://[::1/v1", "is not a URL"),
        ("http://me:secret@h/v1", "may not hold a user or password"),
        ("http://h/v1?a=b", "may not hold a ? or #"),
        ("http://h/v1#a", "may not hold a ? or #"),
        ("http://h/v 1", "holds a blank or a control character"),
        ("http://h/v\n1", "holds a blank or a control character"),
        ("http://h/v\x7f1", "holds a blank or a control character"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=rf"^{wrong.replace('?', '[?]')}$"):
        base_url(text)


@pytest.mark.parametrize(
    ("options", "env", "report"),
    [
        (
            {"base_url": "ftp://h"},
            {"QUBRID_BASE_URL": "http://fine/v1"},
            "error: --base-url is not an http or https URL: ftp://h\nhint: For example: http://localhost:11434/v1",
        ),
        (
            {},
            {"QUBRID_BASE_URL": "http://h/\x1b[2J"},
            (
                "error: QUBRID_BASE_URL holds a blank or a control character: http://h/\\x1b[2J\n"
                "hint: For example: http://localhost:11434/v1"
            ),
        ),
        (
            {},
            {"QVISION_OFFLINE": "maybe"},
            "error: QVISION_OFFLINE is neither 1 nor 0: maybe\nhint: For example: 1",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_where_it_stands(
    options: dict[str, Any], env: dict[str, str], report: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(options, env)
    assert caught.value.report() == report


@pytest.mark.parametrize(("options", "env"), [({"model": ""}, {}), ({"model": " "}, {}), ({}, {"QVISION_MODEL": " "})])
def test_a_model_without_a_name_is_refused(options: dict[str, Any], env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^(--model|QVISION_MODEL) is empty"):
        resolve(options, env)


@pytest.mark.parametrize("url", ["http://me:secret@h/v1", "http://me:sec@secret@h/v1", "me:secret@h/v1"])
def test_a_password_is_not_repeated_in_the_message(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"base_url": url}, {})
    assert "sec" not in caught.value.report()


@pytest.mark.parametrize(
    ("url", "is_qubrid"), [(f"{QUBRID}/", True), ("https://platform.qubrid.com.evil.com/v1", False)]
)
def test_qubrid_is_known_by_its_address(url: str, *, is_qubrid: bool) -> None:
    assert resolve({"base_url": url}, {}).is_qubrid is is_qubrid
