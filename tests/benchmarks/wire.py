"""The time from the start of a program to the complete request at a server on loopback, beside other ways to send it.

The photos are those of ``preparation``. The prompt is the same, and each variant makes a JPEG of quality 85 that is at most 1,856
pixels wide, but for ``llm``, which sends the file as it is:

- ``vipsthumbnail``, ``base64`` and ``curl``, joined by pipes in a shell;
- the ``openai`` SDK and Pillow, as most people write it: turn, ``thumbnail`` with Lanczos, save;
- ``llm`` with an attachment.
"""

import asyncio
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..support.server import Loopback, document
from . import peers
from .batching import PEER
from .pairs import Ratio, cost, median_ms
from .preparation import written

_NAIVE = """
import base64, io, sys
from openai import OpenAI
from PIL import Image, ImageOps
picture = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB")
picture.thumbnail((1856, 1856), Image.Resampling.LANCZOS)
stream = io.BytesIO()
picture.save(stream, "JPEG", quality=85)
url = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
content = [{"type": "text", "text": "caption"}, {"type": "image_url", "image_url": {"url": url}}]
answer = OpenAI(base_url=sys.argv[2], api_key="k").chat.completions.create(
    model="m", messages=[{"role": "user", "content": content}], max_tokens=16384, temperature=0.1, top_p=1)
print(answer.choices[0].message.content)
"""
#: The targets for a photo of 12 MP.
_TARGETS = {"vipsthumbnail + base64 + curl": 1.65, "llm": 0.33, "openai + Pillow": 0.30}


class Stopwatch(Loopback):
    """Notes when a connection was opened and when a request was there; then answers, and closes."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.opened = self.complete = 0.0
        super().__init__(tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened = time.perf_counter()
        with suppress(asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            left = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
            while left:
                left -= len(await reader.read(left))
            self.complete = time.perf_counter()
            (body,) = document("a lighthouse").pieces
            assert isinstance(body, bytes)
            kind = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(kind.encode() + body)
            await writer.drain()


@dataclass(frozen=True)
class _Times:
    """Seconds from the start of the program; and its CPU."""

    opened: float
    complete: float
    cpu: float


def _timed(server: Stopwatch, arguments: Sequence[str], env: Mapping[str, str]) -> _Times:
    server.complete = 0.0
    start = time.perf_counter()
    spent = cost(arguments, env)
    assert server.complete > start
    return _Times(server.opened - start, server.complete - start, spent.cpu)


def _ways(url: str, folder: Path) -> dict[str, Callable[[str], tuple[Sequence[str], Mapping[str, str]]]]:
    """Each way by its name: the program and its environment for a photo."""
    env = peers.clean()
    asks = [str(peers.qvision() / "qvision"), "describe", "caption", "--no-stream", "--base-url", url]
    ways: dict[str, Callable[[str], tuple[Sequence[str], Mapping[str, str]]]] = {
        "qvision": lambda photo: ([*asks, photo], env | {"QUBRID_API_KEY": "k"}),
    }
    if not peers.missing("vipsthumbnail", "base64", "curl"):
        ways["vipsthumbnail + base64 + curl"] = lambda photo: (["sh", "-c", PEER, "sh", photo], env | {"URL": url})
    with suppress(subprocess.CalledProcessError):
        python = str(peers.naive() / "python")
        ways["openai + Pillow"] = lambda photo: ([python, "-c", _NAIVE, photo, url], env)
    with suppress(subprocess.CalledProcessError):
        program = str(peers.llm() / "llm")
        settings = env | peers.llm_settings(folder, url)
        ways["llm"] = lambda photo: (
            [program, "-m", "stub", "caption", "-a", photo, "--no-log", "--no-stream"],
            settings,
        )
    for name in _TARGETS:
        if name not in ways:
            print(f"left out: {name}")
    return ways


def run(pairs: int) -> list[Ratio]:
    """The ratios."""
    found: list[Ratio] = []
    with tempfile.TemporaryDirectory() as name, Stopwatch() as server:
        ways = _ways(server.url, Path(name))
        for kind in ("12 MP JPEG", "24 MP JPEG"):
            photo = str(written(Path(name), kind))
            times: dict[str, list[_Times]] = {way: [] for way in ways}
            for number in range(pairs + 1):
                for way, made in ways.items():
                    one = _timed(server, *made(photo))
                    if number:  # the first only warms what the system caches
                        times[way].append(one)
            found += _ratios(kind, times)
    return found


def _ratios(kind: str, times: Mapping[str, Sequence[_Times]]) -> list[Ratio]:
    for way, all_of in times.items():
        print(
            f"{kind}, {way}: connection open after {median_ms(one.opened for one in all_of)}, "
            f"body complete after {median_ms(one.complete for one in all_of)}, CPU {median_ms(one.cpu for one in all_of)}"
        )
    ours = times["qvision"]
    found = [Ratio(f"{kind}: connection open, of the time to the body", [one.opened / one.complete for one in ours])]
    for way, theirs in times.items():
        if way != "qvision":
            both = list(zip(ours, theirs, strict=True))
            target = _TARGETS[way] if kind.startswith("12") else None
            found.append(
                Ratio(
                    f"{kind}: time to the complete body, of {way}", [a.complete / b.complete for a, b in both], target
                )
            )
    return found
