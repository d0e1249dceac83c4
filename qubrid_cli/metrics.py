"""How fast it went: the server's own figures, and ours, never mixed."""

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
        self._began: float | None = None
        self._sent: float | None = None
        self._first: float | None = None
        self._last: float | None = None
        self._ended: float | None = None

    def send(self) -> None:
        """The request goes out, for the first time or anew."""
        self._sent = self._clock()
        if self._began is None:
            self._began = self._sent

    def left(self) -> float | None:
        """Seconds of the limit that are left, counted from the first sending; ``None`` for no limit."""
        if self._limit is None or self._began is None:
            return self._limit
        return max(0.0, self._limit - (self._clock() - self._began))

    def piece(self) -> None:
        """A piece of content or reasoning has come."""
        self._last = self._clock()
        if self._first is None:
            self._first = self._last

    def end(self) -> None:
        """The answer has come to its end; what is waited for behind it does not count."""
        self._ended = self._clock()

    def timing(self, *, prepare_seconds: float | None, completion_tokens: float | None) -> Timing:
        """The times until now."""
        if self._sent is None:
            return Timing(_rounded(prepare_seconds))
        rate = None
        tokens = completion_tokens or 0
        if self._first is not None and self._last is not None and self._last > self._first and 0 < tokens < _MAX_FIGURE:
            rate = (tokens - 1) / (self._last - self._first)
        return Timing(
            _rounded(prepare_seconds),
            _rounded(self._first - self._sent if self._first is not None else None),
            _rounded((self._clock() if self._ended is None else self._ended) - self._sent),
            _rounded(rate),
        )


def _rounded(value: float | None) -> float | None:
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
_NAMES = {"ttft": ("ttft_seconds", "ttft"), "rate": ("tps",), "total": ("total_time_seconds", "total_time")}


def server_figures(metrics: Mapping[str, Any] | None) -> Figures | None:
    """The figures that the server gave, as it gave them; ``None`` where there is none among its metrics.

    llama.cpp's ``timings`` are in milliseconds, apart for the prompt and the answer.
    """
    if metrics is None:
        return None
    found = {
        name: next((n for key in keys if (n := number(metrics, key)) is not None), None)
        for name, keys in _NAMES.items()
    }
    prompt_ms, answer_ms = number(metrics, "prompt_ms"), number(metrics, "predicted_ms")
    if prompt_ms is not None and answer_ms is not None:
        rate = number(metrics, "predicted_per_second")
        found = {"ttft": prompt_ms / 1000, "rate": rate, "total": (prompt_ms + answer_ms) / 1000}
    figures = Figures(**found)
    return None if figures == Figures() else figures


def number(found: Mapping[str, Any] | None, name: str) -> float | None:
    """A figure out of a server's object, else ``None``; whole numbers stay whole."""
    value = found.get(name) if found else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if abs(value) < _MAX_FIGURE else None
