"""``--tiles`` and ``--crop`` with the real program, and an endpoint that reads what it is sent."""

import json
from pathlib import Path

import pytest

from ..conftest import Ask, Qvision
from ..support.barcodes import draw_page, numbers, read_lines
from ..support.server import Asked, Server, refusal, stream

COUNT = 300


@pytest.fixture
def page(tmp_path: Path) -> str:
    draw_page(COUNT).save(tmp_path / "page.png")
    return "page.png"


def texts(asked: Asked) -> list[str]:
    return [part["text"] for part in asked.json["messages"][-1]["content"] if part["type"] == "text"]


@pytest.mark.parametrize("has_gaps", [True, False])
def test_the_joined_text_of_a_page_has_each_line_once(
    describe: Ask, server: Server, tmp_path: Path, *, has_gaps: bool
) -> None:
    draw_page(COUNT, has_gaps=has_gaps).save(tmp_path / "page.png")
    server.answer = lambda asked: stream(read_lines(asked))
    run = describe("page.png", "-P", "ocr")
    assert len(server.asked) == 5
    assert numbers(run.stdout.decode()) == list(range(1, COUNT + 1))
    assert "note: page.png: sent in 5 parts" in run.stderr


def test_tiles_go_into_one_request_with_labels(describe: Ask, server: Server, page: str) -> None:
    run = describe(page, "what?", "--tiles", "2", "--json")
    (asked,) = server.asked
    assert texts(asked) == ["what?", "Part 1 of 2, top to bottom", "Part 2 of 2, top to bottom"]
    sent = run.json["images"][0]["sent"]
    assert sent["bytes"] == sum(tile["bytes"] for tile in sent["tiles"])
    assert [tile["box"][2] for tile in sent["tiles"]] == [1280, 1280]


def test_beside_other_images_a_label_names_the_image(
    describe: Ask, server: Server, page: str, lighthouse: Path
) -> None:
    describe(lighthouse, page, "what?", "--tiles", "auto")
    assert texts(server.asked[0])[1:3] == ["Image 1: lighthouse.jpg", "Image 2: page.png, part 1 of 5, top to bottom"]


def test_if_one_tile_fails_the_text_before_it_is_shown(describe: Ask, server: Server, page: str) -> None:
    server.answer = lambda asked: stream(read_lines(asked)) if len(server.asked) < 3 else refusal(400, {"error": "no"})
    run = describe(page, "-P", "ocr", "--json")
    assert (run.exit_code, len(server.asked)) == (5, 3)
    assert numbers(run.json["text"]) == list(range(1, len(run.json["text"].splitlines()) + 1))


def test_off_sends_the_image_whole(describe: Ask, server: Server, page: str) -> None:
    run = describe(page, "-P", "ocr", "--tiles", "off", "--json")
    assert (len(server.asked), run.json["images"][0]["sent"]["tiles"]) == (1, None)
    assert "may make them illegible" in run.json["warnings"][0]


def test_a_dry_run_shows_each_request(qvision: Qvision, page: str) -> None:
    run = qvision("describe", page, "-P", "ocr", "--dry-run", "--json")
    results = [json.loads(line) for line in run.stdout.decode().splitlines()]
    assert [len(result["request"]["messages"][0]["content"]) for result in results] == [2] * 5
    run = qvision("describe", page, "what?", "--tiles", "4", "--dry-run")
    assert "4 parts:\n  part 1: image/png, 1280 × " in run.stdout.decode()


@pytest.mark.parametrize(
    ("options", "is_noted"),
    [
        (("-m", "qwen3-vl-plus", "--max-pixels", "8000000"), True),
        (("-m", "qwen3-vl-plus", "--max-pixels", "8000000", "-O", "vl_high_resolution_images=true"), False),
        (("-m", "qwen2.5-vl-7b"), False),
        (("-m", "claude-opus-4-1", "--max-pixels", "2000000"), True),
        (("-m", "unknown", "--max-pixels", "8000000"), False),
    ],
)
def test_useless_pixels_are_noted(
    qvision: Qvision, lighthouse: Path, options: tuple[str, ...], *, is_noted: bool
) -> None:
    run = qvision("describe", lighthouse, "what?", "--dry-run", *options)
    assert ("is of no use" in run.stderr) is is_noted
