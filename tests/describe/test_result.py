"""How an answer ends."""

import pytest

from qubrid_cli.describe import result
from qubrid_cli.errors import NetworkError

KEPT = "Repeat the request for the whole answer; the partial one is kept."


@pytest.mark.parametrize("reason", [None, "stop", "STOP", "eos_token", "end_turn", "tool_calls", "whatever"])
def test_any_other_finish_reason_is_a_normal_end(reason: str | None) -> None:
    assert result.error_for_finish_reason(reason, announced=True) is None


@pytest.mark.parametrize(
    ("reason", "why", "hint"),
    [
        ("length", "it reached the limit of tokens", "Raise --max-tokens."),
        ("max_tokens", "it reached the limit of tokens", "Raise --max-tokens."),
        ("MAX_TOKENS", "it reached the limit of tokens", "Raise --max-tokens."),
        ("content_filter", "the endpoint's content filter stopped it", KEPT),
        ("SAFETY", "the endpoint's content filter stopped it", KEPT),
        ("error", "the endpoint stopped with an error", KEPT),
        ("abort", "the endpoint aborted it", KEPT),
        ("cancelled", "the endpoint aborted it", KEPT),
    ],
)
def test_a_finish_reason_for_a_cut_off_answer_is_an_error(reason: str, why: str, hint: str) -> None:
    error = result.error_for_finish_reason(reason, announced=True)
    assert error is not None
    assert (error.message, error.hint, error.code) == (f"the answer is incomplete: {why}", hint, reason)


def test_an_end_without_finish_reason_or_done_counts_as_cut_off() -> None:
    error = result.error_for_finish_reason(None, announced=False)
    assert error is not None
    message = "the answer is incomplete: the connection was closed too early"
    assert (error.exit_code, error.message, error.hint, error.code) == (6, message, KEPT, "cut_off")


def test_a_broken_off_answer_keeps_the_facts_of_its_cause() -> None:
    cause = NetworkError("the connection broke", hint="Try again.", code="timeout", status=200, request_id="r-1")
    error = result.incomplete_because(cause)
    assert (vars(error), error.exit_code, error.__cause__) == (
        {
            "message": "the answer is incomplete: the connection broke",
            "hint": KEPT,
            "code": "timeout",
            "status": 200,
            "request_id": "r-1",
        },
        6,
        cause,
    )
