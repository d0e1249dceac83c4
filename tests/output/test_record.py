"""Answers as data: JSON on one line, one field of it, the line of statistics."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.describe.result import Description, UnpreparedImage
from qubrid_cli.errors import UsageError
from qubrid_cli.images.encode import Upload
from qubrid_cli.images.prepare import PreparedImage
from qubrid_cli.metrics import Cost, Timing
from qubrid_cli.output import formatting
from qubrid_cli.text import format_size, json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=10,
)


@given(VALUES)
def test_json_text_can_be_read_again(value: object) -> None:
    assert json.loads(json_text(value)) == value


@given(st.text(st.characters()))
def test_json_text_has_no_control_characters(text: str) -> None:
    found = json_text([text]).encode().decode()
    assert [character for character in found if character < " " or "\x7f" <= character <= "\x9f"] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True, 0.5]}, '{"a":[1,null,true,0.5]}'),
        ("é🎉", '"é🎉"'),
        ("a\nb\x1b[2J", r'"a\nb\u001b[2J"'),
        ("\x7f\x9b", r'"\u007f\u009b"'),
        ("caf\udce9", r'"caf\udce9"'),
    ],
)
def test_json_text_is_compact_and_keeps_letters(value: object, text: str) -> None:
    assert json_text(value) == text


FOUND = {
    "ok": True,
    "text": 'A "cat".\n',
    "usage": None,
    "images": [{"source": "a.jpg", "sent": {"width": 640}}, {"source": "b.jpg", "sent": None}],
    "x_metrics": {"tps": 38.4, "0": "zero"},
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ok", "true"),
        ("text", 'A "cat".\n'),
        ("usage", "null"),
        ("usage.prompt_tokens", "null"),
        ("images.1.source", "b.jpg"),
        ("images.0.sent", '{"width":640}'),
        ("images.0.sent.width", "640"),
        ("images.1.sent.width", "null"),
        ("x_metrics.tps", "38.4"),
        ("x_metrics.0", "zero"),
    ],
)
def test_one_value_is_picked_by_its_path(path: str, text: str) -> None:
    assert formatting.format_field(FOUND, path) == text


@pytest.mark.parametrize(
    "path", ["nope", "", "x_metrics.ttft", "images.2", "images.-1", "text.0", "ok.x", "images.0.a.b"]
)
def test_a_missing_value_is_null_as_in_jq(path: str) -> None:
    assert formatting.format_field(FOUND, path) == "null"


@pytest.mark.parametrize(
    "path",
    [
        "text",
        "images",
        "images.0",
        "images.17.sent.tokens_estimate",
        "usage.prompt_tokens",
        "usage.prompt_tokens_details.cached_tokens",
        "x_metrics.tps",
        "data.anything.0",
        "cost.amount",
        "timing.ttft_seconds",
        "error.code",
        "warnings.0",
    ],
)
def test_a_possible_field_passes(path: str) -> None:
    formatting.check_field(path)


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        (
            "timing.nope",
            "nope",
            "Available: prepare_seconds, ttft_seconds, total_seconds, tokens_per_second, elapsed_seconds",
        ),
        ("images.0.sent.nope", "nope", "Available: mime, width, height, bytes, tokens_estimate, box, tiles"),
        ("text.0", "0", "This value has no fields."),
        ("schema_version.x", "x", "This value has no fields."),
        ("images.0.sent.mime.x", "x", "This value has no fields."),
        ("model.x", "x", "This value has no fields."),
        ("warnings.0.x", "x", "This value has no fields."),
    ],
)
def test_an_impossible_field_is_refused_with_the_possible_ones(path: str, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        formatting.check_field(path)
    error = caught.value
    assert (error.message, error.hint, error.code) == (f"no field {name!r} in --field {path}", hint, "no_such_field")


@pytest.mark.parametrize(
    "path", ["", "nope", "images.source", "images.-1", "images.01", "images.٣", "images.²", "text."]
)
def test_a_path_that_exists_in_no_object_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=r"^no field "):
        formatting.check_field(path)


def test_every_field_of_an_object_can_be_asked_for() -> None:
    for name in Description().to_dict():
        formatting.check_field(name)


def encoded(size: int, sent: int) -> PreparedImage:
    return PreparedImage("a.jpg", "0" * 64, "JPEG", 640, 480, size, Upload("image/jpeg", 640, 480, bytes(sent)), 0.1)


@pytest.mark.parametrize(
    ("description", "line"),
    [
        pytest.param(
            Description(
                model="Qwen/Qwen3-VL-Plus",
                metrics={"ttft_seconds": 0.41, "tps": 38.4, "total_time_seconds": 1.92},
                timing=Timing(0.1, 9.0, 9.0, 9.0),
                usage={"prompt_tokens": 120, "completion_tokens": 48},
                images=(encoded(4_100_000, 214_000), encoded(900, 800), UnpreparedImage("b.jpg")),
            ),
            "ttft 0.41 s · 38.4 tok/s · total 1.92 s · 120 → 48 tokens · 4.1 MB → 215 KB · Qwen/Qwen3-VL-Plus",
            id="the server's",
        ),
        pytest.param(
            Description(model="m", timing=Timing(0.1, 0.4142, 2.0, 38.4444)),
            "ttft 0.41 s · 38.44 tok/s · total 2.00 s (measured here) · m",
            id="ours",
        ),
        pytest.param(
            Description(model="m", metrics={"cached": 7}, timing=Timing(ttft_seconds=0.4)),
            "ttft 0.40 s (measured here) · m",
            id="nothing among the server's",
        ),
        pytest.param(
            Description(model="m", metrics={"tps": 38.45678, "ttft": 0, "total_time": 2}, timing=Timing(0.1, 9.0)),
            "ttft 0 s · 38.457 tok/s · total 2 s · m",
            id="never mixed",
        ),
        pytest.param(
            Description(model="m", usage={"prompt_tokens": 120}, timing=Timing(total_seconds=1.0)),
            "total 1.00 s (measured here) · m",
            id="half a usage",
        ),
        pytest.param(
            Description(model="m", usage={"prompt_tokens": 1_048_577, "completion_tokens": 0}),
            "1048577 → 0 tokens · m",
            id="a million tokens",
        ),
        pytest.param(
            Description(model="m", usage={"prompt_tokens": 9, "completion_tokens": 9}, cost=Cost(0.00121)),
            "9 → 9 tokens · $0.0012 · m",
            id="a cost",
        ),
        pytest.param(Description(model="m"), "m", id="nothing"),
        pytest.param(Description(), "", id="nothing at all"),
    ],
)
def test_the_statistics_are_the_servers_else_ours_and_marked_so(description: Description, line: str) -> None:
    assert formatting.format_statistics(description) == line


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (213_600, "214 KB"),
        (999_499, "999 KB"),
        (999_500, "1.0 MB"),
        (4_096_000, "4.1 MB"),
    ],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert format_size(size) == text
