"""What a person corrected is in the sidecars, and never in the results file."""

import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli.batch.results.corrections import (
    Corrections,
    append_correction,
    apply_correction,
    check_correction,
)
from qubrid_cli.batch.sidecars.choice import build_options
from qubrid_cli.batch.sidecars.writer import Sidecars
from qubrid_cli.errors import ImageError, OutputError, StorageError
from qubrid_cli.images.sources import File

from ..conftest import VALIDATOR
from ..support.gallery import Batch, Draw, Gallery, lines
from ..support.results import line, write

Correct = Callable[..., None]


def record_of(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line(**changes))
    return record


@pytest.fixture
def correct(tmp_path: Path) -> Correct:
    """Corrects the only answer of ``r.jsonl``."""

    def append(text: str | None = "a red kite", *, is_bad: bool = False) -> None:
        (record,) = lines(tmp_path / "r.jsonl")
        append_correction(tmp_path / "corrections.jsonl", record, text=text, is_bad=is_bad)

    return append


def test_sidecars_take_over_a_correction_and_give_it_back(
    batch: Batch, draw: Draw, gallery: Gallery, correct: Correct, tmp_path: Path
) -> None:
    draw("a.png")
    kinds = [word for kind in ("txt", "json", "xmp") for word in ("--sidecar", kind)]
    run = ["photos", "caption", "-o", "r.jsonl", *kinds]

    def read_sidecars() -> list[str]:
        text, record, xmp = ((tmp_path / "photos" / name).read_text() for name in ("a.txt", "a.json", "a.png.xmp"))
        return [text.strip(), json.loads(record)["text"], "".join(re.findall("x-default.>(.*?)</", xmp))]

    batch(*run)
    results, answers = (tmp_path / "r.jsonl").read_bytes(), read_sidecars()
    correct()
    assert batch(*run).exit_code == 0
    assert read_sidecars() == ["a red kite"] * 3
    (tmp_path / "photos/a.txt").unlink()
    written_at = (tmp_path / "photos/a.json").stat().st_mtime_ns
    batch(*run)
    assert read_sidecars() == ["a red kite"] * 3
    assert (tmp_path / "photos/a.json").stat().st_mtime_ns == written_at
    correct(None)
    batch(*run)
    assert read_sidecars() == answers
    assert ((tmp_path / "r.jsonl").read_bytes(), sum(gallery.tries.values())) == (results, 1)


def test_an_answer_that_comes_again_is_corrected_again_and_copies_of_the_image_are_too(
    batch: Batch, draw: Draw, gallery: Gallery, correct: Correct, tmp_path: Path
) -> None:
    (path,) = draw("a.png")
    run = ["photos", "caption", "-o", "r.jsonl", "--sidecar", "txt"]
    batch(*run)
    correct()
    batch(*run)
    (tmp_path / "photos/copy.png").write_bytes(path.read_bytes())
    assert batch(*run, "--force", "--existing", "fail").exit_code == 0
    assert sum(gallery.tries.values()) == 2
    assert [(tmp_path / "photos" / name).read_text() for name in ("a.txt", "copy.txt")] == ["a red kite\n"] * 2


def test_an_answer_that_is_marked_as_bad_gets_no_sidecar(
    batch: Batch, draw: Draw, correct: Correct, tmp_path: Path
) -> None:
    draw("a.png")
    batch("photos", "caption", "-o", "r.jsonl")
    correct(is_bad=True)
    for options in ([], ["--force"]):
        assert batch("photos", "caption", "-o", "r.jsonl", "--sidecar", "txt", *options).exit_code == 0
        assert os.listdir(tmp_path / "photos") == ["a.png"]


