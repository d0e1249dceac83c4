"""Times, speed and cost of an answer. Our own measurements and the server's figures are kept apart. Pure.

The cost is what the server reports, else the user's price times the server's count of tokens.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from .frozen import frozen

Clock = Callable[[], float]

#: Above any sensible number of tokens or seconds; it also excludes infinity, and integers too large for a float.
_MAX_FIGURE = 1e15
#: US dollars; no answer costs that much.
_MAX_COST = 10_000.0
#: Ten times the longest context of any model.
_MAX_TOKENS = 100_000_000
#: The fastest services generate about 3,000 tokens per second; text that comes faster was buffered and sent in a burst.
_MAX_TOKENS_PER_SECOND = 20_000
_NUMBER_PATTERN = r"\s*[+-]?\d{1,15}(\.\d{1,15})?\s*"
#: The names of each figure: in Qubrid's ``x_metrics``, and in the ``metrics`` of its cookbook and of vLLM.
_FIGURE_KEYS = {"ttft": ("ttft_seconds", "ttft"), "rate": ("tps",), "total": ("total_time_seconds", "total_time")}


@frozen
class Timing:
    """Our measurements, in seconds since the request was sent; ``None`` for events that did not happen.

    Attributes:
        prepare_seconds: the work on the images, before the request is sent.
        ttft_seconds: until the first content or reasoning.
        total_seconds: until the end of the answer; after a retry, the time of the last attempt.
        tokens_per_second: (completion tokens - 1) / (last delta - first delta); requires the server's ``usage``.
            ``None`` for a burst, which says nothing about speed: all text came in one read, or too fast for any model.
        elapsed_seconds: since the first attempt, failed attempts and waits included; ``None`` if there was no retry.
    """

    prepare_seconds: float | None = None
    ttft_seconds: float | None = None
    total_seconds: float | None = None
    tokens_per_second: float | None = None
    elapsed_seconds: float | None = None


class Stopwatch:
    """Measures the times of one request.

    Args:
        limit: seconds for the whole request, retries and waits included; ``None`` for no limit.
    """

    def __init__(self, clock: Clock, limit: float | None = None) -> None:
        self._clock = clock
        self._limit = limit
        self._started_at: float | None = None
        self._sent_at: float | None = None
        self._first_text_at: float | None = None
        self._last_text_at: float | None = None
        self._ended_at: float | None = None
        self._read_count = self._first_text_read = 0
        self._is_burst = True  # all text so far came in one read

    def mark_sent(self) -> None:
        """Record that the request is sent, for the first time or again; the text of a failed attempt does not count."""
        self._sent_at = self._clock()
        self._first_text_at = self._last_text_at = self._ended_at = None
        self._is_burst = True
        if self._started_at is None:
            self._started_at = self._sent_at

    def mark_read(self) -> None:
        """Record that bytes of the response have arrived."""
        self._read_count += 1

    def seconds_left(self) -> float | None:
        """Seconds left of the limit, which starts when the request is first sent; ``None`` without a limit."""
        if self._limit is None or self._started_at is None:
            return self._limit
        return max(0.0, self._limit - (self._clock() - self._started_at))

    def mark_text(self) -> None:
        """Record that a delta of content or reasoning has arrived."""
        self._last_text_at = self._clock()
        self._ended_at = None
        if self._first_text_at is None:
            self._first_text_at = self._last_text_at
            self._first_text_read = self._read_count
        self._is_burst = self._read_count == self._first_text_read

    def mark_end(self) -> None:
        """Record the end of the answer; waiting for metrics after it does not count."""
        self._ended_at = self._clock()

    def build_timing(self, *, prepare_seconds: float | None, completion_tokens: float | None) -> Timing:
        """The times so far."""
        if self._sent_at is None:
            return Timing(_round(prepare_seconds))
        ttft = None if self._first_text_at is None else self._first_text_at - self._sent_at
        ended_at = self._clock() if self._ended_at is None else self._ended_at
        elapsed = ended_at - self._started_at if self._started_at not in {None, self._sent_at} else None
        return Timing(
            prepare_seconds=_round(prepare_seconds),
            ttft_seconds=_round(ttft),
            total_seconds=_round(ended_at - self._sent_at),
            tokens_per_second=_round(self._compute_rate(completion_tokens or 0)),
            elapsed_seconds=_round(elapsed),
        )

    def _compute_rate(self, tokens: float) -> float | None:
        if self._first_text_at is None or self._last_text_at is None or self._is_burst or not 0 < tokens < _MAX_TOKENS:
            return None
        seconds = self._last_text_at - self._first_text_at
        rate = (tokens - 1) / seconds if seconds > 0 else None
        return rate if rate is not None and rate <= _MAX_TOKENS_PER_SECOND else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


@frozen
class Figures:
    """The figures of the statistics line: seconds to the first token, tokens per second, and seconds in all."""

    ttft: float | None = None
    rate: float | None = None
    total: float | None = None


def parse_server_figures(metrics: Mapping[str, Any] | None) -> Figures | None:
    """The figures in a server's metrics, unchanged; ``None`` if there are none.

    llama.cpp's ``timings`` are in milliseconds, separately for the prompt and the answer.
    """
    if metrics is None:
        return None
    prompt_ms, answer_ms = get_number(metrics, "prompt_ms"), get_number(metrics, "predicted_ms")
    if prompt_ms is not None and answer_ms is not None:
        rate = get_number(metrics, "predicted_per_second")
        return Figures(prompt_ms / 1000, rate, (prompt_ms + answer_ms) / 1000)
    figures = {
        name: next((number for key in keys if (number := get_number(metrics, key)) is not None), None)
        for name, keys in _FIGURE_KEYS.items()
    }
    return None if set(figures.values()) == {None} else Figures(**figures)


def get_number(values: Mapping[str, Any] | None, name: str) -> float | None:
    """A number in a server's object, else ``None``; integers stay integers."""
    value = values.get(name) if values else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if abs(value) < _MAX_FIGURE else None


