"""Text that arrives in pieces."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.client.events import ReasoningDelta, TextDelta, TextWasReasoning
from qubrid_cli.client.reasoning import ReasoningSplitter, SurrogateJoiner, is_thinking_model

FRAGMENTS = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<|end_of_box|>",
    "`",
    "<",
    "/",
    "thi",
    "nk",
    ">",
    "a",
    " ",
    "\n",
    "é",
    "\ud83d",
    "\ude00",
]
CHUNKS = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=3).map("".join), max_size=12)


Piece = TextDelta | ReasoningDelta | TextWasReasoning


def fed(chunks: Iterable[str], *, is_thinking_model: bool = False) -> Iterator[Piece]:
    answer = ReasoningSplitter(is_thinking_model=is_thinking_model)
    for chunk in chunks:
        yield from answer.feed(chunk)
    yield from answer.feed("", last=True)


def sorted_out(chunks: Iterable[str], *, is_thinking_model: bool = False) -> tuple[str, str]:
    """All the reasoning, and all the answer."""
    reasoning = answer = ""
    for piece in fed(chunks, is_thinking_model=is_thinking_model):
        match piece:
            case TextDelta():
                answer += piece.text
            case ReasoningDelta():
                reasoning += piece.text
            case TextWasReasoning():
                reasoning, answer = reasoning + answer, ""
    return reasoning, answer


@pytest.mark.parametrize("cut", range(len("<think>a</think>\nb")))
def test_a_tag_may_be_split_anywhere(cut: int) -> None:
    content = "<think>a</think>\nb"
    assert sorted_out([content[:cut], content[cut:]]) == ("a", "b")


@given(CHUNKS, st.booleans())
def test_an_answer_is_sorted_the_same_however_it_is_split(chunks: list[str], thinks: bool) -> None:  # noqa: FBT001
    assert sorted_out(chunks, is_thinking_model=thinks) == sorted_out(["".join(chunks)], is_thinking_model=thinks)


@given(CHUNKS)
def test_no_piece_is_half_a_character(chunks: list[str]) -> None:
    pieces = [piece.text for piece in fed(chunks) if not isinstance(piece, TextWasReasoning)]
    assert [text.encode().decode() for text in pieces] == pieces


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
        ("<thi", "", "<thi"),
        ("  A cat. \n", "", "  A cat. \n"),
        (" \n", "", " \n"),
    ],
)
def test_only_a_leading_think_is_reasoning(content: str, reasoning: str, answer: str) -> None:
    assert sorted_out([content]) == (reasoning, answer)


@pytest.mark.parametrize(
    ("content", "reasoning", "answer"),
    [
        ("Hm.\n</think>\n\nA cat.", "Hm.\n", "A cat."),
        ("</think>\nA cat.", "", "A cat."),
        ("Hm.[/THINK]A cat.", "Hm.", "A cat."),
        ("[THINK]Hm.[/THINK]A cat.", "Hm.", "A cat."),
        ("◁think▷Hm.◁/think▷A cat.", "Hm.", "A cat."),
        ("<seed:think>Hm.</seed:think>A cat.", "Hm.", "A cat."),
        ("<thinking>Hm.</thinking>A cat.", "Hm.", "A cat."),
        ("<|channel>thought\nHm.<channel|>A cat.", "\nHm.", "A cat."),
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>A cat.<|END_RESPONSE|>", "Hm.", "A cat."),
        ("<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>A cat.<|return|>", "Hm.", "A cat."),
        ("Here are my reasoning steps:\nHm.[BEGIN FINAL RESPONSE]A cat.[END FINAL RESPONSE]", "\nHm.", "A cat."),
        ("<think>Hm.</think>\n<answer>\nA cat.</answer>\n", "Hm.", "A cat."),
        ("Hm.</think><answer>A cat.", "Hm.", "A cat."),
        ("<answer>A cat.</answer>", "", "<answer>A cat.</answer>"),
        ("It is <|begin_of_box|>a cat<|end_of_box|>.", "", "It is a cat."),
        ("<think>Hm.</think><|begin_of_box|>A cat.<|end_of_box|>", "Hm.", "A cat."),
        ("Models end it with `</think>`, a tag.", "", "Models end it with `</think>`, a tag."),
        ("a <think>b</think> c </think> d", "", "a <think>b</think> c </think> d"),
        ("a < b, [1] and </p>", "", "a < b, [1] and </p>"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_tags_of_open_models_are_told_from_the_answer(content: str, reasoning: str, answer: str, size: int) -> None:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    assert sorted_out(pieces) == (reasoning, answer)


def test_only_a_thinking_model_is_held_back_until_its_closing_tag() -> None:
    chunks = ["Hm, ", "a cat?", "</thi", "nk>A ", "cat."]
    assert list(fed(chunks, is_thinking_model=True)) == [
        *(ReasoningDelta(""), ReasoningDelta("Hm, a cat?"), TextDelta("A "), TextDelta("cat.")),
    ]
    assert list(fed(chunks)) == [
        *(TextDelta("Hm, "), TextDelta("a cat?"), TextWasReasoning(), ReasoningDelta("")),
        *(TextDelta("A "), TextDelta("cat.")),
    ]


def test_a_thinking_model_that_ends_without_a_tag_has_answered_unless_it_was_cut_off() -> None:
    assert sorted_out(["A ", "cat."], is_thinking_model=True) == ("", "A cat.")
    splitter = ReasoningSplitter(is_thinking_model=True)
    pieces = [*splitter.feed("Hm, "), *splitter.feed("a ca"), *splitter.end_in_reasoning()]
    assert pieces == [ReasoningDelta(""), ReasoningDelta("Hm, a ca")]


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("Qwen/Qwen3-VL-235B-A22B-Thinking", True),
        ("qwen3-vl:8b-thinking-q4_K_M", True),
        ("Qwen/QwQ-32B", True),
        ("Qwen/QVQ-72B-Preview", True),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", True),
        ("Skywork/Skywork-R1V3-38B", True),
        ("ServiceNow-AI/Apriel-1.5-15b-Thinker", True),
        ("Qwen/Qwen3-VL-Plus", False),
        ("Qwen/Qwen3.5-397B-A17B", False),
        ("grok-4-fast-non-thinking", False),
        ("unthinkable", False),
        ("gr1d", False),
        ("", False),
    ],
)
def test_a_name_says_whether_a_model_always_thinks(name: str, thinks: bool) -> None:  # noqa: FBT001
    assert is_thinking_model(name) is thinks


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
def test_only_text_that_may_be_a_tag_is_held_back(chunks: list[str], pieces: list[Piece]) -> None:
    answer = ReasoningSplitter()
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
