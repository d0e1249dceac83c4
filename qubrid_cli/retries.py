"""When to ask again, and how long to wait before: what passes is tried again, politely."""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from types import TracebackType
from typing import Protocol

from .errors import EndpointError
from .frozen import frozen

#: Seconds before the second try at most; doubled for each further one.
_FIRST_WAIT = 0.5


class Attempt(Protocol):
    """A try: a context manager that takes a failure in and, before the next try begins, waits."""

    @property
    def num(self) -> int:
        """Which one, from 1."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


@frozen
class Patience:
    """How often to ask again, and how long to wait.

    Attributes:
        retries: tries after the first one.
        max_wait: seconds before one of them; a server that asks for more is not waited for.
        max_time: seconds for a request in all, waiting included; ``None`` for no limit.
    """

    retries: int = 4
    max_wait: float = 60.0
    max_time: float | None = None


class _First:
    """The first try, which only keeps its failure."""

    num = 1
    error: BaseException | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


class Pauses:
    """The tries of one request and the pauses between them: exponential with full jitter, or as the server asks.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, for the jitter; RFC 9110, section 10.2.3, for
    ``Retry-After``.

    Args:
        jitter: a random number between two.
    """

    def __init__(self, patience: Patience, *, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._patience = patience
        self._jitter = jitter
        self._seconds = 0.0

    def attempts(self) -> Iterator[Attempt]:
        """The tries; a failed one is raised inside it, and the next one comes after the pause."""
        first = _First()
        yield first
        if first.error is not None:
            # Loads stamina: 8 to 20 ms, on every way to the first request, for what most runs never need.
            waiting = import_module(".waiting", __package__)
            yield from waiting.tries(first.error, lambda: self._seconds, self._patience.retries + 1)

    def after(self, error: EndpointError, number: int, *, left: float | None) -> float:
        """The seconds to wait after a failed try.

        Args:
            number: of the try, from 1.
            left: seconds until ``max_time`` is over.

        Raises:
            EndpointError: it is not to be tried again.
        """
        if not error.passes or number > self._patience.retries:
            raise error
        longest = min(self._patience.max_wait, _FIRST_WAIT * 2 ** (number - 1))
        asked = error.retry_after
        self._seconds = self._jitter(0.0, longest) if asked is None else asked
        if self._seconds > self._patience.max_wait:
            raise _no_waiting(error, f"it asks to wait {asked:.10g} s, longer than --retry-max-wait")
        if left is not None and self._seconds >= left:
            raise _no_waiting(error, "--max-time is over before it can be asked again")
        return self._seconds


def _no_waiting(error: EndpointError, why: str) -> EndpointError:
    refused = type(error)(
        f"{error.message} ({why})",
        hint="Try again later, or raise that limit.",
        code=error.code,
        status=error.status,
        request_id=error.request_id,
    )
    refused.__cause__ = error
    return refused


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a server asks to wait: ``retry-after-ms`` (OpenAI, Azure), or ``Retry-After`` as a number or a date.

    Args:
        headers: with names in any case, as httpx has them.
        now: what a date is counted from; the present by default.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None or text is None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"[ \t]*[0-9]{1,18}(\.[0-9]{1,9})?[ \t]*", text) else None
