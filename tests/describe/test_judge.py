"""Yes or no: what answers, probabilities and decisions mean, and which of them an endpoint is asked for."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, zip_longest
from math import log
from typing import Any

import pytest

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import Request
from qubrid_cli.client.retry import RetryLimits
from qubrid_cli.client.thinking import Thinking
from qubrid_cli.describe.judge import Judge
from qubrid_cli.describe.result import Description
from qubrid_cli.describe.run import RequestOptions, collect
from qubrid_cli.describe.verdicts import (
    Answer,
    Method,
    Verdict,
    count_votes,
    decide,
    read_probability,
    read_verdict_text,
    read_word,
)
from qubrid_cli.errors import EndpointError
from qubrid_cli.images.prepare import make_pending
from qubrid_cli.images.sources import Link
from qubrid_cli.metrics import Cost, Price

from ..support.server import JSON, USAGE, Asked, Reply, Server, delta, event, refusal, stream

YES, NO, UNSURE = Answer
QUESTION = "is it a cat?"
ONCE = RequestOptions(RetryLimits(retries=0))
IMAGE = make_pending(Link("cat.jpg", "https://example.com/cat.jpg"))
REQUEST = Request(
    model="test/vlm", prompt=QUESTION, images=(), max_tokens=500, temperature=0.1, top_p=1.0, extra={"seed": 1}
)


def logprobs(tokens: Mapping[str, float]) -> dict[str, Any]:
    """The log probabilities of one token in OpenAI's form."""
    top = [{"token": token, "logprob": log(share), "bytes": None} for token, share in tokens.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}


def plain(text: str | None, *, finish: str = "stop", **choice: Any) -> Reply:
    """A whole answer in one document."""
    message = {"role": "assistant", "content": text}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}], "usage": USAGE}
    return Reply([json.dumps({"id": "1", "object": "chat.completion", "model": "m", **whole}).encode()], headers=JSON)


def decision(*answers: object) -> Reply:
    document = {"model": "m", "usage": {"input_tokens": 700}, "answers": answers}
    return Reply([json.dumps(document).encode()], headers=JSON)


def predicate(probability: Any) -> dict[str, Any]:
    return {"type": "predicate", "name": "answer", "probability": probability}


def ask(server: Server, judge: Judge, request: Request = REQUEST) -> Description:
    prices = {"test/vlm": Price(1.0, 2.0)}
    with Endpoint(server.url, timeout=9) as endpoint:
        return collect(judge.judge(endpoint, request, [IMAGE], RequestOptions(RetryLimits(retries=0), prices=prices)))


def outcome(answer: Description) -> tuple[Any, int]:
    """The verdict and the exit code for it."""
    data = answer.data
    if answer.error is not None:
        return data and data["answer"], answer.error.exit_code
    return data["answer"], 0 if data["answer"] == "yes" else 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", YES), ("Yes.", YES), ('"NO"', NO), ("Ja", YES), (" Yes", YES), ("▁yes", YES), ("ĠNo", NO), ("**Yes**", YES),
        ("\nno", NO), ("Nein!", NO), ("Oui", YES), ("NON", NO), ("Sí", YES), ("НЕТ", NO), ("はい。", YES), ("不是", NO),
        ("لا", NO), ("YES", YES), ("true", YES), ("n", NO), ("Unsure", UNSURE), ("", None), ("Maybe not", None),
        ("yesterday", None), ("The", None), ("<think>", None), ("nothing", None),
    ],
)  # fmt: skip
def test_a_word_is_understood_in_any_case_language_and_punctuation(text: str, answer: Answer | None) -> None:
    assert read_word(text) is answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('{"answer": "yes", "reason": "A cat."}', (YES, "A cat.")),
        ('{"answer": "Nein", "reason": ""}', (NO, None)),
        ('```json\n{"answer": true}\n```', (YES, None)),
        ('{"reason": "Dark.", "answer": "unsure"}', (UNSURE, "Dark.")),
        ("Yes.", (YES, None)),
        ("No, it is a dog.", (NO, "it is a dog.")),
        ("**No** — a dog", (NO, "a dog")),
        ("No doubt: it is a cat", None),
        ("Yes. Or no, perhaps.", None),
        ("The image shows a dog.", None),
        ('{"answer": "a dog"}', None),
        ('{"answer": ["yes"]}', None),
        ('{"answer": "yes"', None),
        ('{"verdict": "yes"}', None),
        ("", None),
    ],
)
def test_a_text_is_yes_or_no_only_if_it_says_so(text: str, content: object) -> None:
    assert read_verdict_text(text) == content


