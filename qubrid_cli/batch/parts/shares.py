"""How the limits of a run are divided among the parts that run at the same time. Pure."""

from math import inf
from typing import TYPE_CHECKING

from ...frozen import frozen
from ..budget import FailureLimit
from .lease import CommonShare
from .part import PartSummary, Share

if TYPE_CHECKING:
    from ..pace.concurrency import ConcurrencyState


@frozen
class RunLimits:
    """The limits of a whole run; ``None`` and infinity for no limit.

    Attributes:
        jobs: requests at once; ``None`` for ``-j auto``.
        rpm: requests per minute.
        tpm: tokens per minute.
        cost: US dollars.
        tokens: in both directions.
        seconds: from the start of the run.
    """

    jobs: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    cost: float = inf
    tokens: float = inf
    seconds: float = inf
    failures: FailureLimit = FailureLimit()

    @property
    def are_divided(self) -> bool:
        """Whether the share of a part depends on how many parts run."""
        return any(limit is not None for limit in (self.jobs, self.rpm, self.tpm))


class Shares:
    """Divides the limits of a run among its parts.

    Each running part has the same share of the requests at once and of the limits per minute. Cost and tokens are reserved
    for a part when it starts; those that it did not use are free again when it ends. Once a part has used up its share,
    only one part runs at a time, so that it can use all that is left.

    Attributes:
        limits: of the whole run.
        is_narrow: only one part may run at a time.
    """

    def __init__(self, limits: RunLimits, started_at: float) -> None:
        self.is_narrow = False
        self.limits = limits
        self._started_at = started_at
        self._used = {"cost": 0.0, "tokens": 0.0}
        self._reserved: dict[int, dict[str, float]] = {}
        self._failed = self._finished = 0
        self._paused_until = 0.0
        self._concurrency: ConcurrencyState | None = None

    def compute_slots(self, workers: int) -> int:
        """Compute how many parts may run at the same time."""
        if self.is_narrow:
            return min(workers, 1)
        return workers if self.limits.jobs is None else min(workers, self.limits.jobs)

    def compute_common(self, running: int) -> CommonShare:
        """Compute what each of the running parts may use."""
        limits, count = self.limits, max(1, running)
        return CommonShare(
            None if limits.jobs is None else max(1, limits.jobs // count),
            None if limits.rpm is None else limits.rpm / count,
            None if limits.tpm is None else limits.tpm / count,
        )

    def reserve(self, number: int, running: int, free_slots: int, now: float) -> Share | None:
        """Reserve the share of a part that is about to start; ``None`` if nothing is left of a limit.

        Args:
            running: parts that run at the same time, including this one.
            free_slots: parts that could start now, including this one.
        """
        limits, common = self.limits, self.compute_common(running)
        amounts = {
            name: limit
            if limit == inf
            else (limit - self._used[name] - sum(reserved[name] for reserved in self._reserved.values())) / free_slots
            for name, limit in (("cost", limits.cost), ("tokens", limits.tokens))
        }
        seconds = limits.seconds - (now - self._started_at)
        if min(*amounts.values(), seconds) <= 0:
            return None
        self._reserved[number] = amounts
        return Share(
            common.jobs,
            common.rpm,
            common.tpm,
            amounts["cost"],
            amounts["tokens"],
            seconds,
            # A percentage applies to the whole run, and a part may be worse than others.
            FailureLimit(limits.failures.count - self._failed, in_a_row=limits.failures.in_a_row),
            max(0.0, self._paused_until - now),
            self._concurrency,
        )

    def release(self, number: int, summary: PartSummary, now: float) -> None:
        """Release the share of a part that has ended, and count what it has used."""
        self._reserved.pop(number, None)
        self._used["cost"] += summary.cost or 0.0
        self._used["tokens"] += summary.input_tokens + summary.output_tokens
        self._failed += summary.failed
        self._finished += summary.done + summary.failed
        if summary.pause:
            self._paused_until = max(self._paused_until, now + summary.pause)
        if summary.concurrency is not None and summary.done > 0:
            self._concurrency = summary.concurrency
        if summary.stop_reason is not None and summary.stop_reason.code == "limit":
            self.is_narrow = True

    def find_exceeded_limit(self, now: float) -> str | None:
        """The limit, as an option, at which the run stops; ``None`` if none is reached."""
        if self.limits.failures.is_exceeded(self._failed, self._finished):
            return "--max-failures"
        if now - self._started_at >= self.limits.seconds:
            return f"--max-time {self.limits.seconds:g}"
        return None

    def find_used_up(self) -> str:
        """The limit, as an option, of which the least is left."""
        left = {
            f"--max-cost {self.limits.cost:g}": 1 - self._used["cost"] / self.limits.cost if self.limits.cost else 0.0,
            f"--max-tokens-total {self.limits.tokens:.0f}": 1 - self._used["tokens"] / self.limits.tokens,
        }
        return min(left, key=lambda name: left[name])
