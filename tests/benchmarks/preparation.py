"""What preparing a photo costs, beside the naive way (turn, ``thumbnail``, save) and beside libvips' ``thumbnail``.

Each run is a process of its own, in which the way has first prepared a tiny picture, so that imports are paid for. What is
taken is the CPU time of all its threads around the call, reading the file and writing the JPEG included, and how far
memory rises above what the idle process holds. The ways take turns. The picture is then held against decoding in
full and resampling with Lanczos, both as it is sent (quality 85) and saved at 95, where JPEG's own loss hides less;
PSNR and SSIM (Wang et al. 2004) are those of the brightness.

libvips is left out where it is missing: ``pip install 'pyvips[binary]'``.
"""

import importlib.util
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageMath, ImageOps, ImageStat

from qubrid_cli.images import tokens

from ..support import draw
from .pairs import Ratio

Size = tuple[int, int]
Way = Callable[[Path, Size, int], bytes]


# The ways


def ours(path: Path, _: Size, quality: int) -> bytes:
    from qubrid_cli.images import encode, prepare, sources

    return prepare.prepare_image(sources.File("x", path), encode.ImageLimits(quality=quality)).upload.data


def naive(path: Path, size: Size, quality: int) -> bytes:
    """What most people write."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    picture.thumbnail(size, Image.Resampling.LANCZOS)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def vips(path: Path, size: Size, quality: int) -> bytes:
    import pyvips

    picture = pyvips.Image.thumbnail(str(path), size[0], height=size[1], size=pyvips.Size.FORCE)
    data = picture.jpegsave_buffer(Q=quality, keep=pyvips.ForeignKeep.NONE)
    assert isinstance(data, bytes)
    return data


def full(path: Path, size: Size, quality: int) -> bytes:
    """The reference, saved like the others: no way can come closer to it than this."""
    stream = BytesIO()
    reference(path, size).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def reference(path: Path, size: Size) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB").resize(size, Image.Resampling.LANCZOS)


#: With the environment that each is run in. libvips spreads its work over all cores, which costs CPU time, or not.
WAYS: dict[str, tuple[Way, dict[str, str]]] = {
    "qvision": (ours, {}),
    "naive": (naive, {}),
    "full decode": (full, {}),
    "pyvips": (vips, {}),
    "pyvips, 1 thread": (vips, {"VIPS_CONCURRENCY": "1"}),
}


# The pictures


def photo(width: int, height: int) -> Image.Image:
    """A scene with edges and text, texture in all sizes as foliage and walls have it, and the noise of a sensor."""
    scene = draw.lighthouse(width, height)
    pen = ImageDraw.Draw(scene)
    down = height * 0.25
    for part in (16, 24, 36, 54, 80, 120, 180, 270):
        size = height / part
        pen.text((width * 0.04, down), "harbour log 1908, fog from nine", (25, 25, 30), ImageFont.load_default(size))
        down += 1.3 * size
    dice = random.Random(1)
    for octave in range(1, 8):
        wide, high = max(1, width >> octave), max(1, height >> octave)
        texture = Image.frombytes("L", (wide, high), dice.randbytes(wide * high)).resize((width, height))
        scene = ImageChops.soft_light(scene, _faded(texture, 0.25 + 0.05 * octave))
    noise = Image.frombytes("RGB", (width, height), dice.randbytes(3 * width * height))
    return Image.blend(scene, noise.filter(ImageFilter.GaussianBlur(0.7)), 0.05)


def _faded(texture: Image.Image, strength: float) -> Image.Image:
    flat = Image.new("L", texture.size, 128)
    return Image.blend(flat, texture, strength).convert("RGB")


def screenshot(width: int, height: int) -> Image.Image:
    """A window with lines of text of 26 pixels, as a screen of twice the usual density shows 13."""
    picture = Image.new("RGB", (width, height), (250, 250, 250))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width, 64), fill=(50, 60, 80))
    dice, font = random.Random(1), ImageFont.load_default(26)
    words = ("harbour", "log", "fog", "horn", "high", "water", "trawlers", "two", "out", "lifted", "from", "nine")
    for top in range(96, height - 48, 42):
        line = " ".join(dice.choices(words, k=dice.randrange(width // 80)))
        pen.text((48, top), line, dice.choice([(30, 30, 30), (20, 70, 190)]), font)
    return picture


#: How they are drawn, their size to the eye, how they are saved, and whether they were held upright, as most photos of
#: phones are.
FILES: dict[str, tuple[Callable[[int, int], Image.Image], Size, str, int]] = {
    "12 MP JPEG": (photo, (4000, 3000), "JPEG", 1),
    "12 MP JPEG, lying on its side": (photo, (3000, 4000), "JPEG", 6),
    "24 MP JPEG": (photo, (6000, 4000), "JPEG", 1),
    "12 MP PNG": (photo, (4000, 3000), "PNG", 1),
    "12 MP screenshot": (screenshot, (4000, 3000), "PNG", 1),
}


def written(folder: Path, name: str) -> Path:
    """The picture in a file: JPEG of quality 92 with 4:2:0, as cameras write it."""
    draw_picture, size, kind, orientation = FILES[name]
    picture = draw_picture(*size)
    if orientation == 6:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    path = folder / f"{name}.{kind.lower()}"
    options: dict[str, int] = {"quality": 92} if kind == "JPEG" else {"compress_level": 6}
    picture.save(path, kind, exif=draw.private_exif(orientation), **options)
    return path


# A run


def measure(way: str, path: Path, size: Size, quality: int, out: Path) -> None:
    """The child's process: prepare, write the picture, and print the seconds of CPU and the MiB above idle."""
    work = WAYS[way][0]
    tiny = out.with_suffix(path.suffix)
    Image.effect_noise((64, 48), 50).convert("RGB").save(tiny)
    work(tiny, (64, 48), quality)
    tiny.unlink()
    idle = _peak()
    start = time.process_time()
    data = work(path, size, quality)
    spent = time.process_time() - start
    peak = _peak()
    out.write_bytes(data)
    print(json.dumps([spent, (peak - idle) / 1024]))


