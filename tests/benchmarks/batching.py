"""The cost of a batch of many photos: its CPU compared with preparing them alone, its time with the shortest possible.

Photos of 12 megapixels, each with its own prompt, go to a server on loopback that answers after a fixed time. CPU is that of
the whole process, start-up included, as the system counts it; the server's is not part of it, but on a machine with few cores
it takes its share of the time. The variants alternate:

- alone: ``prepare_image`` in as many threads as there are cores, and nothing else;
- ours: ``qvision batch``, not streamed, and streamed;
- the peer: ``xargs -P`` over ``vipsthumbnail``, ``base64`` and ``curl``, one shell per photo; skipped if one is missing;
- ``xargs -P`` over ``llm``, which sends photos unchanged; with fewer photos, because it is slow.

The shortest possible time is the larger of (CPU of preparing / cores) and (time of the answers / concurrent requests). On a
busy machine, the time that preparing alone took in the same round is the better measure of the first.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..conftest import command, environment
from ..support import draw
from ..support.server import EVENT_STREAM, JSON, Loopback, delta, document, figures
from . import peers
from .pairs import Ratio

PHOTOS = 60
#: Photos for ``llm``.
FEW = 16
JOBS = 8
#: Seconds until an answer: short, so that the CPU is the limit, and long, so that the server is.
LATENCIES = (0.1, 1.5)
WORDS = 48

_ALONE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from qubrid_cli.images import encode, prepare, sources
import os
with ThreadPoolExecutor(os.cpu_count()) as pool:
    for _ in pool.map(lambda name: prepare.prepare_image(sources.File(name, Path(name)), encode.ImageLimits()), sys.argv[1:]):
        pass
"""
#: What qvision does to one photo: upright, 2,621,440 pixels, no metadata, quality 85, base64 in JSON.
PEER = """
{ printf '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"caption"},'
  printf '{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,'
  vipsthumbnail "$1" --size 1856x1856 -o '.jpg[Q=85,strip]' | base64 -w0
  printf '"}}]}],"max_tokens":16384,"temperature":0.1,"top_p":1,"stream":false}'
} | curl -s -H 'Content-Type: application/json' -H 'Expect:' --data-binary @- "$URL/chat/completions"
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of a process and of its children."""

    cpu: float
    wall: float


class Slow(Loopback):
    """Answers after a fixed time; keeps connections open."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        super().__init__()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            left = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
            tail = b""
            while left:
                piece = await reader.read(left)
                left -= len(piece)
                tail = (tail + piece)[-400:]
            await (self._stream(writer) if b'"stream":true' in tail else self._whole(writer))
            await writer.drain()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        with suppress(asyncio.IncompleteReadError):  # the client has closed
            return (await reader.readuntil(b"\r\n\r\n")).lower()
        return b""

    async def _whole(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._latency)
        (body,) = document("word " * WORDS).pieces
        assert isinstance(body, bytes)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        kind = EVENT_STREAM["Content-Type"]
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for event in (*[delta("word ")] * WORDS, delta("", finish="stop") + figures() + b"data: [DONE]\n\n"):
            await asyncio.sleep(self._latency / WORDS)
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        writer.write(b"0\r\n\r\n")


def serve() -> None:
    """The server's process: print the URL, then serve until standard input ends."""
    with Slow(float(sys.argv[1])) as server:
        print(server.url, flush=True)
        sys.stdin.read()