def clean_usage(usage: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Turn the strings of digits in a server's usage into numbers, and drop impossible figures.

    Returns the cleaned usage, and the name and value of each dropped figure. Nested objects (``prompt_tokens_details``) are
    cleaned too. A cost is impossible only if it is negative; a value that is neither a cost nor a token count is kept.
    """
    cleaned: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in usage.items():
        if isinstance(value, dict):
            cleaned[name], names = clean_usage(value)
            dropped += [f"{name}.{inner}" for inner in names]
        else:
            is_tokens = "token" in name
            number = _parse_number(value) if is_tokens and isinstance(value, str) else value
            limit = _MAX_TOKENS if is_tokens else math.inf if "cost" in name else None
            if limit is not None and isinstance(number, int | float) and not 0 <= number < limit:
                dropped.append(f"{name} {str(number)[:20]}")
            else:
                cleaned[name] = number
    return cleaned, dropped


def _parse_number(text: str) -> float | str:
    if not re.fullmatch(_NUMBER_PATTERN, text, re.ASCII):
        return text
    return float(text) if "." in text else int(text)


@frozen
class Price:
    """US dollars per million tokens, for input and output; ``None`` if the user has not set it."""

    input: float | None = None
    output: float | None = None


@frozen
class Cost:
    """An amount of money.

    Attributes:
        source: ``server`` if the endpoint reported it, ``prices`` if it was computed from the user's prices.
    """

    amount: float
    currency: str = "USD"
    source: str = "prices"

    def __str__(self) -> str:
        """Format for people: two decimals from $1 on, else four, or more if these would be zeros."""
        if self.amount >= 1 or self.amount == 0:
            return f"${self.amount:.2f}"
        return f"${self.amount:.{max(4, 1 - math.floor(math.log10(self.amount)))}f}"


def find_cost(
    prices: Mapping[str, Price],
    requested_model: str | None,
    model: str | None,
    usage: Mapping[str, Any] | None,
    *other_costs: object,
) -> Cost | None:
    """The cost of an answer as the endpoint reports it, else by the user's prices; ``None`` if neither is known.

    Args:
        other_costs: costs that the endpoint reported outside of ``usage``.
    """
    amount = parse_server_cost(usage, *other_costs)
    return compute_cost(prices, requested_model, model, usage) if amount is None else Cost(amount, source="server")


def parse_server_cost(usage: Mapping[str, Any] | None, *other_costs: object) -> float | None:
    """The cost that an endpoint reports, in US dollars; ``None`` if it is missing, negative or absurdly high.

    Source: ``usage.cost`` of OpenRouter, whose credits are US dollars (with ``is_byok`` it is only the fee, and the
    provider bills ``upstream_inference_cost``), and of LiteLLM; ``usage.cost.total_cost`` of Perplexity;
    ``usage.estimated_cost`` of DeepInfra; ``usage.cost_in_usd_ticks`` of xAI, ten billion to the dollar.
    """
    usage = usage or {}
    amount = _parse_amount(usage.get("cost"))
    if amount is not None and usage.get("is_byok") is True:
        details = usage.get("cost_details")
        amount += _parse_amount(details.get("upstream_inference_cost") if isinstance(details, dict) else None) or 0.0
    if amount is None and (ticks := get_number(usage, "cost_in_usd_ticks")) is not None:
        amount = _parse_amount(ticks / 1e10)
    other_amounts = map(_parse_amount, (usage.get("total_cost"), usage.get("estimated_cost"), *other_costs))
    return next((round(cost, 12) for cost in (amount, *other_amounts) if cost is not None), None)


def _parse_amount(value: object) -> float | None:
    """The amount in a number, in a string of digits, or in an object with a total."""
    if isinstance(value, dict):
        value = next((value[name] for name in ("total_cost", "total") if name in value), None)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,30})?([eE]-?[0-9]{1,3})?", value):
        value = float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= _MAX_COST else None


def compute_cost(
    prices: Mapping[str, Price], requested_model: str | None, model: str | None, usage: Mapping[str, Any] | None
) -> Cost | None:
    """The cost of an answer; ``None`` without a price for the model, or without valid numbers in ``usage``.

    Args:
        requested_model: its price takes precedence.
        model: the model that the server names; its price is used if the requested model has none.
    """
    price = prices.get(requested_model or "") or prices.get(model or "")
    input_tokens, output_tokens = get_number(usage, "prompt_tokens"), get_number(usage, "completion_tokens")
    if price is None or input_tokens is None or output_tokens is None or min(input_tokens, output_tokens) < 0:
        return None
    amount = compute_amount(price, input_tokens, output_tokens)
    return None if amount is None else Cost(amount)


def compute_amount(price: Price, input_tokens: float, output_tokens: float) -> float | None:
    """US dollars for input and output tokens; ``None`` if one of the two prices is missing.

    Rounded to 1e-9 dollars: precise enough for one token of a cheap model, without the noise of binary fractions.
    """
    if price.input is None or price.output is None:
        return None
    return round((input_tokens * price.input + output_tokens * price.output) / 1e6, 9)