@pytest.mark.parametrize(
    ("policy", "existing", "is_newer", "content"),
    [
        ("fail", "by hand\n", True, "by hand\n"),
        ("fail", "by hand\n", False, None),
        ("fail", "text of a.jpg\n", True, "a red kite\n"),
        ("skip", "by hand\n", False, "by hand\n"),
        ("replace", "by hand\n", True, "by hand\n"),
        ("replace", "by hand\n", False, "a red kite\n"),
        ("append", "ohwx\ntext of a.jpg\nx\n", False, "ohwx\na red kite\nx\n"),
        ("append", "ohwx\n", False, "ohwx\na red kite\n"),
    ],
)
def test_what_a_person_wrote_later_stays(
    tmp_path: Path, policy: str, existing: str, *, is_newer: bool, content: str | None
) -> None:
    record, corrections = record_of(), Corrections()
    append_correction(tmp_path / "corrections.jsonl", record, text="a red kite", is_bad=False)
    corrections.read_file(tmp_path / "corrections.jsonl")
    options = build_options(["txt"], changes={"existing": policy})
    sidecars = Sidecars(options, has_text=lambda _, text: text.strip() == record["text"], corrections=corrections)
    sidecar, changed_at = write(tmp_path / "a.txt", existing.encode()), 4e9 if is_newer else 1e9
    os.utime(sidecar, (changed_at, changed_at))
    with nullcontext() if content else pytest.raises(ImageError, match="qvision did not write it"):
        sidecars.write_missing(File("a.jpg", tmp_path / "a.jpg"), record)
    assert sidecar.read_text() == (content or existing)


def test_the_last_line_about_an_answer_counts_and_damaged_lines_are_counted(tmp_path: Path) -> None:
    path, record, other = tmp_path / "corrections.jsonl", record_of(), record_of(source="b.jpg", key=None)
    append_correction(path, record, text="one", is_bad=True)
    append_correction(path, other, text=None, is_bad=True)
    with path.open("ab") as file:
        file.write(b'{"key": 1}\n\n{"key": "key of a.jpg", "text": "two", "bad": false}\n{"key": "torn')
    append_correction(path, record_of(source="c.jpg"), text="three", is_bad=False)
    corrections = Corrections()
    corrections.read_file(path)
    found = [corrections.find(each) for each in (record, other, record_of(source="c.jpg"), record_of(source="d.jpg"))]
    assert [item and (item.text, item.is_bad) for item in found] == [
        ("two", False),
        (None, True),
        ("three", False),
        None,
    ]
    assert list(corrections.format_notes()) == [f"damaged: 2 lines of {path}, ignored"]


@pytest.mark.parametrize(
    ("record", "text", "changes"),
    [
        (record_of(), "b", {"text": "b"}),
        (record_of(data={"a": 1}), '{"a": 2}', {"text": '{"a": 2}', "data": {"a": 2}}),
        (record_of(data={"a": 1}), "not JSON", {"text": "not JSON", "data": None}),
        (record_of(error="down"), "b", {"text": "b", "ok": True, "complete": True, "error": None}),
        (record_of(), None, {}),
    ],
)
def test_a_corrected_record_says_what_the_model_wrote(
    tmp_path: Path, record: dict[str, Any], text: str | None, changes: dict[str, Any]
) -> None:
    correction = append_correction(tmp_path / "corrections.jsonl", record, text=text, is_bad=True)
    note = {"model_text": record["text"], "bad": True, "created": correction.created}
    corrected = apply_correction(record, correction)
    assert corrected == {**record, **changes, "correction": note}
    VALIDATOR.validate({**corrected, "request": None, "key": None})


def test_an_answer_in_json_is_corrected_by_json() -> None:
    check_correction(record_of(), "not JSON")
    check_correction(record_of(data=1), "[1]")
    with pytest.raises(ValueError, match="the corrected text is not valid JSON"):
        check_correction(record_of(data=1), "not JSON")


def test_a_file_of_corrections_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "corrections.jsonl").mkdir()
    with pytest.raises(StorageError, match="cannot read"):
        Corrections().read_file(tmp_path / "corrections.jsonl")
    with pytest.raises(OutputError, match="cannot write"):
        append_correction(tmp_path / "corrections.jsonl", record_of(), text="", is_bad=True)
