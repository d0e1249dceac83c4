"""What a run has done so far: counted, and shown."""

import io
import threading
from typing import Any

import pytest
from rich.console import Console

from qubrid_cli.batch.budget import TotalUsage
from qubrid_cli.batch.inputs import Task
from qubrid_cli.batch.progress.display import BarDisplay, LineDisplay
from qubrid_cli.batch.progress.rows import format_row
from qubrid_cli.batch.progress.stats import BatchStats, Trouble, format_duration
from qubrid_cli.batch.tasks import Done, Failed, Skipped
from qubrid_cli.describe.result import Description
from qubrid_cli.errors import ImageError

TASK = Task(1, "a.jpg")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def total_usage() -> TotalUsage:
    return TotalUsage()


@pytest.fixture
def stats(clock: Clock, total_usage: TotalUsage) -> BatchStats:
    return BatchStats(total_usage, clock=clock)


def record(error: ImageError | None = None, **known: Any) -> dict[str, Any]:
    return Description(complete=True, error=error).to_dict() | known


def done(*, is_duplicate: bool = False, **known: Any) -> Done:
    return Done(TASK, record(**known), b"", is_duplicate)


def failed(code: str, message: str = "no", *, source: str = "a.jpg", status: int | None = None) -> Failed:
    images = [{"source": source, "sent": None}]
    return Failed(TASK, record(ImageError(message, code=code, status=status), images=images), b"")


def test_the_summary_of_a_run(stats: BatchStats, total_usage: TotalUsage, clock: Clock) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    image = {"bytes": 4_000_000, "sent": {"bytes": 400_000}}
    for number in range(1, 101):
        metrics = {"ttft_seconds": number / 100, "tps": 40.0, "total_time_seconds": number / 50}
        cost = {"amount": 0.01, "currency": "USD"}
        described = done(usage=usage, x_metrics=metrics, cost=cost, images=[image])
        total_usage.add(described.record, 300)
        stats.add_outcome(described)
    for outcome in (
        Skipped(TASK),
        failed("damaged"),
        failed("damaged"),
        failed("empty"),
        done(is_duplicate=True, usage=usage),
    ):
        stats.add_outcome(outcome)
    clock.now += 125
    assert list(stats.format_summary(jobs="-j auto found 12")) == [
        "100 described, 1 duplicate, 1 skipped, 3 failed · 2 min 5 s · 0.824 images/s · -j auto found 12",
        "100,000 → 5,000 tokens · $1.00 · 400.0 MB → 40.0 MB",
        "ttft 0.50 s (p95 0.95 s) · total 1.00 s (p95 1.90 s) · 40.0 tok/s",
        "failed: 2 × damaged, first a.jpg: no",
        "failed: 1 × empty, first a.jpg: no",
    ]


def test_a_server_without_figures_is_measured_here(stats: BatchStats) -> None:
    timing = {"prepare_seconds": 1.0, "ttft_seconds": 0.3, "total_seconds": 2.0, "tokens_per_second": None}
    stats.add_outcome(done(timing=timing))
    assert "total 2.00 s (p95 2.00 s) (measured here)" in list(stats.format_summary(jobs="-j 1"))


def failure_lines(stats: BatchStats) -> list[str]:
    return [line for line in stats.format_summary(jobs="-j 1") if line.startswith("failed: ")]


def test_the_summary_names_the_first_image_and_message_of_each_kind_of_failure(stats: BatchStats) -> None:
    for number in range(12):
        stats.add_outcome(failed("damaged", f"damaged {number}", source=f"{number}.jpg"))
    stats.add_outcome(failed("not_permitted", "denied", source="b.jpg", status=403))
    stats.add_outcome(failed("not_permitted", "denied", source="c.jpg", status=400))
    assert failure_lines(stats) == [
        "failed: 12 × damaged, first 0.jpg: damaged 0",
        "failed: 1 × not_permitted (HTTP 403), first b.jpg: denied",
        "failed: 1 × not_permitted (HTTP 400), first c.jpg: denied",
    ]


def test_a_failure_of_hostile_text_takes_one_short_line_without_control_characters(stats: BatchStats) -> None:
    stats.add_outcome(
        failed("x\x1b[2J" * 99, "a\nb\x1b]0;title\x07\u202e" + "long " * 99, source="\x9b/" * 99 + "é.jpg")
    )
    (line,) = failure_lines(stats)
    assert line.isprintable()
    assert r"a\nb\x1b]0;title\x07\u202e" in line
    assert "/é.jpg: " in line
    assert len(line) < 350


