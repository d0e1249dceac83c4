"""What a run may use: money, tokens, time and failures. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import ceil, inf
from typing import Any, Self

from ..client.request import Request
from ..errors import ConfigError, ContextOverflow, QvisionError, UsageError
from ..frozen import frozen
from ..images.tokens import CHARACTERS_PER_TOKEN
from ..metrics import Price, compute_amount, get_number
from .entries import Record

#: A percentage of failures applies only after this many finished images.
_MIN_IMAGES_FOR_PERCENT = 20
#: Tokens assumed for an answer before there is one: the usual length of a caption, of tags or of a text.
_DEFAULT_OUTPUT_TOKENS = 1_000
#: US dollars. A request of unknown cost is not free.
_LEAST_COST = 1e-9


@frozen
class FailureLimit:
    """How many images may fail: a number of them, or a percentage of those that the run has finished.

    Attributes:
        in_a_row: this many images in a row, without an answer in between, must not fail with the same error.
    """

    count: float = inf
    percent: float = 100.0
    in_a_row: float = inf

    def is_exceeded(self, failed: int, finished: int) -> bool:
        """Whether too many images have failed."""
        percent = 100 * failed / finished if finished >= _MIN_IMAGES_FOR_PERCENT else 0.0
        return failed > self.count or percent > self.percent


#: When this many images in a row fail with the same error, the images are not the cause. With a lower limit, a folder of
#: a dozen images that the endpoint cannot read would stop a run; with a higher one, a run in which no request can succeed
#: would cost more.
DEFAULT_FAILURE_LIMIT = FailureLimit(in_a_row=20)


def parse_failure_limit(text: str) -> FailureLimit:
    """Parse the value of ``--max-failures``: ``20`` or ``5%``.

    Raises:
        UsageError: it is neither a number nor a percentage.
    """
    match = re.fullmatch(r"(\d{1,9})|(\d{1,3}(?:\.\d{1,6})?)%", text, re.ASCII)
    if match is None or float(match[2] or 0) > 100:
        raise UsageError(
            f"invalid value for --max-failures: {text}",
            hint="Use a number of images, such as 20, or a percentage of the finished images, such as 5%.",
        )
    return FailureLimit(count=int(match[1])) if match[1] else FailureLimit(percent=float(match[2]))


@frozen
class BudgetLimits:
    """The most that a run may use: US dollars, tokens in both directions, seconds and failures."""

    cost: float = inf
    tokens: float = inf
    seconds: float = inf
    failures: FailureLimit = DEFAULT_FAILURE_LIMIT


def count_tokens(usage: Mapping[str, Any] | None) -> int | None:
    """Count the tokens of a request in both directions; ``None`` if the server does not report them."""
    total = get_number(usage, "total_tokens")
    if total is None:
        parts = [get_number(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        total = None if parts == [None, None] else sum(part or 0 for part in parts)
    return None if total is None else max(0, round(total))


def is_billed(record: Record) -> bool:
    """Whether the endpoint wrote an answer, which is billed even if the image failed."""
    return bool(record["ok"] or record["text"] or record["usage"])


@frozen
class AnswerRoom:
    """How long an answer may be, as learned from the endpoint's errors and answers; ``None`` for what is unknown.

    Attributes:
        context_size: tokens of prompt and answer together.
        prompt_scale: the server's count of a prompt's tokens, divided by our estimate.
        max_output_tokens: tokens of any answer.
    """

    context_size: int | None = None
    prompt_scale: float = 1.0
    max_output_tokens: int | None = None

    def adapt(self, overflow: ContextOverflow | None, usage: Mapping[str, Any] | None, input_tokens: int) -> Self:
        """Return the limits after a request, corrected if it did not fit at first.

        Args:
            overflow: what the endpoint said about its limits; ``None`` if the request fit.
            usage: of its answer.
            input_tokens: our estimate for the request.
        """
        if overflow is None:
            return self
        room = replace(self, max_output_tokens=overflow.max_output_tokens or self.max_output_tokens)
        prompt_tokens = get_number(usage, "prompt_tokens") or (overflow.is_prompt_exact and overflow.prompt_tokens)
        if overflow.context_size is None or not prompt_tokens or input_tokens <= 0:
            return room
        return replace(room, context_size=overflow.context_size, prompt_scale=prompt_tokens / input_tokens)

    def limit_answer(self, request: Request, input_tokens: int) -> tuple[Request, tuple[str, ...]]:
        """Lower ``max_tokens`` of a request to what is known to fit; return the request, and a warning if it was lowered.

        Args:
            input_tokens: our estimate for the request.
        """
        limits = [] if self.max_output_tokens is None else [self.max_output_tokens]
        if self.context_size is not None:
            limits.append(self.context_size - ceil(input_tokens * self.prompt_scale))
        limit = min(limits, default=0)
        if request.max_tokens is None or not 0 < limit < request.max_tokens:
            return request, ()
        warning = f"max_tokens was lowered from {request.max_tokens} to {limit}, which fits the model's limits"
        return replace(request, max_tokens=limit), (warning,)


class TotalUsage:
    """What all answers have used so far, including those of failed images.

    Attributes:
        input_tokens: of all requests; ``output_tokens`` are those of all answers.
        cost: in US dollars; ``None`` without a price, unless the server reports costs.
        is_estimated: the server did not report the tokens or the cost of every answer.
    """

    def __init__(self, price: Price | None = None) -> None:
        self.input_tokens = self.output_tokens = 0.0
        self.cost: float | None = None
        self.is_estimated = False
        self._price = price
        self._highest_amount: float | None = None

    @property
    def total_tokens(self) -> float:
        """The tokens in both directions."""
        return self.input_tokens + self.output_tokens

    def add_totals(self, input_tokens: float, output_tokens: float, cost: float | None, *, is_estimated: bool) -> None:
        """Add what another process has counted."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.is_estimated = self.is_estimated or is_estimated
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost

    def add(self, record: Record, input_estimate: int) -> None:
        """Add an answer.

        Args:
            input_estimate: the input tokens, if the server does not report them.
        """
        usage = record["usage"]
        input_tokens, output_tokens = get_number(usage, "prompt_tokens"), get_number(usage, "completion_tokens")
        self.is_estimated = self.is_estimated or input_tokens is None or output_tokens is None
        if output_tokens is None:
            output_tokens = (len(record["text"]) + len(record["reasoning"] or "")) / CHARACTERS_PER_TOKEN
        output_tokens = max(0.0, output_tokens)
        if input_tokens is None and (total := count_tokens(usage)) is not None:
            output_tokens = min(output_tokens, total)
            input_tokens = total - output_tokens
        input_tokens = max(0.0, input_estimate if input_tokens is None else input_tokens)
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        amount = get_number(record["cost"], "amount")
        if amount is None and self._price is not None:
            amount = compute_amount(self._price, input_tokens, output_tokens)
        if amount is None and self._highest_amount is not None:
            amount, self.is_estimated = self._highest_amount, True
        if amount is not None:
            self.cost = (self.cost or 0.0) + amount
            self._highest_amount = max(amount, self._highest_amount or 0.0)


