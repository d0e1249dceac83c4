"""``--think`` and ``--detail`` in the spelling of each server, and what happens when a server refuses them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import Request
from qubrid_cli.client.retry import RetryLimits
from qubrid_cli.client.thinking import THINKING_FIELDS, Thinking, choose_thinking
from qubrid_cli.describe import run
from qubrid_cli.describe.fallbacks import find_fallback
from qubrid_cli.describe.result import Description
from qubrid_cli.errors import EndpointError

from ..support.server import Asked, Reply, Server, delta, event, refusal, stream

QWEN, LOCAL = "Qwen/Qwen3-VL-8B-Instruct", "http://localhost:8000/v1"
SPELLINGS = {
    "enable_thinking": False,
    "chat_template_kwargs": {"enable_thinking": False},
    "reasoning_effort": "none",
    "reasoning": {"enabled": False},
    "thinking": {"type": "disabled"},
}


@pytest.mark.parametrize(
    ("profile", "base_url", "model", "fields"),
    [
        ("openai", "https://api.openai.com/v1", "gpt-6-luna", ["reasoning_effort"]),
        ("work", "https://x.openai.azure.com/openai/deployments/eyes", "eyes", ["reasoning_effort"]),
        ("work", "https://api.groq.com/openai/v1", "qwen/qwen3.6-27b", ["reasoning_effort"]),
        ("work", "https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-flash", ["reasoning_effort"]),
        ("openrouter", "https://openrouter.ai/api/v1", "qwen/qwen3-vl-8b-instruct", ["reasoning"]),
        ("work", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen3-vl-plus", ["enable_thinking"]),
        ("work", "https://api.moonshot.ai/v1", "kimi-k2.5", ["thinking"]),
        ("qubrid", "https://platform.qubrid.com/v1", QWEN, ["enable_thinking", "chat_template_kwargs"]),
        ("qubrid", "https://platform.qubrid.com/v1", "OpenAI/GPT-5.4-Mini", ["reasoning_effort", "enable_thinking"]),
        ("vllm", LOCAL, QWEN, ["chat_template_kwargs", "enable_thinking"]),
        ("ollama", "http://localhost:11434/v1", "qwen3-vl:8b", ["reasoning_effort", "chat_template_kwargs"]),
        ("openrouter", LOCAL, QWEN, ["reasoning", "chat_template_kwargs"]),
        ("work", LOCAL, "o4-mini", ["reasoning_effort", "enable_thinking"]),
        ("work", LOCAL, "qwen3-vl-plus", ["enable_thinking", "chat_template_kwargs"]),
    ],
)
def test_a_known_provider_has_one_spelling_and_any_other_endpoint_has_all(
    profile: str, base_url: str, model: str, fields: list[str]
) -> None:
    chosen = choose_thinking("off", profile=profile, base_url=base_url, model=model)
    assert list(chosen.fields[:2]) == fields
    assert set(chosen.fields) == ({*fields} if len(fields) == 1 else {*THINKING_FIELDS})


class Describe:
    """A request to the test server in this process."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __call__(self, thinking: Thinking | None, model: str = QWEN, **options: Any) -> Description:
        request = Request(model, "What?", (), None, None, None, thinking=thinking, **options)
        with Endpoint(self._server.url, timeout=10.0) as endpoint:
            return run.collect(run.describe(endpoint, request, (), run.RequestOptions(RetryLimits(0))))

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The thinking fields of each request."""
        return [
            {name: asked.json[name] for name in THINKING_FIELDS if name in asked.json} for asked in self._server.asked
        ]


@pytest.fixture
def describe(server: Server) -> Describe:
    return Describe(server)


def refusing(*accepted: str, message: Callable[[str], str]) -> Callable[[Asked], Reply]:
    """A server that refuses the thinking fields that it does not know."""

    def answer(asked: Asked) -> Reply:
        wrong = next((name for name in THINKING_FIELDS if name in asked.json and name not in accepted), None)
        return stream("A cat.") if wrong is None else refusal(400, {"error": {"message": message(wrong)}})

    return answer


#: How servers say that they do not know a field: OpenAI, Groq, vLLM and transformers (pydantic), Google, an unclear one.
REFUSALS: list[Callable[[str], str]] = [
    lambda name: f"Unrecognized request argument supplied: {name}",
    lambda name: f"property '{name}' is unsupported",
    lambda name: json.dumps(
        [{"type": "extra_forbidden", "loc": ["body", name, "x"], "msg": "Extra inputs are not permitted"}]
    ),
    lambda name: f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.',
    lambda _: "bad request",
]


@pytest.mark.parametrize("field", THINKING_FIELDS)
def test_the_spelling_that_a_server_takes_is_sent_and_named(describe: Describe, server: Server, field: str) -> None:
    """Whichever it is, and whatever was tried before."""
    server.answer = refusing(field, message=REFUSALS[0])
    answer = describe(choose_thinking("off", profile="work", base_url=server.url, model=QWEN))
    value = json.dumps(SPELLINGS[field])
    assert (answer.text, answer.warnings[-1]) == ("A cat.", f"--think off was sent as {field}: {value}")
    assert describe.sent[-1] == {field: SPELLINGS[field]}
    assert all(len(fields) == 1 for fields in describe.sent)


@pytest.mark.parametrize("message", REFUSALS)
def test_a_server_that_refuses_all_gets_none_and_the_note_says_so(
    describe: Describe, server: Server, message: Callable[[str], str]
) -> None:
    server.answer = refusing(message=message)
    answer = describe(choose_thinking("off", profile="vllm", base_url=server.url, model=QWEN))
    assert (answer.text, describe.sent[-1], len(server.asked)) == ("A cat.", {}, 6)
    assert answer.warnings[-1] == (
        "--think off was dropped, because the endpoint refused "
        "chat_template_kwargs and enable_thinking and reasoning_effort and reasoning and thinking"
    )


@pytest.mark.parametrize(
    ("level", "model", "sent"),
    [
        ("off", QWEN, ["none", "minimal", "low"]),
        ("off", "openai/gpt-5-mini", ["minimal", "low"]),
        ("off", "o3", ["low"]),
        ("on", QWEN, ["medium", "default"]),
        ("high", QWEN, ["high"]),
    ],
)
@pytest.mark.parametrize(
    "message",
    [
        "Unsupported value: 'reasoning_effort' does not support '{}' with this model. Supported values are: 'x'.",
        "reasoning_effort: Input should be 'x', not {}",
        "Reasoning is mandatory for this endpoint and cannot be disabled.",
    ],
)
def test_a_refused_effort_is_followed_by_the_next_one(
    describe: Describe, server: Server, level: str, model: str, sent: list[str], message: str
) -> None:
    def answer(asked: Asked) -> Reply:
        effort = asked.json.get("reasoning_effort")
        return refusal(400, {"error": {"message": message.format(effort)}}) if effort else stream("A cat.")

    server.answer = answer
    described = describe(Thinking(level, ("reasoning_effort",)), model)
    assert [fields.get("reasoning_effort") for fields in describe.sent] == [*sent, None]
    assert described.warnings[-1].startswith(f"--think {level} was dropped")


@pytest.mark.parametrize(
    ("level", "field", "model", "value"),
    [
        ("on", "enable_thinking", QWEN, True),
        ("low", "chat_template_kwargs", QWEN, {"enable_thinking": True}),
        ("off", "chat_template_kwargs", "moonshotai/Kimi-K2.5", {"thinking": False}),
        ("on", "reasoning", QWEN, {"enabled": True}),
        ("medium", "reasoning", QWEN, {"effort": "medium"}),
        ("high", "thinking", QWEN, {"type": "enabled"}),
    ],
)
def test_each_level_has_its_value(describe: Describe, level: str, field: str, model: str, value: object) -> None:
    answer = describe(Thinking(level, (field,)), model)
    has_no_levels = level in {"low", "high"}
    assert describe.sent == [{field: value}]
    assert answer.warnings == (
        f"--think {level} was sent as {field}: {json.dumps(value)}{', which has no levels' if has_no_levels else ''}",
    )


def test_a_model_that_thinks_nevertheless_is_named_in_the_note(describe: Describe, server: Server) -> None:
    thought = event({"choices": [{"delta": {"reasoning_content": "Hm."}}]})
    server.answer = Reply([thought, delta("A cat.", finish="stop")])
    answer = describe(Thinking("off", ("enable_thinking",)))
    assert answer.warnings == ("--think off was sent as enable_thinking: false, but the model thought anyway",)


@pytest.mark.parametrize(
    ("params", "extra", "sent"),
    [
        ({"chat_template_kwargs": {"a": 1}}, {}, {"a": 1, "enable_thinking": False}),
        ({"chat_template_kwargs": {"enable_thinking": True}}, {}, {"enable_thinking": False}),
        ({}, {"chat_template_kwargs": {"b": 2}}, {"enable_thinking": False, "b": 2}),
        ({}, {"chat_template_kwargs": {"enable_thinking": True}}, {"enable_thinking": True}),
        ({"chat_template_kwargs": 7}, {}, {"enable_thinking": False}),
    ],
)
def test_the_option_stands_between_the_profiles_fields_and_those_of_the_command_line(
    describe: Describe, params: dict[str, Any], extra: dict[str, Any], sent: dict[str, Any]
) -> None:
    describe(Thinking("off", ("chat_template_kwargs",)), params=params, extra=extra)
    assert describe.sent == [{"chat_template_kwargs": sent}]


@pytest.mark.parametrize(
    "message",
    [
        "Unknown field: detail",
        '[{"type":"extra_forbidden","loc":["body","messages",0,"content",1,"image_url","detail"]}]',
        "Invalid value for 'detail': 'high'. Supported values are: 'low'.",
    ],
)
def test_a_refused_detail_is_dropped_once(message: str) -> None:
    request = Request("m", "What?", (), None, None, None, detail="high")
    fallback = find_fallback(request, EndpointError(message, status=400))
    assert fallback is not None
    assert (fallback[0].dropped, fallback[1]) == (
        frozenset({"detail"}),
        "the endpoint refused detail, so it was dropped",
    )
    assert find_fallback(fallback[0], EndpointError(message, status=400)) is None


@pytest.mark.parametrize("message", ["the image is too large", "thinking about it failed", "invalid image"])
def test_no_other_error_changes_the_request(message: str) -> None:
    request = Request("m", "What?", (), None, None, None, detail="high", thinking=Thinking("off"))
    assert find_fallback(request, EndpointError(message, status=400)) is None
