"""Read probabilities: those of the first tokens of an answer, and the one that a decision endpoint returns. Pure.

Source: OpenAI API reference, "Create chat completion" (``logprobs.content[].top_logprobs``) and the older "Create
completion" (``logprobs.top_logprobs``, which Together and Fireworks send too); OpenAI, vLLM and LiteLLM, "Decisions".
"""

from collections.abc import Iterator, Mapping
from math import exp, isfinite
from typing import Any

from .events import ChunkInfo, Event, Probability, Refusal, TokenProbabilities


def read_decision(document: Mapping[str, Any]) -> Iterator[Event]:
    """Read the answer to the question of a request for a decision; yields nothing if it cannot be understood."""
    answers = document.get("answers")
    answer = answers[0] if isinstance(answers, list) and answers else None
    if not isinstance(answer, dict):
        return
    probability: Any = answer.get("probability")
    if answer.get("type") == "refusal":
        yield Refusal()
    elif _is_number(probability) and 0 <= probability <= 1:
        yield Probability(float(probability))
    usage = document.get("usage")
    if isinstance(usage, dict) and "input_tokens" in usage:  # the names by which costs are computed
        names = {"prompt_tokens": usage["input_tokens"], "completion_tokens": usage.get("output_tokens", 0)}
        yield ChunkInfo(usage={**names, **usage})


def read_token_probabilities(logprobs: Any) -> Iterator[Event]:
    """Read the ``logprobs`` of a choice; yields nothing if they cannot be understood."""
    if not isinstance(logprobs, dict):
        return
    if content := _list_objects(logprobs.get("content")):
        positions = [_read_position(entry) for entry in content]
    else:
        positions = [_read_pairs(entry.items()) for entry in _list_objects(logprobs.get("top_logprobs"))]
    if any(positions):
        yield TokenProbabilities(tuple(filter(None, positions)))


def _read_position(entry: Mapping[str, Any]) -> dict[str, float]:
    """The chosen token at one position, and the most likely ones."""
    candidates = (entry, *_list_objects(entry.get("top_logprobs")))
    return _read_pairs((candidate.get("token"), candidate.get("logprob")) for candidate in candidates)


def _read_pairs(pairs: Any) -> dict[str, float]:
    """Probabilities by token; a server may round a logarithm to slightly more than 0."""
    return {token: exp(min(0.0, logprob)) for token, logprob in pairs if isinstance(token, str) and _is_number(logprob)}


def _list_objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
