"""Text for people: without secrets, and in natural order."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qubrid_cli.errors import QvisionError
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import prepare_image
from qubrid_cli.images.sources import Bytes, File, read_bytes
from qubrid_cli.output.streams import Output
from qubrid_cli.schema.json_schema import load_schema
from qubrid_cli.settings.config_file import parse_toml
from qubrid_cli.text import (
    format_count,
    is_secret_header,
    mask_key,
    natural_key,
    redact_secrets,
    shorten,
    strip_control_characters,
)


@pytest.mark.parametrize(
    ("text", "secrets", "clean"),
    [
        ("no key qk-1, really qk-1", ["qk-1"], "no key [key], really [key]"),
        ("qk-1 in qk-1-long", ["qk-1", "qk-1-long"], "[key] in [key]"),
        ("no key", ["qk-1", ""], "no key"),
        ("no key", [], "no key"),
        ("Unexpected fields, 10 x 10, xx", ["x"], "Unexpected fields, 10 x 10, xx"),
        ("Incorrect API key provided: x.", ["x"], "Incorrect API key provided: [key]."),
        ("x is not a valid token", ["x"], "[key] is not a valid token"),
        ("x", ["x"], "[key]"),
        ("got 'x', (x), <x>, a=x&b and x", ["x"], "got '[key]', ([key]), <[key]>, a=[key]&b and x"),
        ("maxtokens12345678", ["12345678"], "maxtokens[key]"),
    ],
)
def test_secrets_that_a_server_echoes_are_removed(text: str, secrets: list[str], clean: str) -> None:
    assert redact_secrets(text, secrets) == clean


@pytest.mark.parametrize(("key", "shown"), [("qk-456789012", "…9012"), ("qk-45678901", "…"), ("1", "…")])
def test_a_key_of_twelve_characters_shows_its_last_four(key: str, shown: str) -> None:
    assert mask_key(key) == shown


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        ("Authorization", True),
        ("X-Api-Key", True),
        ("Cookie", True),
        ("X-AUTH-TOKEN", True),
        ("X-Team", False),
        ("HTTP-Referer", False),
    ],
)
def test_a_secret_header_is_recognized_by_its_name(header: str, *, secret: bool) -> None:
    assert is_secret_header(header) is secret


def test_names_sort_by_the_numbers_in_them() -> None:
    assert sorted(["b", "a10", "a9", "10", "9", "", "a", "a9b10", "a9b9", "²", "a²"], key=natural_key) == [
        "", "9", "10", "a", "a9", "a9b9", "a9b10", "a10", "a²", "b", "²",
    ]  # fmt: skip


@pytest.mark.parametrize("character", [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x1b\x9b\x7f"])
def test_what_commands_a_terminal_does_not_reach_it(character: str) -> None:
    assert strip_control_characters(f"a{character}b\n\tc\u200f") == "ab\n\tc\u200f"


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (lambda: read_bytes(File("my photo.jpg", Path("my photo.jpg"))), 'no such image: "my photo.jpg"'),
        (lambda: read_bytes(File("it's.jpg", Path("it's.jpg"))), 'no such image: "it\'s.jpg"'),
        (lambda: read_bytes(File("a-b_1.jpg", Path("a-b_1.jpg"))), "no such image: a-b_1.jpg"),
        (lambda: prepare_image(Bytes("my photo.jpg", b"no"), ImageLimits()), '"my photo.jpg" is not an image'),
        (lambda: Output("my folder/a.txt"), '-o "my folder/a.txt": there is no folder '),
        (lambda: load_schema("@my schema.json", where="--schema"), '--schema: cannot read "my schema.json": '),
        (lambda: parse_toml("x", Path("my config.toml")), '"my config.toml", '),
    ],
)
def test_a_file_is_quoted_in_a_message_if_a_shell_would_need_it(
    fail: Callable[[], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QvisionError) as caught:
        fail()
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("name", "file"), [("a b.svg", '"a b.svg"'), ("-a b.svg", '"./-a b.svg"'), ("-a.svg", "./-a.svg")]
)
def test_a_command_that_converts_a_file_names_it_as_a_shell_needs_it(name: str, file: str) -> None:
    with pytest.raises(QvisionError) as caught:
        prepare_image(Bytes(name, b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'), ImageLimits())
    assert file in str(caught.value.hint)


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2000, ("image",), "2,000 images"),
        (1, ("image was", "images were"), "1 image was"),
        (2, ("image was", "images were"), "2 images were"),
    ],
)
def test_a_number_is_followed_by_a_noun_of_the_same_number(number: int, words: tuple[str, ...], text: str) -> None:
    assert format_count(number, *words) == text


@pytest.mark.parametrize(("text", "expected"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…")])
def test_a_long_text_is_shortened_to_so_many_characters(text: str, expected: str) -> None:
    assert shorten(text, 4) == expected
