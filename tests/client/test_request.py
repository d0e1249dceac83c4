"""Chat completions: the body of a request and the events of an answer, byte by byte."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.client import request
from qubrid_cli.client.answer import read_answer
from qubrid_cli.client.events import ChunkInfo, ErrorEvent, Event, Finish, ReasoningDelta, TextDelta
from qubrid_cli.client.request import ImagePart, Message, Request
from qubrid_cli.errors import EndpointError, NetworkError

JPEG = "data:image/jpeg;base64,/9j/4AAQ+w=="
REQUEST = Request("Qwen/Qwen3-VL-Plus", "What is this?", (ImagePart(JPEG),), max_tokens=99, temperature=0.1, top_p=1.0)
BODY = {
    "model": "Qwen/Qwen3-VL-Plus",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": JPEG}},
            ],
        }
    ],
    "max_tokens": 99,
    "temperature": 0.1,
    "top_p": 1.0,
    "stream": True,
    "stream_options": {"include_usage": True},
}
BODY_WITHOUT_USAGE = {name: value for name, value in BODY.items() if name != "stream_options"}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        pytest.param(REQUEST, BODY, id="as documented"),
        pytest.param(
            replace(REQUEST, system="Be brief."),
            BODY | {"messages": [{"role": "system", "content": "Be brief."}, user(text("What is this?"), image(JPEG))]},
            id="system",
        ),
        pytest.param(
            replace(REQUEST, images=(ImagePart(JPEG, "Image 1: a.jpg"), ImagePart("https://h/b.png", "Image 2"))),
            BODY
            | {
                "messages": [
                    user(
                        text("What is this?"),
                        text("Image 1: a.jpg"),
                        image(JPEG),
                        text("Image 2"),
                        image("https://h/b.png"),
                    )
                ]
            },
            id="labels",
        ),
        pytest.param(
            replace(
                REQUEST,
                images=(),
                history=(Message("user", "Hi.", (ImagePart(JPEG, "Image 1"),)), Message("assistant", "Hello.")),
                follow_ups=(Message("assistant", "A cat."), Message("user", "No.")),
            ),
            BODY
            | {
                "messages": [
                    user(text("Hi."), text("Image 1"), image(JPEG)),
                    {"role": "assistant", "content": "Hello."},
                    user(text("What is this?")),
                    {"role": "assistant", "content": "A cat."},
                    {"role": "user", "content": "No."},
                ]
            },
            id="conversation",
        ),
        pytest.param(replace(REQUEST, images=()), BODY | {"messages": [user(text("What is this?"))]}, id="no image"),
        pytest.param(
            replace(REQUEST, extra={"seed": 42, "stream_options": None, "a": {"b": ["é", None]}}),
            BODY | {"seed": 42, "stream_options": None, "a": {"b": ["é", None]}},
            id="extra",
        ),
        pytest.param(
            replace(REQUEST, params={"seed": 1, "stream_options": {"x": 1}, "k": 1}, extra={"seed": 2}),
            BODY | {"seed": 2, "stream_options": {"x": 1}, "k": 1},
            id="extra wins over params",
        ),
        pytest.param(
            replace(REQUEST, images=(ImagePart(JPEG, "Image 1"), ImagePart("https://h/b")), images_first=True),
            BODY | {"messages": [user(text("Image 1"), image(JPEG), image("https://h/b"), text("What is this?"))]},
            id="images first",
        ),
        pytest.param(
            replace(REQUEST, images=(), images_first=True),
            BODY | {"messages": [user(text("What is this?"))]},
            id="images first without images",
        ),
        pytest.param(
            replace(REQUEST, detail="low"),
            BODY
            | {
                "messages": [
                    user(text("What is this?"), {"type": "image_url", "image_url": {"url": JPEG, "detail": "low"}})
                ]
            },
            id="detail",
        ),
        pytest.param(replace(REQUEST, detail="low", dropped=frozenset({"detail"})), BODY, id="refused detail"),
        pytest.param(replace(REQUEST, stream=False), BODY_WITHOUT_USAGE | {"stream": False}, id="no stream"),
        pytest.param(replace(REQUEST, dropped=frozenset({"stream_options"})), BODY_WITHOUT_USAGE, id="no usage"),
        pytest.param(
            replace(REQUEST, model='a"b', prompt='"\\\n\x00\u2028é🎉', images=(ImagePart('https://h/"\\é'),)),
            BODY | {"model": 'a"b', "messages": [user(text('"\\\n\x00\u2028é🎉'), image('https://h/"\\é'))]},
            id="escapes",
        ),
        pytest.param(
            replace(REQUEST, prompt="caf\udce9"), BODY | {"messages": [user(text("caf?"), image(JPEG))]}, id="no UTF-8"
        ),
    ],
)
def test_the_assembled_body_is_the_expected_json(request_: Request, body: dict[str, Any]) -> None:
    assert json.loads(bytes(request.build_body(request_))) == body


def test_the_newer_name_of_max_tokens_carries_its_value() -> None:
    body = json.loads(bytes(request.build_body(replace(REQUEST, dropped=frozenset({"max_tokens"})))))
    assert (body.get("max_tokens"), body["max_completion_tokens"]) == (None, REQUEST.max_tokens)


def stream(*chunks: bytes) -> list[Event]:
    """What a stream of these chunks means."""
    return list(read_answer(b"data: " + chunk + b"\n\n" for chunk in chunks))


@pytest.mark.parametrize(
    "chunk",
    [
        rb'{"choices":[{"index":0,"delta":{"role":"assistant","content":"A cat"},"finish_reason":null}]}',
        rb'{"choices":[{"delta":{"content":"A cat"}}]}',
        rb'{"choices":[{"index":0,"message":{"content":"A cat"}}]}',
        rb'{"choices":[{"delta":null,"message":{"content":"A cat"}}]}',
        rb'{"content":"A cat"}',
        rb'{"content":"A cat","choices":[]}',
        rb'{"content":"A cat","choices":null}',
        rb'{"choices":[{"delta":{"content":[{"type":"text","text":"A "},{"type":"text","text":"cat"}]}}]}',
        rb'{"choices":[{"delta":{"content":["A ",null,{"type":"image_url"},{"text":7},"cat"]}}]}',
        rb'{"choices":[{"index":1,"delta":{"content":"B"}},{"index":0,"delta":{"content":"A cat"}}]}',
        rb'{"choices":[null,{"delta":{"content":"A cat"}}]}',
        rb'{"choices":[{"delta":{"content":"A cat","refusal":""}}],"error":null,"usage":null,"id":null,"model":""}',
        rb'{"choices":[{"delta":{"content":"\u0041\u0020cat"},"finish_reason":""}]}',
    ],
)
def test_content_is_found_wherever_a_server_puts_it(chunk: bytes) -> None:
    assert stream(chunk) == [TextDelta("A cat")]


@pytest.mark.parametrize(
    "chunk",
    [
        rb'{"choices":[{"delta":{"content":null}}]}',
        rb'{"choices":[{"delta":{"content":""}}]}',
        rb'{"choices":[{"delta":{"content":7}}]}',
        rb'{"choices":[{"delta":{}}]}',
        rb'{"choices":[{"delta":null}]}',
        rb'{"choices":[]}',
        rb'{"choices":{"delta":{"content":"B"}}}',
        rb"{}",
        rb"[]",
        rb"null",
        rb'"B"',
        rb"7",
        rb"",
    ],
)
def test_a_chunk_without_content_yields_nothing(chunk: bytes) -> None:
    assert stream(b'{"content":"A"}', chunk, b"[DONE]") == [TextDelta("A"), Finish(None)]


@pytest.mark.parametrize(
    "chunk",
    [
        rb'{"choices":[{"delta":{"reasoning_content":"Hm."}}]}',
        rb'{"choices":[{"delta":{"reasoning":"Hm.","content":null}}]}',
        rb'{"choices":[{"delta":{"reasoning_content":"","reasoning":"Hm."}}]}',
        rb'{"choices":[{"message":{"reasoning_content":"Hm.","content":""}}]}',
        rb'{"choices":[{"delta":{"content":"<think>Hm."}}]}',
    ],
)
def test_reasoning_is_found_wherever_a_server_puts_it(chunk: bytes) -> None:
    assert stream(chunk) == [ReasoningDelta("Hm.")]


def test_reasoning_comes_before_the_content_of_its_chunk() -> None:
    assert stream(b'{"choices":[{"delta":{"content":"A","reasoning":"Hm."}}]}') == [
        ReasoningDelta("Hm."),
        TextDelta("A"),
    ]


CONTENT = "<think>Hm.</think>\n\nA cat."


@given(st.sets(st.integers(1, len(CONTENT) - 1)))
def test_a_leading_think_is_reasoning_wherever_its_chunks_are_cut(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(CONTENT)]
    contents = [CONTENT[start:end] for start, end in pairwise(edges)]
    found = stream(*(json.dumps({"choices": [{"delta": {"content": content}}]}).encode() for content in contents))
    reasoning = "".join(event.text for event in found if isinstance(event, ReasoningDelta))
    answer = "".join(event.text for event in found if isinstance(event, TextDelta))
    assert (reasoning, answer) == ("Hm.", "A cat.")


FIGURES = {"ttft_seconds": 0.41, "tps": 38.4, "total_time_seconds": 1.92}
USAGE = {"prompt_tokens": 120, "completion_tokens": 48, "total_tokens": 168}
X_METRICS = rb'"x_metrics":{"ttft_seconds":0.41,"tps":38.4,"total_time_seconds":1.92}'
JSON_USAGE = rb'"usage":{"prompt_tokens":120,"completion_tokens":48,"total_tokens":168}'
STOP = rb'{"choices":[{"delta":{},"finish_reason":"stop"}]}'


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        pytest.param(
            [rb'{"choices":[{"delta":{},"finish_reason":"stop"}],' + X_METRICS + b"}", b"[DONE]"],
            [ChunkInfo(metrics=FIGURES), Finish("stop"), Finish(None)],
            id="with finish_reason",
        ),
        pytest.param(
            [STOP, rb'{"choices":[],' + JSON_USAGE + b"," + X_METRICS + b"}", b"[DONE]"],
            [Finish("stop"), ChunkInfo(usage=USAGE, metrics=FIGURES), Finish(None)],
            id="beside usage",
        ),
        pytest.param(
            [STOP, b"{" + X_METRICS + b"}", b"[DONE]"],
            [Finish("stop"), ChunkInfo(metrics=FIGURES), Finish(None)],
            id="without choices",
        ),
        pytest.param(
            [STOP, b"[DONE]", b"{" + X_METRICS + b"}"],
            [Finish("stop"), Finish(None), ChunkInfo(metrics=FIGURES)],
            id="after DONE",
        ),
        pytest.param([b'{"metrics":{"tps":null}}'], [ChunkInfo(metrics={"tps": None})], id="metrics"),
        pytest.param([b'{"timings":{"prompt_ms":7}}'], [ChunkInfo(metrics={"prompt_ms": 7})], id="timings"),
        pytest.param(
            [b'{"timings":{"a":1},"metrics":{"b":2},' + X_METRICS + b"}"],
            [ChunkInfo(metrics=FIGURES)],
            id="x_metrics wins",
        ),
        pytest.param([b'{"choices":[{' + JSON_USAGE + b"}]}"], [ChunkInfo(usage=USAGE)], id="in the choice"),
        pytest.param(
            [b'{"id":"c-1","model":"m","x_metrics":null,"metrics":{},"timings":7,"usage":[]}'],
            [ChunkInfo(id="c-1", model="m")],
            id="identity",
        ),
        pytest.param([b'{"id":7,"model":{},"content":"A"}'], [TextDelta("A")], id="no strings"),
    ],
)
def test_chunk_info_is_found_wherever_a_server_puts_it(chunks: list[bytes], events: list[Event]) -> None:
    assert stream(*chunks) == events


def test_after_done_only_chunk_info_is_read_and_after_a_reason_no_error() -> None:
    late = rb'{"id":"c-1","choices":[{"delta":{"content":"B"},"finish_reason":"length"}],"error":{"message":"no"}}'
    info = ChunkInfo(id="c-1")
    assert stream(b'{"content":"A"}', b"[DONE]", late, b"no JSON") == [TextDelta("A"), Finish(None), info]
    assert stream(b'{"content":"A"}', STOP, b"no JSON", b'{"id":"c-1"}') == [TextDelta("A"), Finish("stop"), info]


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_the_finish_reason_follows_the_last_content(reason: str) -> None:
    chunk = b'{"choices":[{"delta":{"content":"A"},"finish_reason":"' + reason.encode() + b'"}]}'
    assert stream(chunk) == [TextDelta("A"), Finish(reason)]


def test_a_stream_that_just_stops_has_no_finish() -> None:
    assert stream(b'{"content":"A"}', b'{"choices":[{"delta":{"content":""}}]}') == [TextDelta("A")]


def test_a_stream_that_stops_before_the_first_word_is_an_incomplete_answer() -> None:
    assert stream(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}') == []


def test_held_back_text_comes_before_the_end() -> None:
    assert stream(b'{"content":"<th"}', b"[DONE]") == [TextDelta("<th"), Finish(None)]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        pytest.param(
            b'data: {"error":{"message":"boom","code":500}}\n\ndata: [DONE]\n\n',
            [ErrorEvent({"error": {"message": "boom", "code": 500}}), Finish(None)],
            id="vLLM",
        ),
        pytest.param(
            b'data: {"id":"c-1","error":{"message":"boom"},"choices":[{"delta":{},"finish_reason":"error"}]}\n\n',
            [
                ChunkInfo(id="c-1"),
                ErrorEvent(
                    {
                        "id": "c-1",
                        "error": {"message": "boom"},
                        "choices": [{"delta": {}, "finish_reason": "error"}],
                    }
                ),
            ],
            id="OpenRouter",
        ),
        pytest.param(b'data: {"error":"boom"}\n\n', [ErrorEvent({"error": "boom"})], id="text"),
        pytest.param(
            b'data: {"object":"error","message":"boom"}\n\n',
            [ErrorEvent({"object": "error", "message": "boom"})],
            id="flat",
        ),
        pytest.param(b'event: error\ndata: {"code":7}\n\n', [ErrorEvent({"error": {"code": 7}})], id="named"),
        pytest.param(b'event: error\ndata: {"error":"boom"}\n\n', [ErrorEvent({"error": "boom"})], id="named, nested"),
        pytest.param(b"event: error\ndata: boom\n\n", [ErrorEvent({"error": "boom"})], id="named, no JSON"),
        pytest.param(
            b'data: {"choices":\n\n',
            [ErrorEvent({"error": 'an event that is not valid JSON: {"choices":'})],
            id="no JSON",
        ),
        pytest.param(
            b"data: " + b"[" * 100_000 + b"\n\n",
            [ErrorEvent({"error": f"an event that is not valid JSON: {'[' * 100_000}"})],
            id="too deep",
        ),
        pytest.param(
            b'data: {"content":"A<"}\n\ndata: {"content":"<th"}\n\ndata: {"error":"boom"}\n\n',
            [TextDelta("A"), TextDelta("<"), TextDelta("<th"), ErrorEvent({"error": "boom"})],
            id="in the middle",
        ),
        pytest.param(
            b'data: {"content":"<th"}\n\ndata: {"error":"boom"}\n\n',
            [TextDelta("<th"), ErrorEvent({"error": "boom"})],
            id="in a tag",
        ),
        pytest.param(
            b'{"error":{"message":"boom","code":null}}',
            [ErrorEvent({"error": {"message": "boom", "code": None}})],
            id="document",
        ),
        pytest.param(
            b'{"object":"error","message":"boom"}',
            [ErrorEvent({"object": "error", "message": "boom"})],
            id="flat document",
        ),
    ],
)
def test_an_error_inside_an_answer_is_an_error_event(body: bytes, events: list[Event]) -> None:
    assert list(read_answer([body])) == events


def test_a_broken_connection_loses_nothing_that_arrived() -> None:
    def breaking() -> Iterator[bytes]:
        yield b'data: {"content":"<thi"}\n\n'
        raise NetworkError("gone")

    got: list[Event] = []
    with pytest.raises(NetworkError, match=r"^gone$"):
        got.extend(read_answer(breaking()))
    assert got == [TextDelta("<thi")]


@pytest.mark.parametrize("spaces", [0, 200_000])  # long text is decoded in another way
@pytest.mark.parametrize(
    "figure", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 309 + b".5", b"9" * 300 + b"e99"]
)
def test_nan_and_infinity_become_null(figure: bytes, spaces: int) -> None:
    """``1e999`` is good JSON, but Python makes it an infinity, and would write that as ``Infinity``."""
    chunk = b'{"x_metrics":{"tps":' + figure + b',"a":[' + figure + b",1]}" + b" " * spaces + b"}"
    assert stream(chunk) == [ChunkInfo(metrics={"tps": None, "a": [None, 1]})]


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([rb'{"content":"\ud83d"}', rb'{"content":"\ude00"}', b"[DONE]"], [TextDelta("😀"), Finish(None)]),
        ([rb'{"content":"\ud83d"}', b"[DONE]"], [TextDelta("\ufffd"), Finish(None)]),
        (
            [
                rb'{"choices":[{"delta":{"reasoning":"\ud83d"}}]}',
                rb'{"choices":[{"delta":{"reasoning":"\ude00"}}]}',
                b"[DONE]",
            ],
            [ReasoningDelta("😀"), Finish(None)],
        ),
        ([rb'{"choices":[{"delta":{"reasoning":"\ud83d"}}]}', b"[DONE]"], [ReasoningDelta("\ufffd"), Finish(None)]),
    ],
)
def test_a_character_may_come_in_two_halves(chunks: list[bytes], events: list[Event]) -> None:
    assert stream(*chunks) == events


def singly(body: bytes) -> Iterable[bytes]:
    return (body[place : place + 1] for place in range(len(body)))


@pytest.mark.parametrize(
    ("body", "events"),
    [
        pytest.param(
            b'{"id":"c-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":'
            b'{"role":"assistant","content":"<think>Hm.</think>A cat."},"finish_reason":"stop"}],'
            + JSON_USAGE
            + b","
            + X_METRICS
            + b"}",
            [
                ChunkInfo(id="c-1", model="m", usage=USAGE, metrics=FIGURES),
                ReasoningDelta("Hm."),
                TextDelta("A cat."),
                Finish("stop"),
            ],
            id="documented",
        ),
        pytest.param(b'{"content":"A cat."}', [TextDelta("A cat."), Finish(None)], id="old endpoint"),
        pytest.param(
            b'{"choices":[{"message":{"content":"A cat."}}]}',
            [TextDelta("A cat."), Finish(None)],
            id="no finish_reason",
        ),
        pytest.param(
            b'\xef\xbb\xbf \r\n\t{\n"content":"A cat."\n}\n\n', [TextDelta("A cat."), Finish(None)], id="BOM and blanks"
        ),
        pytest.param(b'{"choices":[]}', [Finish(None)], id="no choices"),
        pytest.param(
            b'\xef\xbb\xbf\n: hello\n\ndata: {"content":"A cat."}\n\ndata: [DONE]',
            [TextDelta("A cat."), Finish(None)],
            id="stream",
        ),
        pytest.param(
            'data: {"content":"\u2028\u0085é"}\r\rdata:  [DONE] \n\n'.encode(),
            [TextDelta("\u2028\u0085é"), Finish(None)],
            id="line ends inside",
        ),
    ],
)
def test_the_first_byte_distinguishes_a_document_from_a_stream(body: bytes, events: list[Event]) -> None:
    assert list(read_answer(singly(body))) == events


NO_ANSWER = "the endpoint answered with {} instead of a chat completion"
BROKEN = "the endpoint's JSON is broken or cut off"


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b"<!DOCTYPE html><html>", NO_ANSWER.format("a web page"), "no_answer"),
        (b"\xef\xbb\xbf\n  <html>", NO_ANSWER.format("a web page"), "no_answer"),
        (b"", NO_ANSWER.format("nothing"), "no_answer"),
        (b" \n\n", NO_ANSWER.format("nothing"), "no_answer"),
        (b"Hello, world\n", NO_ANSWER.format("Hello, world"), "no_answer"),
        pytest.param(b"x" * 81, NO_ANSWER.format("x" * 79 + "…"), "no_answer", id="long"),
        (b"[1, 2]", NO_ANSWER.format("[1, 2]"), "no_answer"),
        (b"null", NO_ANSWER.format("null"), "no_answer"),
        (b"\xff\xfe", NO_ANSWER.format("\ufffd\ufffd"), "no_answer"),
        (b'{"detail":"Not Found"}', NO_ANSWER.format('{"detail":"Not Found"}'), "no_answer"),
        (b"{}", NO_ANSWER.format("{}"), "no_answer"),
        (b'{"choices":[{"message":{"content":"A c', BROKEN, "not_json"),
        (b'{"content":"A"} {"content":"B"}', BROKEN, "not_json"),
        (b'{"content":"\xff"}', BROKEN, "not_json"),
        pytest.param(b'{"choices":' + b"[" * 100_000, BROKEN, "not_json", id="too deep"),
    ],
)
def test_an_error_quotes_the_beginning_of_what_is_not_an_answer(body: bytes, message: str, code: str) -> None:
    with pytest.raises(EndpointError) as caught:
        list(read_answer([body]))
    assert (caught.value.message, caught.value.code) == (message, code)


MIXED = [
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"A "},"finish_reason":null}]}',
    '{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"日本🎉"},"finish_reason":null}],"usage":null}'.encode(),
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"\\ud83c"},"finish_reason":null}]}',
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"\\udf89"},"finish_reason":null}]}',
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"b","reasoning_content":"hm"}}]}',
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"c","reasoning_content":null}}]}',
    b'{"id":"1","model":"m","choices":[{"index":1,"delta":{"content":"of another"}}]}',
    b'{"id":"2","model":"m","choices":[{"index":0,"delta":{"content":"<think>no</think>"}}]}',
    b'{"id":"2","model":"m","choices":[{"index":0,"delta":{"content":"d"}}],"usage":{"n":1},"timings":{"x":1}}',
    b'{"id":"2","model":"m","choices":[{"index":0,"delta":{"content":null}}]}',
    b'{"choices":[{"delta":{"content":"<think>"}}]}',
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"e"},"usage":{"n":2}}]}',
    b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"content":"","refusal":"I cannot"}}]}',
    b'{"id":"1","model":"m","object":"error","choices":[{"index":0,"delta":{"content":"f"}}]}',
]


def merged(found: Iterable[Event]) -> list[Event]:
    """The events, with texts that follow each other as one, and reasoning likewise."""
    whole: list[Event] = []
    for event in found:
        last = whole[-1] if whole else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta):
            whole[-1] = TextDelta(last.text + event.text)
        elif isinstance(event, ReasoningDelta) and isinstance(last, ReasoningDelta):
            whole[-1] = ReasoningDelta(last.text + event.text)
        else:
            whole.append(event)
    return whole


@given(chunks=st.lists(st.sampled_from(MIXED), max_size=12))
def test_events_mean_the_same_together_and_one_by_one(chunks: list[bytes]) -> None:
    lines = [b"data: " + chunk + b"\n\n" for chunk in [*chunks, b"[DONE]"]]
    assert merged(read_answer([b"".join(lines)])) == merged(read_answer(lines))
