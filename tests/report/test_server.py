"""``report --serve``: what its server refuses, and what a correction must be."""

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from qubrid_cli.report.gallery import Gallery
from qubrid_cli.report.pictures import PictureStore
from qubrid_cli.report.results import Results
from qubrid_cli.report.server import GalleryServer

from ..support.results import line, write

DATA = {"title": "x"}


class Client:
    """Sends requests as a browser would, or otherwise."""

    def __init__(self, server: GalleryServer) -> None:
        self.base = urlsplit(server.url)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] = {}
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.base.hostname or "", self.base.port or 0, timeout=20)
        usual = {"Origin": f"http://{self.base.netloc}", "Content-Type": "application/json"} if method == "POST" else {}
        sent = {name: value for name, value in {**usual, **headers}.items() if value is not None}
        text = body if isinstance(body, str | None) else json.dumps(body)
        connection.request(method, path, text, sent)
        response = connection.getresponse()
        result = response.status, response.read()
        connection.close()
        return result

    def save(self, body: Any, **headers: str | None) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, reply = self.ask("POST", f"{self.base.path}corrections", body, named)
        return status, json.loads(reply)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A server with two answers, the second one JSON, and a copy of the first one, in a thread."""
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    (tmp_path / "secret.txt").write_text("secret")
    copy = line("c.jpg", key="key of a.jpg", text="text of a.jpg")
    results = write(tmp_path / "results.jsonl", line("a.jpg"), line("b.jpg", data=DATA, text=json.dumps(DATA)), copy)
    with Results([str(results)]) as items:
        folder = tmp_path / "pictures"
        gallery = Gallery(items, PictureStore(folder, 0), title="t")
        with GalleryServer(gallery, items, folder) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield Client(server)
            server.shutdown()
            thread.join()


def read_corrections(folder: Path) -> list[tuple[str, str | None, bool]]:
    path = folder / "corrections.jsonl"
    lines = map(json.loads, path.read_text("utf-8").splitlines() if path.exists() else [])
    return [(line["key"], line["text"], line["bad"]) for line in lines]


def test_the_page_and_its_pictures_are_there_for_those_who_know_the_address(client: Client, tmp_path: Path) -> None:
    status, page = client.ask("GET", client.base.path)
    assert (status, b"connect-src &#39;self&#39;" in page) == (200, True)
    (name, *_) = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert client.ask("GET", f"{client.base.path}pictures/{name}")[0] == 200
    assert client.ask("GET", client.base.path, headers={"Host": f"localhost:{client.base.port}"})[0] == 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("{}", {"Host": "evil.example"}, 421),
        ("{}", {"Host": "127.0.0.1"}, 421),
        ("{}", {"Host": "evil.example:80@127.0.0.1"}, 421),
        ("/", {}, 403),
        ("/wrong/", {}, 403),
        ("/wrong/pictures/x.jpg", {}, 403),
        ("//", {}, 403),
        ("{}pictures/../../results.jsonl", {}, 404),
        ("{}../secret.txt", {}, 404),
        ("{}pictures/%2e%2e/secret.txt", {}, 404),
        ("{}pictures//etc/passwd", {}, 404),
        ("{}pictures/", {}, 404),
        ("{}corrections", {}, 404),
    ],
)
def test_other_names_other_addresses_and_other_files_are_refused(
    client: Client, path: str, headers: Mapping[str, str], status: int
) -> None:
    assert client.ask("GET", path.format(client.base.path), headers=headers)[0] == status


VALID = {"number": 0, "text": "new", "bad": False}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (VALID, {"Origin": "http://evil.example"}, 403),
        (VALID, {"Origin": None}, 403),
        (VALID, {"Origin": "null"}, 403),
        (VALID, {"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        (VALID, {"Content_Type": "text/plain"}, 415),
        (VALID, {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ("x", {"Content_Length": "99999999999"}, 413),
        ("x", {"Content_Length": "-1"}, 411),
        ("{", {}, 400),
        ("[" * 100_000, {}, 400),
        ({**VALID, "number": 3}, {}, 400),
        ({**VALID, "number": -1}, {}, 400),
        ({**VALID, "number": True}, {}, 400),
        ({**VALID, "bad": 1}, {}, 400),
        ({"number": 0, "bad": False}, {}, 400),
        ({**VALID, "number": 1}, {}, 400),
    ],
)
def test_what_is_not_a_correction_from_the_page_changes_nothing(
    client: Client, tmp_path: Path, body: Any, headers: Mapping[str, str | None], status: int
) -> None:
    assert client.save(body, **headers)[0] == status
    assert read_corrections(tmp_path) == []


def test_a_correction_is_appended_and_what_the_model_wrote_takes_it_back(client: Client, tmp_path: Path) -> None:
    status, changes = client.save({"number": 0, "text": "a **new** text", "bad": True})
    assert list(changes) == ["0", "2"]
    assert changes["2"]["caption"] == "a new text"
    answer = changes["0"]
    shown = {name: answer[name] for name in ("text", "html", "corrected", "bad", "original")}
    assert (status, shown) == (
        200,
        {
            "text": "a **new** text",
            "html": "<p>a <strong>new</strong> text</p>",
            "corrected": True,
            "bad": True,
            "original": "text of a.jpg",
        },
    )
    status, changes = client.save({"number": 0, "text": "text of a.jpg", "bad": False})
    answer = changes["0"]
    assert (status, answer["text"], answer["corrected"], answer["bad"]) == (200, "text of a.jpg", False, False)
    assert read_corrections(tmp_path) == [("key of a.jpg", "a **new** text", True), ("key of a.jpg", None, False)]


def test_the_correction_of_an_answer_that_is_json_is_json(client: Client, tmp_path: Path) -> None:
    assert client.save({"number": 1, "text": "no JSON", "bad": False}) == (
        400,
        {"message": "the answer is JSON, and the corrected text is not valid JSON"},
    )
    status, changes = client.save({"number": 1, "text": '{"title": "new"}', "bad": False})
    assert (status, changes["1"]["data"], changes["1"]["caption"]) == (200, {"title": "new"}, "new")
    assert client.save({"number": 1, "text": '{ "title": "x" }', "bad": True})[1]["1"]["corrected"] is False
    assert read_corrections(tmp_path)[-1] == ("key of b.jpg", None, True)
