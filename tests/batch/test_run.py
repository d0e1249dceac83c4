"""The parts of a run, used in this process."""

import json
import os
import pickle
import shutil
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qubrid_cli.batch import tasks
from qubrid_cli.batch.budget import Budget, BudgetLimits, FailureLimit
from qubrid_cli.batch.inputs import BatchInputs, Task
from qubrid_cli.batch.journal import Journal
from qubrid_cli.batch.outcomes import OutcomeWriter
from qubrid_cli.batch.pages import PageFinder
from qubrid_cli.batch.rate import RateLimiter
from qubrid_cli.batch.results.done import DoneFinder
from qubrid_cli.batch.results.sharing import WorkSharing
from qubrid_cli.batch.run import BatchRun, Idle
from qubrid_cli.batch.tasks import BatchPlan, Done, Failed
from qubrid_cli.batch.workers import Workers
from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import Request
from qubrid_cli.errors import AuthError, ImageError
from qubrid_cli.images import encode
from qubrid_cli.images.prepare import PreparedImage
from qubrid_cli.images.sources import File
from qubrid_cli.metrics import Clock

from ..conftest import VALIDATOR
from ..support.gallery import REFUSED, Draw, Gallery, answered, numbered
from ..support.server import Asked, Hold, Reply, Server, document, refusal


def plan_for(gallery: Gallery, limits: BudgetLimits) -> BatchPlan:
    """A plan with two requests at once."""
    return BatchPlan(
        BatchInputs(()),
        tasks.BatchRequest(Request("m", "caption", (), 9, 0.1, 1.0, stream=False), encode.ImageLimits()),
        open_source=lambda task: File(task.source, Path(task.source)),
        open_endpoint=lambda: Endpoint(gallery.url, timeout=30),
        rate_limiter=RateLimiter(2),
        limits=limits,
    )


