"""Draw boxes, points and their labels on an image."""

import unicodedata
from collections.abc import Iterator, Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from ...text import shorten
from .detection import Detection

#: Bright colors that are easy to tell apart, also with a color vision deficiency (after Okabe and Ito, 2008).
_COLORS = ("#ffd400", "#00c2ff", "#ff5fa2", "#3ddc84", "#ff8c1a", "#b388ff", "#f4f4f4", "#e53935")
#: The color on both sides of a bright line, so that it is visible on any background.
_DARK = "#101010"
#: The width of lines and the height of letters: shares of the mean side of the image, and limits in pixels.
_LINE_SHARE, _MIN_LINE, _TEXT_SHARE, _MIN_TEXT, _MAX_TEXT = 0.004, 2, 0.022, 12, 160
#: Characters of a label that are drawn.
_MAX_LABEL_LENGTH = 40
_JPEG_QUALITY = 92
#: The suffixes of the files that can be written, and their formats.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

_Box = tuple[float, float, float, float]


def draw_detections(image: Image.Image, detections: Sequence[Detection], *, scale: float = 1.0) -> Image.Image:
    """Copy an image in mode RGB, and draw the detections on it, numbered from 1 in their order.

    Labels stay inside the image. Pillow's own font has only ASCII, so letters lose their accents, or are left out.

    Args:
        scale: pixels of the image for each unit of the detections.
    """
    result = image.copy()
    canvas = _Canvas(result)
    names = list(dict.fromkeys(detection.label for detection in detections))
    colors = {name: _COLORS[index % len(_COLORS)] for index, name in enumerate(names)}
    outlines = [canvas.find_outline(detection, scale) for detection in detections]
    for index in sorted(range(len(detections)), key=lambda index: -_measure_area(outlines[index])):  # small ones on top
        canvas.draw_outline(detections[index], outlines[index], colors[detections[index].label])
    for number, (detection, outline) in enumerate(zip(detections, outlines, strict=True), 1):
        canvas.draw_label(f"{number} {_clean_label(detection.label)}".rstrip(), outline, colors[detection.label])
    return result


def encode_drawing(image: Image.Image, suffix: str = ".png") -> bytes:
    """Encode an image as a file with this suffix, one of ``FORMATS``."""
    stream = BytesIO()
    kind = FORMATS[suffix]
    options = {"quality": _JPEG_QUALITY, "subsampling": "4:4:4"} if kind == "JPEG" else {}
    image.save(stream, kind, **options)
    return stream.getvalue()


class _Canvas:
    """An image to draw on; lines and letters fit its size, and labels do not overlap if there is room."""

    def __init__(self, image: Image.Image) -> None:
        side = (image.width * image.height) ** 0.5
        self._size = image.size
        self._draw = ImageDraw.Draw(image)
        self._line = max(_MIN_LINE, round(side * _LINE_SHARE))
        text_size = min(_MAX_TEXT, max(_MIN_TEXT, side * _TEXT_SHARE))
        self._font = ImageFont.load_default(round(text_size))
        self._padding = max(2, round(text_size / 5))
        self._labels: list[_Box] = []

    def find_outline(self, detection: Detection, scale: float) -> _Box:
        """The edges of a box, all four inside it; for a point, those of a circle around it."""
        if detection.box is not None:
            left, top, right, bottom = (edge * scale for edge in detection.box)
            return left, top, max(left, right - 1), max(top, bottom - 1)
        assert detection.point is not None
        (x, y), radius = (value * scale for value in detection.point), 5 * self._line
        return x - radius, y - radius, x + radius, y + radius

    def draw_outline(self, detection: Detection, outline: _Box, color: str) -> None:
        """Draw a line in a color just inside the outline, between two dark ones."""
        shape = self._draw.rectangle if detection.box is not None else self._draw.ellipse
        thin = max(1, self._line // 3)
        for inset, width, ink in ((-thin, self._line + 2 * thin, _DARK), (0, self._line, color)):
            left, top = max(outline[0] + inset, inset), max(outline[1] + inset, inset)
            right = min(outline[2], self._size[0] - 1) - inset
            bottom = min(outline[3], self._size[1] - 1) - inset
            shape((left, top, max(left, right), max(top, bottom)), outline=ink, width=width)

    def draw_label(self, text: str, outline: _Box, color: str) -> None:
        """Draw a label at its outline, where it does not cover another one if possible."""
        while len(text) > 1 and self._font.getlength(text) + 2 * self._padding > self._size[0]:
            text = f"{text[:-2]}…"
        _, top, right, bottom = self._font.getbbox(text)
        width, height = right + 2 * self._padding, bottom - top + 2 * self._padding
        places = [self._place(x, y, width, height) for x, y in _list_corners(outline, width, height)]
        free = (place for place in places if not any(_overlap(place, label) for label in self._labels))
        place = next(free, places[0])
        self._labels.append(place)
        self._draw.rectangle(place, fill=color, outline=_DARK)
        corner = place[0] + self._padding, place[1] + self._padding - top
        self._draw.text(corner, text, font=self._font, fill=_DARK)

    def _place(self, x: float, y: float, width: float, height: float) -> _Box:
        """A rectangle of this size inside the image, with its corner as near to the position as possible."""
        x = max(0.0, min(x, self._size[0] - 1 - width))
        y = max(0.0, min(y, self._size[1] - 1 - height))
        return x, y, x + width, y + height


def _measure_area(box: _Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _clean_label(label: str) -> str:
    """Reduce a label to what the font can draw, on one line and not too long."""
    decomposed = unicodedata.normalize("NFKD", label.replace("ß", "ss")).encode("ascii", "ignore").decode()
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in decomposed).split())
    return shorten(text, _MAX_LABEL_LENGTH)


def _list_corners(outline: _Box, width: float, height: float) -> Iterator[tuple[float, float]]:
    """Positions for the upper left corner of a label: above the outline, within it, below it, and at its right edge."""
    left, top, right, bottom = outline
    yield left, top - height
    yield left, top
    yield left, bottom
    yield right - width, top - height
    yield right - width, bottom
    yield left, bottom - height


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
