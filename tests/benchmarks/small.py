"""The cost of a batch of small images, where reading, sending and recording count and preparing hardly does.

Images of 64 × 48 to 512 × 384 pixels, each with its own prompt, go to a server on loopback that answers after 50 ms, 32 at
once. The peer is the loop that most people would write: 32 threads that share one ``httpx.Client``, read a file, send it as it
is, and append a line to a file. It checks nothing, prepares nothing and cannot be resumed. CPU, time and voluntary context
switches are those of the whole process, start-up included; the server's are not.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ..conftest import command, environment
from ..support import draw
from . import batching
from .pairs import Cost, Ratio, cost

IMAGES = 2_000
JOBS = 32
LATENCY = 0.05
SIZES = ((64, 48), (128, 96), (256, 192), (512, 384))

_BARE = """
import base64, json, sys, threading
from concurrent.futures import ThreadPoolExecutor
import httpx

listed, results, url, jobs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
lock = threading.Lock()

def ask(line):
    row = json.loads(line)
    with open(row["image"], "rb") as file:
        data = file.read()
    image = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + base64.b64encode(data).decode()}}
    content = [{"type": "text", "text": row["prompt"]}, image]
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 16384, "stream": False}
    response = client.post(url + "/chat/completions", json=body)
    response.raise_for_status()
    text = response.json()["choices"][0]["message"]["content"]
    with lock:
        output.write(json.dumps({"image": row["image"], "text": text}) + "\\n")

limits = httpx.Limits(max_connections=jobs, max_keepalive_connections=jobs)
with httpx.Client(timeout=60, limits=limits) as client, open(results, "w") as output, ThreadPoolExecutor(jobs) as pool:
    for _ in pool.map(ask, open(listed)):
        pass
"""


def _write_images(folder: Path) -> Path:
    """Write the images and the list of them; equal images have different prompts."""
    originals = []
    for width, height in SIZES:
        originals.append(folder / f"{width}.jpg")
        draw.lighthouse(width, height).save(originals[-1], "JPEG", quality=85)
    lines = []
    for number in range(IMAGES):
        image = folder / f"image-{number}.jpg"
        os.link(originals[number % len(originals)], image)
        lines.append(json.dumps({"image": str(image), "prompt": f"caption {number}"}) + "\n")
    (folder / "list.jsonl").write_text("".join(lines))
    return folder / "list.jsonl"


def _measure(arguments: list[str], url: str, results: Path) -> Cost:
    results.unlink(missing_ok=True)
    spent = cost(arguments, environment({"QUBRID_BASE_URL": url}))
    assert len(results.read_bytes().splitlines()) == IMAGES
    return spent


def run(pairs: int) -> list[Ratio]:
    """The ratios."""
    server = subprocess.Popen(
        [sys.executable, "-m", batching.__name__, str(LATENCY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    with tempfile.TemporaryDirectory() as name:
        listed, results = _write_images(Path(name)), Path(name) / "results.jsonl"
        variants = {
            "qvision": command("batch", "--from", listed, "-o", results, "-j", JOBS, "-q"),
            "bare loop": [sys.executable, "-c", _BARE, str(listed), str(results), url, str(JOBS)],
        }
        costs: dict[str, list[Cost]] = {variant: [] for variant in variants}
        for _ in range(pairs):
            for variant, arguments in variants.items():
                costs[variant].append(_measure(arguments, url, results))
    server.communicate("")
    for variant, spent in costs.items():
        rate, cpu, switches = (
            statistics.median(figures)
            for figures in zip(*((IMAGES / one.wall, one.cpu, one.switches) for one in spent), strict=True)
        )
        print(
            f"small images, {variant}: {rate:.0f} images/s, "
            f"{1000 * cpu / IMAGES:.1f} ms of CPU and {switches / IMAGES:.0f} context switches each"
        )
    both = list(zip(costs["qvision"], costs["bare loop"], strict=True))
    what = f"{IMAGES:,} small images, answers after {LATENCY} s, {JOBS} at once"
    return [
        Ratio(f"{what}: time, of a bare loop", [ours.wall / bare.wall for ours, bare in both], 1 / 0.75),
        Ratio(f"{what}: CPU, of a bare loop", [ours.cpu / bare.cpu for ours, bare in both]),
    ]
