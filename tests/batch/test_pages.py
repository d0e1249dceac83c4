"""Batches over documents: each page is an image of the run."""

import base64
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from ..support.documents import PdfPage, pdf, tiff
from ..support.gallery import Batch, Gallery, lines, source
from ..support.server import Asked, Pause, Reply, document

#: Pages show their number by the width of a black bar, in fiftieths of their own.
_UNITS = 50


def numbered_pdf(count: int, **options: object) -> bytes:
    pages = [PdfPage(f"0 0 {595 * number / _UNITS} 842 re f".encode()) for number in range(1, count + 1)]
    return pdf(pages, **options)  # type: ignore[arg-type]


def numbered_tiff(count: int) -> bytes:
    pages = []
    for number in range(1, count + 1):
        page = Image.new("1", (200, 300), 1)
        ImageDraw.Draw(page).rectangle((0, 0, 4 * number - 1, 299), 0)
        pages.append(page)
    return tiff(pages, compression="group4")


def number_of(asked: Asked) -> int:
    """The number that a page shows."""
    data = base64.b64decode(asked.image_url.partition(",")[2])
    image = Image.open(BytesIO(data)).convert("L")
    dark = sum(image.getpixel((x, image.height // 2)) < 128 for x in range(image.width))  # type: ignore[operator]
    return round(_UNITS * dark / image.width)


@pytest.fixture
def tried(gallery: Gallery) -> Counter[int]:
    """How often each page was sent; the answer about page 3 is ``page 3``."""
    numbers: Counter[int] = Counter()

    def answer(asked: Asked) -> Reply:
        number = number_of(asked)
        numbers[number] += 1
        return document(f"page {number}")

    gallery.answer = answer
    return numbers


SMALL = ("--max-side", "320")


@pytest.mark.parametrize(("name", "make"), [("scan.pdf", numbered_pdf), ("fax.tif", numbered_tiff)])
def test_killed_twice_each_of_forty_pages_is_answered_once(
    start_batch: Callable[..., subprocess.Popen[bytes]],
    gallery: Gallery,
    tmp_path: Path,
    name: str,
    make: Callable[[int], bytes],
) -> None:
    (tmp_path / name).write_bytes(make(40))
    numbers: Counter[int] = Counter()
    for until in (12, 26):
        reached = threading.Event()

        def answer(asked: Asked, *, reached: threading.Event = reached, until: int = until) -> Reply:
            number = number_of(asked)
            numbers[number] += 1
            if numbers.total() >= until:
                reached.set()
            reply = document(f"page {number}")
            return Reply([Pause(0.01), *reply.pieces], headers=reply.headers)

        gallery.answer = answer
        running = start_batch(name, "read", "-o", "r.jsonl", "-j", 4, *SMALL)
        assert reached.wait(60)
        running.kill()
        running.communicate()
    last = start_batch(name, "read", "-o", "r.jsonl", "-j", 4, *SMALL)
    last.communicate(timeout=60)
    answers = {source(line): line["text"] for line in lines(tmp_path / "r.jsonl")}
    assert last.returncode == 0
    assert answers == {f"{name}#page={number}": f"page {number}" for number in range(1, 41)}
    assert len(lines(tmp_path / "r.jsonl")) == 40
    assert numbers.total() <= 40 + 2 * 4


def test_documents_lie_among_images_and_have_sidecars(batch: Batch, tried: Counter[int], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(numbered_pdf(2))
    (tmp_path / "in/b.TIFF").write_bytes(numbered_tiff(2))
    (tmp_path / "in/c.png").write_bytes(b"not an image")
    (tmp_path / "in/d.pdf").write_bytes(b"%PDF-1.7")
    run = batch("in", "read", "-o", "r.jsonl", "--sidecar", "txt", "--ordered", *SMALL)
    found = lines(tmp_path / "r.jsonl")
    assert run.exit_code == 7
    assert [(line["index"], source(line), line["text"], line["images"][0]["page"]) for line in found] == [
        (1, "a.pdf#page=1", "page 1", 1),
        (2, "a.pdf#page=2", "page 2", 2),
        (3, "b.TIFF#page=1", "page 1", 1),
        (4, "b.TIFF#page=2", "page 2", 2),
        (5, "c.png", "", None),
        (6, "d.pdf", "", None),
    ]
    assert found[5]["error"]["code"] == "damaged_image"
    assert (tmp_path / "in/a.pdf-2.txt").read_text() == "page 2\n"
    assert sorted(name for name in os.listdir(tmp_path / "in") if name.endswith("txt")) == [
        "a.pdf-1.txt", "a.pdf-2.txt", "b.TIFF-1.txt", "b.TIFF-2.txt",
    ]  # fmt: skip
    again = batch("in", "read", "-o", "r.jsonl", "--sidecar", "txt", *SMALL)
    assert (again.exit_code, tried.total()) == (7, 4)


@pytest.mark.usefixtures("tried")
def test_pages_are_named_chosen_and_retried_from_a_list(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(numbered_pdf(5))
    (tmp_path / "a.pdf#page=4").write_bytes(numbered_pdf(1))
    (tmp_path / "list.txt").write_text("a.pdf#page=2\na.pdf#page=9\n")
    run = batch("a.pdf#page=3", "read", "--from", "list.txt", "--failures", "f.jsonl", "--ordered", *SMALL)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(source(line), line["text"]) for line in found] == [
        ("a.pdf#page=3", "page 3"), ("a.pdf#page=2", "page 2"), ("a.pdf#page=9", ""),
    ]  # fmt: skip
    assert found[2]["error"]["message"] == "a.pdf has 5 pages, so there is no page 9"
    assert [json.loads(line)["image"] for line in (tmp_path / "f.jsonl").read_text().splitlines()] == ["a.pdf#page=9"]
    (tmp_path / "a.pdf").write_bytes(numbered_pdf(9))
    retried = batch("--from", "f.jsonl", *SMALL)
    assert [line["text"] for line in retried.json_lines] == ["page 9"]
    named = batch("a.pdf#page=4", "read", *SMALL)  # a file of that name wins
    assert [(source(line), line["text"]) for line in named.json_lines] == [("a.pdf#page=4#page=1", "page 1")]
    chosen = batch("a.pdf", "read", "--pages", "7-", "--ordered", "--limit", 2, *SMALL)
    assert [line["text"] for line in chosen.json_lines] == ["page 7", "page 8"]


@pytest.mark.usefixtures("tried")
def test_a_document_comes_from_standard_input_and_with_a_password(batch: Batch, tmp_path: Path) -> None:
    run = batch("-", "read", "--ordered", *SMALL, stdin=numbered_pdf(2))
    assert [(source(line), line["text"]) for line in run.json_lines] == [
        ("-#page=1", "page 1"), ("-#page=2", "page 2"),
    ]  # fmt: skip
    single = batch("-", "read", *SMALL, stdin=numbered_tiff(1))
    assert [(source(line), line["text"]) for line in single.json_lines] == [("-", "page 1")]
    (tmp_path / "a.pdf").write_bytes(numbered_pdf(1, password=b"secret"))
    assert json.loads(batch("a.pdf", "read").stdout)["error"]["code"] == "encrypted"
    opened = batch("a.pdf", "read", "--password-file", "-", *SMALL, stdin=b"secret\n")
    assert [line["text"] for line in opened.json_lines] == ["page 1"]


def test_a_dry_run_counts_pages(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(numbered_pdf(3))
    (tmp_path / "b.tif").write_bytes(numbered_tiff(2))
    run = batch("a.pdf", "b.tif", "read", "--dry-run")
    assert run.stdout.decode().splitlines()[:2] == [
        "5 images: 5 to describe, 0 already done, 0 unreadable",
        "5 of them are pages of 2 documents",
    ]


@pytest.mark.parametrize("choice", [(), ("--pages", "2-")])
def test_documents_whose_pages_are_done_are_not_downloaded_again(
    batch: Batch, tried: Counter[int], gallery: Gallery, choice: tuple[str, ...]
) -> None:
    inner, downloads = gallery.answer, []
    assert callable(inner)

    def answer(asked: Asked) -> Reply:
        if asked.method != "GET":
            return inner(asked)
        downloads.append(asked.path)
        return Reply([numbered_pdf(3)], headers={"Content-Type": "application/pdf"})

    gallery.answer = answer
    options = (f"{gallery.url}/a.pdf", "what?", "--fetch", "-o", "r.jsonl", *SMALL, *choice)
    numbers = {2, 3} if choice else {1, 2, 3}
    for more, count in (((), 1), ((), 1), (("--dry-run",), 1), (("--verify",), 2)):
        assert (batch(*options, *more).exit_code, len(downloads), dict(tried)) == (0, count, dict.fromkeys(numbers, 1))
    assert batch(*options[:1], "another question", *options[2:]).exit_code == 0
    assert (len(downloads), dict(tried)) == (3, dict.fromkeys(numbers, 2))


@pytest.mark.usefixtures("tried")
def test_without_the_library_a_folders_pdfs_are_left_out_with_a_note(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.pdf").write_bytes(numbered_pdf(2))
    (tmp_path / "in/b.tif").write_bytes(numbered_tiff(2))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import sys; sys.modules['pypdfium2'] = None")
    env = {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{Path(__file__).parent.parent.parent}"}
    run = batch("in", "read", *SMALL, env=env)
    assert sorted(source(line) for line in run.json_lines) == ["b.tif#page=1", "b.tif#page=2"]
    assert "note: 1 PDF document was left out, because reading PDFs needs an extra library" in run.stderr
    assert "hint: Run: " in run.stderr
    named = batch("in/a.pdf", "read", env=env)
    assert (named.exit_code, named.stdout) == (4, b"")
    assert named.stderr.startswith("error: in/a.pdf is a PDF document, which needs an extra library\nhint: Run: ")
