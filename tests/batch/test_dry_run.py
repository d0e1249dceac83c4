"""The forecast of a dry run: which images are counted, which stand for others, and the range of an estimate."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from qubrid_cli.batch.forecast import Census, Forecast, TotalEstimate, estimate_total
from qubrid_cli.batch.readers.lists import ListEntry, ListItem, ListLine, sample_items
from qubrid_cli.metrics import Price

from ..support.gallery import Batch, Draw


@pytest.mark.parametrize(
    ("values", "total", "expected"),
    [
        ([], 9, TotalEstimate(0, 0, 0)),
        ([74], 2, TotalEstimate(148, 148, 148)),
        ([74, 74, 74], 1_000, TotalEstimate(74_000, 74_000, 74_000)),
        ([10, 20, 30], 3, TotalEstimate(60, 60, 60)),  # all of them
    ],
)
def test_an_estimate_without_doubt_has_no_range(values: list[float], total: int, expected: TotalEstimate) -> None:
    assert estimate_total(values, total) == expected


def test_the_sum_of_many_is_within_the_range_nineteen_times_in_twenty() -> None:
    dice = random.Random(7)
    hits = 0
    for _ in range(200):
        values = sorted(dice.lognormvariate(0, 1) for _ in range(2_000))
        sample = [values[(2 * number + 1) * 100 // 2 + dice.randrange(-49, 50)] for number in range(20)]
        estimate = estimate_total(sample, len(values))
        hits += estimate.low <= sum(values) <= estimate.high
    assert hits > 170


def forecast(*, is_estimated: bool, tokens: TotalEstimate | None, sent: TotalEstimate) -> Forecast:
    census = Census(123_456, 7_890, 12_345, 7, 0, 0, (), 0, 0, is_estimated)
    return Forecast(census, 20, 1, tokens, 5e9, sent)


@pytest.mark.parametrize(
    ("is_estimated", "tokens", "expected"),
    [
        (
            False,
            TotalEstimate(80_123_456, 90_000_000, 99_900_000),
            [
                "143,698 images: 123,456 to describe, 7,890 duplicates, 12,345 already done, 7 unreadable",
                "1 of a sample of 20 cannot be sent",
                "about 80,100,000 to 99,900,000 input tokens, 729 per image; plus the answers of up to 100 tokens each",
                "about 5000.0 MB of images, 800.0 MB to 999.0 MB to send",
                "about $80.12 to $99.90, plus $24.69 for every 100 tokens per answer",
            ],
        ),
        (
            True,
            TotalEstimate(1_000, 1_000, 1_000),
            [
                "about 144,000 images: about 123,000 to describe, 7,890 duplicates, 12,300 already done, 7 unreadable",
                "1 of a sample of 20 cannot be sent",
                "about 1,000 input tokens, 0 per image; plus the answers of up to 100 tokens each",
                "about 5000.0 MB of images, 800.0 MB to 999.0 MB to send",
                "about $0.00, plus $24.69 for every 100 tokens per answer",
            ],
        ),
    ],
)
def test_the_forecast_gives_ranges_and_rounds_estimates(
    *, is_estimated: bool, tokens: TotalEstimate, expected: list[str]
) -> None:
    lines = forecast(is_estimated=is_estimated, tokens=tokens, sent=TotalEstimate(8e8, 9e8, 9.99e8))
    assert list(lines.format_lines(Price(input=1.0, output=2.0), 100)) == expected


@pytest.mark.parametrize(
    ("row", "separator", "expected"),
    [
        (b"img/%d.jpg", b"\n", lambda number: ListLine(f"img/{number}.jpg")),
        (b"img/%d.jpg", b"\0", lambda number: ListLine(f"img/{number}.jpg")),
        (b'{"image": "%d.jpg", "id": 5}', b"\r\n", lambda number: ListEntry(f"{number}.jpg", None, 5)),
    ],
)
def test_random_rows_of_a_list_are_read_without_the_others(
    tmp_path: Path, row: bytes, separator: bytes, expected: Callable[[int], ListItem]
) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"".join(row % number + separator for number in range(100_000)))
    total, items = sample_items(path, 500, random.Random(0), is_nul_separated=separator == b"\0")
    assert total == 100_000
    allowed = {expected(number) for number in range(100_000)}
    assert len(items) > 490
    assert set(items) <= allowed
    assert len(set(items)) > 480


def test_a_dry_run_over_too_many_rows_estimates_them(batch: Batch, draw: Draw, tmp_path: Path) -> None:
    draw(*(f"{number}.png" for number in range(10)))
    rows = b"".join(b"photos/%d.png\n" % (number % 20) for number in range(400_000))
    (tmp_path / "rows").write_bytes(rows)
    run = batch("--from", "rows", "caption", "--dry-run", "--limit", 300_000)
    assert run.exit_code == 0
    assert run.stderr == "the list has 400,000 rows: estimating from a random sample\n"
    first, second, *_ = run.stdout.decode().splitlines()
    assert first.startswith("about 300,000 images: about 10 to describe, ")
    assert second.startswith("about 740 input tokens, 74 per image; ")
