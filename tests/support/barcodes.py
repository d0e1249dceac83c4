"""Pages whose lines a test can read: each is a number as bars, and as dense as text."""

import base64
from io import BytesIO

from PIL import Image, ImageDraw

from .server import Asked

_BITS, _LEFT, _STEP, _HEIGHT, _PITCH = 10, 40, 24, 12, 24


def draw_page(count: int, *, width: int = 1280, has_gaps: bool = True) -> Image.Image:
    """A page with the lines 1 to ``count``.

    Args:
        has_gaps: there are blank rows between the lines.
    """
    page = Image.new("L", (width, (count + 1) * _PITCH), 255)
    draw = ImageDraw.Draw(page)
    for number in range(1, count + 1):
        top = number * _PITCH - _HEIGHT // 2
        for bit in range(_BITS):
            left = _LEFT + bit * _STEP
            draw.rectangle((left, top, left + (9 if number >> bit & 1 else 3), top + _HEIGHT - 1), 0)
        for left in range(_LEFT + (_BITS + 1) * _STEP, width - 200, 14):
            draw.rectangle((left, top, left + 5, top + _HEIGHT - 1), 0)
    if not has_gaps:
        for row in range(0, page.height, 2):
            draw.line((width - 150 + row % 37, row, width - 50 + row % 37, row), 0)
    return page


def read_lines(asked: Asked) -> str:
    """The numbers in the image of a request, a line each; of one that was cut off, with mistakes."""
    image = Image.open(BytesIO(base64.b64decode(asked.image_url.partition(",")[2]))).convert("L")
    rows = [image.getpixel((_LEFT + 1, row)) < 128 for row in range(image.height)]  # type: ignore[operator]
    lines, start = [], 0
    for row, has_ink in enumerate([*rows, False]):
        if has_ink and (row == 0 or not rows[row - 1]):
            start = row
        if not has_ink and row and rows[row - 1]:
            line = _read_line(image, (start + row) // 2)
            lines.append(line if row - start == _HEIGHT else line.replace("e", "c").replace("a", "o"))
    return "\n".join(lines)


def _read_line(image: Image.Image, row: int) -> str:
    bits = [image.getpixel((_LEFT + bit * _STEP + 7, row)) < 128 for bit in range(_BITS)]  # type: ignore[operator]
    number = sum(1 << bit for bit, is_set in enumerate(bits) if is_set)
    return f"line {number} of the page: {number * 7919 % 10007}"


def numbers(text: str) -> list[int]:
    """The numbers of the lines of a text."""
    return [int(line.split()[1]) for line in text.splitlines()]
