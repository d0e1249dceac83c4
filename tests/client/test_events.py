"""Text that arrives in pieces."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qubrid_cli.client.events import ReasoningDelta, SurrogateJoiner, TextDelta, ThinkSplitter

FRAGMENTS = ["<think>", "</think>", "<", "/", "thi", "nk", ">", "a", " ", "\n", "é", "\ud83d", "\ude00"]
CHUNKS = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=3).map("".join), max_size=12)


def fed(chunks: Iterable[str]) -> Iterator[TextDelta | ReasoningDelta]:
    answer = ThinkSplitter()
    for chunk in chunks:
        yield from answer.feed(chunk)
    yield from answer.feed("", last=True)


def sorted_out(chunks: Iterable[str]) -> tuple[str, str]:
    """All the reasoning, and all the answer."""
    found = list(fed(chunks))
    return (
        "".join(piece.text for piece in found if isinstance(piece, ReasoningDelta)),
        "".join(piece.text for piece in found if isinstance(piece, TextDelta)),
    )


@pytest.mark.parametrize("cut", range(len("<think>a</think>\nb")))
def test_a_tag_may_be_split_anywhere(cut: int) -> None:
    content = "<think>a</think>\nb"
    assert sorted_out([content[:cut], content[cut:]]) == ("a", "b")


@given(CHUNKS)
@settings(deadline=None)
def test_an_answer_is_sorted_the_same_however_it_is_split(chunks: list[str]) -> None:
    assert sorted_out(chunks) == sorted_out(["".join(chunks)])


@given(CHUNKS)
@settings(deadline=None)
def test_no_piece_is_empty_or_half_a_character(chunks: list[str]) -> None:
    pieces = [piece.text for piece in fed(chunks)]
    assert [text.encode().decode() for text in pieces if text] == pieces


@pytest.mark.parametrize(
    ("content", "reasoning", "answer"),
    [
        ("A cat.", "", "A cat."),
        ("<think>Hm.</think>\n\nA cat.", "Hm.", "A cat."),
        ("\n <think>\nHm.\n</think>A cat.", "\nHm.\n", "A cat."),
        ("<think></think>A cat.", "", "A cat."),
        ("<think>Hm.</think>\n", "Hm.", ""),
        ("<think>Hm. </thin", "Hm. </thin", ""),
        ("<think>a<b</think>c</think>", "a<b", "c</think>"),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("Say <think>x</think>", "", "Say <think>x</think>"),
        ("<thinking>x", "", "<thinking>x"),
        ("<thi", "", "<thi"),
        ("  A cat. \n", "", "  A cat. \n"),
        (" \n", "", " \n"),
    ],
)
def test_only_a_leading_think_is_reasoning(content: str, reasoning: str, answer: str) -> None:
    assert sorted_out([content]) == (reasoning, answer)


@pytest.mark.parametrize(
    ("chunks", "pieces"),
    [
        (["A", " cat", "."], [TextDelta("A"), TextDelta(" cat"), TextDelta(".")]),
        (["<", "b"], [TextDelta("<b")]),
        (["<think>a", "b"], [ReasoningDelta("a"), ReasoningDelta("b")]),
        (["<think>a</", "b"], [ReasoningDelta("a"), ReasoningDelta("</b")]),
        (["<think>a</think>b"], [ReasoningDelta("a"), TextDelta("b")]),
    ],
)
def test_only_text_that_may_be_a_tag_is_held_back(chunks: list[str], pieces: list[TextDelta | ReasoningDelta]) -> None:
    answer = ThinkSplitter()
    assert [piece for chunk in chunks for piece in answer.feed(chunk)] == pieces


@pytest.mark.parametrize(
    ("chunks", "pieces"),
    [
        (["a", "b"], ["a", "b", ""]),
        (["a\ud83d", "\ude00b"], ["a", "😀b", ""]),
        (["\ud800", "\udc00\udbff", "\udfff"], ["", "\U00010000", "\U0010ffff", ""]),
        (["\ud83d", "", "\ude00"], ["", "", "😀", ""]),
        (["\ud83d\ude00\ud83d", "\ude00"], ["😀", "😀", ""]),
        (["\ud83d", "b"], ["", "\ufffdb", ""]),
        (["\ud83d", "\ud83d", "\ude00"], ["", "\ufffd", "😀", ""]),
        (["\ude00b"], ["\ufffdb", ""]),
        (["a\ud83d"], ["a", "\ufffd"]),
    ],
)
def test_halves_of_a_character_are_joined_or_replaced(chunks: list[str], pieces: list[str]) -> None:
    joined = SurrogateJoiner()
    assert [*map(joined.feed, chunks), joined.feed("", last=True)] == pieces
