"""What it costs to draw an answer while it is written, and how late its words are on the screen, beside other ways to draw.

Each way is a process of its own in a pseudo-terminal of 100 × 30. It gives itself a word of Markdown every so often, all of
which are different; what it writes is read with the time, and a word is as late as its first sight is behind its time. CPU
is that of the process from the first word to the end of the drawing, imports excluded. The ways:

- ours, as ``describe`` draws;
- window: all that came is made into lines at each frame, 20 times a second at most and less often as that gets slow; the
  last six are drawn live, and those above are printed once (as aider says that it does);
- whole: all that came is drawn live, 12 times a second;
- plain: each word is written and nothing else.
"""

import bisect
import fcntl
import json
import os
import pty
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from qubrid_cli.output import terminal
from qubrid_cli.output.markdown import LiveMarkdown

from .pairs import Ratio

SHORT, LONG = 2_000, 16_000
#: Words a second; the long answers come faster, for at 200 they would take 80 s each.
PACE, FAST = 200, 2_000
_WINDOW = 6
_SIZE = (30, 100)


class _Drawing(Protocol):
    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class _Windowed:
    def __init__(self) -> None:
        self._console = Console(force_terminal=True)
        self._live = Live(Text(), console=self._console, refresh_per_second=20)
        self._live.start()
        self._text = ""
        self._printed = 0
        self._due = 0.0
        self._pause = 1 / 20

    def write(self, text: str) -> None:
        self._text += text
        if time.monotonic() >= self._due:
            began = time.monotonic()
            self._draw(final=False)
            took = time.monotonic() - began
            self._pause = min(max(10 * took, 1 / 20), 2.0)
            self._due = time.monotonic() + self._pause

    def close(self) -> None:
        self._draw(final=True)
        self._live.update(Text(""), refresh=True)
        self._live.stop()

    def _draw(self, *, final: bool) -> None:
        lines = self._lines()
        stable = len(lines) if final else max(self._printed, len(lines) - _WINDOW)
        if stable > self._printed:
            above = Text.from_ansi("".join(lines[self._printed : stable]).rstrip("\n"))
            self._live.console.print(above)
            self._printed = stable
        self._live.update(Text.from_ansi("".join(lines[self._printed :])))

    def _lines(self) -> list[str]:
        page = StringIO()
        Console(file=page, force_terminal=True, width=self._console.width).print(Markdown(self._text))
        return page.getvalue().splitlines(keepends=True)


class _Whole:
    def __init__(self) -> None:
        self._live = Live(
            Text(), refresh_per_second=12, vertical_overflow="visible", console=Console(force_terminal=True)
        )
        self._live.start()
        self._text = ""

    def write(self, text: str) -> None:
        self._text += text
        self._live.update(Markdown(self._text))

    def close(self) -> None:
        self._live.stop()


class _Plain:
    def write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def close(self) -> None:
        self.write("\n")


_WAYS: Mapping[str, Callable[[], _Drawing]] = {
    "ours": lambda: LiveMarkdown(terminal.make_console(), live=True),
    "window": _Windowed,
    "whole": _Whole,
    "plain": _Plain,
}


def words(count: int) -> Iterator[tuple[str, str]]:
    """Words, all different, each with what stands around it in an answer of headings, paragraphs, lists, code and tables."""
    dice = random.Random(7)
    names = (f"w{number}x" for number in range(count))
    shapes = (("## ", " ", 5), ("", " ", 60), ("", " ", 45), ("- ", "\n- ", 6), ("```\n", "\n", 12), ("", " ", 50))
    while True:
        for before, between, size in (*shapes, ("| a | b |\n|---|---|\n| ", " | 1 |\n| ", 6)):
            for place in range(size):
                name = next(names, None)
                if name is None:
                    return
                loud = f"**{name}**" if between == " " and dice.random() < 0.05 else name
                last = place == size - 1
                after = (
                    {"```\n": "\n```\n\n"}.get(before, " | 1 |\n\n" if "|" in before else "\n\n") if last else between
                )
                yield name, (before if place == 0 else "") + loud + after


def draw(way: str, count: int, pace: float, told: Path) -> None:
    """The child's process: draw, then tell the CPU in seconds and when the first word was due."""
    pieces = [piece for _, piece in words(count)]
    with closing(_WAYS[way]()) as warming:
        warming.write("Some *words* first.\n\n```\ncode\n```\n\n| a |\n|---|\n| b |\n")
    drawing = _WAYS[way]()
    used, began = time.process_time(), time.monotonic()
    for number, piece in enumerate(pieces):
        wait = began + number / pace - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        drawing.write(piece)
    drawing.close()
    told.write_text(json.dumps([time.process_time() - used, began]))


@dataclass(frozen=True)
class _Drawn:
    """Seconds: of CPU, and how late each word was."""

    cpu: float
    late: Sequence[float]


def drawn(way: str, count: int, pace: float) -> _Drawn:
    """One way's run."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told"
        screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *_SIZE, 0, 0))
        env = os.environ | {"TERM": "xterm-256color"}
        arguments = [sys.executable, "-m", __name__, way, str(count), str(pace), str(told)]
        child = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, env=env)
        os.close(theirs)
        output, ends, times = _read(screen)
        assert child.wait() == 0
        cpu, began = json.loads(told.read_text())
    late = []
    place = 0
    for number, (name, _) in enumerate(words(count)):
        place = output.find(name.encode(), place)  # whatever is drawn again, their first sights are in order
        assert place >= 0, f"{way} never showed {name}"
        late.append(times[bisect.bisect_left(ends, place + len(name))] - (began + number / pace))
    return _Drawn(cpu, late)


def _read(screen: int) -> tuple[bytes, list[int], list[float]]:
    """All that is written, and for each piece its end and its time."""
    output = bytearray()
    ends: list[int] = []
    times: list[float] = []
    while True:
        try:
            piece = os.read(screen, 65_536)
        except OSError:  # Linux says so where the other end is closed
            piece = b""
        if not piece:
            os.close(screen)
            return bytes(output), ends, times
        output += piece
        ends.append(len(output))
        times.append(time.monotonic())


def run(pairs: int) -> list[Ratio]:
    """The ratios."""
    runs: dict[str, list[_Drawn]] = {way: [] for way in _WAYS}
    fast: dict[int, list[_Drawn]] = {SHORT: [], LONG: []}
    for _ in range(pairs):
        for way, all_of in runs.items():
            all_of.append(drawn(way, SHORT, PACE))
        for count, all_of in fast.items():
            all_of.append(drawn("ours", count, FAST))
    for way, all_of in runs.items():
        latest = [max(one.late) for one in all_of]
        print(
            f"{SHORT:,} words at {PACE}/s, {way}: CPU {statistics.median(one.cpu for one in all_of):.2f} s; "
            f"the latest word {1000 * statistics.median(latest):.0f} ms late (in the worst run {1000 * max(latest):.0f}), "
            f"the median one {1000 * statistics.median(word for one in all_of for word in one.late):.0f} ms"
        )
    targets = {"window": 0.35, "whole": None, "plain": None}
    found = [
        Ratio(
            f"drawing {SHORT:,} words at {PACE}/s: CPU, of {way}",
            [one.cpu / other.cpu for one, other in zip(runs["ours"], runs[way], strict=True)],
            target,
        )
        for way, target in targets.items()
    ]
    lengths = [long.cpu / short.cpu for short, long in zip(fast[SHORT], fast[LONG], strict=True)]
    return [*found, Ratio(f"drawing {LONG:,} words: CPU, of {SHORT:,}, both at {FAST:,}/s", lengths, 9)]


if __name__ == "__main__":
    draw(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