def _peak() -> int:
    """KiB at most so far. Not ``ru_maxrss``: on Linux it starts with what the parent had, and not with zero."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def run_child(way: str, path: Path, size: Size, quality: int, out: Path) -> tuple[float, float]:
    argv = [sys.executable, "-m", __name__, way, str(path), *map(str, size), str(quality), str(out)]
    env = os.environ | WAYS[way][1]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=True, text=True)
    spent, memory = json.loads(done.stdout)
    return spent, memory


# How alike two pictures are


def psnr(one: Image.Image, other: Image.Image) -> float:
    """In dB, of the brightness."""
    (error,) = ImageStat.Stat(ImageChops.difference(one.convert("L"), other.convert("L"))).rms
    return math.inf if error == 0 else 20 * math.log10(255 / error)


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity of the brightness: its mean over windows of 8 × 8 pixels, one every 4 pixels each way."""
    pair = [picture.convert("L").convert("F") for picture in (one, other)]
    wide, high = ((side - 4) // 8 * 8 for side in one.size)
    boxes = [(left, top, left + wide, top + high) for left in (0, 4) for top in (0, 4)]
    return statistics.mean(_ssim(*(picture.crop(box) for picture in pair)) for box in boxes)


def _ssim(x: Image.Image, y: Image.Image) -> float:
    products = {"xx": (x, x), "yy": (y, y), "xy": (x, y)}
    means = {"x": x.reduce(8), "y": y.reduce(8)} | {
        name: ImageMath.lambda_eval(lambda v: v["a"] * v["b"], a=a, b=b).reduce(8) for name, (a, b) in products.items()
    }
    similar = ImageMath.lambda_eval(_similarity, **means)
    whole = similar.reduce(similar.size).getpixel((0, 0))  # ImageStat counts in 256 levels
    assert isinstance(whole, float)
    return whole


def _similarity(v: dict[str, Any]) -> Any:
    """Formula 13 of the paper, for 255 levels."""
    luminance = (2 * v["x"] * v["y"] + 6.5025) / (v["x"] * v["x"] + v["y"] * v["y"] + 6.5025)
    variances = v["xx"] - v["x"] * v["x"] + v["yy"] - v["y"] * v["y"]
    return luminance * (2 * (v["xy"] - v["x"] * v["y"]) + 58.5225) / (variances + 58.5225)


# The table


@dataclass(frozen=True)
class Outcome:
    """One way's rounds with one file."""

    spent: list[float]
    memory: list[float]
    sent: Path
    finer: Path


def outcomes(path: Path, size: Size, rounds: int) -> dict[str, Outcome]:
    """All ways, in turn, with one file."""
    ways = [name for name in WAYS if not name.startswith("pyvips") or importlib.util.find_spec("pyvips")]
    found = {name: Outcome([], [], path.with_suffix(f".{name}.85"), path.with_suffix(f".{name}.95")) for name in ways}
    for _ in range(rounds):
        for name, outcome in found.items():
            spent, memory = run_child(name, path, size, 85, outcome.sent)
            outcome.spent.append(spent)
            outcome.memory.append(memory)
    for name, outcome in found.items():
        run_child(name, path, size, 95, outcome.finer)
    return found


def show(path: Path, found: dict[str, Outcome], wanted: Image.Image) -> None:
    """CPU in milliseconds, memory in MiB above idle, likeness of what is sent and of what is saved at quality 95."""
    heads = "CPU ms (from – to)", "of naive (from – to)", "of pyvips (from – to)", "MiB", "as sent", "at 95", "sent KB"
    lines: list[tuple[str, ...]] = [("", *heads)]
    for name, outcome in found.items():
        spent = [1000 * seconds for seconds in outcome.spent]
        lines.append((
            name,
            f"{statistics.median(spent):.0f} ({min(spent):.0f} – {max(spent):.0f})",
            *(_ratio(outcome, found[other]) if other in found else "" for other in ("naive", "pyvips")),
            f"{statistics.median(outcome.memory):.0f}",
            *(_likeness(file, path, wanted) for file in (outcome.sent, outcome.finer)),
            f"{outcome.sent.stat().st_size / 1000:.0f}",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _ratio(outcome: Outcome, other: Outcome) -> str:
    """Of what was run in the same round."""
    ratios = [a / b for a, b in zip(outcome.spent, other.spent, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def _likeness(file: Path, path: Path, wanted: Image.Image) -> str:
    with Image.open(file) as picture:
        # The naive way keeps the ratio to the pixel, and so may be a few pixels smaller than the others.
        fitting = wanted if picture.size == wanted.size else reference(path, picture.size)
        return f"{psnr(picture, fitting):4.1f} dB {ssim(picture, fitting):.4f}"


def run(pairs: int) -> list[Ratio]:
    """Print the tables; the ratios of CPU."""
    if not importlib.util.find_spec("pyvips"):
        print("left out, for it is not installed: pyvips (pip install 'pyvips[binary]')")
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, size, _, _) in FILES.items():
            path = written(Path(folder), name)
            target = tokens.shrink_size(*size, max_pixels=tokens.QWEN3.max_pixels, max_side=None)
            print(f"preparing a {name} of {path.stat().st_size / 1e6:.1f} MB, sent as {target[0]} × {target[1]}:")
            found = outcomes(path, target, pairs)
            show(path, found, reference(path, target))
            for other in ("naive", "pyvips, 1 thread"):
                if other in found:
                    both = zip(found["qvision"].spent, found[other].spent, strict=True)
                    ratios.append(Ratio(f"preparing a {name}: CPU, of {other}", [a / b for a, b in both]))
    return ratios


if __name__ == "__main__":
    way, path, width, height, quality, out = sys.argv[1:]
    measure(way, Path(path), (int(width), int(height)), int(quality), Path(out))
