"""Several requests that make one answer: their progress, and the sums of their usage, cost and time."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from ..client.events import TextDelta, TextWasReasoning
from ..metrics import Cost, Stopwatch, get_number
from .result import Description, Sending, Writing
from .run import Item, Items


def forward_progress(items: Items, stopwatch: Stopwatch | None = None) -> Generator[Item, None, Description]:
    """Yield the items of a request, with ``Writing`` in place of its text, and return its ``Description``.

    Args:
        stopwatch: measures several requests together.
    """
    with closing(items):
        for item in items:
            match item:
                case Description():
                    return item
                case TextDelta():
                    yield Writing()
                case TextWasReasoning():
                    pass
                case Sending() if stopwatch is not None:
                    stopwatch.mark_sent()
                    yield item
                case _:
                    yield item
    raise AssertionError("the last item is a description")


def add_answers(first: Description, second: Description) -> Description:
    """Return the second answer with the usage, cost, time and warnings of both, and with the first text if it has none."""
    return replace(
        second,
        text=second.text or first.text,
        cost=_add_costs(first.cost, second.cost),
        usage=_add_usage(first.usage, second.usage) if first.usage and second.usage else second.usage or first.usage,
        timing=replace(
            second.timing,
            ttft_seconds=first.timing.ttft_seconds,
            total_seconds=_add_seconds(first.timing.total_seconds, second.timing.total_seconds),
        ),
        warnings=tuple(dict.fromkeys([*first.warnings, *second.warnings])),
    )


def _add_usage(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Add numbers, also in nested objects (``prompt_tokens_details``); all other values are those of the second."""
    total = dict(second)
    for key, value in second.items():
        first_value = first.get(key)
        if isinstance(value, dict) and isinstance(first_value, dict):
            total[key] = _add_usage(first_value, value)
        elif get_number(first, key) is not None and get_number(second, key) is not None:
            total[key] = first_value + value
    return total


def _add_costs(first: Cost | None, second: Cost | None) -> Cost | None:
    if first is None or second is None:
        return second or first
    source = first.source if first.source == second.source else "prices"
    return replace(second, amount=round(first.amount + second.amount, 12), source=source)


def _add_seconds(first: float | None, second: float | None) -> float | None:
    return round((first or 0) + (second or 0), 4) if first is not None or second is not None else None
