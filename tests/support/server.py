"""A real HTTP server on loopback that plays an endpoint: its responses are scripted to the byte, requests are recorded.

It speaks HTTP/1.1 over asyncio sockets by itself, so that a test can also let it do what a well-behaved server never
does: fall silent, or hang up in mid-stream.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

EVENT_STREAM = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}
USAGE = {"prompt_tokens": 120, "completion_tokens": 48, "total_tokens": 168}
X_METRICS = {"ttft_seconds": 0.41, "tps": 38.4, "total_time_seconds": 1.92}


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def image_url(self) -> str:
        return self.image_urls[0]

    @property
    def image_urls(self) -> list[str]:
        parts = self.json["messages"][-1]["content"]
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


@dataclass(frozen=True)
class Hold:
    """Wait here until the test sets it (or the server is closed)."""

    event: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Pause:
    """Wait here for some seconds: a stream has a speed."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """What to answer: pieces are sent one by one as chunks of a chunked body; ``hang_up`` leaves its end away."""

    pieces: Sequence[bytes | Hold | Pause] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: EVENT_STREAM)
    hang_up: bool = False


def event(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def delta(text: str, *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "test/vlm", "choices": [choice]})


def figures() -> bytes:
    return event({"id": "chatcmpl-1", "choices": [], "usage": USAGE, "x_metrics": X_METRICS})


DONE = b"data: [DONE]\n\n"


def stream(*texts: str) -> Reply:
    """A whole, well-formed answer."""
    return Reply([*(delta(text) for text in texts), delta("", finish="stop"), figures(), DONE])


def document(text: str) -> Reply:
    message = {"role": "assistant", "content": text}
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "test/vlm",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
        "x_metrics": X_METRICS,
    }
    return Reply([json.dumps(whole).encode()], headers=JSON)


def refusal(status: int, body: object, **headers: str) -> Reply:
    return Reply([json.dumps(body).encode()], status=status, headers=JSON | headers)


class Loopback:
    """A listening socket on loopback and a thread that serves it.

    Args:
        tls: speak TLS with it.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._closing = threading.Event()
        self.connections = 0
        self.connected = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        starting = asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected.set()
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):  # the client has gone, as some tests want it, or the test has
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        ours = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not ours]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Raw(Loopback):
    """Reads each request whole and leaves the rest to a script, which may do to the socket what it likes.

    Args:
        script: called with the writer and the request's number, from 1.
    """

    def __init__(
        self, script: Callable[[asyncio.StreamWriter, int], Awaitable[None]], tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self.asked: list[Asked] = []
        super().__init__(tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _read(reader)
        if asked is not None:
            self.asked.append(asked)
            await self._script(writer, len(self.asked))


class Server(Loopback):
    """The server; ``answer`` is a reply, or a function from a request to one."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answer: Reply | Callable[[Asked], Reply] = stream("A lighthouse.")
        self.asked: list[Asked] = []
        super().__init__(tls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _read(reader)
        if asked is None:
            return
        self.asked.append(asked)
        reply = self.answer(asked) if callable(self.answer) else self.answer
        await self._write(reply, writer)

    async def _write(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        head = {"Transfer-Encoding": "chunked", "Connection": "close"} | reply.headers
        lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in head.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        for piece in reply.pieces:
            match piece:
                case Hold():
                    await self._held(piece.event)
                case Pause():
                    await asyncio.sleep(piece.seconds)
                case _:
                    writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    await writer.drain()
        if not reply.hang_up:
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _held(self, event: threading.Event) -> None:
        while not event.is_set() and not self._closing.is_set():
            await asyncio.to_thread(event.wait, 0.02)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head.rstrip().split("\r\n")
    method, path, _ = start.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
