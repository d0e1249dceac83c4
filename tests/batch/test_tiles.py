"""Batches over images that are sent in tiles."""

from collections import Counter
from pathlib import Path

import pytest

from ..support.barcodes import draw_page, numbers, read_lines
from ..support.gallery import BROKEN, Batch, Gallery, lines
from ..support.server import Asked, Reply, document

COUNT = 300


@pytest.fixture
def tried(gallery: Gallery) -> Counter[int]:
    """How often each tile was sent, by its first line; the one with line 100 fails at first."""
    tries: Counter[int] = Counter()

    def answer(asked: Asked) -> Reply:
        text = read_lines(asked)
        first = numbers(text)[0] if text else 0  # nothing can be read of the whole page
        tries[first] += 1
        return BROKEN if 100 in numbers(text) and tries[first] == 1 else document(text or "?")

    gallery.answer = answer
    return tries


def test_the_tiles_of_a_page_are_read_one_by_one_and_only_the_rest_is_retried(
    batch: Batch, tried: Counter[int], tmp_path: Path
) -> None:
    draw_page(COUNT).save(tmp_path / "page.png")
    run = batch("page.png", "-P", "ocr", "-o", "r.jsonl")
    (record,) = lines(tmp_path / "r.jsonl")
    assert (run.exit_code, numbers(record["text"])) == (0, list(range(1, COUNT + 1)))
    assert sorted(tried.values()) == [1, 1, 1, 1, 2]
    assert len(record["images"][0]["sent"]["tiles"]) == 5
    assert batch("page.png", "-P", "ocr", "--tiles", "auto", "-o", "r.jsonl").exit_code == 0
    assert sum(tried.values()) == 6  # the key is that of the default
    assert batch("page.png", "-P", "ocr", "--tiles", "off", "-o", "r.jsonl").exit_code == 0
    assert sum(tried.values()) == 7
