"""The division of a run into parts, and the lines of a finished part."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from qubrid_cli.batch.inputs import InputItem, MissingImage, Task
from qubrid_cli.batch.parts.division import Planner
from qubrid_cli.batch.parts.output_folder import PartFormat, PartsOutput, decode_item, encode_item, finish_lines
from qubrid_cli.batch.parts.run_file import RunDescription, begin_output, decode_description
from qubrid_cli.batch.tasks import BatchRequest
from qubrid_cli.client.request import Request
from qubrid_cli.client.thinking import Thinking
from qubrid_cli.errors import ImageError
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.tiles.choice import TileChoice, parse_crop
from qubrid_cli.storage.opening import open_folder


def describe_run() -> RunDescription:
    request = Request("m", "p", (), 100, 0.5, None, params={"a": 1}, thinking=Thinking("off"))
    limits = ImageLimits(crop=parse_crop("0,50%,100%,50%"), tiles=TileChoice(4))
    batch_request = BatchRequest(request, limits, {"offline": True})
    return RunDescription(batch_request, {"type": "object"}, "name", part_format=PartFormat.PARQUET)


def test_a_worker_reads_the_question_as_it_was_written() -> None:
    description = describe_run()
    assert decode_description(description.encode(), "run.json") == description


def test_a_run_is_continued_although_fields_were_added_since_it_began(output: PartsOutput) -> None:
    document = json.loads(describe_run().encode())
    del document["question"]["request"]["is_decision"]
    document["settings"].pop("part_format")
    output.folder.put("run.json", json.dumps(document).encode())
    assert begin_output(output.folder, describe_run()).part_format is PartFormat.JSONL


@pytest.fixture
def output(tmp_path: Path) -> PartsOutput:
    return PartsOutput(open_folder(str(tmp_path / "out")))


def find_letters(names: str) -> Iterator[InputItem]:
    return (Task(index, name) for index, name in enumerate(names, 1))


def plan(output: PartsOutput, names: str, size: int = 2) -> list[tuple[int, str]]:
    """The parts that are left to do of images with one letter each, with their images."""
    planner = Planner(output, partial(find_letters, names), size)
    return [
        (part.number, "".join(item.source for item in output.read_plan(part.number) if isinstance(item, Task)))
        for part in planner.find_parts()
    ]


def test_the_parts_of_an_earlier_run_stay_and_new_images_get_parts_of_their_own(output: PartsOutput) -> None:
    assert plan(output, "abcde") == [(1, "ab"), (2, "cd"), (3, "e")]
    assert plan(output, "abcde") == [(1, "ab"), (2, "cd"), (3, "e")]
    assert plan(output, "aXbcdeYZ") == [(1, "ab"), (2, "cd"), (3, "e"), (4, "XY"), (5, "Z")]
    assert plan(output, "XbcZ", size=1) == [(1, "ab"), (2, "cd"), (3, "e"), (4, "XY"), (5, "Z")]
    output.finish(2, b"", None, has_failures=False)
    output.finish(3, b"", None, has_failures=True)
    assert plan(output, "aXbcdeYZ?") == [(1, "ab"), (4, "XY"), (5, "Z"), (6, "?"), (3, "e")]


def test_the_same_image_with_another_prompt_id_or_row_is_another_one(output: PartsOutput) -> None:
    tasks = [
        Task(1, "a"),
        Task(2, "a", "why?"),
        Task(3, "a", id=1),
        Task(4, "a", row={"x": 1, "y": "é"}),
        Task(5, "a", row={"x": 2, "y": "é"}),
    ]
    assert [part.size for part in Planner(output, lambda: tasks[::2], 5).find_parts()] == [3]
    assert [part.size for part in Planner(output, lambda: tasks, 5).find_parts()] == [None, 2]
    assert output.read_plan(2) == [tasks[1], tasks[3]]


def test_parts_are_planned_one_at_a_time(output: PartsOutput) -> None:
    found = 0

    def find_images() -> Iterator[InputItem]:
        nonlocal found
        for found in range(1, 1_000_001):
            yield Task(found, f"{found}.jpg")

    parts = Planner(output, find_images, 200).find_parts()
    assert (next(parts).number, found) == (1, 200)
    assert (next(parts).number, found) == (2, 400)


def test_two_drivers_that_find_different_images_plan_the_same_parts(output: PartsOutput) -> None:
    """The second one comes to each part a little later, and an image was added in between."""
    first, second = (Planner(output, partial(find_letters, names), 2).find_parts() for names in ("abcdef", "aXbcdef"))
    for number in (1, 2, 3):
        assert next(first).number == number
    assert [part.number for part in second] == [1, 2, 3, 4]
    assert list(first) == []
    assert [item.source for item in output.read_plan(4) if isinstance(item, Task)] == ["X"]


def test_a_line_of_a_plan_holds_any_image() -> None:
    task = Task(7, "\udcff.jpg", "a\nb", 1.5)
    missing = MissingImage(Task(8, "x/"), ImageError("cannot read x", hint="Check.", code="list"))
    assert decode_item(encode_item(task)) == task
    decoded = decode_item(encode_item(missing))
    assert isinstance(decoded, MissingImage)
    assert (decoded.task, decoded.error.message, decoded.error.hint, decoded.error.code) == (
        missing.task,
        "cannot read x",
        "Check.",
        "list",
    )


def line(index: int, key: str, text: str, duplicate_of: str | None = None, *, ok: bool = True) -> bytes:
    image = {"source": f"{index}.jpg", "bytes": 3}
    record = {"ok": ok, "images": [image], "text": text, "index": index, "key": key, "source_id": None}
    return json.dumps({**record, "duplicate_of": duplicate_of, "path": f"{index}", "version": None}).encode() + b"\n"


def test_the_lines_of_a_part_do_not_depend_on_which_image_was_answered_first() -> None:
    """Of three equal images, the second was the first to be answered."""
    data, has_failures = finish_lines(
        line(4, "k4", "four") + line(2, "k", "new") + line(1, "k", "", "2.jpg") + line(3, "k", "", "2.jpg")
    )
    found = [json.loads(one) for one in data.splitlines()]
    assert not has_failures
    assert [(one["images"][0]["source"], one["path"], one["text"], one["duplicate_of"]) for one in found] == [
        ("1.jpg", "1", "new", None),
        ("2.jpg", "2", "", "1.jpg"),
        ("3.jpg", "3", "", "1.jpg"),
        ("4.jpg", "4", "four", None),
    ]
    assert finish_lines(line(1, "k", "x", ok=False))[1]
