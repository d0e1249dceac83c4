"""Draws the terminal session of the README: ``python -m tests.support.demo`` runs the program and writes ``.github/demo.svg``.

The program runs on a pseudo-terminal against the server of the tests. The answers are invented; everything else on the
screen is what the program printed.
"""

import base64
import io
import itertools
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pexpect
import pyte
from PIL import Image, ImageOps

from ..conftest import KEY, command, environment
from .draw import IMAGES
from .server import DONE, Reply, Server, event

FILE = Path(__file__).parent.parent.parent / ".github" / "demo.svg"
PICTURE = IMAGES / "lighthouse.jpg"
COLUMNS, ROWS = 72, 60
#: Pixels.
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN, BAR = 8.4, 21, 14, 22, 38
#: Pixels as shown; the file holds twice as many for each side.
MINIATURE_WIDTH, MINIATURE_HEIGHT = 200, 150
#: Colors that are easy to read on a dark background.
BACKGROUND, BORDER, COLORS = "#0d1117", "#30363d", {
    "black": "#484f58", "red": "#ff7b72", "green": "#56d364", "brown": "#e3b341", "blue": "#79c0ff",
    "magenta": "#d2a8ff", "cyan": "#76e3ea", "white": "#e6edf3", "brightblack": "#8b949e", "default": "#e6edf3",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A command line, and what the server answers, with its figures."""

    arguments: Sequence[str]
    answer: str
    tokens: tuple[int, int]
    seconds: tuple[float, float]


STEPS = (
    Step(
        ("describe", PICTURE.name, "what is in this picture?"),
        "A **lighthouse** with red and white stripes stands on a green hill above a calm blue sea.\n\n"
        "- **Sky:** clear and light blue, with a pale sun on the left\n"
        "- **Sea:** dark blue, with small, even waves\n"
        "- **Style:** a flat drawing, not a photograph\n",
        (683, 60),
        (0.41, 1.98),
    ),
    Step(
        ("describe", PICTURE.name, "--schema", "title, tags [string]"),
        '{"title": "Lighthouse on a green hill", "tags": ["lighthouse", "sea"]}',
        (741, 26),
        (0.39, 1.07),
    ),
)


def draw_session() -> str:
    """Run the steps one after the other and return the picture of the screen."""
    screen = pyte.Screen(COLUMNS, ROWS)
    terminal = pyte.ByteStream(screen)
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        shutil.copy(PICTURE, folder)
        for step in STEPS:
            server.answer = _reply(step)
            words = " ".join(f'"{word}"' if " " in word else word for word in ("qvision", *step.arguments))
            terminal.feed(f"\x1b[32m$\x1b[m \x1b[1m{words}\x1b[m\r\n".encode())
            terminal.feed(_run(step, folder, server.url) + b"\r\n")
    return _draw(screen)


def _reply(step: Step) -> Reply:
    """The answer in pieces like tokens, as Qubrid sends it."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "Qwen/Qwen3-VL-Plus"}
    deltas = [{"content": token} for token in re.findall(r"\S+\s*", step.answer)]
    prompt, completion = step.tokens
    ttft, total = step.seconds
    figures = {
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "x_metrics": {"ttft_seconds": ttft, "tps": round(completion / (total - ttft), 1), "total_time_seconds": total},
    }
    return Reply(
        [
            *(event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas),
            event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
            event({**head, "choices": [], **figures}),
            DONE,
        ]
    )


def _run(step: Step, folder: str, url: str) -> bytes:
    """What the program writes to a terminal."""
    program, *arguments = command(*step.arguments)
    env = environment({"QUBRID_BASE_URL": url, "QUBRID_API_KEY": KEY, "TERM": "xterm-256color"})
    output = io.BytesIO()
    child: pexpect.spawn[bytes] = pexpect.spawn(
        program, arguments, env=env, cwd=folder, dimensions=(ROWS, COLUMNS), timeout=60
    )
    child.logfile_read = output
    child.expect(pexpect.EOF)
    child.close()
    if child.exitstatus:
        raise RuntimeError(f"{shlex.join(step.arguments)} failed: {output.getvalue().decode()}")
    return output.getvalue()


def _draw(screen: pyte.Screen) -> str:
    rows = [row for row in range(ROWS) if screen.display[row].strip()]
    height = BAR + MARGIN + (rows[-1] + 1) * LINE_HEIGHT + MARGIN - (LINE_HEIGHT - FONT_SIZE)
    width = round(COLUMNS * CELL_WIDTH) + MINIATURE_WIDTH + 3 * MARGIN
    left, top = width - MARGIN - MINIATURE_WIDTH, BAR + MARGIN
    family = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
    texts = "\n".join(text for row in rows for text in _draw_row(screen, row))
    dots = "".join(
        f'<circle cx="{MARGIN + 20 * number}" cy="{BAR / 2}" r="6" fill="{color}"/>'
        for number, color in enumerate(("#ff5f56", "#ffbd2e", "#27c93f"))
    )
    label = escape(" ".join(" ".join(line.split()) for line in screen.display if line.strip()))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title text">
<title id="title">qvision in a terminal</title>
<desc id="text">{label}</desc>
<style>text {{ font-family: {family}; font-size: {FONT_SIZE}px; white-space: pre }}</style>
<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="{BACKGROUND}" stroke="{BORDER}"/>
{dots}
<path d="M1 {BAR}H{width - 1}" stroke="{BORDER}"/>
<clipPath id="corners"><rect x="{left}" y="{top}" width="{MINIATURE_WIDTH}" height="{MINIATURE_HEIGHT}" rx="6"/></clipPath>
<image x="{left}" y="{top}" width="{MINIATURE_WIDTH}" height="{MINIATURE_HEIGHT}" clip-path="url(#corners)" href="{_miniature()}"/>
<text x="{left + MINIATURE_WIDTH / 2}" y="{top + MINIATURE_HEIGHT + LINE_HEIGHT}" text-anchor="middle" fill="{COLORS["brightblack"]}">{PICTURE.name}</text>
{texts}
</svg>
"""


def _draw_row(screen: pyte.Screen, row: int) -> Iterator[str]:
    """A text element for each piece of a line that looks alike; its length is given, because fonts differ."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    column = 0
    for (color, bold, italic), group in itertools.groupby(cells, lambda cell: (cell.fg, cell.bold, cell.italics)):
        text = "".join(cell.data for cell in group)
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        if visible := text.strip():
            x = MARGIN + (column + start) * CELL_WIDTH
            y = BAR + MARGIN + row * LINE_HEIGHT + FONT_SIZE
            attributes = {
                "x": f"{x:.1f}",
                "y": y,
                "textLength": f"{(end - start) * CELL_WIDTH:.1f}",
                "lengthAdjust": "spacingAndGlyphs",
                "fill": COLORS.get(color, f"#{color}"),
                **({"font-weight": "bold"} if bold else {}),
                **({"font-style": "italic"} if italic else {}),
            }
            pairs = " ".join(f'{name}="{value}"' for name, value in attributes.items())
            yield f"<text {pairs}>{escape(visible)}</text>"
        column += len(text)


def _miniature() -> str:
    """The picture, upright and small, as a URL."""
    with Image.open(PICTURE) as image:
        small = ImageOps.exif_transpose(image).resize((2 * MINIATURE_WIDTH, 2 * MINIATURE_HEIGHT))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=75, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


if __name__ == "__main__":
    FILE.write_text(draw_session(), encoding="utf-8")
