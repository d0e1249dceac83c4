"""What is sent instead after an error."""

from dataclasses import replace

import pytest

from qubrid_cli.client.request import Request
from qubrid_cli.describe.fallbacks import find_fallback
from qubrid_cli.errors import EndpointError

REQUEST = Request("Qwen/Qwen3-VL-Plus", "What is this?", (), max_tokens=99, temperature=0.1, top_p=1.0)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("message", "name", "says"),
    [
        ("unknown field stream_options", "stream_options", "stream_options, so it was dropped"),
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            *("max_tokens", "max_tokens, so max_completion_tokens was sent"),
        ),
        ("'temperature' does not support 0.1 with this model.", "temperature", "temperature, so it was dropped"),
        ('[{"type":"extra_forbidden","loc":["body","top_p"]}]', "top_p", "top_p, so it was dropped"),
        ("`temperature` and `top_p` cannot both be specified", "top_p", "top_p, so it was dropped"),
    ],
)
def test_a_refused_field_is_dropped_once_with_a_warning(status: int, message: str, name: str, says: str) -> None:
    error = EndpointError(message, status=status)
    without = replace(REQUEST, dropped=frozenset({name}))
    assert find_fallback(REQUEST, error) == (without, f"the endpoint refused {says}")
    again = find_fallback(without, error)
    assert again is None or name not in again[1]


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (REQUEST, 500, "stream_options"),
        (REQUEST, 400, "unknown field top_pp"),
        (REQUEST, 400, "temperature must be between 0 and 1; 1.5 is not allowed"),
        (
            REQUEST,
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is",
        ),
        (replace(REQUEST, stream=False), 400, "stream_options"),
        (replace(REQUEST, extra={"stream_options": {}}), 400, "stream_options"),
    ],
)
def test_no_other_field_is_dropped(request_: Request, status: int, message: str) -> None:
    assert find_fallback(request_, EndpointError(message, status=status)) is None
