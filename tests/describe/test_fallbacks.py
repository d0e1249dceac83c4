"""What is sent instead after an error."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from qubrid_cli.client.request import UNSTREAMED, Request
from qubrid_cli.describe.fallbacks import correct_hint, find_fallback, suggest_max_pixels
from qubrid_cli.errors import ContextOverflow, EndpointError, IncompleteAnswerError
from qubrid_cli.images.encode import Upload
from qubrid_cli.images.prepare import PreparedImage, PreparedImageOrLink
from qubrid_cli.images.sources import Link

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


@pytest.mark.parametrize(
    "error",
    [
        EndpointError("host refused the request (HTTP 400): Unsupported parameter", status=400, param="top_p"),
        EndpointError("too long to show …", status=400, reason=f"{'x ' * 999}: top_p is not supported"),
    ],
)
def test_the_field_is_found_in_the_whole_reason_and_where_the_server_names_it(error: EndpointError) -> None:
    assert find_fallback(REQUEST, error) == (
        replace(REQUEST, dropped=frozenset({"top_p"})),
        "the endpoint refused top_p, so it was dropped",
    )


def test_the_name_of_the_host_is_not_a_reason() -> None:
    error = EndpointError("top_p.unknown.example refused the request (HTTP 400): no", status=400, reason="no")
    assert find_fallback(REQUEST, error) is None


def test_an_endpoint_that_only_streams_is_asked_for_a_stream_once() -> None:
    unstreamed = replace(REQUEST, stream=False)
    error = EndpointError("stream must be true", code="stream_required", status=400)
    streamed, warning = find_fallback(unstreamed, error) or (REQUEST, "")
    assert (streamed, streamed.is_streamed) == (replace(unstreamed, dropped=frozenset({UNSTREAMED})), True)
    assert warning == "the endpoint only streams its answers, so a stream was requested"
    assert find_fallback(streamed, error) is None
    assert find_fallback(REQUEST, error) is None


def overflow_error(context: ContextOverflow | None, code: str = "context_length_exceeded") -> EndpointError:
    return EndpointError("too long", code=code, status=400, context=context)


@pytest.mark.parametrize(
    ("context", "max_tokens", "lowered", "says"),
    [
        (
            ContextOverflow(32_768, 20_000),
            16_384,
            12_768,
            "lowered from 16384 to 12768, which fits the model's context",
        ),
        (ContextOverflow(32_768, 32_752), 16_384, 16, "lowered from 16384 to 16, which fits the model's context"),
        (
            ContextOverflow(max_output_tokens=4_096),
            *(16_384, 4_096, "lowered from 16384 to 4096, which fits the endpoint's limit for answers"),
        ),
        (ContextOverflow(32_768, 30_000, max_output_tokens=4_096), 16_384, 2_768, "which fits the model's context"),
        # Without exact numbers the endpoint decides.
        (ContextOverflow(32_768, 16_385, is_prompt_exact=False), 16_384, None, "16384 does not fit"),
        (ContextOverflow(32_768), 16_384, None, "so it was left out"),
        (ContextOverflow(), 16_384, None, "so it was left out"),
        (None, 16_384, None, "so it was left out"),
        (ContextOverflow(32_768, 20_000), 300, None, "so it was left out"),  # numbers that contradict the error
    ],
)
def test_max_tokens_is_lowered_to_what_fits(
    context: ContextOverflow | None, max_tokens: int, lowered: int | None, says: str
) -> None:
    code = "max_tokens_too_large" if context and context.max_output_tokens else "context_length_exceeded"
    fallback = find_fallback(replace(REQUEST, max_tokens=max_tokens), overflow_error(context, code))
    assert fallback is not None
    request, warning = fallback
    assert request == replace(REQUEST, max_tokens=lowered)
    assert warning.startswith("max_tokens ")
    assert says in warning


@pytest.mark.parametrize(
    ("context", "max_tokens"),
    [
        (ContextOverflow(32_768, 40_000), 16_384),
        (ContextOverflow(32_768, 32_768), 16_384),
        (ContextOverflow(32_768, 32_760), 16_384),  # eight tokens are not an answer
        (ContextOverflow(32_768, 32_769, is_prompt_exact=False), 16_384),
        (ContextOverflow(32_768, 20_000), None),
    ],
)
def test_a_prompt_that_does_not_fit_is_not_sent_again(context: ContextOverflow, max_tokens: int | None) -> None:
    assert find_fallback(replace(REQUEST, max_tokens=max_tokens), overflow_error(context)) is None


def test_max_tokens_is_lowered_once_and_then_left_out() -> None:
    """A server that counts differently in each error is not asked for ever."""
    request, overflow = replace(REQUEST, max_tokens=16_384), None
    sent = []
    for prompt_tokens in range(20_000, 20_100):
        error = overflow_error(ContextOverflow(32_768, prompt_tokens))
        if (fallback := find_fallback(request, error, earlier_overflow=overflow)) is None:
            break
        request, overflow = fallback[0], error.context
        sent.append(request.max_tokens)
    assert sent == [12_768, None]


def prepared(width: int, height: int) -> PreparedImage:
    return PreparedImage("a.jpg", "", "JPEG", width, height, 9, Upload("image/jpeg", width, height, b""), 0.0)


EXCEED = "The prompt and the images exceed the model's context by"
LARGE = prepared(1856, 1376)  # 2,494 tokens of Qwen3-VL


@pytest.mark.parametrize(
    ("context", "images", "hint"),
    [
        (
            ContextOverflow(16_384, 20_000),
            [LARGE] * 8,
            f"{EXCEED} 3,616 tokens. Send smaller images with: --max-pixels 1900000",
        ),
        (
            ContextOverflow(4_096, 4_090),
            [LARGE, prepared(640, 480)],
            "The prompt and the images leave 6 tokens for the answer. Send smaller images with: --max-pixels 1000000",
        ),
        (
            ContextOverflow(2_048, 20_000),
            [prepared(640, 480)] * 8,
            f"{EXCEED} 17,952 tokens. Send fewer images in one request.",
        ),
        (
            ContextOverflow(512, 4_000),
            [prepared(640, 480)],
            f"{EXCEED} 3,488 tokens. Choose a model with a larger context.",
        ),
        (ContextOverflow(16_384, 20_000), [LARGE, Link("https://h/a.jpg", "https://h/a.jpg")], None),
        (ContextOverflow(16_384), [LARGE], None),
        (ContextOverflow(16_384, 17_000, is_prompt_exact=False), [LARGE], None),
        (None, [LARGE], None),
    ],
)
def test_the_hint_says_with_which_max_pixels_the_images_fit(
    context: ContextOverflow | None, images: Sequence[PreparedImageOrLink], hint: str | None
) -> None:
    error = suggest_max_pixels(overflow_error(context), REQUEST, images)
    assert (error.message, error.hint) == ("too long", hint)


def test_an_answer_that_fills_the_context_does_not_suggest_a_higher_max_tokens() -> None:
    cut = IncompleteAnswerError("cut off", hint="Raise --max-tokens.", code="length")
    assert correct_hint(cut, ContextOverflow(4_096, 1_000)).hint == (
        "The model's context is full. Send smaller images with --max-pixels."
    )
    assert correct_hint(cut, ContextOverflow(max_output_tokens=4_096)).hint == (
        "The endpoint does not allow longer answers. Ask for less in one request."
    )
    thinking = IncompleteAnswerError(
        "only reasoning", hint="Raise --max-tokens, or turn reasoning off with --think off."
    )
    assert correct_hint(thinking, ContextOverflow()).hint == (
        "The model's context is full. Send smaller images with --max-pixels. Or turn reasoning off with --think off."
    )
    closed = IncompleteAnswerError("closed", hint="Repeat the request.")
    assert correct_hint(closed, ContextOverflow()) is closed