def cost(arguments: Sequence[str], url: str, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Cost:
    """Run a program, which must succeed."""
    before, start = os.times(), time.perf_counter()
    env = env or environment({"URL": url, "QUBRID_BASE_URL": url})
    subprocess.run(arguments, input=stdin, stdout=subprocess.DEVNULL, env=env, check=True)
    wall, after = time.perf_counter() - start, os.times()
    return Cost(
        after.children_user + after.children_system - before.children_user - before.children_system,
        wall,
    )


def ours(folder: Path, url: str, *options: str) -> Cost:
    results = folder / "results.jsonl"
    results.unlink(missing_ok=True)
    found = cost(command("batch", "--from", folder / "list.jsonl", "-o", results, "-j", JOBS, "-q", *options), url)
    assert len(results.read_bytes().splitlines()) == PHOTOS
    return found


def alone(names: Sequence[str], url: str) -> Cost:
    return cost([sys.executable, "-c", _ALONE, *names], url)


def peer(names: Sequence[str], url: str) -> Cost:
    listed = b"\0".join(map(os.fsencode, names))
    return cost(["xargs", "-0", "-n", "1", "-P", str(JOBS), "sh", "-c", PEER, "sh"], url, stdin=listed)


def with_llm(names: Sequence[str], url: str, folder: Path) -> Cost:
    """``xargs`` over ``llm``; the seconds are scaled to as many photos as the others have."""
    program = [str(peers.llm() / "llm"), "-m", "stub", "caption", "--no-log", "--no-stream", "-a"]
    few = names[:FEW]
    listed = b"\0".join(map(os.fsencode, few))
    env = peers.clean() | peers.llm_settings(folder, url)
    found = cost(["xargs", "-0", "-n", "1", "-P", str(JOBS), *program], url, stdin=listed, env=env)
    return Cost(found.cpu * len(names) / len(few), found.wall * len(names) / len(few))


def run(pairs: int) -> list[Ratio]:
    """The ratios."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = [str(folder / f"{number}.jpg") for number in range(PHOTOS)]
        draw.photo(Path(names[0]), 3000, 4000)
        for other in names[1:]:
            os.link(names[0], other)
        rows = [{"image": image, "prompt": f"caption {number}"} for number, image in enumerate(names)]
        (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for latency in LATENCIES:
            found += _run_at(latency, folder, names, pairs)
    return found


def _run_at(latency: float, folder: Path, names: Sequence[str], pairs: int) -> list[Ratio]:
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(latency)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    ways: dict[str, Callable[[], Cost]] = {
        "alone": lambda: alone(names, url),
        "qvision": lambda: ours(folder, url),
        "streamed": lambda: ours(folder, url, "--stream"),
    }
    if not peers.missing("xargs", "vipsthumbnail", "base64", "curl"):
        ways["peer"] = lambda: peer(names, url)
    if latency == LATENCIES[0] and not peers.missing("xargs"):
        with_llm(names[:1], url, folder)  # makes its database, which several at once cannot
        ways["llm"] = lambda: with_llm(names, url, folder)
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for _ in range(pairs):
        for way, taken in ways.items():
            costs[way].append(taken())
    server.communicate("")
    mine, bare = (1000 * statistics.median(one.cpu for one in costs[way]) / PHOTOS for way in ("qvision", "alone"))
    print(f"an image of a batch, answers after {latency} s: {mine:.0f} ms of CPU, {bare:.0f} ms of it to prepare it")
    return list(_ratios(f"{PHOTOS} photos of 12 MP, answers after {latency} s", latency, costs))


def _ratios(what: str, latency: float, costs: Mapping[str, Sequence[Cost]]) -> Iterator[Ratio]:
    mine = costs["qvision"]
    answered = latency * PHOTOS / JOBS

    def cpu(name: str, way: Sequence[Cost], other: Sequence[Cost], target: float | None = None) -> Ratio:
        pairs = [one.cpu / that.cpu for one, that in zip(way, other, strict=True)]
        return Ratio(f"{what}: CPU{name}", pairs, target)

    yield cpu(", of preparing alone", mine, costs["alone"])
    yield cpu(" streamed, of not", costs["streamed"], mine)
    least = [max(bare.cpu / (os.cpu_count() or 1), answered) for bare in costs["alone"]]
    yield Ratio(
        f"{what}: time, of the shortest possible", [one.wall / low for one, low in zip(mine, least, strict=True)]
    )
    met = [max(bare.wall, answered) for bare in costs["alone"]]
    yield Ratio(
        f"{what}: time, of the shortest by what preparing took",
        [one.wall / low for one, low in zip(mine, met, strict=True)],
    )
    if "peer" in costs:
        yield cpu(f", of xargs -P{JOBS} vipsthumbnail + curl", mine, costs["peer"], 0.85)
        pairs = [one.wall / that.wall for one, that in zip(mine, costs["peer"], strict=True)]
        yield Ratio(f"{what}: time, of xargs -P{JOBS} vipsthumbnail + curl", pairs)
    if "llm" in costs:
        yield cpu(f", of xargs -P{JOBS} llm", mine, costs["llm"], 0.16)


if __name__ == "__main__":
    serve()