def test_a_server_with_a_code_for_each_image_does_not_fill_the_screen(stats: BatchStats) -> None:
    for number in range(1_000):
        stats.add_outcome(failed(f"code-{number}"))
    lines = failure_lines(stats)
    assert (len(lines), lines[0], lines[-1]) == (
        11,
        "failed: 1 × code-0, first a.jpg: no",
        "failed: 990 × other errors",
    )


def test_an_estimate_is_marked_as_one(stats: BatchStats, total_usage: TotalUsage) -> None:
    total_usage.add(record(text="x" * 40, cost={"amount": 0.5, "currency": "USD"}), 300)
    stats.add_outcome(done())
    assert "about 300 → 10 tokens · about $0.5000 (estimated: the server does not report usage)" in list(
        stats.format_summary(jobs="")
    )


def test_a_run_without_requests_does_not_mention_jobs(stats: BatchStats, clock: Clock) -> None:
    stats.add_outcome(Skipped(TASK))
    clock.now += 1
    assert list(stats.format_summary(jobs="-j auto found 4")) == ["0 described, 1 skipped · 1.0 s"]


def test_the_time_left_is_predicted_from_the_speed_of_the_last_minute(stats: BatchStats, clock: Clock) -> None:
    stats.total = 1_000
    for seconds in [10.0] * 10 + [1.0] * 100:  # it has become ten times as fast
        clock.now += seconds
        stats.add_outcome(done())
    assert stats.format_headline() == "110 of 1,000 · 1/s · 14 min 50 s left"


def test_no_time_left_is_shown_until_the_images_are_counted(stats: BatchStats, clock: Clock) -> None:
    clock.now += 2
    stats.add_outcome(done())
    assert stats.format_headline() == "1 · 0.5/s"


def test_the_details_of_the_progress(stats: BatchStats, total_usage: TotalUsage) -> None:
    stats.in_flight = 7
    timing = {"prepare_seconds": 1.0, "ttft_seconds": None, "total_seconds": 2.0, "tokens_per_second": None}
    total_usage.input_tokens, total_usage.output_tokens = 1_000, 50
    stats.add_outcome(done(timing=timing))
    stats.add_outcome(failed("damaged"))
    assert stats.format_details() == "1 failed · 1,050 tokens · 7 in flight · p50 2.00 s"


def skipped(number: int) -> Skipped:
    return Skipped(Task(number, "a.jpg"))


def test_skipped_images_do_not_count_for_the_speed(stats: BatchStats, clock: Clock) -> None:
    stats.total = 10_000
    for number in range(5_000):
        clock.now += 0.002
        stats.add_outcome(skipped(number))
    assert (stats.format_headline(), stats.format_details()) == ("5,000 of 10,000", "5,000 skipped · 0 in flight")
    for _ in range(20):
        clock.now += 1
        stats.add_outcome(done())
    assert stats.format_headline() == "5,020 of 10,000 · 1/s · 1 h 23 min left"


def test_the_wait_for_workers_does_not_count_for_the_speed(stats: BatchStats, clock: Clock) -> None:
    stats.total = 24
    clock.now += 30
    stats.begin_requests()
    clock.now += 2
    stats.add_counts(done=4, duplicates=0, failed=0, failures=())
    assert stats.format_headline() == "4 of 24 · 2/s · 10.0 s left"


def test_images_that_another_run_answers_meanwhile_count_once(stats: BatchStats, clock: Clock) -> None:
    stats.total = 100
    answered: set[str] = set()
    for number in range(40):
        stats.add_claimed(number, str(number))
    for number in range(20):
        clock.now += 1
        answered |= {str(2 * number), str(2 * number + 1)} if number < 10 else set()
        stats.check_claimed(answered.__contains__)
        stats.add_outcome(Done(Task(50 + number, "a.jpg"), record(), b""))
    assert stats.format_headline() == "40 of 100 · 2/s · 30.0 s left"
    for number in range(20):
        stats.add_outcome(skipped(number))
    assert stats.format_headline() == "40 of 100 · 2/s · 30.0 s left"


