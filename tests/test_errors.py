from qubrid_cli.errors import (
    EndpointError,
    IncompleteAnswerError,
    SomeRequestsFailedError,
    UnreachableError,
    UsageError,
)


def test_a_copy_with_another_message_keeps_everything_else() -> None:
    cause = OSError("gone")
    error = EndpointError(
        "busy", hint="Wait.", code="c", status=503, request_id="r-1", cause=cause, is_temporary=True, retry_after=2.0
    )
    copy = error.with_message("busy (for too long)", hint="Wait longer.")
    assert (type(copy), str(copy), copy.__cause__) == (EndpointError, "busy (for too long)", cause)
    assert vars(copy) == {**vars(error), "message": "busy (for too long)", "hint": "Wait longer."}
    assert (error.message, error.hint) == ("busy", "Wait.")


def test_a_copy_keeps_the_exit_code_of_the_first_of_several_errors() -> None:
    copy = SomeRequestsFailedError("1 of 2 failed", first=UsageError("no")).with_message("1 of 3 failed", hint=None)
    assert (type(copy), copy.exit_code, copy.message) == (SomeRequestsFailedError, 2, "1 of 3 failed")


def test_the_class_of_an_error_may_make_it_temporary() -> None:
    assert UnreachableError("away").is_temporary
    assert not EndpointError("no").is_temporary


def test_an_error_that_is_recorded_has_its_cause_all_the_same() -> None:
    cause = EndpointError("broke")
    assert IncompleteAnswerError("incomplete", cause=cause).__cause__ is cause
