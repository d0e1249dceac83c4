"""The figures of a variant: times, speed, tokens and cost of its answers, from the server and measured here. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ..describe.result import Description
from ..frozen import frozen
from ..metrics import Figures, get_number, parse_server_figures

#: Digits after the point of costs, in US dollars.
_COST_DIGITS = 12


@frozen
class Distribution:
    """The distribution of some values. Percentiles are measured values, by the nearest-rank method."""

    min: float
    p50: float
    p95: float


def measure_distribution(values: Iterable[float | None]) -> Distribution | None:
    """Compute the distribution of the values that are not ``None``; ``None`` if there are none."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    p50, p95 = (ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95))
    return Distribution(ordered[0], p50, p95)


@frozen
class Times:
    """Seconds until the first token and until the end of an answer, and tokens per second between them."""

    ttft_seconds: Distribution | None
    tokens_per_second: Distribution | None
    total_seconds: Distribution | None


@frozen
class Failure:
    """Requests of a variant that failed in the same way."""

    code: str
    message: str
    count: int


@frozen
class VariantFigures:
    """The figures of one variant. Except for ``failures``, they are about its answers only.

    Attributes:
        retried: the number of answers that arrived after a failed attempt; their times are those of the last attempt.
        server: the times that the endpoint reports.
        local: the times measured here, from when the request is sent.
        prepare_seconds: the time to prepare an image, before any request.
        mean_tokens: prompt and answer tokens of one answer; ``None`` unless those of every answer are known.
        mean_cost: the cost of one answer, in US dollars; ``None`` unless the cost of every answer is known.
        total_cost: the cost of all answers whose cost is known, in US dollars; ``None`` if there are none.
    """

    answers: int
    failures: Sequence[Failure]
    retried: int
    server: Times
    local: Times
    prepare_seconds: Distribution | None
    prompt_tokens: Distribution | None
    completion_tokens: Distribution | None
    mean_tokens: float | None
    mean_cost: float | None
    total_cost: float | None

    @property
    def failure_count(self) -> int:
        """The number of requests that failed."""
        return sum(failure.count for failure in self.failures)


def summarize_requests(descriptions: Sequence[Description]) -> VariantFigures:
    """Compute the figures of the requests of a variant."""
    answers = [description for description in descriptions if description.error is None]
    server = [parse_server_figures(answer.metrics) or Figures() for answer in answers]
    timings = [answer.timing for answer in answers]
    costs = [None if answer.cost is None else answer.cost.amount for answer in answers]
    known_costs = [cost for cost in costs if cost is not None]
    prompt, completion = (
        [get_number(answer.usage, name) for answer in answers] for name in ("prompt_tokens", "completion_tokens")
    )
    total_cost = round(math.fsum(known_costs), _COST_DIGITS) if known_costs else None
    return VariantFigures(
        answers=len(answers),
        failures=_count_failures(descriptions),
        retried=sum(timing.elapsed_seconds is not None for timing in timings),
        server=Times(
            measure_distribution(figures.ttft for figures in server),
            measure_distribution(figures.rate for figures in server),
            measure_distribution(figures.total for figures in server),
        ),
        local=Times(
            measure_distribution(timing.ttft_seconds for timing in timings),
            measure_distribution(timing.tokens_per_second for timing in timings),
            measure_distribution(timing.total_seconds for timing in timings),
        ),
        prepare_seconds=measure_distribution(timing.prepare_seconds for timing in timings),
        prompt_tokens=measure_distribution(prompt),
        completion_tokens=measure_distribution(completion),
        mean_tokens=_mean_sum(prompt, completion),
        mean_cost=round(math.fsum(known_costs) / len(costs), _COST_DIGITS)
        if known_costs and None not in costs
        else None,
        total_cost=total_cost,
    )


def _mean_sum(first: Sequence[float | None], second: Sequence[float | None]) -> float | None:
    sums = [left + right for left, right in zip(first, second, strict=True) if left is not None and right is not None]
    return sum(sums) / len(sums) if sums and len(sums) == len(first) else None


def _count_failures(descriptions: Sequence[Description]) -> list[Failure]:
    """Count the failures by code, the most frequent first, each with its first message."""
    errors = [description.error for description in descriptions if description.error is not None]
    messages: dict[str, str] = {}
    for error in errors:
        messages.setdefault(error.code, error.message)
    return [
        Failure(code, messages[code], count) for code, count in Counter(error.code for error in errors).most_common()
    ]
