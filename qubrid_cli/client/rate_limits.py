"""The limits that a server reports with each response. Pure.

Source: the documentation of OpenAI, Groq and Anthropic. All of them refill a limit evenly, so the reset is the time until
the whole limit may be used again.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

from ..frozen import frozen
from .errors.waits import parse_header_number, parse_reset


@frozen
class RateLimit:
    """A limit that a response reports.

    Attributes:
        capacity: the requests or tokens that may be used at once after a long pause.
        remaining: those that may be used now.
        reset: seconds until all of the capacity may be used again.
    """

    unit: Literal["requests", "tokens"]
    capacity: float
    remaining: float
    reset: float


def parse_limits(headers: Mapping[str, str], now: datetime | None = None) -> Iterator[RateLimit]:
    """The limits in headers such as ``x-ratelimit-remaining-requests`` and ``anthropic-ratelimit-tokens-reset``.

    A limit that is unused, or whose reset is unknown, is left out.

    Args:
        headers: with case-insensitive or lower-case names.
        now: the time that a date is compared with; by default the present.
    """
    if not any("ratelimit" in name for name in headers):  # most servers report none, and each look-up searches all
        return
    units: tuple[Literal["requests", "tokens"], ...] = ("requests", "tokens")
    for unit in units:
        for name in (f"x-ratelimit-{{}}-{unit}", f"anthropic-ratelimit-{unit}-{{}}"):
            remaining = parse_header_number(headers.get(name.format("remaining")))
            if remaining is None:
                continue
            reset = parse_reset(headers.get(name.format("reset"), ""), now)
            capacity = parse_header_number(headers.get(name.format("limit")))
            if capacity is None:
                capacity = remaining + 1  # unknown, but larger than the rest, else there would be no reset
            if reset and capacity > remaining:
                yield RateLimit(unit, capacity, remaining, reset)