def test_an_answer_that_is_too_long_to_keep_is_a_failure(draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    plan = plan_for(gallery, BudgetLimits())
    record = tasks.build_unsent_result(Task(1, "photos/a.png"), plan.batch_request, ImageError("none")).record
    answer = tasks.AttemptResult(record | {"ok": True, "complete": True, "text": "x" * (64 << 20)})
    ended = OutcomeWriter(plan).build_outcome(Task(1, "photos/a.png"), "ab" * 32, answer, attempts=1)
    line = json.loads(ended.line)
    VALIDATOR.validate(line)
    assert (type(ended), line["ok"], line["text"]) == (Failed, False, "")
    assert line["error"]["message"] == "the answer is longer than 64 MiB"


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("b.png", "photos/b.png"),
        ("./..//photos/b.png", "photos/b.png"),
        ("b.png/", "photos/b.png"),
        ("scan.pdf#page=2", "photos/scan.pdf#page=2"),
        ("https://example.com/b.png", None),
        ("-", None),
        ("x\0/b.png", "x\0/b.png"),  # a list can name it; reading it fails
    ],
)
def test_a_file_is_located_relative_to_the_results_file(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, path: str | None
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    with Journal(tmp_path / "results.jsonl") as journal:
        assert DoneFinder(plan_for(gallery, BudgetLimits()), journal).locate(Task(1, source)).path == path


@contextmanager
def run_over(
    images: Iterator[Task],
    gallery: Gallery,
    folder: Path,
    *,
    limits: BudgetLimits,
    thread_count: int,
    clock: Clock = time.monotonic,
) -> Iterator[BatchRun]:
    """A run in this process, with two requests at once."""
    plan = plan_for(gallery, limits)
    with Journal(folder / "results.jsonl") as journal:
        workers = Workers(plan, images, plan.open_endpoint(), thread_count=thread_count)
        yield BatchRun(plan, workers, WorkSharing(journal), Budget(limits), OutcomeWriter(plan), clock=clock)


def test_the_first_request_has_a_head_start_so_that_a_refused_key_costs_one(
    draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """The clock stands still, so the head start does not end by itself."""
    images = [Task(number, str(path)) for number, path in enumerate(draw("a.png", "b.png", "c.png"), 1)]
    gallery.rule = lambda *_: refusal(401, {"error": {"message": "no"}})
    with run_over(
        iter(images), gallery, tmp_path, limits=BudgetLimits(), thread_count=1, clock=lambda: 0.0
    ) as batch_run:
        assert not [item for item in batch_run.iterate_items() if not isinstance(item, Idle)]
    assert isinstance(batch_run.stop_reason, AuthError)
    assert sum(gallery.tries.values()) == 1


def test_an_image_that_fails_under_many_names_counts_once(draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    """The three copies are there before the other image is asked about, and so before the first of them is refused."""
    (bad, good), other_asked = draw("bad.png", "good.png"), threading.Event()
    copies = [Path(shutil.copy(bad, bad.with_name(f"copy-{number}.png"))) for number in range(3)]

    def rule(name: str, number: int) -> Reply:
        if name == "bad.png":
            return Reply([Hold(other_asked), *REFUSED.pieces], status=400, headers=REFUSED.headers)
        other_asked.set()
        return answered(name, number)

    gallery.rule = rule
    images = (Task(number, str(path)) for number, path in enumerate([bad, *copies, good], 1))
    limits = BudgetLimits(failures=FailureLimit(count=1))
    with run_over(images, gallery, tmp_path, limits=limits, thread_count=1) as batch_run:
        outcomes = Counter(type(item) for item in batch_run.iterate_items() if not isinstance(item, Idle))
    assert (outcomes, gallery.tries, batch_run.stop_reason) == (
        {Failed: 4, Done: 1},
        {"bad.png": 1, "good.png": 1},
        None,
    )


def test_the_data_of_each_step_can_be_pickled(draw: Draw) -> None:
    (path,) = draw("a.png")
    request = Request("m", "caption", (), 100, 0.1, 1.0, extra={"seed": 1})
    batch_request = tasks.BatchRequest(request, encode.ImageLimits())
    read = tasks.load_image(Task(1, str(path)), File(str(path), path), batch_request, PageFinder())
    ready = tasks.prepare_image(read, batch_request, PageFinder())
    for one in (batch_request, read, ready):
        assert pickle.loads(pickle.dumps(one)) == one
    spoilt = tasks.build_unsent_result(
        Task(2, "b.png"), batch_request, ImageError("no such image: b.png", hint="Look.")
    )
    assert pickle.loads(pickle.dumps(spoilt)).record == spoilt.record


def test_no_more_images_are_found_and_prepared_than_the_requests_need(
    draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """With two requests held: these two, as many that are ready, two in preparation, and one in the finder's hand."""
    hold, pulled = Hold(), 0
    gallery.rule = lambda name, _: Reply([hold, *document(name).pieces], headers={})

    def found() -> Iterator[Task]:
        nonlocal pulled
        for pulled, path in enumerate(draw(*numbered(40)), 1):
            yield Task(pulled, str(path))

    ended = Counter[type]()
    with run_over(found(), gallery, tmp_path, limits=BudgetLimits(), thread_count=2) as batch_run:
        for item in batch_run.iterate_items():
            ended[type(item)] += 1
            if ended[Idle] and gallery.in_flight == 2:
                assert pulled <= 7
                hold.event.set()
    assert ended[Done] == 40


def test_a_request_in_flight_holds_its_image_only_once(server: Server) -> None:
    data = bytes(6_000_000)
    image = PreparedImage("a.jpg", "", "JPEG", 9, 9, len(data), encode.Upload("image/jpeg", 9, 9, data), 0.0)
    ready = tasks.ReadyImage(Task(1, "a.jpg"), "key", image, None, 10)
    batch_request = tasks.BatchRequest(Request("m", "caption", (), 9, 0.1, 1.0, stream=False), encode.ImageLimits())
    asked, hold = threading.Event(), Hold()

    def answer(_: Asked) -> Reply:
        asked.set()
        return Reply([hold, *document("A lighthouse.").pieces], headers={})

    server.answer = answer
    with Endpoint(server.url, timeout=30) as endpoint:
        asking = threading.Thread(target=tasks.request_answer, args=(ready, batch_request, endpoint))
        tracemalloc.start()
        try:
            asking.start()
            assert asked.wait(30)
            found = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(False, f"*{os.sep}{theirs}{os.sep}*") for theirs in ("asyncio", "tests")]
            )
        finally:
            tracemalloc.stop()
            hold.event.set()
            asking.join()
    assert sum(trace.size for trace in found.traces) < 2_000_000
