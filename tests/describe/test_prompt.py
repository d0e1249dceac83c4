"""The prompt: from the command line, a file or standard input."""

from io import BytesIO
from pathlib import Path

import pytest

from qubrid_cli.describe.prompt import (
    check_placeholders,
    expand_placeholders,
    format_image_label,
    read_prompt,
    validate_prompt,
)
from qubrid_cli.errors import UsageError

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
    assert read_prompt(text, option="-p", stdin=BytesIO(b"not this")) == prompt


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
    assert [read_prompt(f"@{path}", option="-p", stdin=NOTHING), read_prompt("-", option="-p", stdin=stdin)] == [
        prompt,
        prompt,
    ]


def test_an_argument_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^the prompt is not UTF-8 text$"):
        validate_prompt("caf\udce9", "the prompt")


@pytest.mark.parametrize("text", ["", " \n", "\u3000"])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^-p is empty$"):
        read_prompt(text, option="-p", stdin=NOTHING)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_standard_input_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^-p is empty$"):
        read_prompt("-", option="-p", stdin=BytesIO(data))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("no.txt", "No such file or directory"), ("a\x00b", "embedded null byte")],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_prompt(f"@{name}", option="-s", stdin=NOTHING)
    assert (caught.value.message, caught.value.hint) == (
        f"cannot read {name}, named by -s: {reason}",
        f"If the prompt begins with @, double it: -s '@@{name}'",
    )


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError) as caught:
        read_prompt(f"@{path}", option="-p", stdin=NOTHING)
    assert caught.value.message == f"{path} is not UTF-8 text"


def test_standard_input_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^standard input, read for -p -, is not UTF-8 text$"):
        read_prompt("-", option="-p", stdin=BytesIO(b"\xff"))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("lighthouse.jpg", "Image 2: lighthouse.jpg"),
        ("/home/me/secret client/lighthouse.jpg", "Image 2: lighthouse.jpg"),
        (r"C:\Users\me\lighthouse.jpg", "Image 2: lighthouse.jpg"),
        ("https://host/a/b.png?token=secret", "Image 2: b.png"),
        ("https://host/a/?token=secret/x", "Image 2: a"),
        ("data:image/png;base64,…", "Image 2"),
        ("-", "Image 2"),
        ("a\x1b[2J\udc80.png", r"Image 2: a\x1b[2J\udc80.png"),
    ],
)
def test_a_label_has_the_number_and_the_name_without_its_folder(name: str, label: str) -> None:
    assert format_image_label(2, name) == label


@pytest.mark.parametrize("text", ["{em} {st} {me}", "{id}", "{image} {date} {line}", "{username}"])
def test_a_word_that_is_not_almost_a_placeholder_is_text(text: str) -> None:
    assert expand_placeholders(text, {"name": "a.jpg"}) == text


@pytest.mark.parametrize(("word", "meant"), [("file_name", "name"), ("FileName", "name"), ("indx", "index")])
def test_a_misspelt_placeholder_is_refused_with_a_suggestion(word: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_placeholders(f"What is {{{word}}}?", images=1)
    assert (caught.value.message, caught.value.hint) == (
        f"unknown placeholder {{{word}}} in the prompt",
        f"Did you mean {{{meant}}}? For literal braces, double them: {{{{{word}}}}}",
    )


def test_doubled_braces_are_not_placeholders_of_several_images() -> None:
    check_placeholders("{{name}} and {index}", images=2)
