"""The library: one request, streams, many requests, threads, pickles; and what importing it loads."""

import io
import itertools
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import qubrid_cli
from qubrid_cli import Client, Description, describe
from qubrid_cli.errors import (
    AuthError,
    ConfigError,
    EndpointError,
    ImageError,
    IncompleteAnswerError,
    QvisionError,
    UsageError,
)
from qubrid_cli.library.setup import ClientOptions
from qubrid_cli.settings.fields import OPTIONS

from ..conftest import KEY, VALIDATOR, at_home, environment
from ..support.draw import IMAGES
from ..support.server import DONE, Asked, Hold, Raw, Reply, Server, delta, refusal, stream
from . import example

LIGHTHOUSE = IMAGES / "lighthouse.jpg"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    """No settings but the key and the address of the server."""
    for name, value in {**at_home(tmp_path / "home"), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}.items():
        monkeypatch.setenv(name, value)


def get_prompt(asked: Asked) -> str:
    return str(next(part["text"] for part in asked.json["messages"][-1]["content"] if part["type"] == "text"))


def decode(asked: Asked) -> Image.Image:
    """The image that a request has."""
    import base64

    return Image.open(io.BytesIO(base64.b64decode(asked.image_url.partition(",")[2])))


def test_a_description_has_the_answer_and_the_facts(server: Server) -> None:
    description = describe(LIGHTHOUSE, "what is this?", model="test/vlm", max_tokens=9)
    assert (str(description), description.complete, description.error) == ("A lighthouse.", True, None)
    assert (description.usage or {})["completion_tokens"] == 48
    (asked,) = server.asked
    assert (get_prompt(asked), asked.json["model"], asked.json["max_tokens"]) == ("what is this?", "test/vlm", 9)
    record = description.to_dict()
    VALIDATOR.validate(record)
    assert record["images"][0]["sent"]["bytes"] > 10_000


def test_a_description_does_not_hold_the_image() -> None:
    assert len(pickle.dumps(describe(LIGHTHOUSE))) < 10_000


def test_the_example_works(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(LIGHTHOUSE.read_bytes())
    assert example.caption(tmp_path / "a.jpg") == "A lighthouse."
    assert example.caption(tmp_path / "c.jpg").startswith("image: no such image:")
    server.answer = refusal(500, {"error": "broken"}, **{"Retry-After": "99999"})
    assert example.caption(tmp_path / "a.jpg") == "exit code 5"
    server.answer = stream('{"total": 3}')
    names = [str(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    assert list(example.list_prices(tmp_path)) == [(name, {"total": 3}) for name in names]
    server.answer = stream("They ", "differ.")
    assert example.shout(Image.open(LIGHTHOUSE)).text == "They differ."
    assert capsys.readouterr().out == "THEY DIFFER."
    assert len(server.asked[-1].image_urls) == 2


# What an image may be


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (partial(str, LIGHTHOUSE), str(LIGHTHOUSE)),
        (lambda: LIGHTHOUSE, str(LIGHTHOUSE)),
        (LIGHTHOUSE.as_uri, LIGHTHOUSE.as_uri()),
        (LIGHTHOUSE.read_bytes, "image 1"),
        (lambda: memoryview(LIGHTHOUSE.read_bytes()), "image 1"),
        (lambda: io.BytesIO(LIGHTHOUSE.read_bytes()), "image 1"),
        (lambda: Image.open(LIGHTHOUSE), "image 1"),
    ],
    ids=["text", "path", "file URL", "bytes", "memoryview", "BytesIO", "Pillow"],
)
def test_an_image_may_be(make: Callable[[], Any], name: str, server: Server) -> None:
    assert [image.name for image in describe(make()).images] == [name]
    assert decode(server.asked[0]).size == (960, 720)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV", "LAB", "YCbCr", "I", "I;16", "F", "La"]
)
def test_an_image_in_memory_may_have_any_mode(mode: str, server: Server) -> None:
    steps = {"La": ["LA", "La"], "LAB": []}.get(mode, [mode])
    image = Image.new("L" if steps else mode, (64, 48))
    for step in steps:
        image = image.convert(step)
    describe(image)
    assert decode(server.asked[0]).size == (64, 48)


def test_an_open_file_is_named_by_its_path(server: Server) -> None:
    with LIGHTHOUSE.open("rb") as file:
        assert describe(file).images[0].name == str(LIGHTHOUSE)
    assert len(server.asked) == 1


def test_an_image_in_memory_is_turned_upright(server: Server) -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(turned, "JPEG", exif=exif)
    describe(Image.open(turned))
    assert decode(server.asked[0]).size == (48, 64)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (3, "an object of type int is not an image"),
        (io.StringIO("text"), "a file object returns text instead of bytes"),
        ([], "no image was given"),
        (str(IMAGES), f"{IMAGES} is a folder"),
        ("http://[", "http://["),
    ],
)
def test_what_is_not_an_image_is_refused(images: Any, message: str, server: Server) -> None:
    with pytest.raises(UsageError) as caught:
        describe(images, check=False)
    assert caught.value.message.startswith(message)
    assert server.asked == []