@pytest.mark.parametrize(
    ("tokens", "probability"),
    [
        ({"Yes": 0.9, "No": 0.1}, 0.9),
        ({"yes": 0.3, " Yes": 0.2, "YES": 0.1, "Ja": 0.1, "no": 0.2, "Nein": 0.1}, 0.7),
        ({"No": 1.0}, 0.0),
        ({"Yes": 0.3, "The": 0.6, "No": 0.05}, None),
        ({"<think>": 1.0}, None),
    ],
)
def test_the_mass_of_yes_is_weighed_against_that_of_no(tokens: dict[str, float], probability: float | None) -> None:
    assert read_probability([tokens]) == probability


def test_blanks_before_the_word_are_skipped() -> None:
    assert read_probability([{"\n": 0.9, "Yes": 0.1}, {"No": 0.75, "Yes": 0.25}]) == 0.25
    assert read_probability([]) is None


@pytest.mark.parametrize(
    ("probability", "threshold", "answer"),
    [
        (0.5, 0.5, YES), (0.49, 0.5, NO), (0.9, 0.9, YES), (0.89, 0.9, UNSURE), (0.1, 0.9, NO), (0.11, 0.9, UNSURE),
        (0.3, 0.3, YES), (0.29, 0.3, NO),
    ],
)  # fmt: skip
def test_between_a_high_threshold_and_its_opposite_is_unsure(
    probability: float, threshold: float, answer: Answer
) -> None:
    assert decide(probability, threshold) is answer


@pytest.mark.parametrize(
    ("answers", "votes", "majority"),
    [
        ([YES, YES], 3, YES),
        ([YES, NO], 3, None),
        ([YES, NO, UNSURE], 3, UNSURE),
        ([NO, YES, NO], 3, NO),
        ([YES], 1, YES),
    ],
)
def test_more_than_half_of_the_votes_decide(answers: list[Answer], votes: int, majority: Answer | None) -> None:
    counted = count_votes([Verdict(answer, None, None, Method.SCHEMA) for answer in answers], votes)
    assert (counted and counted.answer) == majority


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (stream('{"answer":"yes","reason":"A cat."}'), ("yes", 0)),
        (plain("Yes."), ("yes", 0)),
        (plain('"NO"'), ("no", 1)),
        (plain("Ja"), ("yes", 0)),
        (plain('{"answer":"unsure","reason":"It is dark."}'), ("unsure", 8)),
        (plain("The image shows a dog."), (None, 8)),
        (plain('{"answer":"cat"}'), (None, 8)),
        (plain(""), (None, 6)),
        (plain('{"answer":"yes","reas', finish="length"), (None, 6)),
        (plain("I cannot help with that.", finish="refusal"), (None, 6)),
        (refusal(401, {"error": {"message": "bad key"}}), (None, 3)),
        (refusal(404, {"error": {"message": "no such model", "code": "model_not_found"}}), (None, 5)),
    ],
)
def test_an_answer_is_yes_no_unsure_or_none(server: Server, reply: Reply, expected: object) -> None:
    server.answer = reply
    assert outcome(ask(server, Judge([Method.SCHEMA]))) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (plain("Yes", logprobs=logprobs({"Yes": 0.93, "No": 0.07}), finish="length"), ("yes", 0)),
        (plain("No", logprobs={"tokens": ["No"], "top_logprobs": [{"No": -0.1, "Yes": -3.0}]}), ("no", 1)),
        (plain("Yes", logprobs=logprobs({"Yes": 0.6, "No": 0.4})), ("unsure", 8)),
        (Reply([event({"choices": [{"index": 0, "delta": {"content": "No"}, "logprobs": logprobs({"No": 0.99})}]}),
                delta("", finish="length")]), ("no", 1)),
        (plain("Yes", logprobs=None), (None, 8)),
        (plain("Yes", logprobs={"content": [None, {"token": 5, "logprob": "x"}]}), (None, 8)),
        (plain("The", logprobs=logprobs({"The": 0.9, "Yes": 0.1}), finish="length"), (None, 8)),
        (plain("", finish="content_filter"), (None, 6)),
    ],
)  # fmt: skip
def test_log_probabilities_are_understood_in_every_form(server: Server, reply: Reply, expected: object) -> None:
    server.answer = reply
    assert outcome(ask(server, Judge([Method.LOGPROBS], threshold=0.9))) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (decision(predicate(0.93)), ("yes", 0)),
        (decision(predicate(0)), ("no", 1)),
        (decision(predicate(0.5)), ("unsure", 8)),
        (decision({"type": "refusal", "name": "answer"}), (None, 6)),
        (decision(predicate("0.9")), (None, 8)),
        (decision(predicate(1.5)), (None, 8)),
        (decision(), (None, 8)),
        (refusal(404, {"detail": "Not Found"}), (None, 5)),
    ],
)
def test_decisions_are_understood(server: Server, reply: Reply, expected: object) -> None:
    server.answer = reply
    assert outcome(ask(server, Judge([Method.DECISIONS], threshold=0.9))) == expected


