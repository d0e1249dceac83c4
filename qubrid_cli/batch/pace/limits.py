"""Limits per minute: those that the user sets, and those that the server reports. Pure."""

from math import inf

from ...client.rate_limits import RateLimit

#: Seconds after which a request is sent even if the server has reported that its limit is used up.
_LONGEST_REPORTED_WAIT = 60.0


class PerMinuteLimit:
    """An amount per minute, spread evenly over it.

    Args:
        per_minute: ``None`` for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._free_at = -inf
        self.change(per_minute)

    def change(self, per_minute: float | None) -> None:
        """Replace the amount per minute."""
        self._seconds_each = 60 / per_minute if per_minute else 0.0

    def seconds_until_free(self, now: float) -> float:
        """Return the seconds until more may be spent."""
        return max(0.0, self._free_at - now)

    def spend(self, now: float, amount: int) -> None:
        """Use an amount."""
        self._free_at = max(self._free_at, now) + amount * self._seconds_each

    def adjust(self, amount: int) -> None:
        """Correct the amount used so far, up or down."""
        self._free_at += amount * self._seconds_each


class ServerLimit:
    """A limit that the server reports with its responses: an amount that it refills evenly. Unlimited until then."""

    def __init__(self) -> None:
        self._remaining, self._reported_at = inf, 0.0
        self._capacity = self._per_second = inf
        self._number = -1

    def seconds_until_free(self, now: float, amount: float) -> float:
        """Return the seconds until this amount may be spent."""
        if self._remaining == inf:
            return 0.0
        remaining = min(self._capacity, self._remaining + (now - self._reported_at) * self._per_second)
        return min(_LONGEST_REPORTED_WAIT, max(0.0, (min(amount, self._capacity) - remaining) / self._per_second))

    def spend(self, amount: float) -> None:
        """Use an amount."""
        self._remaining -= amount

    def update(self, limit: RateLimit, number: int, sent_at: float, spent_since: float) -> None:
        """Use the limit that a response reports, unless a later request has brought a newer report.

        Args:
            number: of its request.
            sent_at: when the request was sent.
            spent_since: what was spent after that, which the report does not include.
        """
        if number > self._number:
            self._number, self._reported_at = number, sent_at
            self._remaining, self._capacity = limit.remaining - spent_since, limit.capacity
            self._per_second = (limit.capacity - limit.remaining) / limit.reset