def test_pages_of_a_document_make_one_request_and_too_many_are_refused(server: Server) -> None:
    frames = [Image.new("RGB", (64, 48), (25 * number, 0, 0)) for number in range(10)]
    data = io.BytesIO()
    frames[0].save(data, "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(UsageError, match=r"^10 pages for one request$"):
        describe(data.getvalue())
    describe(data.getvalue(), pages="2-3")
    assert [len(asked.image_urls) for asked in server.asked] == [2]


# Options and errors


def test_the_options_are_those_of_the_command_line() -> None:
    assert OPTIONS.keys() - ClientOptions.__annotations__.keys() == {"profile"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"modle": "m"}, TypeError, "there is no option 'modle'; did you mean model?"),
        ({"max_tokens": 0}, UsageError, "max_tokens is below 1: 0"),
        ({"max_tokens": "9"}, UsageError, "max_tokens is not a whole number: '9'"),
        ({"params": {"model": "x"}}, UsageError, "params contains model, which cannot be set here: {'model': 'x'}"),
        ({"profile": "nope"}, ConfigError, "there is no profile nope, named by --profile"),
        ({"preset": "nope"}, UsageError, "there is no preset nope"),
        ({"schema": "a b"}, UsageError, "--schema: unknown type 'b' at character 3: 'b'"),
        ({"original": True, "max_side": 99}, UsageError, "--original excludes --max-pixels and --max-side"),
        ({"tiles": "many"}, UsageError, "invalid value for --tiles: many"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Client(**options)
    assert str(caught.value).startswith(message)


def test_a_missing_key_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUBRID_API_KEY")
    monkeypatch.delenv("QUBRID_BASE_URL")
    with pytest.raises(AuthError):
        Client()


def test_another_address_than_the_profiles_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.warns(UserWarning, match="QUBRID_BASE_URL overrides the URL of profile openai"):
        Client("openai", allow_http=True)


def test_a_failed_request_raises_or_is_returned_with_the_part_that_arrived(server: Server) -> None:
    server.answer = Reply([delta("Half of"), delta("", finish="length"), DONE])
    with Client() as client:
        with pytest.raises(IncompleteAnswerError):
            client.describe(LIGHTHOUSE)
        description = client.describe(LIGHTHOUSE, check=False)
    assert (description.text, type(description.error)) == ("Half of", IncompleteAnswerError)


def test_a_wrong_placeholder_is_refused_before_a_request(server: Server) -> None:
    with pytest.raises(UsageError, match=r"unknown placeholder \{nmae\}"):
        describe(LIGHTHOUSE, "{nmae}", check=False)
    assert server.asked == []


def test_what_the_endpoint_refused_is_not_sent_again(server: Server) -> None:
    body = {
        "error": {
            "message": "Unsupported parameter: 'temperature'",
            "param": "temperature",
            "code": "unsupported_parameter",
        }
    }
    server.answer = lambda asked: refusal(400, body) if "temperature" in asked.json else stream("Fine.")
    with Client(temperature=0.5) as client:
        assert [client.describe(LIGHTHOUSE).text for _ in range(2)] == ["Fine.", "Fine."]
    assert len(server.asked) == 3


# Streams


def test_a_stream_yields_the_text_as_it_arrives(server: Server) -> None:
    hold = Hold()
    server.answer = Reply([delta("A "), hold, delta("tower."), delta("", finish="stop"), DONE])
    with Client().stream(LIGHTHOUSE) as pieces:
        assert next(pieces) == "A "
        hold.event.set()
        assert list(pieces) == ["tower."]
        assert pieces.description.text == "A tower."


def test_the_description_of_a_stream_reads_the_rest() -> None:
    assert Client().stream(LIGHTHOUSE).description.text == "A lighthouse."


def test_a_stream_that_breaks_raises_and_keeps_what_arrived(server: Server) -> None:
    server.answer = Reply([delta("Half of")], hang_up=True)
    pieces = Client().stream(LIGHTHOUSE)
    assert next(pieces) == "Half of"
    with pytest.raises(IncompleteAnswerError):
        next(pieces)
    assert pieces.description.text == "Half of"
    assert list(pieces) == []


def test_a_stream_that_is_closed_has_no_description(server: Server) -> None:
    server.answer = Reply([delta("A "), Hold()])
    with Client().stream(LIGHTHOUSE) as pieces:
        next(pieces)
    with pytest.raises(UsageError, match="the answer has no description"):
        _ = pieces.description


# Many


def answer_with_prompt(asked: Asked) -> Reply:
    return stream(get_prompt(asked))


@pytest.mark.parametrize("ordered", [True, False])
def test_many_images_have_a_request_each(server: Server, ordered: bool) -> None:  # noqa: FBT001  # a parameter
    server.answer = answer_with_prompt
    images: list[Path | bytes] = [LIGHTHOUSE, LIGHTHOUSE.read_bytes(), IMAGES / "nope.jpg", IMAGES / "screenshot.png"]
    with Client() as client:
        descriptions = list(client.map(images, "{index} {name}", jobs=3, ordered=ordered))
    pairs = [(item.images[0].name, item.text or type(item.error)) for item in descriptions]
    expected = [
        (str(LIGHTHOUSE), "1 lighthouse.jpg"),
        ("image 2", "2 image"),
        (str(IMAGES / "nope.jpg"), ImageError),
        (str(IMAGES / "screenshot.png"), "4 screenshot.png"),
    ]
    assert (pairs if ordered else sorted(pairs, key=str)) == (expected if ordered else sorted(expected, key=str))


def test_images_are_pulled_as_they_are_needed() -> None:
    pulled = []

    def endless() -> Iterator[Path]:
        for number in itertools.count():
            pulled.append(number)
            yield LIGHTHOUSE

    with Client() as client:
        results = client.map(endless(), jobs=2)
        assert pulled == []
        assert len(list(itertools.islice(results, 6))) == 6
    assert len(pulled) <= 6 + 2 * 4


def test_a_late_answer_does_not_hold_up_more_than_a_few_others(server: Server) -> None:
    """The answers that wait for an earlier one are limited, so that they do not fill the memory."""
    first, last = Hold(), threading.Event()
    count = itertools.count(1)

    def answer(asked: Asked) -> Reply:
        if get_prompt(asked) == "1":
            return Reply([first, *stream("slow").pieces])
        if next(count) == 7:
            last.set()
        return stream("quick")

    def release() -> None:
        last.wait(60)
        first.event.set()

    server.answer = answer
    pulled: list[int] = []
    with Client() as client:
        results = client.map((pulled.append(1) or LIGHTHOUSE for _ in range(50)), "{index}", jobs=2)  # type: ignore[func-returns-value]
        threading.Thread(target=release).start()
        assert next(results).text == "slow"
    assert len(pulled) <= 8


def test_a_wrong_key_ends_all_requests(server: Server) -> None:
    server.answer = refusal(401, {"error": {"message": "invalid api key"}})
    with Client() as client, pytest.raises(AuthError):
        list(client.map([LIGHTHOUSE] * 100, jobs=1))
    assert len(server.asked) < 5


def test_four_threads_share_a_client(server: Server) -> None:
    server.answer = answer_with_prompt
    with Client() as client, ThreadPoolExecutor(4) as pool:
        texts = [str(number) for number in range(12)]
        assert list(pool.map(lambda text: client.describe(LIGHTHOUSE, text).text, texts)) == texts


def test_a_hostile_answer_is_an_error_of_ours() -> None:
    async def script(writer: Any, number: int) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n\xff\xfe\x00 not what was expected"
            if number < 2
            else b"\0" * 99
        )
        await writer.drain()

    with Raw(script) as server, Client(base_url=server.url, retries=0) as client:
        for _ in range(2):
            with pytest.raises(EndpointError):
                client.describe(LIGHTHOUSE)