def test_a_decision_is_requested_as_documented(server: Server) -> None:
    server.answer = decision(predicate(0.93))
    answer = ask(server, Judge([Method.DECISIONS]))
    assert (server.asked[0].path, server.asked[0].json) == (
        "/v1/decisions",
        {
            "model": "test/vlm",
            "input": [
                {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/cat.jpg"}]}
            ],
            "questions": [{"type": "predicate", "name": "answer", "instructions": QUESTION}],
            "seed": 1,
        },
    )
    assert answer.data == {"answer": "yes", "probability": 0.93, "reason": None, "by": "decisions"}
    assert answer.usage == {"prompt_tokens": 700, "completion_tokens": 0, "input_tokens": 700}
    assert answer.cost == Cost(0.0007)


def test_one_token_is_requested_without_thinking(server: Server) -> None:
    server.answer = plain("Yes", logprobs=logprobs({"Yes": 0.75, "No": 0.25}), finish="length")
    judge = Judge([Method.LOGPROBS], thinking_off=Thinking("off", ("enable_thinking",), is_implied=True))
    answer = ask(server, judge)
    body = server.asked[0].json
    assert {name: body[name] for name in ("max_tokens", "temperature", "logprobs", "top_logprobs", "seed")} == {
        "max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": 20, "seed": 1,
    }  # fmt: skip
    assert (body["enable_thinking"], body["stream"], answer.prompt, answer.warnings) == (False, False, QUESTION, ())
    assert answer.data == {"answer": "yes", "probability": 0.75, "reason": None, "by": "logprobs"}


def without(*methods: str) -> Any:
    """A server that lacks methods."""

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/decisions"):
            return refusal(404, {}) if "decisions" in methods else decision(predicate(0.9))
        if "logprobs" in asked.json:
            if "many" in methods and asked.json["top_logprobs"] > 5:
                return refusal(400, {"error": {"message": "top_logprobs must be at most 5"}})
            if "logprobs" in methods:
                return refusal(400, {"error": {"message": "logprobs is not supported", "param": "logprobs"}})
            missing = "silent" in methods
            return plain("Yes", logprobs=None if missing else logprobs({"Yes": 1.0}), finish="length")
        return plain('{"answer": "no", "reason": "A dog."}')

    return answer


@pytest.mark.parametrize(
    ("missing", "by", "requests"),
    [
        ((), "decisions", 2),
        (("decisions",), "logprobs", 3),
        (("decisions", "many"), "logprobs", 4),
        (("decisions", "logprobs"), "schema", 4),
        (("decisions", "silent"), "schema", 4),
    ],
)
def test_what_an_endpoint_lacks_is_requested_once_in_a_run(
    server: Server, missing: tuple[str, ...], by: str, requests: int
) -> None:
    server.answer = without(*missing)
    judge = Judge()
    answers = [ask(server, judge) for _ in range(2)]
    assert [answer.data["by"] for answer in answers] == [by, by]
    assert len(server.asked) == requests
    assert (len(answers[0].warnings) > 0, answers[1].warnings) == (by != "decisions", ())


def test_after_a_probability_an_image_without_one_does_not_change_the_method_of_the_run(server: Server) -> None:
    tokens = iter(({"Yes": 1.0}, {"I": 1.0}, {"Yes": 1.0}))
    server.answer = lambda asked: (
        plain("Yes", logprobs=logprobs(next(tokens)), finish="length") if "logprobs" in asked.json else plain("No.")
    )
    judge = Judge()
    assert [ask(server, judge).data["by"] for _ in range(3)] == ["logprobs", "schema", "logprobs"]


def test_two_threads_whose_number_of_probabilities_is_refused_both_request_fewer(server: Server) -> None:
    server.answer = without("many")
    judge = Judge([Method.LOGPROBS])
    with Endpoint(server.url, timeout=9) as first, Endpoint(server.url, timeout=9) as second:
        runs = [judge.judge(each, REQUEST, [IMAGE], ONCE) for each in (first, second)]
        items = zip_longest(*runs)  # step by step, so both send the larger number before either is refused
        answers = [item for item in chain.from_iterable(items) if isinstance(item, Description)]
    assert [asked.json["top_logprobs"] for asked in server.asked] == [20, 20, 5, 5]
    assert [answer.data["by"] for answer in answers] == ["logprobs", "logprobs"]


@pytest.mark.parametrize(
    ("method", "answer", "code"),
    [
        (Method.LOGPROBS, plain("Yes"), "endpoint"),
        (Method.LOGPROBS, plain("A", logprobs=logprobs({"A": 1.0})), "schema_mismatch"),
        (Method.SCHEMA, plain("A dog."), "schema_mismatch"),
    ],
)
def test_among_many_images_a_method_that_the_endpoint_does_not_offer_is_fatal(
    server: Server, method: Method, answer: Reply, code: str
) -> None:
    server.answer = answer
    with Endpoint(server.url, timeout=9) as endpoint:
        judge = Judge([method])
        items = judge.describe(endpoint, REQUEST, [IMAGE], ONCE)
        error = collect(items).error
    assert error is not None
    assert (error.code, isinstance(error, EndpointError) and error.is_fatal) == (code, code == "endpoint")


def test_a_refused_key_is_not_followed_by_another_request(server: Server) -> None:
    server.answer = refusal(401, {"error": {"message": "bad key"}})
    assert outcome(ask(server, Judge())) == (None, 3)
    assert len(server.asked) == 1


def test_an_answer_that_is_neither_is_sent_back_once_and_the_usage_is_the_sum(server: Server) -> None:
    left = iter([plain("A dog."), plain("No.")])
    server.answer = lambda _: next(left)
    answer = ask(server, Judge([Method.SCHEMA]))
    assert outcome(answer) == ("no", 1)
    assert answer.usage is not None
    assert answer.usage["total_tokens"] == 2 * USAGE["total_tokens"]
    assert [message["role"] for message in server.asked[1].json["messages"]] == ["user", "assistant", "user"]


def test_votes_are_kept_when_a_later_request_fails(server: Server) -> None:
    answers = [plain('{"answer": "yes", "reason": "x"}'), refusal(503, {})]
    left = iter([*answers, *answers, answers[0]])
    server.answer = lambda _: next(left)
    judge, collected = Judge([Method.SCHEMA], votes=5), []
    with Endpoint(server.url, timeout=9) as endpoint:
        first: Description | None = None
        for _ in range(3):
            items = judge.describe(endpoint, REQUEST, [IMAGE], replace(ONCE, first_answer=first))
            collected.append(collect(items))
            first = collected[-1].first_answer
    assert [answer.first_answer and len(answer.first_answer.votes) for answer in collected] == [1, 2, None]
    assert collected[1].first_answer is not None
    usage = collected[1].first_answer.usage
    assert (collected[2].data["answer"], usage and usage["total_tokens"]) == ("yes", 2 * USAGE["total_tokens"])
    assert len(server.asked) == 5


def test_votes_end_as_soon_as_more_than_half_agree(server: Server) -> None:
    left = iter(["yes", "no", "no", "no", "yes"])
    server.answer = lambda _: plain(json.dumps({"answer": next(left), "reason": "x"}))
    assert outcome(ask(server, Judge([Method.SCHEMA], votes=5))) == ("no", 1)
    assert len(server.asked) == 4
