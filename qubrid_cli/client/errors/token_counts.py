"""The token counts in an error about a request that is too long for the model. Pure; loaded only when a request fails.

Source: the messages of OpenAI, DeepSeek, Anthropic, Gemini, xAI, Mistral, Moonshot, DashScope, SiliconFlow, Cerebras,
OpenRouter, Cloudflare, GitHub Models, vLLM, SGLang, llama.cpp, llama-cpp-python, LM Studio and Text Generation Inference.
"""

import re
from collections.abc import Iterable, Mapping

from ...errors import ContextOverflow

_N = r"([0-9][0-9,_]*)"

# The patterns of a list are tried in order; ``…`` in their comments stands for a number.
_CONTEXT_SIZES = (
    rf"maximum context length (?:is|of) (?:only )?{_N}",  # OpenAI, vLLM, OpenRouter, SGLang
    rf"context length is (?:only )?{_N}",
    rf"context length(?: of)?(?: only)? \(?{_N}",  # SGLang: (… tokens); LM Studio: of only …; old vLLM
    rf"maximum context length:? \(?{_N}",  # Fireworks
    rf"{_N} maximum context length",  # Mistral
    rf"context (?:size|window)(?: limit)?(?: of)?:? \(?{_N}",  # llama.cpp, llama-cpp-python, Cloudflare
    rf"n_ctx:? ?\(?{_N}",  # LM Studio
    rf"exceed context limit: [0-9,_]+ \+ [0-9,_]+ > {_N}",  # Anthropic
    rf"tokens? > {_N} maximum",  # Anthropic
    rf"maximum number of (?:input )?tokens allowed:? \(?{_N}",  # Gemini
    rf"maximum (?:prompt|model|input) length (?:is|of) {_N}",  # xAI, vLLM
    rf"maximum allowed length \({_N}",  # SGLang
    rf"max_seq_len \({_N}",  # SiliconFlow
    rf"`max_new_tokens` must be <= {_N}",  # Text Generation Inference
    rf"`inputs` must have less than {_N}",
    rf"model token limit:? {_N}",  # Moonshot
    rf"input length should be \[[0-9]+, ?{_N}\]",  # DashScope
    rf"while limit is {_N}",  # Cerebras
    rf"cannot exceed {_N}",  # Cohere
    rf"max size: {_N} tokens",  # GitHub Models
    rf"token count of [0-9,_]+ exceeds the limit of {_N}",  # GitHub Copilot
    rf"limit of {_N} tokens",  # OpenAI, Azure
    rf"kv_capacity={_N}",
    rf"tokens limit {_N}",
)
_PROMPT_TOKENS = (
    rf"\({_N} (?:tokens )?(?:in the messages|in your prompt|of text input|in the prompt|tokens from the input)",
    rf"{_N} tokens from the input messages",
    rf"prompt contains (?:at least )?{_N}",  # vLLM, Mistral
    rf"prompt has {_N} tokens",
    rf"token count of {_N}",  # GitHub Copilot
    rf"request has {_N} input tokens",
    rf"passed {_N} input tokens",
    rf"(?:messages|prompt|input) resulted in {_N} tokens",
    rf"the input \({_N} tokens\)",
    rf"input length:? \(?{_N}",
    rf"prompt \((?:total )?length {_N}\)",  # old vLLM
    rf"request \({_N} tokens\) exceeds",  # llama.cpp
    rf"n_keep:? ?\(?{_N}",  # LM Studio
    rf"keep the first {_N} tokens",
    rf"exceed context limit: {_N} \+",  # Anthropic
    rf"too long: {_N}",  # Anthropic, Fireworks
    rf"input token count \({_N}\)",  # Gemini
    rf"request contains {_N} tokens",  # xAI
    rf"prompt_tokens \({_N}\)",
    rf"given: {_N} `inputs`",
    rf"given: {_N}(?! `inputs`)",
    rf"current length is {_N}",
    rf"- received {_N}",
    rf"input_tokens={_N}",
    rf"number of input tokens {_N}",
)
_REQUESTED_TOKENS = (
    rf"{_N} (?:tokens )?(?:in the (?:completion|output)|for the completion|in your completion)",
    rf"requested {_N} output tokens",
    rf"(?:max_tokens|max_completion_tokens)\W+(?:is )?too large:? {_N}",
    rf"exceed context limit: [0-9,_]+ \+ {_N}",
    rf"{_N} `max_new_tokens`",
    rf"max_new_tokens={_N}",
)
_TOTALS = (
    rf"however,? you requested (?:about )?{_N} tokens",
    rf"requested a total of {_N} tokens",
    rf"model token limit:? [0-9,_]+ \(requested:? {_N}",
    rf"requested tokens \({_N}\)",
    rf"max_total_tokens \({_N}",
    rf"total tokens \(?{_N}",
    rf"maximum output tokens \({_N}\)",
)
_MAX_OUTPUT_TOKENS = (
    rf"supports at most {_N} completion tokens",  # OpenAI
    rf"max_tokens:? [0-9,_]+ > {_N}",  # Anthropic
    rf"max(?:_completion)?_tokens\W+must be less than or equal to\W+{_N}",  # Groq
    rf"max(?:_completion)?_tokens\b[^.]{{0,60}}?\[[0-9]+, ?{_N}\]",  # DashScope, DeepSeek
    rf"tokens you requested exceeds the model limit of {_N}",  # Bedrock
    rf"max(?:_completion)?_tokens\b[^.]{{0,40}}(?:cannot|must not|should not|can't) (?:exceed|be (?:greater|larger|more) than) {_N}",
)


def parse_token_counts(text: str, numbers: Mapping[str, int]) -> ContextOverflow:
    """Find the token counts in the reason, and those that llama.cpp sends as fields.

    Args:
        text: the reason in lower case.
        numbers: the numbers in the error body by name.
    """
    context_size = numbers.get("n_ctx") or _find(_CONTEXT_SIZES, text)
    prompt_tokens = numbers.get("n_prompt_tokens") or _find(_PROMPT_TOKENS, text)
    if prompt_tokens is None:
        total, requested_tokens = _find(_TOTALS, text), _find(_REQUESTED_TOKENS, text)
        prompt_tokens = total - requested_tokens if total is not None and requested_tokens is not None else None
    return ContextOverflow(
        context_size,
        prompt_tokens,
        _find(_MAX_OUTPUT_TOKENS, text),
        _find((rf"context length by {_N} tokens",), text),  # Ollama
        is_prompt_exact=re.search("at least [0-9,_]+ input tokens", text) is None,
    )


def _find(patterns: Iterable[str], text: str) -> int | None:
    match = next((match for pattern in patterns if (match := re.search(pattern, text))), None)
    return int(re.sub("[,_]", "", match[1])) if match else None
