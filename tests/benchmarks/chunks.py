"""The cost of reading a stream per chunk, compared with the minimum for any client.

The minimum is httpx's raw bytes, split at line feeds, with ``json.loads`` for each line. Both read the same 50,000 chunks from
the same server on loopback, alternating. CPU is that of this process; the server is another one. Memory is Python's peak
while the stream is read, without the text itself.
"""

import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

import httpx

from qubrid_cli.client import request
from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.retry import RetryLimits
from qubrid_cli.describe.run import RequestOptions, collect, describe

from .pairs import Ratio

CHUNKS = 50_000
REQUEST = request.Request("m", "p", (), 9, 0.1, 1.0)


def serve() -> None:
    """The server's process: print the URL, then answer every request with the same stream until standard input ends."""
    from ..support.server import DONE, Reply, Server, delta, figures

    with Server() as server:
        pieces = [b"".join(delta(f"w{n} ") for n in range(start, start + 10)) for start in range(0, CHUNKS, 10)]
        server.answer = Reply([*pieces, delta("", finish="stop"), figures(), DONE])
        print(server.url, flush=True)
        sys.stdin.read()


def least(url: str) -> str:
    """Lines of JSON only: no framing rules, no tolerance, no errors."""
    texts, rest = [], b""
    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", f"{url}/chat/completions", content=b"{}") as response,
    ):
        for data in response.iter_raw():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    choices = json.loads(line[6:])["choices"]
                    texts.append(choices[0]["delta"].get("content") or "" if choices else "")
    return "".join(texts)


def ours(url: str) -> str:
    """Everything up to the finished description."""
    with Endpoint(url, timeout=60) as endpoint:
        return collect(describe(endpoint, REQUEST, (), RequestOptions(RetryLimits()))).text


def cpu(work: Callable[[str], str], url: str) -> tuple[float, str]:
    start = time.process_time()
    text = work(url)
    return time.process_time() - start, text


def peak(work: Callable[[str], str], url: str) -> float:
    tracemalloc.start()
    text = work(url)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (most - 2 * len(text)) / 1e6


def run(pairs: int) -> list[Ratio]:
    """The ratio."""
    server = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert least(url) == ours(url)
    spent = [(cpu(ours, url)[0], cpu(least, url)[0]) for _ in range(pairs)]
    mine, bare = (1e6 * statistics.median(way) / CHUNKS for way in zip(*spent, strict=True))
    print(f"reading a chunk: {mine:.1f} µs against {bare:.1f} µs")
    print(f"memory beside the text: {peak(ours, url):.1f} MB against {peak(least, url):.1f} MB")
    server.communicate("")
    return [Ratio(f"reading {CHUNKS:,} chunks: CPU, of the minimum", [a / b for a, b in spent])]


if __name__ == "__main__":
    serve()
