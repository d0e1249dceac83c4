"""What all benchmarks share: runs of programs with their cost, ratios of pairs, and the table of them."""

import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: From fewer pairs no ratio is told: one disturbed run would be a fifth of it or more.
LEAST = 5


class TooFewError(ValueError):
    """There are not enough pairs for a ratio."""


@dataclass(frozen=True)
class Ratio:
    """How much of something one way took of what another took, pair by pair; ``target`` is what it may be at most."""

    what: str
    pairs: Sequence[float]
    target: float | None = None

    def __post_init__(self) -> None:
        if len(self.pairs) < LEAST:
            raise TooFewError(f"{self.what}: {len(self.pairs)} pairs, and no ratio from fewer than {LEAST}")

    @property
    def cells(self) -> tuple[str, ...]:
        target = "" if self.target is None else f"≤ {self.target:g}"
        middle = statistics.median(self.pairs)
        spread = f"{min(self.pairs):.2f} – {max(self.pairs):.2f}"
        return self.what, f"{middle:.2f}", target, spread, str(len(self.pairs))


def table(ratios: Iterable[Ratio]) -> str:
    """The ratios as a Markdown table."""
    rows = [("", "ratio", "target", "spread", "pairs"), *(ratio.cells for ratio in ratios)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


@dataclass(frozen=True)
class Cost:
    """Seconds, of a whole process and all that it started and waited for."""

    cpu: float
    wall: float


def cost(arguments: Sequence[str], env: Mapping[str, str], *, code: int = 0) -> Cost:
    """What a program takes, which must end with ``code``. The CPU is what the system counted, to the microsecond."""
    began = time.perf_counter()
    process = subprocess.Popen(
        arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == code, f"{arguments[:4]} ended with {process.returncode}"
    return Cost(used.ru_utime + used.ru_stime, wall)


def middle(values: Iterable[float]) -> str:
    """The median in milliseconds."""
    return f"{1000 * statistics.median(values):.0f} ms"
