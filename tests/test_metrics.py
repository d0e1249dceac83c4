"""Measurements by a clock that the test controls, and the server's figures."""

from typing import Any

import pytest

from qubrid_cli.metrics import Figures, Stopwatch, Timing, clean_usage, get_number, parse_server_figures


def test_a_request_that_was_never_sent_took_only_its_preparation() -> None:
    watch = Stopwatch([].pop)
    assert watch.build_timing(prepare_seconds=0.12346, completion_tokens=9) == Timing(prepare_seconds=0.1235)


def test_times_start_at_sending_and_the_rate_at_the_first_delta() -> None:
    watch = Stopwatch(iter([10.0, 10.5, 11.0, 12.5, 13.00004]).__next__)
    watch.mark_sent()
    for _ in range(3):
        watch.mark_read()
        watch.mark_text()
    assert watch.build_timing(prepare_seconds=None, completion_tokens=9) == Timing(
        prepare_seconds=None, ttft_seconds=0.5, total_seconds=3.0, tokens_per_second=4.0
    )


def test_a_burst_says_nothing_about_speed() -> None:
    """All text in one read, or a read so soon after another that no model wrote it meanwhile."""
    for reads, last in ((1, 0.9), (2, 0.5001)):
        watch = Stopwatch(iter([0.0, 0.5, last, 1.0]).__next__)
        watch.mark_sent()
        watch.mark_read()
        watch.mark_text()
        if reads == 2:
            watch.mark_read()
        watch.mark_text()
        assert watch.build_timing(prepare_seconds=None, completion_tokens=900).tokens_per_second is None


@pytest.mark.parametrize(
    ("usage", "cleaned", "dropped"),
    [
        ({"prompt_tokens": "120", "completion_tokens": " 48 "}, {"prompt_tokens": 120, "completion_tokens": 48}, []),
        ({"prompt_tokens": -1, "completion_tokens": 48.0}, {"completion_tokens": 48.0}, ["prompt_tokens -1"]),
        ({"total_tokens": 10**40, "id": "7"}, {"id": "7"}, ["total_tokens 10000000000000000000"]),
        ({"total_tokens": "-5", "cost": -0.5, "cost_details": {"cost": 1}}, {"cost_details": {"cost": 1}}, ["total_tokens -5", "cost -0.5"]),
        ({"prompt_tokens_details": {"cached_tokens": -2, "audio_tokens": None}}, {"prompt_tokens_details": {"audio_tokens": None}}, ["prompt_tokens_details.cached_tokens -2"]),
        ({"prompt_tokens": "many", "tokens": True}, {"prompt_tokens": "many", "tokens": True}, []),
    ],
)  # fmt: skip
def test_usage_in_strings_is_read_and_impossible_usage_is_dropped(
    usage: dict[str, Any], cleaned: dict[str, Any], dropped: list[str]
) -> None:
    assert clean_usage(usage) == (cleaned, dropped)


def test_times_start_at_the_last_sending() -> None:
    watch = Stopwatch(iter([1.0, 10.0, 10.5, 11.0]).__next__)
    watch.mark_sent()
    watch.mark_sent()
    watch.mark_text()
    assert watch.build_timing(prepare_seconds=None, completion_tokens=None) == Timing(
        ttft_seconds=0.5, total_seconds=1.0, elapsed_seconds=10.0
    )


def test_an_answer_without_deltas_has_only_a_total() -> None:
    watch = Stopwatch(iter([1.0, 3.0]).__next__)
    watch.mark_sent()
    assert watch.build_timing(prepare_seconds=0.0, completion_tokens=9) == Timing(
        prepare_seconds=0.0, total_seconds=2.0
    )


@pytest.mark.parametrize(
    ("last", "tokens"), [(2.0, None), (2.0, 0), (1.0, 9), pytest.param(2.0, 10**400, id="larger than any float")]
)
def test_there_is_no_rate_without_a_countable_number_of_tokens_or_a_span(last: float, tokens: int | None) -> None:
    watch = Stopwatch(iter([0.0, 1.0, last, 3.0]).__next__)
    watch.mark_sent()
    watch.mark_text()
    watch.mark_text()
    assert watch.build_timing(prepare_seconds=None, completion_tokens=tokens).tokens_per_second is None


@pytest.mark.parametrize(
    ("metrics", "figures"),
    [
        ({"ttft_seconds": 0.41, "tps": 38.4, "total_time_seconds": 1.92}, Figures(0.41, 38.4, 1.92)),
        ({"input_tokens": 120, "output_tokens": 48, "total_time": 1.92, "tps": None}, Figures(total=1.92)),
        ({"ttft": 0, "tps": 38}, Figures(ttft=0, rate=38)),
        (
            {"prompt_n": 9, "prompt_ms": 410.0, "predicted_ms": 1510, "predicted_per_second": 38.4},
            Figures(0.41, 38.4, 1.92),
        ),
        ({"prompt_ms": 410.0, "predicted_ms": 1510}, Figures(ttft=0.41, total=1.92)),
        ({"prompt_ms": 410.0}, None),
        ({"predicted_ms": 1510}, None),
        ({"tps": "38.4", "ttft": True}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_servers_figures_are_unchanged(metrics: dict[str, Any] | None, figures: Figures | None) -> None:
    assert parse_server_figures(metrics) == figures


@pytest.mark.parametrize(
    "value",
    [
        None,
        "1",
        True,
        [1],
        float("nan"),
        float("inf"),
        pytest.param(10**400, id="larger than any float"),
    ],
)
def test_an_unusable_value_is_not_a_number(value: Any) -> None:
    assert get_number({"tps": value}, "tps") is None


@pytest.mark.parametrize(
    ("found", "value"), [({"n": 120}, "120"), ({"n": 120.0}, "120.0"), ({"n": 0}, "0"), ({}, "None"), (None, "None")]
)
def test_a_number_stays_as_the_server_wrote_it(found: dict[str, Any] | None, value: str) -> None:
    assert repr(get_number(found, "n")) == value
