"""How a request says how much the model may think: each server has a spelling of its own.

A request holds the spellings that may be right, the likeliest first. One is sent; if the endpoint refuses it, the next
one is sent, and after the last one none. Pure.

Source: Alibaba Model Studio, "Deep thinking" (``enable_thinking``); vLLM, "Reasoning outputs", SGLang and llama.cpp
server (``chat_template_kwargs``); OpenAI API reference, Groq and Gemini's OpenAI compatibility (``reasoning_effort``);
OpenRouter, "Reasoning tokens" (``reasoning``); DeepSeek, Moonshot and Z.ai API references (``thinking``).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..frozen import frozen
from ..providers import find_provider

if TYPE_CHECKING:
    from .request import Request

#: The fields of the request that control thinking.
THINKING_FIELDS = ("enable_thinking", "chat_template_kwargs", "reasoning_effort", "reasoning", "thinking")
#: The spelling of the built-in profiles, which stays likeliest if such a profile is used with another address. LM Studio's
#: documentation has only the effort.
_PROFILE_FIELDS = {
    "ollama": "reasoning_effort",
    "lmstudio": "reasoning_effort",
    "vllm": "chat_template_kwargs",
    "openrouter": "reasoning",
    "openai": "reasoning_effort",
}
#: Where nothing else is known, the name of the model decides: those that only their makers serve have an effort.
_EFFORT_MODELS = re.compile(r"(^|[/:._-])(gpt-|o[134](-|$)|gemini|grok|claude|mistral|magistral)", re.IGNORECASE)
#: Models that only Alibaba Model Studio serves, whose models Qubrid resells.
_MODEL_STUDIO_MODELS = re.compile(r"qwen[\d.]*-(vl-)?(plus|flash|max)", re.IGNORECASE)
#: Models whose chat template calls the variable ``thinking``; those of Qwen, GLM and others call it ``enable_thinking``.
_THINKING_TEMPLATES = re.compile("deepseek|kimi", re.IGNORECASE)
#: The levels that only some fields can tell apart.
_EFFORT_LEVELS = frozenset({"low", "medium", "high"})
#: Efforts that mean ``off``, the best first; which of them exist depends on the model.
_OFF_EFFORTS = ("none", "minimal", "low")
#: Models whose least effort is ``minimal`` (GPT-5, but not 5.1 and later) or ``low``.
_MINIMAL_MODELS = re.compile(r"(^|/)gpt-5(-|$)", re.IGNORECASE)
_LOW_MODELS = re.compile(r"(^|/)o[134](-|$)", re.IGNORECASE)


@frozen
class Thinking:
    """How much the model may think.

    Attributes:
        level: ``on``, ``off``, ``low``, ``medium`` or ``high``.
        fields: the fields that may control it, the likeliest first.
        is_implied: the user did not choose the level, so no note says what was sent for it.
    """

    level: str
    fields: tuple[str, ...] = THINKING_FIELDS
    is_implied: bool = False


@frozen
class Spelling:
    """One way to say it: a field of the request and its value, and the name under which its refusal is remembered."""

    field: str
    value: Any
    name: str

    def __str__(self) -> str:
        """Readable, as in ``enable_thinking: false``."""
        return f"{self.field}: {json.dumps(self.value)}"


def choose_thinking(level: str, *, profile: str, base_url: str, model: str) -> Thinking:
    """The spellings for an endpoint.

    A provider that is known takes one spelling; any other endpoint may be a proxy, or a server of any kind.
    """
    provider = find_provider(base_url)
    if provider is not None and provider.thinking is not None:
        return Thinking(level, (provider.thinking,))
    by_model = "chat_template_kwargs"
    if _EFFORT_MODELS.search(model):
        by_model = "reasoning_effort"
    elif (provider is not None and provider.name == "Qubrid") or _MODEL_STUDIO_MODELS.search(model):
        by_model = "enable_thinking"
    first = (_PROFILE_FIELDS.get(profile, by_model), by_model)
    return Thinking(level, tuple(dict.fromkeys([*first, *THINKING_FIELDS])))


def find_spelling(thinking: Thinking, model: str, refused: frozenset[str]) -> Spelling | None:
    """The first spelling that the endpoint has not refused; ``None`` if it has refused all."""
    return next(
        (
            spelling
            for field in thinking.fields
            if field not in refused
            for spelling in _iterate_spellings(field, thinking.level, model)
            if spelling.name not in refused
        ),
        None,
    )


def _iterate_spellings(field: str, level: str, model: str) -> Iterator[Spelling]:
    """The values of a field that mean a level, the best first."""
    is_on = level != "off"
    match field:
        case "reasoning_effort":
            efforts: tuple[str, ...] = (level,)
            if level == "off":
                least = "low" if _LOW_MODELS.search(model) else "minimal" if _MINIMAL_MODELS.search(model) else "none"
                efforts = _OFF_EFFORTS[_OFF_EFFORTS.index(least) :]
            elif level == "on":
                efforts = ("medium", "default")  # "default" is Groq's only effort besides "none" for Qwen
            for effort in efforts:
                yield Spelling(field, effort, f"{field}={effort}")
            return
        case "chat_template_kwargs":
            variable = "thinking" if _THINKING_TEMPLATES.search(model) else "enable_thinking"
            value: Any = {variable: is_on}
        case "reasoning":
            value = {"enabled": is_on} if level in {"on", "off"} else {"effort": level}
        case "thinking":
            value = {"type": "enabled" if is_on else "disabled"}
        case _:
            value = is_on
    yield Spelling(field, value, field)


def add_thinking(fields: Mapping[str, Any], request: "Request") -> dict[str, Any]:
    """The body fields with the spelling that the endpoint has not refused, and with those of ``-O``, which win.

    An object that is there already, such as ``chat_template_kwargs``, keeps its other members.
    """
    assert request.thinking is not None
    spelling = find_spelling(request.thinking, request.model, request.dropped)
    if spelling is None:
        return {**fields, **request.extra}
    values = [values[spelling.field] for values in (fields, request.extra) if spelling.field in values]
    if not all(isinstance(value, Mapping) for value in (spelling.value, *values)):
        return {**fields, spelling.field: spelling.value, **request.extra}
    merged = {**fields.get(spelling.field, {}), **spelling.value, **request.extra.get(spelling.field, {})}
    return {**fields, **request.extra, spelling.field: merged}


def describe_thinking(request: "Request", *, has_thought: bool) -> str:
    """The note about what was sent for ``--think``.

    Args:
        has_thought: the model sent reasoning.
    """
    thinking = request.thinking
    assert thinking is not None
    spelling = find_spelling(thinking, request.model, request.dropped)
    if spelling is None:
        return f"--think {thinking.level} was left out, because the endpoint refused {_list_refused(request)}"
    note = f"--think {thinking.level} was sent as {spelling}"
    if thinking.level == "off" and has_thought:
        return f"{note}, but the model thought nevertheless"
    is_switch = thinking.level in _EFFORT_LEVELS and spelling.field not in {"reasoning_effort", "reasoning"}
    return f"{note}, which has no levels" if is_switch else note


def _list_refused(request: "Request") -> str:
    assert request.thinking is not None
    return " and ".join(
        field
        for field in request.thinking.fields
        if field in request.dropped or any(name.startswith(f"{field}=") for name in request.dropped)
    )
