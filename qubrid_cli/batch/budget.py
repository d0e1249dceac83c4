"""What a run may take: money, tokens, time, failures. Pure."""

import re
from collections.abc import Mapping
from math import inf
from typing import Any

from ..errors import UsageError
from ..frozen import frozen
from ..metrics import Price, compute_amount, get_number

#: A share of failures means nothing before a run has finished so many images.
_MIN_IMAGES_FOR_PERCENT = 20
#: Tokens of a request whose image is not known, and of an answer as prompts for captions, tags and text get it.
_DEFAULT_INPUT_TOKENS, _DEFAULT_OUTPUT_TOKENS = 1_000, 1_000
_CHARACTERS_PER_TOKEN = 4

Record = Mapping[str, Any]


@frozen
class FailureLimit:
    """How many images may fail: a number of them, or a share of those that the run has finished, in percent."""

    count: float = inf
    percent: float = 100.0

    def is_exceeded(self, failed: int, finished: int) -> bool:
        """Whether too many have failed."""
        share = 100 * failed / finished if finished >= _MIN_IMAGES_FOR_PERCENT else 0.0
        return failed > self.count or share > self.percent


def parse_failure_limit(text: str) -> FailureLimit:
    """What ``--max-failures`` says: ``20`` or ``5%``.

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"(\d{1,9})|(\d{1,3}(?:\.\d{1,6})?)%", text, re.ASCII)
    if found is None or float(found[2] or 0) > 100:
        raise UsageError(
            f"--max-failures {text} is no number", hint="For example 20, or 5% of those that the run has finished."
        )
    return FailureLimit(count=int(found[1])) if found[1] else FailureLimit(percent=float(found[2]))


@frozen
class BudgetLimits:
    """What a run may take at most: US dollars, tokens in both directions, seconds, failures."""

    cost: float = inf
    tokens: float = inf
    seconds: float = inf
    failures: FailureLimit = FailureLimit()


def count_tokens(usage: Mapping[str, Any] | None) -> int | None:
    """The tokens of a request in both directions; ``None`` where the server does not say."""
    total = get_number(usage, "total_tokens")
    if total is None:
        ways = [get_number(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        total = sum(way for way in ways if way is not None) if any(way is not None for way in ways) else None
    return None if total is None else max(0, round(total))


def is_billed(record: Record) -> bool:
    """Whether anything was answered, so that it has its price, also where it failed in the end."""
    return bool(record["ok"] or record["text"] or record["usage"])


class TotalUsage:
    """What was taken so far, answers included that came to nothing in the end.

    Attributes:
        input_tokens: tokens to the endpoint, and ``output_tokens`` those back.
        cost: in US dollars; ``None`` without a price.
        is_estimated: the server does not count, at least not always.
    """

    def __init__(self, price: Price | None = None) -> None:
        self.input_tokens = self.output_tokens = 0.0
        self.cost: float | None = None
        self.is_estimated = False
        self._price = price

    @property
    def total_tokens(self) -> float:
        """In both directions."""
        return self.input_tokens + self.output_tokens

    def add(self, record: Record, input_estimate: int = _DEFAULT_INPUT_TOKENS) -> None:
        """Count an answer.

        Args:
            input_estimate: tokens that it took to ask, in all probability.
        """
        usage = record["usage"]
        ways = [get_number(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        if None in ways:
            self.is_estimated = True
        total, said = count_tokens(usage), len(record["text"]) + len(record["reasoning"] or "")
        written = said / _CHARACTERS_PER_TOKEN if ways[1] is None else max(0.0, ways[1])
        if ways[0] is not None or total is None:
            sent = max(0.0, input_estimate if ways[0] is None else ways[0])
        else:
            written = min(written, total)
            sent = total - written
        self.input_tokens += sent
        self.output_tokens += written
        self._add_cost(get_number(record["cost"], "amount"), sent, written)

    def _add_cost(self, amount: float | None, input_tokens: float, output_tokens: float) -> None:
        if amount is None and self._price is not None:
            amount = compute_amount(self._price, input_tokens, output_tokens)
        if amount is not None:
            self.cost = (self.cost or 0.0) + amount


class Budget:
    """What a run may take, against what it has taken.

    No answer costs more, in all probability, than the dearest one so far: that much is kept back for each request on
    its way. Before the first answer, it is what asking takes, and an answer of some length.

    Args:
        max_tokens: of an answer.
    """

    def __init__(self, limits: BudgetLimits, *, price: Price | None = None, max_tokens: int | None = None) -> None:
        self.usage = TotalUsage(price)
        self._limits = limits
        self._price = price
        self._expected_output_tokens = min(_DEFAULT_OUTPUT_TOKENS, max_tokens or _DEFAULT_OUTPUT_TOKENS)
        self._answer_count = self._finished_count = self._failed_count = 0
        self._max_tokens_per_request = self._max_cost_per_request = 0.0

    def record_request(self, record: Record, input_estimate: int = _DEFAULT_INPUT_TOKENS) -> None:
        """Count what a request took; one that nothing came of took nothing."""
        if is_billed(record):
            tokens_before, cost_before = self.usage.total_tokens, self.usage.cost or 0.0
            self.usage.add(record, input_estimate)
            self._answer_count += 1
            self._max_tokens_per_request = max(self._max_tokens_per_request, self.usage.total_tokens - tokens_before)
            self._max_cost_per_request = max(self._max_cost_per_request, (self.usage.cost or 0.0) - cost_before)

    @property
    def mean_output_tokens(self) -> int | None:
        """How long answers are in the mean; ``None`` before the first one."""
        return round(self.usage.output_tokens / self._answer_count) if self._answer_count else None

    def find_exceeded_time_limit(self, seconds: float) -> str | None:
        """The limit in time, by its option's name, if it is reached."""
        return f"--max-time {self._limits.seconds:g}" if seconds >= self._limits.seconds else None

    def find_limit_for_next_request(self, input_tokens: int) -> str | None:
        """The limit, by its option's name, that one more request would break, were none on its way.

        Args:
            input_tokens: tokens that it takes to ask; before the first answer, there may be room for hardly more.
        """
        return self._find_exceeded_limit(1, self._estimate_request(input_tokens, 1))

    def is_reserved(self, input_tokens: int, in_flight: int) -> bool:
        """Whether those on their way may take all that is left, so that one of them is to be waited for."""
        return (
            in_flight > 0
            and self._find_exceeded_limit(
                in_flight + 1, self._estimate_request(input_tokens, self._expected_output_tokens)
            )
            is not None
        )

    def _estimate_request(self, input_tokens: int, output_tokens: int) -> tuple[float, float]:
        if self._answer_count:
            return self._max_tokens_per_request, self._max_cost_per_request
        return input_tokens + output_tokens, 0.0 if self._price is None else compute_amount(
            self._price, input_tokens, output_tokens
        ) or 0.0

    def _find_exceeded_limit(self, requests: int, each: tuple[float, float]) -> str | None:
        if self.usage.total_tokens + requests * each[0] > self._limits.tokens:
            return f"--max-tokens-total {self._limits.tokens:.0f}"
        if _round_cost((self.usage.cost or 0.0) + requests * each[1]) > self._limits.cost:
            return f"--max-cost {self._limits.cost:g}"
        return None

    def record_and_check_failures(self, *, is_failure: bool) -> bool:
        """Count an image that the run has finished; whether it is not worth going on with."""
        self._finished_count += 1
        self._failed_count += is_failure
        return self._limits.failures.is_exceeded(self._failed_count, self._finished_count)


def _round_cost(amount: float) -> float:
    """Without the digits that adding binary fractions leaves."""
    return round(amount, 9)
