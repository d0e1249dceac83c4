"""What a run may take: money, tokens, time, failures. Pure."""

import re
from collections.abc import Mapping
from math import inf
from typing import Any

from .costs import Price, priced
from .errors import UsageError
from .frozen import frozen
from .metrics import number

#: A share of failures means nothing before a run has finished so many images.
_ENOUGH = 20
#: Tokens of a request whose image is not known, and of an answer as prompts for captions, tags and text get it.
_ASKED, _ANSWER = 1_000, 1_000
_CHARACTERS_PER_TOKEN = 4

Record = Mapping[str, Any]


@frozen
class Allowance:
    """How many images may fail: a number of them, or a share of those that the run has finished, in percent."""

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
        raise UsageError(
            f"--max-failures {text} is no number", hint="For example 20, or 5% of those that the run has finished."
        )
    return Allowance(count=int(found[1])) if found[1] else Allowance(percent=float(found[2]))


@frozen
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


def is_paid(record: Record) -> bool:
    """Whether anything was answered, so that it has its price, also where it failed in the end."""
    return bool(record["ok"] or record["text"] or record["usage"])


class Spent:
    """What was taken so far, answers included that came to nothing in the end.

    Attributes:
        asked: tokens to the endpoint, and ``written`` those back.
        cost: in US dollars; ``None`` without a price.
        is_estimate: the server does not count, at least not always.
    """

    def __init__(self, price: Price | None = None) -> None:
        self.asked = self.written = 0.0
        self.cost: float | None = None
        self.is_estimate = False
        self._price = price

    @property
    def tokens(self) -> float:
        """In both directions."""
        return self.asked + self.written

    def take(self, record: Record, asked: int = _ASKED) -> None:
        """Count an answer.

        Args:
            asked: tokens that it took to ask, in all probability.
        """
        usage = record["usage"]
        ways = [number(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        if None in ways:
            self.is_estimate = True
        total, said = tokens(usage), len(record["text"]) + len(record["reasoning"] or "")
        written = said / _CHARACTERS_PER_TOKEN if ways[1] is None else max(0.0, ways[1])
        if ways[0] is not None or total is None:
            sent = max(0.0, asked if ways[0] is None else ways[0])
        else:
            written = min(written, total)
            sent = total - written
        self.asked += sent
        self.written += written
        self._pay(number(record["cost"], "amount"), sent, written)

    def _pay(self, amount: float | None, asked: float, written: float) -> None:
        if amount is None and self._price is not None:
            amount = priced(self._price, asked, written)
        if amount is not None:
            self.cost = (self.cost or 0.0) + amount


class Budget:
    """What a run may take, against what it has taken.

    No answer costs more, in all probability, than the dearest one so far: that much is kept back for each request on
    its way. Before the first answer, it is what asking takes, and an answer of some length.

    Args:
        max_tokens: of an answer.
    """

    def __init__(self, limits: Limits, *, price: Price | None = None, max_tokens: int | None = None) -> None:
        self.spent = Spent(price)
        self._limits = limits
        self._price = price
        self._longest = min(_ANSWER, max_tokens or _ANSWER)
        self._answers = self._finished = self._failed = 0
        self._most_tokens = self._most_cost = 0.0

    def take(self, record: Record, asked: int = _ASKED) -> None:
        """Count what a request took; one that nothing came of took nothing."""
        if is_paid(record):
            tokens_before, cost_before = self.spent.tokens, self.spent.cost or 0.0
            self.spent.take(record, asked)
            self._answers += 1
            self._most_tokens = max(self._most_tokens, self.spent.tokens - tokens_before)
            self._most_cost = max(self._most_cost, (self.spent.cost or 0.0) - cost_before)

    @property
    def answer_tokens(self) -> int | None:
        """How long answers are in the mean; ``None`` before the first one."""
        return round(self.spent.written / self._answers) if self._answers else None

    def is_over(self, seconds: float) -> str | None:
        """The limit in time, by its option's name, if it is reached."""
        return f"--max-time {self._limits.seconds:g}" if seconds >= self._limits.seconds else None

    def reached(self, asked: int) -> str | None:
        """The limit, by its option's name, that one more request would break, were none on its way.

        Args:
            asked: tokens that it takes to ask; before the first answer, there may be room for hardly more.
        """
        return self._broken(1, self._each(asked, 1))

    def is_taken_up(self, asked: int, in_flight: int) -> bool:
        """Whether those on their way may take all that is left, so that one of them is to be waited for."""
        return in_flight > 0 and self._broken(in_flight + 1, self._each(asked, self._longest)) is not None

    def _each(self, asked: int, written: int) -> tuple[float, float]:
        if self._answers:
            return self._most_tokens, self._most_cost
        return asked + written, 0.0 if self._price is None else priced(self._price, asked, written) or 0.0

    def _broken(self, requests: int, each: tuple[float, float]) -> str | None:
        if self.spent.tokens + requests * each[0] > self._limits.tokens:
            return f"--max-tokens-total {self._limits.tokens:.0f}"
        if _cents((self.spent.cost or 0.0) + requests * each[1]) > self._limits.cost:
            return f"--max-cost {self._limits.cost:g}"
        return None

    def has_failed_too_often(self, *, is_failure: bool) -> bool:
        """Count an image that the run has finished; whether it is not worth going on with."""
        self._finished += 1
        self._failed += is_failure
        return self._limits.failures.is_exceeded(self._failed, self._finished)


def _cents(amount: float) -> float:
    """Without the digits that adding binary fractions leaves."""
    return round(amount, 9)
