"""The reason in the error bodies of gateways, frameworks and providers, without what they put around it."""

import json
from typing import Any

import pytest

from qubrid_cli.client.errors.body import format_body, parse_error_body
from qubrid_cli.client.errors.rules import build_error

INNER = {"error": {"message": "The image is broken.", "type": "invalid_request_error", "code": "bad_image"}}
PAGE = "a web page instead of an error message"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(INNER), "provider_name": "Novita"}}}, "Novita: The image is broken."),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "no free worker", "provider_name": "Novita"}}}, "Novita: no free worker"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "", "provider_name": None}}}, "Provider returned error"),
        ({"id": "gen-1", "provider": "Novita", "choices": [{"delta": {"content": ""}, "error": {"code": 502, "message": "It broke."}}]}, "Novita: It broke."),
        ({"error": json.dumps(json.dumps(INNER))}, "The image is broken."),
        ({"error": {"message": f"upstream said no: {json.dumps(INNER)}"}}, "upstream said no: The image is broken."),
        ({"error": {"message": f"litellm.BadRequestError: OpenAIException - {INNER}"}}, "litellm.BadRequestError: OpenAIException: The image is broken."),
        (f"Error code: 400 - {INNER}", "The image is broken."),
        ("data: " + json.dumps(INNER), "The image is broken."),
        ([INNER], "The image is broken."),
        ([{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X"}]}}], "No."),
        ({"error": {"message": "See 'failed_generation'.", "failed_generation": '{"a": rate limit'}}, "See 'failed_generation'."),
        ({"success": False, "errors": [{"code": 7, "message": "No."}, {"code": 8, "message": "Never."}], "messages": []}, "No.; Never."),
        ({"title": "One or more validation errors occurred.", "errors": {"model": ["It is required."]}}, "model: It is required."),
        ({"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": {}}, {"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]}, "messages: Field required; top_k: Extra inputs are not permitted"),
        ({"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': 'Extra inputs are not permitted', 'input': 1}]", "code": 400}, "top_k: Extra inputs are not permitted"),
        ({"object": "error", "message": "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required', 'input': {}}\n\n  File \"x.py\""}, "1 validation error: messages: Field required"),
        ({"detail": {"error": {"message": "No."}}}, "No."),
        ({"base_resp": {"status_code": 2013, "status_msg": "invalid params"}, "choices": None}, "invalid params"),
        ({"code": 20015, "message": "No.", "data": None}, "No."),
        ({"code": "Throttling", "msg": "No."}, "No."),
        ({"Message": "No.", "__type": "aws#ValidationException"}, "No."),
        ({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "No."}, "No."),
        ({"error": {"message": "<400> InternalError.Algo.InvalidParameter: No."}}, "<400> InternalError.Algo.InvalidParameter: No."),
        ({"error": {"message": "<think> is not allowed"}}, "<think> is not allowed"),
        ("<html><head><title>502 Bad Gateway</title></head></html>", f"{PAGE}: 502 Bad Gateway"),
        ("\n<!-- x --><!DOCTYPE html><h1>Sorry,\n wait</h1>", f"{PAGE}: Sorry, wait"),
        ("<html></html>", PAGE),
        ('<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>', "No."),
        ('{"detail":[{"loc":["body"],"msg":"Input is \\"bad\\"","input":"data:image/jpeg;base64,AAAA', 'Input is "bad"'),
        ({"error": {}}, '{"error": {}}'),
        ("error code: 1010", "error code: 1010"),
        (None, ""),
        (7, "7"),
        ({"choices": [{"message": {"content": "an answer"}}], "error": {"message": "No."}}, "No."),
    ],
)  # fmt: skip
def test_the_reason_is_found_in_any_wrapping(body: Any, reason: str) -> None:
    assert parse_error_body(body, status=400, host="h").message == reason


def test_what_the_model_wrote_is_shown_and_not_searched() -> None:
    body = {"error": {"message": "This is not JSON.", "failed_generation": "rate limit exceeded, invalid api key"}}
    error = build_error(parse_error_body(body, status=400, host="h"))
    assert error.message == (
        "h refused the request (HTTP 400): This is not JSON. (it wrote: rate limit exceeded, invalid api key)"
    )


def test_the_innermost_code_comes_first() -> None:
    body = {"error": {"message": "No.", "code": 429, "metadata": {"raw": json.dumps(INNER)}}}
    response = parse_error_body(body, status=400, host="h")
    assert (response.codes, response.code) == (("bad_image", "invalid_request_error", "429"), "bad_image")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"error": {"message": "No.", "param": "messages.[0].content"}}, "messages.[0].content"),
        ({"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "No."}]}, "content"),
        ({"error": {"message": "No.", "param": None}}, None),
    ],
)
def test_the_field_that_the_server_names_is_kept(body: Any, param: str | None) -> None:
    assert build_error(parse_error_body(body, status=400, host="h")).param == param


def test_secrets_are_removed_from_what_was_unwrapped_and_the_rules_see_the_text_as_it_is() -> None:
    raw = '{"message": "model not\\u0020found: \\u0073k-secret-key"}'
    response = parse_error_body({"error": {"metadata": {"raw": raw}, "code": "sk-secret-key"}}, status=400, host="h")
    error = build_error(response, redact=lambda text: text.replace("sk-secret-key", "[key]").replace("model", "[key]"))
    assert (error.code, error.reason) == ("model_not_found", "[key] not found: [key]")
    assert "sk-secret-key" not in f"{error.message} {error.hint}"


def test_a_body_is_shown_whole_with_the_json_in_its_strings() -> None:
    body = {"error": {"metadata": {"raw": json.dumps(INNER)}}}
    assert format_body(parse_error_body(body, status=400, host="h").body) == json.dumps(
        {"error": {"metadata": {"raw": INNER}}}
    )


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_a_body_that_is_nested_deeply_does_no_harm(size: int) -> None:
    text = "[" * size + "]" * size
    assert parse_error_body(text, status=400, host="h").message.startswith("[[[")
    parse_error_body({"error": {"message": '{"message": ' * size}}, status=400, host="h")
