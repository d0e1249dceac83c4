"""The offline endpoint: an httpx transport that answers like a real server, without network, model or key.

It decodes the images that it receives, and reports what it measures in them. So a first try needs no key, and testing a
script costs nothing. It shares no code with ``request`` and ``answer``, so it also checks what they send and read.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from io import BytesIO
from math import dist, gcd
from typing import Any

import httpx
from PIL import Image, ImageFilter, ImageStat

from ..images.decode import DECODE_ERRORS

_NAMED_COLORS = {
    "black": (0, 0, 0), "dark gray": (64, 64, 64), "gray": (128, 128, 128), "light gray": (200, 200, 200),
    "white": (255, 255, 255), "red": (200, 30, 30), "dark red": (110, 20, 20), "orange": (235, 130, 30),
    "brown": (120, 75, 40), "beige": (225, 205, 165), "yellow": (240, 215, 60), "olive": (120, 120, 40),
    "green": (50, 150, 60), "dark green": (25, 75, 35), "light green": (150, 210, 140), "teal": (30, 130, 130),
    "cyan": (90, 210, 225), "sky blue": (135, 190, 235), "blue": (40, 80, 200), "navy": (20, 30, 90),
    "steel blue": (75, 115, 160), "ocean blue": (30, 85, 135), "purple": (120, 50, 150), "pink": (240, 160, 190), "magenta": (210, 40, 160),
}  # fmt: skip
#: Percent; smaller shares are omitted.
_MIN_SHARE_PERCENT = 4


class OfflineTransport(httpx.BaseTransport):
    """Answers requests for chat completions, streamed or not, and for the list of its one model.

    Args:
        delay: seconds between the words of a stream.
    """

    #: Only a name; it is never looked up.
    URL = "http://offline.localhost/v1"

    def __init__(self, *, delay: float = 0.008) -> None:
        self._delay = delay

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; an invalid one gets status 400 with an error in OpenAI's form."""
        started = time.perf_counter()
        if request.method == "GET" and request.url.path.endswith("/models"):
            return httpx.Response(200, json={"object": "list", "data": [{"id": "offline", "object": "model"}]})
        try:
            body = json.loads(request.read())
            text = _build_answer(body)
        except (ValueError, LookupError, TypeError) as error:
            return httpx.Response(400, json={"error": {"message": str(error), "type": "invalid_request_error"}})
        answer = _Answer(text, _count_words(body), started, self._delay)
        if body.get("stream"):
            return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=answer)
        return httpx.Response(200, json=answer.build_document())


class _Answer(httpx.SyncByteStream):
    """An answer, as a stream with one word per chunk, or as one document. Words are counted as tokens."""

    def __init__(self, text: str, prompt_tokens: int, started: float, delay: float) -> None:
        self._words = re.findall(r"\S+\s*", text)
        self._prompt_tokens = prompt_tokens
        self._started = started
        self._delay = delay

    def __iter__(self) -> Iterator[bytes]:
        first = time.perf_counter()
        for word in self._words:
            yield _encode_event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            time.sleep(self._delay)
        yield _encode_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield _encode_event({"choices": []} | self._build_metrics(first))
        yield b"data: [DONE]\n\n"

    def build_document(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self._words)}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return _build_common_fields("chat.completion") | {"choices": choices} | self._build_metrics(time.perf_counter())

    def _build_metrics(self, first: float) -> dict[str, Any]:
        now, words = time.perf_counter(), len(self._words)
        return {
            "usage": {
                "prompt_tokens": self._prompt_tokens,
                "completion_tokens": words,
                "total_tokens": self._prompt_tokens + words,
            },
            "x_metrics": {
                "ttft_seconds": round(first - self._started, 3),
                "tps": round(words / max(now - first, 1e-3), 1),
                "total_time_seconds": round(now - self._started, 3),
            },
        }


def _encode_event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(_build_common_fields("chat.completion.chunk") | chunk).encode() + b"\n\n"


