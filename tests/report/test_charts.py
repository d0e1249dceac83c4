"""Charts as data: columns, ticks, and the words that say what they show."""

import math

from qubrid_cli.report.charts import HEIGHT, WIDTH, build_histogram, build_ranges, build_timeline, format_number


def test_a_histogram_counts_every_value_once_and_stays_in_its_area() -> None:
    chart = build_histogram("Time", [0.2, 0.3, 0.3, 0.4, 0.5, 9.0, math.nan], "s")
    assert chart is not None
    assert sum(int(column.text.rpartition(": ")[2]) for column in chart.columns) == 6
    assert all(column.x >= 0 and column.x + column.width <= WIDTH for column in chart.columns)
    assert max(column.height for column in chart.columns) == HEIGHT
    assert chart.summary == "Time: median 0.35 s, 95th percentile 6.88 s, from 0.2 to 9 s, of 6"
    assert [marker.label for marker in chart.markers] == ["median 0.35 s"]


def test_values_far_from_the_others_share_the_last_column() -> None:
    chart = build_histogram("Time", [*range(100, 200), 100_000], "s")
    assert chart is not None
    assert chart.columns[-1].text.endswith("s or more: 1")
    assert len(chart.columns) > 10


def test_equal_values_are_one_column() -> None:
    chart = build_histogram("Time", [2.0, 2.0], "s")
    assert chart is not None
    assert [column.text.rpartition(": ")[2] for column in chart.columns] == ["2"]


def test_too_few_values_make_no_chart() -> None:
    assert build_histogram("Time", [1.0], "s") is None
    assert build_timeline("Answers", [(5.0, True), (5.0, False)]) is None
    assert build_ranges("Time", [("m", math.nan, 1, 2)], "s") is None


def test_failures_stand_on_top_of_what_succeeded_at_the_same_time() -> None:
    chart = build_timeline("Answers", [(0, True), (0, True), (0, False), (9, True)])
    assert chart is not None
    first = [(column.kind, column.y, column.height) for column in chart.columns if column.x == 0]
    assert first == [("ok", 28.0, 56.0), ("failed", 0.0, 28.0)]
    assert [column.text.partition(": ")[2] for column in chart.columns] == ["2, 1 failed", "1", "2, 1 failed"]


def test_the_best_of_several_ranges_is_marked() -> None:
    chart = build_ranges("Speed", [("a", 1, 2, 3), ("b", 3, 4, 8)], "tokens/s", prefers=max)
    assert chart is not None
    assert [(bar.x, bar.width, bar.median, bar.is_best) for bar in chart.bars] == [
        (37.5, 75.0, 75.0, False),
        (112.5, 187.5, 150.0, True),
    ]


def test_numbers_have_three_digits() -> None:
    assert [format_number(value) for value in (0.41234, 38.44, 2540, 0, 1.0, 0.000012)] == [
        *("0.412", "38.4", "2,540", "0", "1", "0.000012")
    ]