class Budget:
    """The limits of a run, and what it has used of them.

    Each request in flight is expected to use as much as the most expensive answer so far. Before the first answer, it
    is expected to use its input tokens and an answer of the usual length. Without a price, only the first answer shows
    whether the server reports its cost, so with a limit on the cost the other requests wait for it.

    Args:
        max_tokens: the limit of one answer.
    """

    def __init__(self, limits: BudgetLimits, *, price: Price | None = None, max_tokens: int | None = None) -> None:
        self.usage = TotalUsage(price)
        self._limits = limits
        self._price = price
        self._expected_output_tokens = min(_DEFAULT_OUTPUT_TOKENS, max_tokens or _DEFAULT_OUTPUT_TOKENS)
        self._answer_count = self._finished_count = self._failed_count = 0
        self._last_failure: tuple[object, ...] | None = None
        self._same_failures_count = 0
        self._has_success = False
        self._max_tokens_per_request = self._max_cost_per_request = 0.0

    def record_request(self, record: Record, input_estimate: int) -> None:
        """Add what a request has used, which is nothing if it has no answer."""
        if not is_billed(record):
            return
        tokens_before, cost_before = self.usage.total_tokens, self.usage.cost or 0.0
        self.usage.add(record, input_estimate)
        self._answer_count += 1
        self._max_tokens_per_request = max(self._max_tokens_per_request, self.usage.total_tokens - tokens_before)
        self._max_cost_per_request = max(self._max_cost_per_request, (self.usage.cost or 0.0) - cost_before)

    @property
    def mean_output_tokens(self) -> int | None:
        """The mean length of the answers; ``None`` before the first one."""
        return round(self.usage.output_tokens / self._answer_count) if self._answer_count else None

    def find_exceeded_time_limit(self, seconds: float) -> str | None:
        """The time limit as an option, such as ``--max-time 60``, if it is reached."""
        return f"--max-time {self._limits.seconds:g}" if seconds >= self._limits.seconds else None

    def find_limit_for_next_request(self, input_tokens: int) -> str | None:
        """The limit, as an option, that one more request would exceed even if none were in flight.

        Args:
            input_tokens: of that request. Before the first answer, only these count, so that a run can start.
        """
        return self._find_exceeded_limit(1, self._estimate_request(input_tokens, 1, unknown_cost=_LEAST_COST))

    def is_reserved(self, input_tokens: int, in_flight: int) -> bool:
        """Whether the requests in flight may use all that is left, so that the next one has to wait."""
        expected = self._estimate_request(input_tokens, self._expected_output_tokens, unknown_cost=inf)
        return in_flight > 0 and self._find_exceeded_limit(in_flight + 1, expected) is not None

    def find_missing_price(self, model: str) -> ConfigError | None:
        """The error if the limit on the cost cannot be checked, because there is no price and no reported cost."""
        if self._limits.cost == inf or self._answer_count == 0 or self.usage.cost is not None:
            return None
        return ConfigError(
            f"--max-cost needs a price for {model}, because the endpoint does not report costs",
            hint=f'Add to config.toml: [prices."{model}"] with input and output, in USD per million tokens.',
        )

    def _estimate_request(self, input_tokens: int, output_tokens: int, *, unknown_cost: float) -> tuple[float, float]:
        """The tokens and the cost that one request is expected to use."""
        if self._answer_count:
            return self._max_tokens_per_request, self._max_cost_per_request
        cost = None if self._price is None else compute_amount(self._price, input_tokens, output_tokens)
        return input_tokens + output_tokens, unknown_cost if cost is None else cost

    def _find_exceeded_limit(self, requests: int, expected: tuple[float, float]) -> str | None:
        tokens, cost = expected
        if self.usage.total_tokens + requests * tokens > self._limits.tokens:
            return f"--max-tokens-total {self._limits.tokens:.0f}"
        # Rounded, because sums of binary fractions have spurious digits.
        if round((self.usage.cost or 0.0) + requests * cost, 9) > self._limits.cost:
            return f"--max-cost {self._limits.cost:g}"
        return None

    def record_and_check_failures(self, *, is_failure: bool) -> bool:
        """Count a finished image; return whether too many have failed."""
        self._finished_count += 1
        self._failed_count += is_failure
        return self._limits.failures.is_exceeded(self._failed_count, self._finished_count)

    def record_and_check_last_failures(self, error: QvisionError | None) -> bool:
        """Count an image that was requested; return whether too many in a row have failed with the same error.

        Args:
            error: ``None`` if the image has an answer.
        """
        if error is None:
            self._has_success, self._last_failure, self._same_failures_count = True, None, 0
            return False
        if (
            error.code == "content_policy" and self._has_success
        ):  # the images are the cause; a folder may be full of them
            return False
        failure = type(error), error.code, error.status
        self._same_failures_count = self._same_failures_count + 1 if failure == self._last_failure else 1
        self._last_failure = failure
        return self._same_failures_count >= self._limits.failures.in_a_row
