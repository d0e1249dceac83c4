"""How an answer ends."""

from typing import Any

import pytest

from qubrid_cli.client.events import Finish, find_cut_off, read_finish_reason
from qubrid_cli.describe import endings
from qubrid_cli.errors import EmptyAnswerError, IncompleteAnswerError, NetworkError

KEPT = "Repeat the request for the whole answer; the partial one is kept."


#: Values of a finish reason while the answer goes on.
NO_ENDS: list[object] = ["", " ", "null", "None", "FINISH_REASON_UNSPECIFIED", None, 0, False, [], {}]


def error_for(**answer: Any) -> IncompleteAnswerError | None:
    """The error for an answer that ended, and has nothing but this."""
    nothing: dict[str, Any] = {
        "text": "",
        "reasoning": "",
        "finish": Finish(None),
        "is_refused": False,
        "tools": (),
        "usage": None,
    }
    return endings.error_for_answer(**(nothing | answer))


@pytest.mark.parametrize("reason", [None, "stop", "STOP", "eos_token", "end_turn", "tool_calls", "whatever"])
def test_any_other_finish_reason_is_a_normal_end(reason: str | None) -> None:
    assert endings.error_for_finish_reason(reason, has_ended=True) is None


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
    error = endings.error_for_finish_reason(reason, has_ended=True)
    assert error is not None
    assert (error.message, error.hint, error.code) == (f"the answer is incomplete: {why}", hint, reason)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        *[(word, "TOKENS") for word in ("max_output_tokens", "FinishReason.MAX_TOKENS", "maxTokens", "token_limit")],
        *[(word, "CONTEXT") for word in ("model_length", "context_length_exceeded", "model_context_window_exceeded")],
        *[(word, "TIME") for word in ("timeout", "time_limit", "TIMED_OUT")],
        *[(word, "FILTER") for word in ("Content-Filter", "PROHIBITED_CONTENT", "sensitive", "guardrail_intervened")],
        *[(word, "RESOURCES") for word in ("insufficient_system_resource", "preempted")],
        *[(word, "ABORT") for word in ("canceled", "aborted", "incomplete")],
        *[(word, "ERROR") for word in ("engine_error", "MALFORMED_FUNCTION_CALL")],
        ("refusal", "REFUSAL"),
        *[(word, None) for word in ("stop", "Stop", "eos", "complete", "stop_sequence", "function_call", "pause_turn")],
    ],
)
def test_a_word_for_the_end_is_known_by_its_meaning(reason: str, code: str | None) -> None:
    found = find_cut_off(reason)
    assert (found and found.name) == code


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *[("stop", "stop"), ({"type": "eos_token"}, "eos_token"), (2, "2")],
        *[(value, None) for value in NO_ENDS],
    ],
)
def test_some_values_of_a_finish_reason_are_no_end(value: object, reason: str | None) -> None:
    assert read_finish_reason(value) == reason


NOTHING = "Try again. Some servers answer with nothing if the images fill the context: lower --max-pixels."
THOUGHT = "Raise --max-tokens, or turn reasoning off with --think off."


@pytest.mark.parametrize(
    ("answer", "message", "hint", "again"),
    [
        ({}, "the model sent an answer without text", NOTHING, True),
        ({"text": " \n\u200b"}, "the model sent only whitespace", NOTHING, True),
        ({"finish": Finish("stop")}, 'the model sent an answer without text, and ended with "stop"', NOTHING, True),
        (
            {"finish": Finish("length")},
            'the model sent an answer without text, and ended with "length"',
            *(THOUGHT, False),
        ),
        (
            {"reasoning": "Hm.", "usage": {"completion_tokens": 1204}},
            "the model sent only reasoning (1,204 tokens)",
            *(THOUGHT, True),
        ),
        (
            {
                "reasoning": "Hm.",
                "usage": {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}},
            },
            "the model sent only reasoning (7 tokens)",
            *(THOUGHT, True),
        ),
        (
            {"reasoning": "Hm.", "finish": Finish("max_tokens")},
            'the model sent only reasoning (3 characters), and ended with "max_tokens"',
            *(THOUGHT, False),
        ),
        (
            {"tools": ["look", "look", "zoom"], "finish": Finish("tool_calls")},
            "the model called a function instead of answering: look, zoom",
            *("Leave out tools and tool_choice, or forbid their use with -O tool_choice=none.", True),
        ),
    ],
)
def test_an_answer_without_text_says_what_was_there(
    answer: dict[str, Any],
    message: str,
    hint: str,
    again: bool,  # noqa: FBT001
) -> None:
    error = error_for(**answer)
    assert isinstance(error, EmptyAnswerError)
    assert (error.message, error.hint, error.code, error.exit_code, error.is_temporary) == (
        *(message, hint, "empty_answer", 6, again),
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"text": "I cannot\nhelp.", "is_refused": True}, "the model refused: I cannot help."),
        ({"text": "x" * 201, "finish": Finish("refusal")}, f"the model refused: {'x' * 199}…"),
        ({"finish": Finish("refusal")}, "the model refused"),
        ({"finish": Finish("content_filter")}, "the endpoint's content filter refused the answer"),
        ({"text": " ", "finish": Finish("SAFETY")}, "the endpoint's content filter refused the answer"),
    ],
)
def test_a_refusal_is_reported_as_one(answer: dict[str, Any], message: str) -> None:
    error = error_for(**answer)
    assert error is not None
    assert (error.message, error.code, error.exit_code) == (message, "refusal", 6)


def test_text_with_an_ordinary_end_is_an_answer_whatever_else_there_is() -> None:
    assert error_for(text="A cat.", reasoning="Hm.", tools=["look"], finish=Finish("tool_calls")) is None


def test_an_end_without_finish_reason_or_done_counts_as_cut_off() -> None:
    error = endings.error_for_finish_reason(None, has_ended=False)
    assert error is not None
    message = "the answer is incomplete: the connection was closed too early"
    assert (error.exit_code, error.message, error.hint, error.code) == (6, message, KEPT, "cut_off")


def test_a_broken_off_answer_keeps_the_facts_of_its_cause() -> None:
    cause = NetworkError("the connection broke", hint="Try again.", code="timeout", status=200, request_id="r-1")
    error = endings.build_incomplete_error(cause)
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
