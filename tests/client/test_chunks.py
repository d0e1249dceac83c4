"""The forms in which servers send an answer, an empty one or an error, each as its bytes."""

import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from qubrid_cli.client.answer import read_answer
from qubrid_cli.client.events import (
    ErrorEvent,
    Event,
    Finish,
    ReasoningDelta,
    Refusal,
    TextDelta,
    TextWasReasoning,
    ToolCall,
)
from qubrid_cli.errors import EndpointError


def stream(*chunks: bytes) -> list[Event]:
    return list(read_answer(b"data: " + chunk + b"\n\n" for chunk in chunks))


def text_of(events: list[Event]) -> str:
    text = ""
    for event in events:
        match event:
            case TextDelta():
                text += event.text
            case TextWasReasoning():
                text = ""
    return text


#: Errors inside a status 200, each as a whole document and as a chunk.
ERRORS = {
    "MiniMax": rb'{"choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}',
    "MiniMax, code as text": rb'{"choices":[],"base_resp":{"status_code":"1002","status_msg":"rate limit"}}',
    "code and msg": rb'{"code":1113,"msg":"no balance"}',
    "code and message": rb'{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"r-1"}',
    "code and empty choices": rb'{"code":500,"message":"busy","choices":[]}',
    "success is false": rb'{"success":false,"message":"busy"}',
    "type is error": rb'{"type":"error","message":"busy"}',
    "in the choice": rb'{"choices":[{"index":0,"delta":{"content":""},"error":{"code":502,"message":"gone"}}]}',
    "in the choice, as text": rb'{"choices":[{"message":{"content":""},"finish_reason":"error","error":"gone"}]}',
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("before", [b"", b"data: ", b": hi\n\ndata: "])
def test_a_vendors_status_in_a_successful_response_is_an_error_with_all_of_its_words(name: str, before: bytes) -> None:
    events = list(read_answer([before + ERRORS[name] + b"\n\n"]))
    errors = [event.payload for event in events if isinstance(event, ErrorEvent)]
    assert [
        isinstance(error, dict) and any(word in str(error) for word in ("b", "gone", "Invalid")) for error in errors
    ] == [True]


@pytest.mark.parametrize("line", [b'error: {"code":500,"message":"boom"}', b'error:{"code":500,"message":"boom"}'])
def test_a_field_error_in_place_of_data_is_an_error(line: bytes) -> None:
    """Older versions of llama.cpp."""
    events = list(read_answer([b'data: {"content":"A"}\n\n' + line + b"\n\ndata: [DONE]\n\n"]))
    assert events[:2] == [TextDelta("A"), ErrorEvent({"error": {"code": 500, "message": "boom"}})]


@pytest.mark.parametrize(
    "status",
    [
        b'"base_resp":{"status_code":0,"status_msg":"success"}',
        b'"base_resp":{"status_code":"0"}',
        b'"code":0,"msg":"success"',
        b'"code":200,"message":"ok"',
        b'"code":"200","msg":""',
        b'"code":null,"message":null',
        b'"error":{"code":null,"message":""}',
        b'"success":true,"message":"done"',
    ],
)
def test_a_status_of_success_is_no_error(status: bytes) -> None:
    document = b'{"choices":[{"index":0,"message":{"content":"A cat."},"finish_reason":"stop"}],' + status + b"}"
    assert list(read_answer([document])) == stream(document) == [TextDelta("A cat."), Finish("stop")]


@pytest.mark.parametrize(
    "document",
    [
        rb'{"choices":null}',
        rb'{"choices":[]}',
        rb'{"id":"c-1","object":"chat.completion","model":"m"}',
        rb'{"object":"chat.completion","output":null}',
        rb'{"choices":[{"index":0,"message":{"role":"assistant","content":null}}]}',
        rb'{"choices":[{"index":0,"message":{"role":"assistant","content":[]}}]}',
        rb'{"choices":null,"base_resp":{"status_code":0,"status_msg":""}}',
        rb'{"content":"","metrics":{"tps":null}}',
    ],
)
def test_a_completion_without_text_is_an_answer_without_text(document: bytes) -> None:
    events = list(read_answer([document]))
    assert [event for event in events if isinstance(event, TextDelta | Finish | ErrorEvent)] == [Finish(None)]


@pytest.mark.parametrize(
    "chunks",
    [
        [rb'{"choices":[{"index":1,"delta":{"content":"A "}}]}', rb'{"choices":[{"index":1,"delta":{"content":"cat."}}]}'],
        [rb'{"choices":[{"text":"A "}]}', rb'{"choices":[{"text":"cat.","index":0}]}'],
        [rb'{"choices":[{"message":{"content":"A "}}]}', rb'{"choices":[{"message":{"content":"cat."}}]}'],
        [rb'{"content":"A "}', rb'{"content":"cat.","metrics":{"total_time":1.5}}'],
        [
            rb'{"choices":[{"delta":{"content":"A "}}]}',
            rb'{"choices":[{"delta":{"content":"cat."}}]}',
            rb'{"choices":[{"delta":{},"message":{"content":"A cat."},"finish_reason":"stop"}]}',
        ],
        [
            rb'{"choices":[{"delta":{"content":"A "},"finish_reason":"stop"}]}',
            rb'{"choices":[{"delta":{"content":"cat."},"finish_reason":"stop"}]}',
            rb'{"choices":[{"message":{"content":"A cat."},"finish_reason":"stop"}]}',
        ],
        [rb'{"choices":[{"delta":{"content":"A cat."}}]}', rb'{"content":"A cat."}'],
        [
            rb'{"choices":[{"delta":{"reasoning":"Hm."}}]}',
            rb'{"choices":[{"message":{"reasoning":"Hm.","content":"A cat."}}]}',
        ],
        [rb'{"choices":[{"delta":{"content":"A "},"finish_reason":""}]}', rb'{"choices":[{"delta":{"content":"cat."}}]}'],
        [rb'{"choices":[{"delta":{"content":"A "},"finish_reason":"Stop"}]}', rb'{"choices":[{"delta":{"content":"cat."}}]}'],
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", [[], [b"[DONE]"]])
def test_each_form_gives_the_answer_once_and_whole(chunks: list[bytes], end: list[bytes]) -> None:
    assert text_of(stream(*chunks, *end)) == "A cat."
    assert text_of(list(read_answer([b"".join(b"data: " + chunk + b"\n\n" for chunk in [*chunks, *end])]))) == "A cat."


@pytest.mark.parametrize(
    ("document", "event"),
    [
        (rb'{"choices":[{"message":{"content":null,"refusal":"No."}}]}', Refusal()),
        (rb'{"choices":[{"message":{"tool_calls":[{"function":{"name":"look"}}]}}]}', ToolCall("look")),
        (rb'{"choices":[{"message":{"content":null,"function_call":{"name":"look"}}}]}', ToolCall("look")),
    ],
)
def test_a_refusal_and_a_call_of_a_function_are_events_of_their_own(document: bytes, event: Event) -> None:
    for events in (list(read_answer([document])), stream(document.replace(b"message", b"delta"), b"[DONE]")):
        assert events[0] == event


def test_the_text_of_a_thinking_model_is_held_back_by_the_name_it_has_in_either_place() -> None:
    chunks = [
        rb'data: {"model":"%s","choices":[{"delta":{"content":"Hm."}}]}' + b"\n\n",
        rb'data: {"model":"%s","choices":[{"delta":{"content":"</think>A cat."}}]}' + b"\n\n",
    ]
    expected = [ReasoningDelta("Hm."), TextDelta("A cat.")]
    for requested, named in (("x/Y-Thinking", b"y"), ("default", b"x/Y-Thinking")):
        events = read_answer([chunk % named for chunk in chunks], model=requested)
        pieces = [event for event in events if isinstance(event, TextDelta | ReasoningDelta) and event.text]
        assert pieces == expected


def test_a_thinking_model_whose_server_splits_is_not_held_back() -> None:
    reasoning = rb'data: {"choices":[{"delta":{"reasoning_content":"Hm."}}]}' + b"\n\n"
    text = rb'data: {"choices":[{"delta":{"content":"A "}}]}' + b"\n\n"
    events = read_answer([reasoning, text, text], model="x/Y-Thinking")
    assert list(events) == [ReasoningDelta("Hm."), TextDelta("A "), TextDelta("A ")]


# Bounds


def read_in_pieces(body: bytes, size: int) -> float:
    """The seconds of CPU for reading a body in pieces."""
    start = time.process_time()
    for _ in read_answer(body[i : i + size] for i in range(0, len(body), size)):
        pass
    return time.process_time() - start


@pytest.mark.parametrize("form", [b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n', b'{"content":"%s"}'])
def test_a_long_line_in_small_pieces_takes_linear_time(form: bytes) -> None:
    """Twelve times as long may take at most forty times as long; with a new copy for each piece it was 144 times."""
    short, long = (
        min(read_in_pieces(form % (b"x" * size), 1000) for _ in range(3)) for size in (1_000_000, 12_000_000)
    )
    assert long < 40 * short


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        (b"x" * 65_536, "a line of more than 16 MB"),
        (b'data: {"choices":[{"delta":{"content":"' + b"x" * 65_000, "a line of more than 16 MB"),
        (b": " + b"x" * 998 + b"\n", "the response exceeds 64 MB"),
        (b"\n" * 65_536, "the response exceeds 64 MB"),
        (b" " * 65_536, "the response exceeds 64 MB"),
        (b'{"choices":[{"message":{"content":"' + b"x" * 65_000, "the response exceeds 64 MB"),
        (b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % (b"x" * 900_000), "the answer exceeds 64 million"),
        (b'data: {"choices":[{"delta":{"reasoning":"%s"}}]}\n\n' % (b"x" * 900_000), "the answer exceeds 64 million"),
    ],
)
def test_a_response_without_end_is_ended(piece: bytes, says: str) -> None:
    received = 0

    def endless() -> Iterator[bytes]:
        nonlocal received
        for chunk in repeat(piece):
            received += len(chunk)
            yield chunk

    with pytest.raises(EndpointError) as caught:
        for _ in read_answer(endless()):
            pass
    assert (says in caught.value.message, caught.value.code, received < 70_000_000) == (True, "too_long", True)
