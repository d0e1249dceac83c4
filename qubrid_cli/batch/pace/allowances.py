"""What may be sent per minute: as the user says, and as the server reports. Pure."""

from math import inf

from ...client.rate_limits import RateLimit

#: Seconds; after longer, a request is sent even if the server has reported that its limit is used up.
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
        self._left, self._at = inf, 0.0
        self._capacity = self._per_second = inf
        self._number = -1

    def seconds_until_free(self, now: float, amount: float) -> float:
        """Return the seconds until this amount may be spent."""
        if self._left == inf:
            return 0.0
        left = min(self._capacity, self._left + (now - self._at) * self._per_second)
        return min(_LONGEST_REPORTED_WAIT, max(0.0, (min(amount, self._capacity) - left) / self._per_second))

    def spend(self, amount: float) -> None:
        """Use an amount."""
        self._left -= amount

    def update(self, limit: RateLimit, number: int, sent_at: float, spent_since: float) -> None:
        """Take the report of a response.

        Args:
            number: that of its request; reports of earlier ones come too late.
            sent_at: when the request was sent.
            spent_since: what was spent after that, which the report does not include.
        """
        if number > self._number:
            self._number, self._at = number, sent_at
            self._left, self._capacity = limit.remaining - spent_since, limit.capacity
            self._per_second = (limit.capacity - limit.remaining) / limit.reset
