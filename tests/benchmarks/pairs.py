"""What all benchmarks share: the cost of a program, ratios of pairs, and the table of ratios."""

import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: With fewer pairs, one disturbed run would be a fifth of the ratio or more.
MIN_PAIRS = 5


class TooFewError(ValueError):
    """There are not enough pairs for a ratio."""


@dataclass(frozen=True)
class Ratio:
    """The cost of one variant divided by that of another, pair by pair; ``target`` is the highest allowed median."""

    what: str
    pairs: Sequence[float]
    target: float | None = None

    def __post_init__(self) -> None:
        if len(self.pairs) < MIN_PAIRS:
            raise TooFewError(f"{self.what}: {len(self.pairs)} pairs, but a ratio needs {MIN_PAIRS}")

    @property
    def cells(self) -> tuple[str, ...]:
        target = "" if self.target is None else f"≤ {self.target:g}"
        median = statistics.median(self.pairs)
        spread = f"{min(self.pairs):.2f} – {max(self.pairs):.2f}"
        return self.what, f"{median:.2f}", target, spread, str(len(self.pairs))


def table(ratios: Iterable[Ratio]) -> str:
    """The ratios as a Markdown table."""
    rows = [("", "ratio", "target", "spread", "pairs"), *(ratio.cells for ratio in ratios)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


@dataclass(frozen=True)
class Cost:
    """Seconds of a process and of its children, and how often its threads waited for something."""

    cpu: float
    wall: float
    switches: int


def cost(arguments: Sequence[str], env: Mapping[str, str], *, code: int = 0) -> Cost:
    """Run a program, which must exit with ``code``. The CPU time is the system's, in microseconds."""
    start = time.perf_counter()
    process = subprocess.Popen(
        arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == code, f"{arguments[:4]} ended with {process.returncode}"
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_nvcsw)


def median_ms(values: Iterable[float]) -> str:
    """The median in milliseconds."""
    return f"{1000 * statistics.median(values):.0f} ms"