def _build_common_fields(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-offline", "object": kind, "created": int(time.time()), "model": "offline"}


def _get_parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _count_words(body: dict[str, Any]) -> int:
    return sum(len(part["text"].split()) for part in _get_parts(body) if part["type"] == "text")


def _build_answer(body: dict[str, Any]) -> str:
    parts = _get_parts(body)
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    if schema is not None:
        from ..schema.example import EXAMPLE_TEXT, example_for

        if isinstance(schema, dict) and schema.get("title") == "verdict":  # a yes-or-no question
            return json.dumps({"answer": "unsure", "reason": EXAMPLE_TEXT})
        if isinstance(schema, dict) and schema.get("title") == "boxes":  # the places of an object
            return "[]"
        return json.dumps(example_for(schema))
    prompt = next((part["text"] for part in parts if part["type"] == "text"), "")
    paragraphs = [
        "**No model was asked:** this is the offline endpoint built into qvision, and it only measures what it was sent.",
        f"You asked: {' '.join(prompt.split())}",
    ]
    for number, url in enumerate(urls, 1):
        if len(urls) > 1:
            paragraphs.append(f"### Image {number}")
        paragraphs.append(_describe_image(url))
    paragraphs.append(
        "For a real answer, set QUBRID_API_KEY (keys: platform.qubrid.com/api-keys) and leave out `--offline`."
    )
    return "\n\n".join(paragraphs)


def _describe_image(url: str) -> str:
    if not url.startswith("data:"):
        return "This is a link. It was not fetched, so nothing was measured."
    try:
        data = base64.b64decode(url.partition(",")[2], validate=True)
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            image.load()
            return "\n".join(f"- {line}" for line in _measure_image(image, len(data)))
    except DECODE_ERRORS as error:
        raise ValueError(f"the image cannot be decoded: {error}") from error


def _measure_image(image: Image.Image, size: int) -> Iterator[str]:
    width, height = image.size
    shape = "square" if width == height else "landscape" if width > height else "portrait"
    yield f"**Sent as** {image.format}, {width} × {height} pixels, {size / 1000:.0f} KB"
    yield f"**Shape:** {shape}, {_format_ratio(width, height)}"
    # The rest is measured on a small copy, which is faster and gives the same results.
    small = image.convert("RGB")
    small.thumbnail((256, 256))
    yield f"**Colors:** {', '.join(f'{name} {share} %' for name, share in _compute_color_shares(small))}"
    gray = small.convert("L")
    tone = ImageStat.Stat(gray)
    yield f"**Brightness:** {_choose_word(tone.mean[0], 85, 170, 'dark', 'medium', 'bright')} ({tone.mean[0]:.0f} of 255)"
    yield f"**Contrast:** {_choose_word(tone.stddev[0], 30, 70, 'low', 'medium', 'high')} (standard deviation {tone.stddev[0]:.0f})"
    inside = (1, 1, max(2, gray.width - 1), max(2, gray.height - 1))  # the filter does not change the border
    edges = ImageStat.Stat(gray.filter(ImageFilter.FIND_EDGES).crop(inside)).mean[0]
    yield f"**Detail:** {_choose_word(edges, 10, 30, 'smooth', 'moderate', 'fine')} (mean edge {edges:.0f} of 255)"
    yield f"**Transparency:** {'yes' if image.has_transparency_data else 'none'}"


def _format_ratio(width: int, height: int) -> str:
    divisor = gcd(width, height)
    if max(width, height) // divisor <= 32:
        return f"{width // divisor}:{height // divisor}"
    return f"about {width / height:.2f}:1" if width >= height else f"about 1:{height / width:.2f}"


def _choose_word(value: float, low: float, high: float, *words: str) -> str:
    return words[0] if value < low else words[1] if value < high else words[2]


def _compute_color_shares(image: Image.Image) -> list[tuple[str, int]]:
    """The named colors nearest to the pixels, with their shares in percent, the largest first."""
    tiny = image.resize((min(64, image.width), min(64, image.height)))
    counts: dict[str, int] = {}
    for count, color in tiny.getcolors(tiny.width * tiny.height) or ():
        assert isinstance(color, tuple)
        name = min(_NAMED_COLORS, key=lambda name: dist(color, _NAMED_COLORS[name]))
        counts[name] = counts.get(name, 0) + count
    shares = [
        (name, round(100 * counts[name] / sum(counts.values()))) for name in sorted(counts, key=counts.__getitem__)
    ]
    return [(name, share) for name, share in reversed(shares) if share >= _MIN_SHARE_PERCENT] or shares[-1:]
