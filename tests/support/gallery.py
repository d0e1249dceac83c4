"""A server that knows its images by name and answers by a rule, and the helpers of the batch tests."""

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..conftest import VALIDATOR, Run
from .server import Asked, Reply, Server, document, refusal

RESET = Reply(status=0)
BUSY = refusal(429, {"error": {"message": "slow down"}}, **{"Retry-After": "0"})
OVERLOADED = refusal(503, {"error": {"message": "overloaded"}}, **{"Retry-After": "0"})
BROKEN = refusal(500, {"error": {"message": "it crashed"}})
REFUSED = refusal(400, {"error": {"message": "no such picture", "code": "invalid_image"}})


Rule = Callable[[str, int], Reply]


def answered(name: str, _: int) -> Reply:
    return document(f"This is {name}.")


class Gallery(Server):
    """An endpoint that knows the images by name; its rule says what to answer, by name and number of the try."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.tries: Counter[str] = Counter()
        self.rule: Rule = answered
        self.in_flight = self.most_at_once = 0
        super().__init__()
        self.answer = self._by_rule

    def _by_rule(self, asked: Asked) -> Reply:
        contents = [message["content"] for message in asked.json["messages"] if isinstance(message["content"], list)]
        (url,) = [part["image_url"]["url"] for part in contents[0] if part["type"] == "image_url"]
        name = self.names[digest(base64.b64decode(url.partition(",")[2]))]
        self.tries[name] += 1
        return self.rule(name, self.tries[name])

    async def _write(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            if reply is RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                await super()._write(reply, writer)
        finally:
            self.in_flight -= 1


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Draw(Protocol):
    def __call__(self, *names: str | bytes) -> list[Path]: ...


def numbered(count: int) -> list[str]:
    return [f"{number:04}.png" for number in range(count)]


class Batch(Protocol):
    def __call__(self, *arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = ...) -> Run: ...


def lines(path: Path) -> list[Any]:
    """The lines of a results file, each held against the schema."""
    found = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    for one in found:
        VALIDATOR.validate(one)
    return found


def source(line: Any) -> str:
    return os.path.basename(str(line["images"][0]["source"]))


def texts(found: list[Any]) -> dict[str, str]:
    return {source(line): line["text"] for line in found if line["ok"]}
