"""Error responses of servers, and the errors they become."""

from typing import Any

import pytest

from qubrid_cli.client.endpoint import HintCommands
from qubrid_cli.client.errors.body import ErrorResponse, parse_error_body
from qubrid_cli.client.errors.rules import build_error
from qubrid_cli.errors import AuthError, EndpointError


@pytest.mark.parametrize(
    ("payload", "message", "code", "request_id"),
    [
        (
            {"error": {"message": "No.", "type": "invalid_request_error", "code": "bad_image", "param": None}},
            "No.",
            "bad_image",
            None,
        ),
        ({"error": {"message": "No.", "type": "server_error", "code": None}}, "No.", "server_error", None),
        ({"error": {"message": "No.", "code": 429}}, "No.", "429", None),
        ({"error": {"message": "No.", "request_id": "r-2"}}, "No.", None, "r-2"),
        ({"error": {"message": "No."}, "request_id": "r-2"}, "No.", None, "r-2"),
        ({"error": {"message": "No.", "request_id": 7}}, "No.", None, "r-1"),
        ({"error": "No."}, "No.", None, "r-1"),
        ({"error": "No.", "code": "bad_image"}, "No.", "bad_image", "r-1"),
        ({"object": "error", "message": "No.", "code": 40001}, "No.", "40001", "r-1"),
        ({"message": "No."}, "No.", None, "r-1"),
        ({"detail": "No."}, "No.", None, "r-1"),
        (
            {"detail": [{"loc": ["body", "é"], "msg": "extra"}]},
            "é: extra",
            None,
            "r-1",
        ),
        ({"error": {"reason": 7}}, '{"error": {"reason": 7}}', None, "r-1"),
        ("No.\n  Not  at all. ", "No. Not at all.", None, "r-1"),
        ("", "", None, "r-1"),
        ("\n<!DOCTYPE html><html>503</html>", "a web page instead of an error message", None, "r-1"),
        ({"error": {"message": "<html>503</html>"}}, "a web page instead of an error message", None, "r-1"),
        (["No."], "No.", None, "r-1"),
        ({}, "", None, "r-1"),
    ],
)
def test_an_error_is_read_in_any_shape(payload: Any, message: str, code: str | None, request_id: str | None) -> None:
    refusal = parse_error_body(payload, status=400, host="h", request_id="r-1")
    assert (refusal.status, refusal.host, refusal.message) == (400, "h", message)
    assert (refusal.code, refusal.request_id) == (code, request_id or "r-1")


@pytest.mark.parametrize(
    ("status", "code", "words", "says"),
    [
        (402, None, "Pay.", "has no credits left for this key"),
        (429, "insufficient_quota", "Pay.", "has no credits left for this key"),
        (401, None, "No.", "refused the key"),
        (400, "invalid_api_key", "No.", "refused the key"),
        (403, "permission_error", "No.", "denied access"),
        (403, None, "No.", "did not permit this request"),
        (403, None, "Moderation said no.", "refused the request because of the provider's content rules"),
        (
            400,
            "content_policy_violation",
            "No.",
            "refused the request because of the provider's content rules",
        ),
        (404, "404", "No endpoints found that support image input", "says that the model does not accept images"),
        (500, None, "Image input is not supported", "says that the model does not accept images"),
        (400, None, "m is not a multimodal model", "says that the model does not accept images"),
        (400, "context_length_exceeded", "Too long.", "cannot fit the request into the model's context"),
        (400, None, "This model's maximum context length is 4096", "cannot fit the request into the model's context"),
        (413, None, "No.", "does not accept a request this large"),
        (404, "model_not_found", "No.", "does not know the model"),
        (404, None, "The model m does not exist", "does not know the model"),
        (404, None, "Not Found", "has no chat completions at this address"),
        (405, None, "No.", "has no chat completions at this address"),
        (429, None, "Slowly.", "received too many requests"),
        (429, None, "Too many tokens, please wait before trying again.", "received too many requests"),
        *((status, None, "No.", "failed") for status in (408, 409, 425, 500, 502, 503, 504, 529)),
        (400, "bad_image", "No.", "refused the request"),
        (422, None, "No.", "refused the request"),
    ],
)
def test_each_error_response_gets_the_message_of_its_rule(status: int, code: str | None, words: str, says: str) -> None:
    error = build_error(ErrorResponse(status, "h:8000", words, (code,) if code else ()))
    assert error.message == f"h:8000 {says} (HTTP {status}): {words}"


