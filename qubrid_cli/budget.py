"""What a run may take: money, tokens, time, failures. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from .errors import UsageError
from .metrics import number

#: A share of failures means nothing before so many images are through.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many images may fail: a number of them, or a share of those that are through, in percent."""

    count: float = inf
    percent: float = 100.0

    def is_exceeded(self, failed: int, finished: int) -> bool:
        """Whether too many have failed."""
        share = 100 * failed / finished if finished >= _ENOUGH else 0.0
        return failed > self.count or share > self.percent


def allowance(text: str) -> Allowance:
    """What ``--max-failures`` says: ``20`` or ``5%``.

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,9})|(\d{1,3}(?:\.\d{1,6})?)%", text, re.ASCII)
    if found is None or float(found[2] or 0) > 100:
        raise UsageError(f"--max-failures {text} is no number", hint="For example 20, or 5% of those that are through.")
    return Allowance(count=int(found[1])) if found[1] else Allowance(percent=float(found[2]))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take at most: US dollars, tokens in both directions, seconds, failures."""

    cost: float = inf
    tokens: float = inf
    seconds: float = inf
    failures: Allowance = Allowance()


def tokens(usage: Mapping[str, Any] | None) -> int | None:
    """The tokens of a request in both directions; ``None`` where the server does not say."""
    total = number(usage, "total_tokens")
    if total is None:
        ways = [number(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        total = sum(way for way in ways if way is not None) if any(way is not None for way in ways) else None
    return None if total is None else max(0, round(total))


class Budget:
    """What a run has taken, and whether there is room for another request.

    Requests that are on their way count with the mean of those that are back.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._answers = 0
        self._written = 0.0
        self.tokens = 0.0
        self.cost = 0.0

    def take(self, record: Mapping[str, Any]) -> None:
        """Count what a request took, as far as the server says."""
        taken = tokens(record["usage"])
        if taken is not None:
            self._answers += 1
            self.tokens += taken
            self._written += number(record["usage"], "completion_tokens") or 0
            self.cost += number(record["cost"], "amount") or 0

    @property
    def answer_tokens(self) -> int | None:
        """How long answers are in the mean; ``None`` before the first one."""
        return round(self._written / self._answers) if self._answers else None

    def reached(self, seconds: float, in_flight: int) -> str | None:
        """The limit, by its option's name, that keeps another request from going."""
        if seconds >= self._limits.seconds:
            return f"--max-time {self._limits.seconds:g}"
        share = (in_flight + 1) / self._answers if self._answers else 0.0
        if self.tokens * (1 + share) > self._limits.tokens:
            return f"--max-tokens-total {self._limits.tokens:.0f}"
        if self.cost * (1 + share) > self._limits.cost:
            return f"--max-cost {self._limits.cost:g}"
        return None

    def has_failed_too_often(self, failed: int, finished: int) -> bool:
        """Whether the run is not worth going on with."""
        return self._limits.failures.is_exceeded(failed, finished)
