"""The offline endpoint: true measurements, in the form of a real server."""

import json
from base64 import b64encode
from io import BytesIO
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from qubrid_cli.client.offline import OfflineTransport

from ..support import draw

URL = "https://platform.qubrid.com/v1/chat/completions"
FIRST = (
    "**No model was asked:** this is the offline endpoint built into qvision, and it only measures what it was sent."
)


def file(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{b64encode(data).decode()}"


def body(*urls: str, prompt: str = "what is this?", stream: bool = False) -> dict[str, Any]:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [{"type": "text", "text": prompt}, *images]
    return {"model": "any", "stream": stream, "messages": [{"role": "user", "content": content}]}


def post(asked: object) -> httpx.Response:
    content = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    with httpx.Client(transport=OfflineTransport(delay=0)) as client:
        return client.post(URL, content=content)


def answer(*urls: str, prompt: str = "what is this?") -> str:
    text = post(body(*urls, prompt=prompt)).json()["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def statement(picture: Image.Image, about: str) -> str:
    """The line about one property of an image."""
    return next(line for line in answer(data_url(file(picture))).splitlines() if line.startswith(f"- **{about}"))


def chunks(response: httpx.Response) -> list[Any]:
    """The events of a stream, each of one line, without the last one."""
    events = response.content.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


PLAIN = data_url(file(Image.new("RGB", (400, 300), (200, 30, 30))))


def test_an_image_is_described_by_measurements() -> None:
    picture = Image.new("RGB", (400, 300), (200, 30, 30))
    picture.paste((255, 255, 255), (0, 0, 100, 300))
    data = file(picture)
    lines = answer(data_url(data), prompt="what\nis  this?").splitlines()
    assert lines[:8] == [
        FIRST,
        "",
        "You asked: what is this?",
        "",
        f"- **Sent as** PNG, 400 × 300 pixels, {len(data) / 1000:.0f} KB",
        "- **Shape:** landscape, 4:3",
        "- **Colors:** red 75 %, white 25 %",
        "- **Brightness:** medium (124 of 255)",
    ]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((300, 400), "portrait, 3:4"),
        ((64, 64), "square, 1:1"),
        ((1000, 333), "landscape, about 3.00:1"),
        ((333, 1000), "portrait, about 1:3.00"),
    ],
)
def test_shapes(size: tuple[int, int], said: str) -> None:
    assert statement(Image.new("RGB", size), "Shape") == f"- **Shape:** {said}"


@pytest.mark.parametrize(("name", "rgb"), [("black", 0), ("white", 0xFFFFFF), ("yellow", 0x37D2F5), ("navy", 0x5A1E14)])
def test_colors(name: str, rgb: int) -> None:
    assert statement(Image.new("RGB", (64, 64), rgb), "Colors") == f"- **Colors:** {name} 100 %"


@pytest.mark.parametrize(("level", "word"), [(0, "dark"), (128, "medium"), (255, "bright")])
def test_brightness(level: int, word: str) -> None:
    said = statement(Image.new("L", (64, 64), level), "Brightness")
    assert said == f"- **Brightness:** {word} ({level} of 255)"


def test_contrast() -> None:
    picture = Image.new("L", (64, 64))
    picture.paste(255, (0, 0, 32, 64))
    said = [statement(image, "Contrast") for image in (picture, Image.new("L", (64, 64)))]
    assert said == [
        "- **Contrast:** high (standard deviation 128)",
        "- **Contrast:** low (standard deviation 0)",
    ]


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (800, 600)])
def test_a_blank_white_page_has_no_detail(size: tuple[int, int]) -> None:
    assert statement(Image.new("L", size, 255), "Detail") == "- **Detail:** smooth (mean edge 0 of 255)"


def test_a_chessboard_has_fine_detail() -> None:
    board = Image.frombytes("L", (64, 64), (b"\0\0\xff\xff" * 16 * 2 + b"\xff\xff\0\0" * 16 * 2) * 16)
    assert statement(board, "Detail").startswith("- **Detail:** fine")


