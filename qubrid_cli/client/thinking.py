"""How a request sets how much the model may think, for which each kind of server has a field of its own. Pure.

Such a field with its value is called a spelling here. A request holds the fields that may be right, the most likely first.
One spelling is sent; if the endpoint refuses it, the next one is sent, and after the last one none.

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
#: The most likely field for a built-in profile, even if the profile is used with another address. LM Studio's documentation
#: has only the effort.
_PROFILE_FIELDS = {
    "ollama": "reasoning_effort",
    "lmstudio": "reasoning_effort",
    "vllm": "chat_template_kwargs",
    "openrouter": "reasoning",
    "openai": "reasoning_effort",
}
#: Where nothing else is known, the name of the model decides: models that only their makers serve take an effort.
_EFFORT_MODELS = re.compile(r"(^|[/:._-])(gpt-|o[134](-|$)|gemini|grok|claude|mistral|magistral)", re.IGNORECASE)
#: Models that only Alibaba Model Studio serves, whose models Qubrid resells.
_MODEL_STUDIO_MODELS = re.compile(r"qwen[\d.]*-(vl-)?(plus|flash|max)", re.IGNORECASE)
#: Models whose chat template calls the variable ``thinking``; those of Qwen, GLM and others call it ``enable_thinking``.
_THINKING_TEMPLATES = re.compile("deepseek|kimi", re.IGNORECASE)
#: The levels that only some fields can express.
_EFFORT_LEVELS = frozenset({"low", "medium", "high"})
#: Efforts that are sent for ``off``, the least first; which of them exist depends on the model.
_OFF_EFFORTS = ("none", "minimal", "low")
#: Models whose lowest effort is ``minimal`` (GPT-5, but not 5.1 and later) or ``low``.
_MINIMAL_MODELS = re.compile(r"(^|/)gpt-5(-|$)", re.IGNORECASE)
_LOW_MODELS = re.compile(r"(^|/)o[134](-|$)", re.IGNORECASE)


@frozen
class Thinking:
    """How much the model may think.

    Attributes:
        level: ``on``, ``off``, ``low``, ``medium`` or ``high``.
        fields: the fields that may control it, the most likely first.
        is_implied: the user did not choose the level, so no note is shown about what was sent for it.
    """

    level: str
    fields: tuple[str, ...] = THINKING_FIELDS
    is_implied: bool = False


@frozen
class Spelling:
    """One way to set the level: a field of the request with its value.

    Attributes:
        name: stands in ``Request.dropped`` if the endpoint refused this spelling.
    """

    field: str
    value: Any
    name: str

    def __str__(self) -> str:
        """The field and its value, such as ``enable_thinking: false``."""
        return f"{self.field}: {json.dumps(self.value)}"


def choose_thinking(level: str, *, profile: str, base_url: str, model: str) -> Thinking:
    """Choose the fields that an endpoint may understand.

    A known provider has one field; any other endpoint may be a proxy, or a server of any kind.
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
    """The most likely spelling that the endpoint has not refused; ``None`` if it has refused all."""
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
    """Add the first spelling that the endpoint has not refused, and the fields of ``-O``, which take precedence.

    An object that is already in the fields, such as ``chat_template_kwargs``, keeps its other members.
    """
    assert request.thinking is not None
    spelling = find_spelling(request.thinking, request.model, request.dropped)
    if spelling is None:
        return {**fields, **request.extra}
    other_values = [source[spelling.field] for source in (fields, request.extra) if spelling.field in source]
    if not all(isinstance(value, Mapping) for value in (spelling.value, *other_values)):
        return {**fields, spelling.field: spelling.value, **request.extra}
    merged = {**fields.get(spelling.field, {}), **spelling.value, **request.extra.get(spelling.field, {})}
    return {**fields, **request.extra, spelling.field: merged}


def describe_thinking(request: "Request", *, has_thought: bool) -> str:
    """The note that says what was sent for ``--think``.

    Args:
        has_thought: whether the model sent reasoning.
    """
    thinking = request.thinking
    assert thinking is not None
    spelling = find_spelling(thinking, request.model, request.dropped)
    if spelling is None:
        return f"--think {thinking.level} was dropped, because the endpoint refused {_list_refused(request)}"
    note = f"--think {thinking.level} was sent as {spelling}"
    if thinking.level == "off" and has_thought:
        return f"{note}, but the model thought anyway"
    is_switch = thinking.level in _EFFORT_LEVELS and spelling.field not in {"reasoning_effort", "reasoning"}
    return f"{note}, which has no levels" if is_switch else note


def _list_refused(request: "Request") -> str:
    assert request.thinking is not None
    return " and ".join(
        field
        for field in request.thinking.fields
        if field in request.dropped or any(name.startswith(f"{field}=") for name in request.dropped)
    )
