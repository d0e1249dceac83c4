"""Server-sent events, from bytes."""

from collections.abc import Iterable, Iterator
from itertools import chain

import httpx
import httpx_sse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.client.answer import ServerSentEvent as Event
from qubrid_cli.client.answer import decode_batches

STREAM = (
    b"\xef\xbb\xbf: hello\r\n\r\nevent: e\r\ndata: {\r\ndata:}\r\n\r\n"
    b"data: \xe2\x80\xa8\xc2\x85\x0b\x0c\r\rdata: \xf0\x9f\x8e\x89\n\n\ndata: [DONE]"
)
EVENTS = [Event("{\n}", "e"), Event("\u2028\u0085\v\f"), Event("🎉"), Event("[DONE]")]

FRAGMENTS = [b"data: a", b"event: e", b":", b"\r", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xe2", b"\x80\xa8", b""]
CHUNKS = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=4).map(b"".join), max_size=16)


def decode(chunks: Iterable[bytes]) -> Iterator[Event]:
    return chain.from_iterable(decode_batches(chunks))


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_the_size_of_chunks_does_not_matter(size: int) -> None:
    assert list(decode(STREAM[start : start + size] for start in range(0, len(STREAM), size))) == EVENTS


@given(CHUNKS)
def test_the_same_events_come_out_however_a_stream_is_split(chunks: list[bytes]) -> None:
    assert list(decode(chunks)) == list(decode([b"".join(chunks)]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "error", "message.delta"]),
            st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1, max_size=3),
        )
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_plain_streams_mean_the_same_to_httpx_sse(events: list[tuple[str, list[str]]], end: str) -> None:
    lines = [
        line
        for name, data in events
        for line in [*([f"event: {name}"] if name else []), *(f"data: {text}" for text in data), ""]
    ]
    stream = "".join(line + end for line in lines).encode()
    response = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=stream)
    theirs = [(event.event, event.data) for event in httpx_sse.EventSource(response).iter_sse()]
    assert [(event.name or "message", event.data) for event in decode([stream])] == theirs


@pytest.mark.parametrize(
    "stream",
    [
        b"data: a\ndata: b\n\ndata: c\n\n",
        b"data: a\rdata: b\r\rdata: c\r\r",
        b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n",
        b"data: a\rdata: b\n\r\ndata: c\r\n\r",
        b"\n\r\n\rdata: a\ndata: b\n\n\r\n\rdata: c\n\r",
    ],
)
def test_lines_end_in_lf_cr_or_crlf_also_mixed(stream: bytes) -> None:
    assert list(decode([stream])) == [Event("a\nb"), Event("c")]


def test_an_lf_that_comes_after_its_cr_ends_no_second_line() -> None:
    assert list(decode([b"data: a\r", b"", b"\ndata: b\r", b"\n\r", b"\n"])) == [Event("a\nb")]


def test_an_event_is_complete_at_the_cr_that_ends_it() -> None:
    chunks = iter([b"data: a\r\r", b"\n"])
    assert (next(decode(chunks)), list(chunks)) == (Event("a"), [b"\n"])


@pytest.mark.parametrize("character", "\u2028\u2029\u0085\v\f\x1c\x1d\x1e")
def test_no_other_character_ends_a_line(character: str) -> None:
    assert list(decode([f"data: a{character}b\n\n".encode()])) == [Event(f"a{character}b")]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"data:a", "a"),
        (b"data: a", "a"),
        (b"data:  a ", " a "),
        (b"data:\ta", "\ta"),
        (b"data: a: b", "a: b"),
        (b"data:", ""),
        (b"data", ""),
    ],
)
def test_the_data_is_everything_after_the_colon_and_one_space(line: bytes, data: str) -> None:
    assert list(decode([line + b"\n\n"])) == [Event(data)]


@pytest.mark.parametrize(
    "line",
    [b": OPENROUTER PROCESSING", b":", b"id: 7", b"retry: 100", b"Data: x", b"data : x", b" data: x", b"dat", b"datas"],
)
def test_a_line_that_is_neither_data_nor_event_is_ignored(line: bytes) -> None:
    assert list(decode([line + b"\n\ndata: a\n" + line + b"\n\n"])) == [Event("a")]


@pytest.mark.parametrize("line", [b"event: error", b"event:error"])
def test_a_name_applies_only_to_its_own_event(line: bytes) -> None:
    stream = line + b"\ndata: a\n\ndata: b\n\nevent: lost\n\ndata: c\n\n"
    assert list(decode([stream])) == [Event("a", "error"), Event("b"), Event("c")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_the_last_event_needs_no_blank_line(end: bytes) -> None:
    assert list(decode([b"data: a\n\nevent: e\ndata: b" + end])) == [Event("a"), Event("b", "e")]


def test_a_bom_is_dropped_at_the_start_and_nowhere_else() -> None:
    stream = "\ufeffdata: a\n\ndata: \ufeffb\n\n\ufeffdata: c\n\n".encode()
    assert list(decode([stream])) == [Event("a"), Event("\ufeffb")]


def test_invalid_utf8_is_replaced() -> None:
    assert list(decode([b"data: a\xffb\n\n"])) == [Event("a\ufffdb")]


@pytest.mark.parametrize("chunks", [[], [b""], [b"\n\r\n"], [b"\xef\xbb\xbf"]])
def test_an_empty_stream_has_no_events(chunks: list[bytes]) -> None:
    assert list(decode(chunks)) == []