@pytest.mark.parametrize(("mode", "said"), [("RGBA", "yes"), ("RGB", "none")])
def test_transparency(mode: str, said: str) -> None:
    assert statement(Image.new(mode, (64, 64)), "Transparency") == f"- **Transparency:** {said}"


def test_several_images_are_numbered() -> None:
    headings = [line for line in answer(PLAIN, PLAIN, PLAIN).splitlines() if line.startswith("#")]
    assert headings == ["### Image 1", "### Image 2", "### Image 3"]


def test_a_link_is_not_fetched() -> None:
    assert answer("https://example.com/a.jpg").split("\n\n")[2] == (
        "This is a link. It was not fetched, so nothing was measured."
    )


def test_a_prompt_alone_is_answered() -> None:
    asked = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there"}]}
    said = post(asked).json()["choices"][0]["message"]["content"]
    assert said.split("\n\n")[:2] == [FIRST, "You asked: hello there"]


def test_the_stream_says_what_the_document_says() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(post(body(PLAIN, stream=True))) if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == answer(PLAIN)


def test_the_stream_comes_a_word_at_a_time() -> None:
    streamed = chunks(post(body(PLAIN, stream=True)))
    assert [chunk["choices"][0]["delta"]["content"].strip() for chunk in streamed[:-2]] == answer(PLAIN).split()


def test_the_stream_ends_with_a_reason_and_then_the_figures() -> None:
    reason, figures = chunks(post(body(PLAIN, stream=True)))[-2:]
    said = len(answer(PLAIN).split())
    assert (reason["choices"], figures["choices"], figures["usage"]) == (
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        [],
        {"prompt_tokens": 3, "completion_tokens": said, "total_tokens": 3 + said},
    )


@pytest.mark.parametrize("stream", [True, False])
def test_the_figures_are_measured(*, stream: bool) -> None:
    response = post(body(PLAIN, stream=stream))
    figures = (chunks(response)[-1] if stream else response.json())["x_metrics"]
    assert figures.keys() == {"ttft_seconds", "tps", "total_time_seconds"}
    assert 0 <= figures["ttft_seconds"] <= figures["total_time_seconds"] < 10


@pytest.mark.parametrize(("stream", "kind"), [(True, "text/event-stream"), (False, "application/json")])
def test_content_types(*, stream: bool, kind: str) -> None:
    assert post(body(PLAIN, stream=stream)).headers["Content-Type"] == kind


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "url",
    [
        pytest.param("data:image/png;base64,%%%%", id="no base64"),
        pytest.param("data:image/png;base64,", id="nothing"),
        pytest.param(data_url(b"no image"), id="text"),
        pytest.param(data_url(file(Image.new("RGB", (64, 64)), "GIF")), id="a format that endpoints do not read"),
        pytest.param(data_url(file(draw.lighthouse(96, 64), "JPEG")[:-400]), id="cut off"),
    ],
)
def test_an_image_that_cannot_be_decoded_is_a_bad_request(url: str, *, stream: bool) -> None:
    response = post(body(url, stream=stream))
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["message"].partition(":")[0]) == (
        400, "invalid_request_error", "the image cannot be decoded",
    )  # fmt: skip


@pytest.mark.parametrize("asked", [b"no json", b"[]", {}, {"messages": []}, {"messages": [{"role": "user"}]}])
def test_an_invalid_request_gets_status_400(asked: object) -> None:
    assert post(asked).status_code == 400


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@example(edits=[(35, 0)])  # a PNG's chunk loses its length: Pillow raises SyntaxError
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_image_gets_an_answer_too(kind: str, edits: list[tuple[int, int]]) -> None:
    data = bytearray(file(draw.lighthouse(20, 16), kind))
    for place, value in edits:
        data[place % len(data)] = value
    assert post(body(data_url(bytes(data)))).status_code in {200, 400}
