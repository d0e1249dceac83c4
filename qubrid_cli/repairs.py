"""An answer that was put right by a second one: what both of them are together. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .costs import Cost
from .draft import Description
from .metrics import number

_ASKED_AGAIN = "the first answer did not fit the schema, so it was asked for once more"


def both(first: Description, second: Description) -> Description:
    """The second answer, with what both took: each was paid for."""
    return replace(
        second,
        text=second.text or first.text,
        cost=_cost(first.cost, second.cost),
        usage=_sum(first.usage, second.usage) if first.usage and second.usage else second.usage or first.usage,
        timing=replace(
            second.timing,
            ttft_seconds=first.timing.ttft_seconds,
            total_seconds=_total(first.timing.total_seconds, second.timing.total_seconds),
        ),
        warnings=tuple(dict.fromkeys([*first.warnings, _ASKED_AGAIN, *second.warnings])),
    )


def _sum(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Figures added up, also those in objects of their own (``prompt_tokens_details``); all else is the second's."""
    found = dict(second)
    for key, value in second.items():
        other = first.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found[key] = _sum(other, value)
        elif number(first, key) is not None and number(second, key) is not None:
            found[key] = value + other
    return found


def _cost(first: Cost | None, second: Cost | None) -> Cost | None:
    return replace(second, amount=round(first.amount + second.amount, 9)) if first and second else second or first


def _total(first: float | None, second: float | None) -> float | None:
    return round((first or 0) + (second or 0), 4) if first is not None or second is not None else None