def test_an_interrupt_is_pythons_own(server: Server) -> None:
    import _thread

    server.answer = lambda _: _thread.interrupt_main() or Reply([Hold()])  # type: ignore[func-returns-value]
    with pytest.raises(KeyboardInterrupt):
        describe(LIGHTHOUSE, check=False)


# Pickles


def test_a_pickled_client_has_no_key_and_reads_it_anew(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(max_tokens=7)
    client.describe(LIGHTHOUSE)
    data = pickle.dumps(client)
    assert KEY.encode() not in data
    monkeypatch.setenv("QUBRID_API_KEY", "qk-another")
    with pickle.loads(data) as copy:
        copy.describe(LIGHTHOUSE)
    assert [asked.headers["authorization"] for asked in server.asked] == [f"Bearer {KEY}", "Bearer qk-another"]
    assert server.asked[1].json["max_tokens"] == 7


@pytest.mark.parametrize(
    "error", [ImageError("m", hint="h", code="c"), EndpointError("m", status=500, retry_after=2.0)]
)
def test_errors_survive_pickling(error: QvisionError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy)) == (type(error), vars(error))


# Importing


def test_importing_loads_nothing_heavy() -> None:
    script = (
        "import sys; before = set(sys.modules); import qubrid_cli; print(*(set(sys.modules) - before - {'types'}));"
        "from qubrid_cli import Client, Description, describe;"
        "print(*({'httpx', 'PIL', 'platformdirs', 'rich', 'typer', 'jsonschema'} & set(sys.modules)));"
        "import qubrid_cli.describe.run; print(callable(qubrid_cli.describe))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=environment(), check=True, timeout=60
    )
    assert done.stdout.decode().split("\n") == ["qubrid_cli", "", "True", ""]


def test_the_package_lists_what_it_exports() -> None:
    assert {"Client", "Description", "describe"} <= set(dir(qubrid_cli))
    assert isinstance(Description(), qubrid_cli.Description)
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = qubrid_cli.nope  # type: ignore[attr-defined]
