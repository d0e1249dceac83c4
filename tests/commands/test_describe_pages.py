"""``qvision describe`` with documents."""

import base64
from pathlib import Path

import pytest
from PIL import Image

from ..conftest import Ask
from ..support.documents import filled, pdf, tiff
from ..support.server import Asked, Reply, Server, stream

THREE = pdf([filled(1, 0, 0), filled(0, 1, 0), filled(0, 0, 1)])
SMALL = ("--max-side", "96")


def texts(asked: Asked) -> list[str]:
    return [part["text"] for part in asked.json["messages"][-1]["content"] if part["type"] == "text"]


def counting(server: Server) -> None:
    """Let the answers be ``answer 1``, ``answer 2`` and so on."""
    server.answer = lambda _: stream(f"answer {len(server.asked)}")


def test_the_pages_go_into_one_request_with_labels(describe: Ask, server: Server, tmp_path: Path) -> None:
    (tmp_path / "paper.PDF").write_bytes(THREE)
    run = describe("paper.PDF", "what?", "--json", *SMALL)
    assert texts(server.asked[0]) == ["what?", "Page 1", "Page 2", "Page 3"]
    assert len(server.asked[0].image_urls) == 3
    images = run.json["images"]
    assert [(image["source"], image["format"], image["page"]) for image in images] == [
        (f"paper.PDF#page={number}", "PDF", number) for number in (1, 2, 3)
    ]


def test_beside_other_images_a_label_names_the_document(
    describe: Ask, server: Server, tmp_path: Path, lighthouse: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(THREE)
    describe(lighthouse, "a.pdf#page=2", "what?", *SMALL)
    assert texts(server.asked[0]) == ["what?", "Image 1: lighthouse.jpg", "Image 2: a.pdf, page 2"]


@pytest.mark.parametrize("way", ["standard input", "link", "no suffix", "data URL"])
def test_a_document_is_recognized_by_its_content(describe: Ask, server: Server, tmp_path: Path, way: str) -> None:
    (tmp_path / "paper").write_bytes(b"junk" + THREE)
    server.answer = lambda asked: (
        Reply([THREE], headers={"Content-Type": "application/pdf"}) if asked.method == "GET" else stream("yes")
    )
    argument = {
        "standard input": "-",
        "link": f"{server.url}/paper",
        "no suffix": "paper",
        "data URL": f"data:application/pdf;base64,{base64.b64encode(THREE).decode()}",
    }[way]
    run = describe(
        argument, "what?", "--pages", "2-", "--fetch", *SMALL, stdin=THREE if way == "standard input" else None
    )
    assert (run.exit_code, run.stdout) == (0, b"yes\n")
    assert texts(server.asked[-1]) == ["what?", "Page 2", "Page 3"]
    assert len([asked for asked in server.asked if asked.method == "GET"]) == (way == "link")


def test_an_image_without_pages_on_standard_input_is_read_once(describe: Ask, server: Server) -> None:
    run = describe("-", "what?", "--json", stdin=tiff([Image.new("L", (64, 64), 200)]))
    assert (run.exit_code, run.json["images"][0]["source"], run.json["images"][0]["page"]) == (0, "-", None)
    assert len(server.asked[0].image_urls) == 1


def test_too_many_pages_need_a_choice_or_a_request_for_each(describe: Ask, server: Server, tmp_path: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(pdf([filled(1, 0, 0)] * 9))
    run = describe("book.pdf", "what?")
    assert (run.exit_code, run.stderr.splitlines()[0]) == (2, "error: book.pdf: 9 pages for one request")
    assert "--pages 1-8" in run.stderr
    assert "--each" in run.stderr
    assert server.asked == []
    counting(server)
    each = describe("book.pdf", "what?", "--each", "--pages", "1-2,9", *SMALL)
    answers = [f"== book.pdf#page={page} ==\nanswer {number}\n" for number, page in enumerate((1, 2, 9), 1)]
    assert (each.exit_code, each.stdout.decode()) == (0, "\n".join(answers))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), b"answer 1\n\fanswer 2\n\fanswer 3\n"),
        (("--page-separator", "---"), b"answer 1\n---\nanswer 2\n---\nanswer 3\n"),
    ],
)
def test_ocr_reads_page_by_page(
    describe: Ask, server: Server, tmp_path: Path, options: tuple[str, ...], expected: bytes
) -> None:
    (tmp_path / "a.pdf").write_bytes(THREE)
    counting(server)
    run = describe("a.pdf", "-P", "ocr", *options, *SMALL)
    assert (run.exit_code, run.stdout) == (0, expected)


def test_a_password_is_read_from_a_file_or_a_pipe(describe: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([filled(1, 0, 0)], password=b"secret"))
    (tmp_path / "password").write_text("secret\n")
    run = describe("a.pdf", "what?", "--json")
    assert (run.exit_code, run.json["error"]["code"], run.json["images"][0]["source"]) == (4, "encrypted", "a.pdf")
    for stdin, name in ((None, "password"), (b"secret", "-")):
        assert describe("a.pdf", "what?", "--password-file", name, *SMALL, stdin=stdin).exit_code == 0
    empty = describe("a.pdf", "what?", "--password-file", "-", stdin=b"\n")
    assert (empty.exit_code, empty.stderr.splitlines()[0]) == (2, "error: --password-file - is empty")


def test_with_each_a_broken_document_affects_only_its_own_request(
    describe: Ask, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "b.pdf").write_bytes(THREE)
    counting(server)
    run = describe("a.pdf", "b.pdf", "what?", "--each", *SMALL)
    answers = [f"== b.pdf#page={page} ==\nanswer {page}\n" for page in (1, 2, 3)]
    assert (run.exit_code, run.stdout.decode()) == (4, "\n".join(answers))
    assert "a.pdf is a damaged PDF document" in run.stderr
    missing = describe("b.pdf", "what?", "--pages", "7")
    assert (missing.exit_code, missing.stderr.splitlines()[0]) == (
        4,
        "error: b.pdf has 3 pages, so there is no page 7",
    )


def test_a_dry_run_shows_each_page(describe: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(THREE)
    run = describe("a.pdf", "what?", "--dry-run", "--max-side", "640")
    shown = [line.partition(" → ")[0] for line in run.stdout.decode().splitlines() if line.startswith("a.pdf")]
    assert shown == [f"a.pdf#page={number}: PDF, 595 × 842, 1 KB" for number in (1, 2, 3)]
    assert "about 854 prompt tokens" in run.stdout.decode()


def test_pages_and_frame_exclude_each_other(describe: Ask, lighthouse: Path) -> None:
    run = describe(lighthouse, "what?", "--pages", "1", "--frame", "1")
    assert (run.exit_code, run.stderr.splitlines()[0]) == (2, "error: --pages and --frame exclude each other")
