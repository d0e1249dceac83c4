"""Find sharp detail in a decoded image, such as text and drawings, which becomes illegible when it is shrunk."""

from PIL import Image, ImageChops

from .. import color

#: The rows of each strip that is examined, and the number of strips: enough to meet the lines of any text.
_STRIP_ROWS, _STRIP_COUNT = 16, 16
#: The side of the blocks, in pixels, in which sharp and even pixels are counted.
_BLOCK = 16
#: The largest difference from the next pixel in an even area, and the smallest at a sharp edge.
_EVEN, _SHARP = 10, 40
#: The share of sharp and of even pixels in a block, of 255. Text has many sharp pixels, and even ones between them; noise has
#: no even ones, and an outline only one sharp pixel in a row.
_MIN_SHARP, _MIN_EVEN = 26, 90
#: The share of blocks with detail: 0.10 to 0.90 in text of 8 to 80 pixels, 0.07 in a drawing of thin lines; at most 0.023
#: in gradients, noise, shapes and a fractal (measured on rendered images).
_MIN_SHARE = 0.03


def has_sharp_detail(image: Image.Image, look: color.Look) -> bool:
    """Whether a loaded image, which has few colors, has sharp detail."""
    return min(image.size) > 2 * _BLOCK and measure_detail(image, look) >= _MIN_SHARE


def measure_detail(image: Image.Image, look: color.Look) -> float:
    """The share of blocks that look like text or a drawing, in strips from all over the image."""
    strips = _join_strips(image, look)
    before, after = (0, 0, strips.width - 1, strips.height), (1, 0, strips.width, strips.height)
    steps = ImageChops.difference(strips.crop(before), strips.crop(after))
    sharp = steps.point([255 * (value >= _SHARP) for value in range(256)]).reduce(_BLOCK)
    even = steps.point([255 * (value <= _EVEN) for value in range(256)]).reduce(_BLOCK)
    is_text = ImageChops.multiply(
        sharp.point([255 * (value >= _MIN_SHARP) for value in range(256)]),
        even.point([255 * (value >= _MIN_EVEN) for value in range(256)]),
    )
    return is_text.histogram()[255] / (is_text.width * is_text.height)


def _join_strips(image: Image.Image, look: color.Look) -> Image.Image:
    count = min(_STRIP_COUNT, image.height // _STRIP_ROWS)
    result = Image.new("L", (image.width, count * _STRIP_ROWS))
    for number in range(count):
        top = (2 * number + 1) * (image.height - _STRIP_ROWS) // (2 * count)
        strip = color.normalize_mode(image.crop((0, top, image.width, top + _STRIP_ROWS)), look)
        result.paste(strip if strip.mode == "L" else strip.convert("L"), (0, number * _STRIP_ROWS))
    return result
