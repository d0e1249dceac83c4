"""What counts as an answer, from the bytes of a real server to the ``Description``."""

import asyncio
import gzip
import time

import pytest

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import Request
from qubrid_cli.client.retry import RetryLimits
from qubrid_cli.describe import run
from qubrid_cli.describe.result import Description

from ..support.empty import REPLIES, UNANSWERED, chunks
from ..support.server import DONE, JSON, Pause, Raw, Reply, Server, delta, event, refusal, stream

ONCE = RetryLimits(0)


def describe(url: str, *, model: str = "m", limits: RetryLimits = ONCE) -> Description:
    with Endpoint(url, timeout=20) as endpoint:
        request = Request(model, "what?", (), 9, 0.1, 1.0)
        return run.collect(run.describe(endpoint, request, (), run.RequestOptions(limits)))


@pytest.mark.parametrize("name", UNANSWERED)
def test_a_response_without_an_answer_is_a_failure_with_its_reason(server: Server, name: str) -> None:
    server.answer = REPLIES[name]
    answer = describe(server.url)
    assert answer.error is not None
    assert (answer.complete, answer.error.message[:3] != "", bool(answer.error.hint)) == (False, True, True)
    if UNANSWERED[name].isdigit():  # how its words are explained is tested with the rules
        assert answer.error.exit_code in {3, 5}
        return
    assert (answer.error.code, answer.error.exit_code) == (UNANSWERED[name], 6)
    assert answer.text.strip() == ("I cannot." if "refus" in name else "")


def test_text_after_a_finish_reason_is_kept(server: Server) -> None:
    first, second, third = (delta(text, finish="stop") for text in ("A ", "light", "house."))
    server.answer = Reply([first, second, Pause(0.2), third, DONE])
    answer = describe(server.url)
    assert (answer.text, answer.finish_reason, answer.complete) == ("A lighthouse.", "stop", True)


@pytest.mark.parametrize(
    ("reasons", "reason", "code"),
    [
        (["stop", "length"], "length", "length"),
        (["length", "stop"], "length", "length"),
        (["", "model_length"], "model_length", "model_length"),
        (["stop", "stop"], "stop", None),
        (["???", None], "???", None),
    ],
)
def test_a_reason_that_says_cut_off_wins_over_others(
    server: Server, reasons: list[str | None], reason: str, code: str | None
) -> None:
    server.answer = Reply([*(delta("A", finish=one) for one in reasons), DONE])
    answer = describe(server.url)
    assert (answer.text, answer.finish_reason, answer.error and answer.error.code) == ("AA", reason, code)


THOUGHT = (delta("Is it a "), delta("cat?\n</thi"), delta("nk>\n\nA cat."), delta("", finish="stop"), DONE)


@pytest.mark.parametrize("model", ["x/Y-Thinking", "m"])
def test_reasoning_without_its_opening_tag_is_no_text_of_the_answer(server: Server, model: str) -> None:
    server.answer = Reply(THOUGHT)
    answer = describe(server.url, model=model)
    assert (answer.text, answer.reasoning) == ("A cat.", "Is it a cat?\n")
    assert bool(answer.warnings) == (model == "m")


def test_a_thinking_model_that_runs_out_of_tokens_has_only_thought(server: Server) -> None:
    server.answer = chunks({"content": "Is it "}, {"content": "a cat"}, finish="length")
    answer = describe(server.url, model="x/Y-Thinking")
    assert (answer.text, answer.reasoning, answer.error and answer.error.code) == ("", "Is it a cat", "empty_answer")


def test_the_older_address_of_qubrid_is_read(server: Server) -> None:
    metrics = {"input_tokens": 120, "output_tokens": 48, "total_time": 1.92, "tps": None}
    whole = {"content": "A cat.", "metrics": metrics, "model": "x/y"}
    for reply in (Reply([event(whole)[6:]], headers=JSON), Reply([event(whole)])):
        server.answer = reply
        answer = describe(server.url)
        assert (answer.text, answer.metrics, answer.model) == ("A cat.", metrics, "x/y")


def test_impossible_usage_is_dropped_with_a_warning(server: Server) -> None:
    usage = {"prompt_tokens": "120", "completion_tokens": -4}
    server.answer = Reply([delta("A cat.", finish="stop"), event({"choices": [], "usage": usage}), DONE])
    answer = describe(server.url)
    assert answer.usage == {"prompt_tokens": 120}
    assert answer.warnings == ("impossible figures in the endpoint's usage were dropped: completion_tokens -4",)


def test_after_a_retry_the_times_say_what_they_cover(server: Server) -> None:
    replies = iter([refusal(503, {"message": "busy"}, **{"Retry-After": "0"}), stream("A cat.")])
    server.answer = lambda _: next(replies)
    timing = describe(server.url, limits=RetryLimits(2)).timing
    assert timing.total_seconds is not None
    assert timing.elapsed_seconds is not None
    assert timing.elapsed_seconds > timing.total_seconds


def test_one_read_has_no_speed(server: Server) -> None:
    server.answer = Reply([event({"choices": [{"delta": {"reasoning": "Hm."}}]}) + b"".join(stream("A cat.").pieces)])  # type: ignore[arg-type]
    assert describe(server.url).timing.tokens_per_second is None


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"\r\n", b"data: " + b"x" * 6_000),
        (OK + b"\r\n", b": keep-alive\n\n"),
        (OK + b"\r\n", b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'),
        (OK + b"\r\n", b'{"choices":[{"message":{"content":"' + b"x" * 6_000),
        (OK, b"X: y\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        pytest.param(
            OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"data: {}\n\n" * 6_000_000, 1), id="a gzip bomb"
        ),
    ],
)
def test_max_time_is_kept_whatever_the_server_sends(head: bytes, piece: bytes) -> None:
    async def script(writer: asyncio.StreamWriter, _: int) -> None:
        try:
            writer.write(head)
            while True:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.002)
        finally:
            writer.transport.abort()  # what could not be sent

    with Raw(script) as server:
        started = time.monotonic()
        answer = describe(server.url, limits=RetryLimits(0, max_time=0.5))
        seconds = time.monotonic() - started  # 0.53 on an idle machine
    assert answer.error is not None
    assert (answer.error.code, seconds < 10) == ("max_time", True)
