"""The prompt: from the command line, a file or standard input; and what belongs to the key of an answer."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli.commands.shared.setup import read_prompt
from qubrid_cli.errors import UsageError
from qubrid_cli.library.request_builder import list_key_facets, validate_prompt
from qubrid_cli.settings.config_file import validate_config
from qubrid_cli.settings.resolve import resolve
from qubrid_cli.text import quote_name

NOTHING = BytesIO()


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("What is this?", "What is this?"),
        (" What?\n", " What?\n"),
        ("@@home", "@home"),
        ("@@@home", "@@home"),
        ("me@home", "me@home"),
        ("--", "--"),
    ],
)
def test_a_text_stays_as_it_is_except_a_doubled_at_sign(text: str, prompt: str) -> None:
    assert read_prompt("-p", text, BytesIO(b"not this")) == prompt


@pytest.mark.parametrize(
    ("data", "prompt"),
    [
        (b"What?", "What?"),
        (b"What?\n", "What?"),
        (b"What?\r\n", "What?"),
        (b" a\n\n b \n", " a\n\n b "),
        (b"\xef\xbb\xbfWas?\xc3\xa9", "Was?é"),
        (b"@home\n", "@home"),
        (b"-", "-"),
    ],
)
def test_a_file_and_standard_input_are_read_without_their_last_line_break(
    tmp_path: Path, data: bytes, prompt: str
) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes(data)
    stdin = BytesIO(data)
    assert [read_prompt("-p", f"@{path}", NOTHING), read_prompt("-p", "-", stdin)] == [
        prompt,
        prompt,
    ]


def test_an_argument_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^the prompt is not UTF-8 text$"):
        validate_prompt("caf\udce9", "the prompt")


@pytest.mark.parametrize("text", ["", " \n", "\u3000"])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^-p is empty$"):
        read_prompt("-p", text, NOTHING)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_standard_input_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^-p is empty$"):
        read_prompt("-p", "-", BytesIO(data))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("no.txt", "No such file or directory"), ("a\x00b", "embedded null byte")],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_prompt("-s", f"@{name}", NOTHING)
    assert (caught.value.message, caught.value.hint) == (
        f"cannot read {quote_name(name)}, named by -s: {reason}",
        f"If the prompt begins with @, double it: -s {quote_name(f'@@{name}')}",
    )


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError) as caught:
        read_prompt("-p", f"@{path}", NOTHING)
    assert caught.value.message == f"{path} is not UTF-8 text"


def test_standard_input_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^standard input, read for -p -, is not UTF-8 text$"):
        read_prompt("-p", "-", BytesIO(b"\xff"))


@pytest.mark.parametrize(
    ("options", "profile", "facets"),
    [
        ({}, {}, {}),
        ({"profile": "vllm"}, {}, {}),
        ({"profile": "vllm", "image_order": "last"}, {}, {"image_order": "last"}),
        ({"image_order": "last"}, {}, {}),
        (
            {"image_order": "first", "think": "off", "detail": "low"},
            {},
            {"image_order": "first", "think": "off", "detail": "low"},
        ),
        ({"profile": "work"}, {"params": {"seed": 1}, "think": "high"}, {"params": {"seed": 1}, "think": "high"}),
        ({"profile": "work"}, {"query": {"api-version": "2"}, "key_header": "api-key", "params": {}}, {}),
    ],
)
def test_only_what_is_used_and_shapes_an_answer_belongs_to_its_key(
    options: dict[str, Any], profile: dict[str, Any], facets: dict[str, Any]
) -> None:
    """Otherwise the answers of earlier versions would be requested, and paid for, again."""
    config = validate_config({"profiles": {"work": {"model": "m", **profile}}}, Path("c.toml"))
    assert list_key_facets(resolve(options, {}, config)) == facets
