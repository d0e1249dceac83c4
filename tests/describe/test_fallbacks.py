"""What is sent instead after an error."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from qubrid_cli.client.request import UNSTREAMED, Message, Request
from qubrid_cli.describe.fallbacks import correct_hint, find_fallback, suggest_max_pixels
from qubrid_cli.errors import ContextOverflow, EndpointError, IncompleteAnswerError
from qubrid_cli.images.encode import Upload
from qubrid_cli.images.prepare import PreparedImage, PreparedImageOrLink
from qubrid_cli.images.sources import Link

from ..conftest import Ask
from ..support.server import Asked, Reply, Server, document, refusal, stream

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
        (ContextOverflow(32_768), 16_384, None, "so it was dropped"),
        (ContextOverflow(), 16_384, None, "so it was dropped"),
        (None, 16_384, None, "so it was dropped"),
        (ContextOverflow(32_768, 20_000), 300, None, "so it was dropped"),  # numbers that contradict the error
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


@pytest.mark.parametrize(
    ("context", "lowered"),
    [
        (ContextOverflow(32_768, 31_768), 1000),
        (ContextOverflow(32_768, 31_769), None),  # the oldest messages can be left out instead
        (ContextOverflow(max_output_tokens=512), 512),
    ],
)
def test_in_a_conversation_an_answer_needs_more_room(context: ContextOverflow, lowered: int | None) -> None:
    conversation = replace(REQUEST, max_tokens=16_384, history=(Message("user", "Hi."), Message("assistant", "Hello.")))
    fallback = find_fallback(conversation, overflow_error(context))
    assert (fallback and fallback[0].max_tokens) == lowered


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


# The real program

VLLM = (
    "This model's maximum context length is {context} tokens. However, you requested {total} tokens "
    "({prompt} in the messages, {answer} in the completion). Please reduce the length of the messages or completion."
)
VLLM_NEW = (
    "'max_tokens' or 'max_completion_tokens' is too large: {answer}. This model's maximum context length is {context} "
    "tokens and your request has {prompt} input tokens ({answer} > {context} - {prompt})."
)
SGLANG = (
    "Requested token count exceeds the model's maximum context length of {context} tokens. You requested a total of "
    "{total} tokens: {prompt} tokens from the input messages and {answer} tokens for the completion."
)
AT_LEAST = (
    "This model's maximum context length is {context} tokens. However, you requested {answer} output tokens and your "
    "prompt contains at least {least} input tokens, for a total of at least {more} tokens."
)


def with_context(
    message: str, reply: Callable[[str], Reply], *, context: int = 32_768, prompt: int = 20_000
) -> Callable[[Asked], Reply]:
    """A server whose model has a context of this size; every prompt has as many tokens."""

    def answer(asked: Asked) -> Reply:
        wanted = asked.json.get("max_tokens") or 0
        if prompt + wanted <= context:
            return reply("Eight lighthouses.")
        numbers = {"context": context, "prompt": prompt, "answer": wanted, "total": prompt + wanted}
        numbers |= {"least": context - wanted + 1, "more": context + 1}
        return refusal(400, {"error": {"message": message.format(**numbers), "type": "BadRequestError", "code": 400}})

    return answer


@pytest.mark.parametrize("options", [(), ("--no-stream",)])
@pytest.mark.parametrize(
    ("message", "sent"),
    [(VLLM, 12_768), (VLLM_NEW, 12_768), (SGLANG, 12_768), (AT_LEAST, None), ("The context length is exceeded.", None)],
)
def test_a_prompt_that_fits_is_sent_again_with_the_max_tokens_that_fits(
    describe: Ask, server: Server, lighthouse: Path, message: str, sent: int | None, options: tuple[str, ...]
) -> None:
    server.answer = with_context(message, document if options else stream)
    run = describe(lighthouse, "what?", "--json", *options)
    assert (run.exit_code, run.json["text"]) == (0, "Eight lighthouses.")
    assert [asked.json.get("max_tokens") for asked in server.asked] == [16_384, sent]
    (warning,) = run.json["warnings"]
    assert "max_tokens" in warning
    assert f"note: {warning}" in run.stderr


def test_images_that_do_not_fit_are_sent_once_and_the_hint_works(
    describe: Ask, server: Server, large_lighthouse: Path
) -> None:
    def answer(asked: Asked) -> Reply:
        url = asked.image_url
        return with_context(VLLM, stream, context=1_000, prompt=len(url) // 100)(asked)

    server.answer = answer
    run = describe(large_lighthouse, "what?", "--max-tokens", 50)
    assert (run.exit_code, len(server.asked)) == (5, 1)
    assert "exceed the model's context by" in run.stderr
    *_, pixels = run.stderr.split()
    assert "--max-pixels" in run.stderr
    assert describe(large_lighthouse, "what?", "--max-tokens", 50, "--max-pixels", pixels).exit_code == 0


def test_an_answer_cut_off_at_the_lowered_limit_says_what_helps(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    def cut(text: str) -> Reply:
        return Reply(
            [piece.replace(b'"stop"', b'"length"') for piece in stream(text).pieces if isinstance(piece, bytes)]
        )

    server.answer = with_context(VLLM, cut)
    run = describe(lighthouse, "what?")
    assert (run.exit_code, run.stderr.splitlines()[-1]) == (
        6,
        "hint: The model's context is full. Send smaller images with --max-pixels.",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "stream must be true", "type": "invalid_request_error"}},
        {
            "error": {
                "message": "This model only support stream mode, please enable the stream parameter to access the model."
            }
        },
        {"detail": "Requests with max_tokens > 4096 must have stream=true"},
    ],
)
def test_an_endpoint_that_only_streams_gets_a_second_request(
    describe: Ask, server: Server, lighthouse: Path, body: object
) -> None:
    server.answer = lambda asked: stream("A lighthouse.") if asked.json["stream"] else refusal(400, body)
    run = describe(lighthouse, "what?", "--no-stream")
    assert (run.exit_code, run.stdout) == (0, b"A lighthouse.\n")
    assert [asked.json["stream"] for asked in server.asked] == [False, True]
    assert "note: the endpoint only streams its answers, so a stream was requested" in run.stderr
