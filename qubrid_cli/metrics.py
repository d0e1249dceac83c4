"""What an answer cost: the user's prices and the server's count of tokens. Pure."""

# MERGED DOCSTRING of qubrid_cli.metrics: How fast it went: the server's own figures, and ours, never mixed.

import math
from collections.abc import Callable, Mapping
from typing import Any

from .frozen import frozen

Clock = Callable[[], float]


@frozen
class Timing:
    """What we measured, in seconds from sending the request; each ``None`` where it did not come to that.

    Attributes:
        prepare_seconds: the work on the images, before anything is sent.
        ttft_seconds: to the first content or reasoning.
        total_seconds: to the end of the answer.
        tokens_per_second: (completion tokens - 1) / (last piece - first piece); needs the server's ``usage``.
    """

    prepare_seconds: float | None = None
    ttft_seconds: float | None = None
    total_seconds: float | None = None
    tokens_per_second: float | None = None


class Stopwatch:
    """Takes the times of one request.

    Args:
        limit: seconds for all of it, tries and pauses included.
    """

    def __init__(self, clock: Clock, limit: float | None = None) -> None:
        self._clock = clock
        self._limit = limit
        self._started_at: float | None = None
        self._sent_at: float | None = None
        self._first_text_at: float | None = None
        self._last_text_at: float | None = None
        self._ended_at: float | None = None

    def mark_sent(self) -> None:
        """The request goes out, for the first time or anew."""
        self._sent_at = self._clock()
        if self._started_at is None:
            self._started_at = self._sent_at

    def seconds_left(self) -> float | None:
        """Seconds of the limit that are left, counted from the first sending; ``None`` for no limit."""
        if self._limit is None or self._started_at is None:
            return self._limit
        return max(0.0, self._limit - (self._clock() - self._started_at))

    def mark_text(self) -> None:
        """A piece of content or reasoning has come."""
        self._last_text_at = self._clock()
        if self._first_text_at is None:
            self._first_text_at = self._last_text_at

    def mark_end(self) -> None:
        """The answer has come to its end; what is waited for behind it does not count."""
        self._ended_at = self._clock()

    def build_timing(self, *, prepare_seconds: float | None, completion_tokens: float | None) -> Timing:
        """The times until now."""
        if self._sent_at is None:
            return Timing(_round(prepare_seconds))
        rate = None
        tokens = completion_tokens or 0
        if (
            self._first_text_at is not None
            and self._last_text_at is not None
            and self._last_text_at > self._first_text_at
            and 0 < tokens < _MAX_FIGURE
        ):
            rate = (tokens - 1) / (self._last_text_at - self._first_text_at)
        return Timing(
            _round(prepare_seconds),
            _round(self._first_text_at - self._sent_at if self._first_text_at is not None else None),
            _round((self._clock() if self._ended_at is None else self._ended_at) - self._sent_at),
            _round(rate),
        )


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


#: No count of tokens or seconds comes near it; infinity, and whole numbers that are no floats, are above it.
_MAX_FIGURE = 1e15


@frozen
class Figures:
    """The three figures of the statistics line: seconds, tokens per second, seconds."""

    ttft: float | None = None
    rate: float | None = None
    total: float | None = None


#: Where servers put each figure: Qubrid's ``x_metrics``, the ``metrics`` of its cookbook and of vLLM.
_FIGURE_KEYS = {"ttft": ("ttft_seconds", "ttft"), "rate": ("tps",), "total": ("total_time_seconds", "total_time")}


def parse_server_figures(metrics: Mapping[str, Any] | None) -> Figures | None:
    """The figures that the server gave, as it gave them; ``None`` where there is none among its metrics.

    llama.cpp's ``timings`` are in milliseconds, apart for the prompt and the answer.
    """
    if metrics is None:
        return None
    found = {
        name: next((n for key in keys if (n := get_number(metrics, key)) is not None), None)
        for name, keys in _FIGURE_KEYS.items()
    }
    prompt_ms, answer_ms = get_number(metrics, "prompt_ms"), get_number(metrics, "predicted_ms")
    if prompt_ms is not None and answer_ms is not None:
        rate = get_number(metrics, "predicted_per_second")
        found = {"ttft": prompt_ms / 1000, "rate": rate, "total": (prompt_ms + answer_ms) / 1000}
    figures = Figures(**found)
    return None if figures == Figures() else figures


def get_number(values: Mapping[str, Any] | None, name: str) -> float | None:
    """A figure out of a server's object, else ``None``; whole numbers stay whole."""
    value = values.get(name) if values else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if abs(value) < _MAX_FIGURE else None


@frozen
class Price:
    """USD for a million tokens each way; ``None`` where the user gave none."""

    input: float | None = None
    output: float | None = None


@frozen
class Cost:
    """An amount of money."""

    amount: float
    currency: str = "USD"

    def __str__(self) -> str:
        """Fit to be read: cents where it is dollars, else four decimals, and more where these would be zeros."""
        if self.amount >= 1 or self.amount == 0:
            return f"${self.amount:.2f}"
        return f"${self.amount:.{max(4, 1 - math.floor(math.log10(self.amount)))}f}"


def compute_cost(
    prices: Mapping[str, Price], asked_model: str | None, model: str | None, usage: Mapping[str, Any] | None
) -> Cost | None:
    """The cost of an answer; ``None`` without a price for the model, or without a usage that can be counted.

    Args:
        asked_model: whose price is taken where there is one; else that of ``model``, what the server says it was.
    """
    price = prices.get(asked_model or "") or prices.get(model or "")
    asked, said = get_number(usage, "prompt_tokens"), get_number(usage, "completion_tokens")
    if price is None or asked is None or said is None or asked < 0 or said < 0:
        return None
    amount = compute_amount(price, asked, said)
    return None if amount is None else Cost(amount)


def compute_amount(price: Price, input_tokens: float, output_tokens: float) -> float | None:
    """US dollars for so many tokens each way; ``None`` where the price has only one way.

    To a millionth of a thousandth of a dollar: a token of a cheap model, and no digits of binary fractions.
    """
    if price.input is None or price.output is None:
        return None
    return round((input_tokens * price.input + output_tokens * price.output) / 1e6, 9)