@pytest.mark.parametrize(
    ("trouble", "in_flight", "text"),
    [
        (Trouble("HTTP 503", 100.0, 212.0), 0, "HTTP 503 for 1 min 40 s, next try in 12 s"),
        (Trouble("HTTP 503", 195.0, 200.0), 1, "HTTP 503 for 5 s"),
        (Trouble("unreachable", 100.0), 1, "unreachable for 1 min 40 s"),
        (Trouble(), 3, "no answer for 1 min 40 s"),
        (Trouble(next_at=230.0), 0, "next request in 30 s"),
        (Trouble(), 0, ""),
    ],
)
def test_the_progress_says_why_nothing_moves(
    stats: BatchStats, clock: Clock, trouble: Trouble, in_flight: int, text: str
) -> None:
    clock.now = 200.0
    stats.trouble, stats.in_flight = trouble, in_flight
    assert stats.format_trouble() == text


def test_the_progress_names_images_that_other_runs_work_on(stats: BatchStats, clock: Clock) -> None:
    stats.add_claimed(1, "key")
    clock.now += 11
    assert stats.format_trouble() == "waiting for other runs, which work on 1 image"


@pytest.mark.parametrize(
    ("width", "headline", "details"),
    [
        (80, "1,100 of 10,000 · 1/s · 2 h 28 min left", "50 failed · 999,999,999 tokens · $12.34 · 64 in flight"),
        (39, "1,100 of 10,000 · 1/s · 2 h 28 min left", "50 failed · $12.34 · 64 in flight"),
        (38, "1,100 of 10,000 · 1/s", "50 failed · $12.34 · 64 in flight"),
        (20, "1,100 of 10,000", "64 in flight"),
    ],
)
def test_on_a_narrow_terminal_the_least_important_parts_are_left_out(
    stats: BatchStats, total_usage: TotalUsage, clock: Clock, width: int, headline: str, details: str
) -> None:
    stats.total, stats.in_flight = 10_000, 64
    total_usage.input_tokens, total_usage.cost = 999_999_999, 12.34
    for number in range(1_100):
        clock.now += 1
        stats.add_outcome(failed("damaged") if number % 22 == 0 else done())
    assert (stats.format_headline(width), stats.format_details(width)) == (headline, details)


def test_a_line_of_progress_is_printed_every_half_minute(
    stats: BatchStats, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = LineDisplay(stats, clock=clock)
    for _ in range(100):
        lines.update()
        clock.now += 1
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_the_format_of_a_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


NAME = "photos/2024/a photo with a long name.jpg"
UNREADABLE = {"message": f'"{NAME}" is not an image that can be read'}


@pytest.mark.parametrize(
    ("width", "known", "row"),
    [
        (39, {}, "…name.jpg  # A lighthous…  1,234   2.35"),
        (79, {}, "…o with a long name.jpg  # A lighthouse on a rock, by the sea    1,234     2.35"),
        (39, {"text": "灯台は岩の上にあります"}, "…name.jpg  灯台は岩の上…   1,234   2.35"),
        (39, {"usage": None, "data": {"a": [1, 2]}}, '…name.jpg  {"a":[1,2]}         -   2.35'),
        (39, {"error": UNREADABLE}, "…name.jpg  is not an image that can be…"),
        (12, {}, "…ame.jpg…"),
    ],
)
def test_the_row_of_an_image_is_as_wide_as_the_terminal(width: int, known: dict[str, Any], row: str) -> None:
    text = "\n\n# A lighthouse  on a rock,\tby the sea\nMore."
    answer = {"images": [{"source": NAME}], "usage": {"total_tokens": 1234}, "text": text}
    assert format_row(record(timing={"total_seconds": 2.345}) | answer | known, width) == row


def test_a_row_cannot_control_the_terminal() -> None:
    answer = record(images=[{"source": "a\x1b[2J.jpg"}], text="\x1b[2J\x9b31m", timing={"total_seconds": 1.0})
    assert format_row(answer, 79).isprintable()


def test_a_bar_does_not_come_back_when_something_is_printed_after_the_run(stats: BatchStats) -> None:
    drawn = threading.Event()

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            drawn.set()
            return super().write(text)

    terminal = Terminal()
    with BarDisplay(stats, Console(file=terminal, width=80)) as bar:
        assert drawn.wait(60)
    before = terminal.getvalue()
    with bar.hidden():
        pass
    assert terminal.getvalue().removeprefix(before) == "\r\x1b[J"