def test_a_long_reason_is_shortened_in_the_message_and_kept_whole_beside_it() -> None:
    error = build_error(parse_error_body("x" * 401, status=400, host="h"))
    assert (error.message, error.reason) == (f"h refused the request (HTTP 400): {'x' * 399}…", "x" * 401)


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (ErrorResponse(429, "h", ""), "h received too many requests (HTTP 429)"),
        (ErrorResponse(200, "h", "boom"), "h stopped with an error: boom"),
        (ErrorResponse(200, "h", ""), "h stopped with an error"),
    ],
)
def test_an_empty_message_or_status_is_omitted(refusal: ErrorResponse, message: str) -> None:
    assert build_error(refusal).message == message


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, None, AuthError),
        (403, "permission_denied", AuthError),
        (403, None, EndpointError),
        (400, "invalid_api_key", AuthError),
        (403, "moderation", EndpointError),
        (402, None, EndpointError),
        (500, None, EndpointError),
    ],
)
def test_a_refused_key_has_a_class_of_its_own(status: int, code: str | None, kind: type[EndpointError]) -> None:
    assert type(build_error(ErrorResponse(status, "h", "No.", (code,) if code else ()))) is kind


@pytest.mark.parametrize(
    ("refusal", "code", "hint"),
    [
        (
            ErrorResponse(402, "h", "No.", ("billing",), "r-1"),
            "insufficient_quota",
            "Add credits to the account that the key belongs to.",
        ),
        (
            ErrorResponse(401, "h", "No.", (), "r-1"),
            "auth",
            "See which key is used with: qvision auth status; store another with: qvision auth login",
        ),
        (ErrorResponse(413, "h", "No.", ("too_big",), "r-1"), "too_big", "Send smaller images with --max-pixels."),
        (
            ErrorResponse(404, "h", "No.", (), "r-1"),
            "endpoint",
            "Check --base-url: it usually ends in /v1. To list the models: qvision models",
        ),
    ],
)
def test_an_error_has_its_code_hint_status_and_request_id(refusal: ErrorResponse, code: str, hint: str) -> None:
    error = build_error(refusal)
    assert (error.code, error.hint, error.status, error.request_id) == (code, hint, refusal.status, "r-1")


KEY_HINT = (
    "See which key is used with: qvision auth status --profile a; store another with: qvision auth login --profile a"
)


@pytest.mark.parametrize(
    ("host", "status", "code", "hint"),
    [
        (
            "platform.qubrid.com",
            402,
            "x",
            "Look at https://platform.qubrid.com. Add credits to the account that the key belongs to.",
        ),
        (
            "platform.qubrid.com",
            400,
            "content_policy_violation",
            "Look at https://platform.qubrid.com/inferencing-logs. Try another image or prompt.",
        ),
        (
            "platform.qubrid.com",
            401,
            "x",
            f"Look at https://platform.qubrid.com/api-keys. {KEY_HINT}",
        ),
        ("h", 402, "x", "Add credits to the account that the key belongs to."),
        ("h", 404, "x", "Check --base-url: it usually ends in /v1. To list the models: qvision models --profile a"),
    ],
)
def test_a_hint_names_the_profile_and_the_page_of_the_provider(host: str, status: int, code: str, hint: str) -> None:
    commands = HintCommands(
        "qvision models --profile a", "qvision auth status --profile a", "qvision auth login --profile a"
    )
    assert build_error(ErrorResponse(status, host, "No.", (code,)), commands=commands).hint == hint


def test_the_hint_for_a_refused_key_names_the_source_that_wins() -> None:
    commands = HintCommands(key_hint="The key is that of A_KEY, which wins over a stored one: set it to another key.")
    for status, has_key in ((401, True), (401, False)):
        assert (
            build_error(ErrorResponse(status, "h", "No.", has_key=has_key), commands=commands).hint == commands.key_hint
        )
