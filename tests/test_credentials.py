"""The key, from an environment that is a dict."""

import pytest

from qubrid_cli import credentials
from qubrid_cli.errors import AuthError


@pytest.mark.parametrize(
    "pasted",
    [
        "qk-1=a/b+c",
        "  qk-1=a/b+c\r\n",
        '"qk-1=a/b+c"',
        "'qk-1=a/b+c'",
        '" qk-1=a/b+c "',
        "Bearer qk-1=a/b+c",
        "bearer   qk-1=a/b+c",
        '"Bearer qk-1=a/b+c"',
        'Bearer "qk-1=a/b+c"',
    ],
)
def test_what_people_paste_around_a_key_is_taken_off(pasted: str) -> None:
    assert credentials.find({"QUBRID_API_KEY": pasted}, required=True) == "qk-1=a/b+c"


@pytest.mark.parametrize(
    ("pasted", "key"), [("Bearer1234", "Bearer1234"), ("qk-bearer", "qk-bearer"), ("Bearer bearer", "bearer")]
)
def test_a_key_may_hold_the_word_itself(pasted: str, key: str) -> None:
    assert credentials.find({"QUBRID_API_KEY": pasted}, required=True) == key


@pytest.mark.parametrize("env", [{}, {"QUBRID_API_KEY": ""}, {"QUBRID_API_KEY": " '' "}, {"QUBRID_API_KEY": "Bearer "}])
def test_a_missing_key_is_none_where_none_is_needed(env: dict[str, str]) -> None:
    assert credentials.find(env, required=False) is None


@pytest.mark.parametrize("env", [{}, {"QUBRID_API_KEY": "Bearer"}])
def test_a_missing_key_is_an_error_where_one_is_needed(env: dict[str, str]) -> None:
    with pytest.raises(AuthError) as caught:
        credentials.find(env, required=True)
    error = caught.value
    assert (error.exit_code, error.code, error.message) == (3, "no_key", "no API key: QUBRID_API_KEY is not set")


@pytest.mark.parametrize("key", ["qk 1", "qk\n1", "qk\r\nX-Evil: 1", "qk-…", "qk\x7f", "qk\x00", "qk\udc80"])
@pytest.mark.parametrize("required", [True, False])
def test_a_key_that_no_header_may_hold_is_refused_and_not_repeated(key: str, *, required: bool) -> None:
    with pytest.raises(AuthError) as caught:
        credentials.find({"QUBRID_API_KEY": key}, required=required)
    assert caught.value.report() == (
        "error: QUBRID_API_KEY holds a blank, a line break or a character outside ASCII\n"
        "hint: Copy the key once more from https://platform.qubrid.com/api-keys."
    )


@pytest.mark.parametrize(
    ("text", "key", "scrubbed"),
    [
        ("no key qk-1, really qk-1", "qk-1", "no key [key], really [key]"),
        ("no key", "qk-1", "no key"),
        ("no key", None, "no key"),
    ],
)
def test_a_key_that_a_server_echoes_is_taken_out(text: str, key: str | None, scrubbed: str) -> None:
    assert credentials.scrubbed(text, key) == scrubbed
