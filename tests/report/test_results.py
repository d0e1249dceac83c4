"""Whatever has written results, a report shows each answer once, in order, and says what it leaves out."""

import json
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli.errors import QvisionError, StorageError, UsageError
from qubrid_cli.report.results import Results, State
from qubrid_cli.storage.opening import open_folder

from ..support.buckets import Bucket
from ..support.gallery import Batch, Draw
from ..support.results import line, write


def read(*paths: Path, **options: Any) -> list[tuple[str, str, str]]:
    """The image, the state and the text of each result."""
    with Results([str(path) for path in paths], **options) as results:
        return [(item.source, str(item.state), item.text) for item in results]


ANSWER = ("a.jpg", "ok", "text of a.jpg")
FAILURE = ("a.jpg", "failed", "")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line(text="old"), line()], [ANSWER]),
        ([line(error="down"), line()], [ANSWER]),
        ([line(), line(error="down")], [ANSWER]),
        ([line(error="down"), line(error="still down")], [FAILURE]),
        ([line(), line(error="unreadable", key=None)], [ANSWER]),
        ([line(error="unreadable", key=None), line()], [ANSWER]),
        # another model, prompt or size is another answer
        ([line(), line(model="n", request={"model": "n"}, key="n")], [ANSWER, ANSWER]),
        ([line(), line(error="down", model="n", request={"model": "n"}, key="n")], [ANSWER, FAILURE]),
        ([line(), line(prompt="tags", key="tags")], [ANSWER, ANSWER]),
        ([line(), line(key="at another size")], [ANSWER, ANSWER]),
        # rows of a list with the same image
        ([line(source_id=1), line(source_id=2)], [ANSWER, ANSWER]),
        # an answer that was cut off, or does not fit its schema
        ([line(ok=False, complete=False)], [("a.jpg", "incomplete", "text of a.jpg")]),
        ([line(text=" ")], [("a.jpg", "failed", " ")]),
    ],
)
def test_the_last_good_answer_counts(tmp_path: Path, lines: list[bytes], expected: list[tuple[str, str, str]]) -> None:
    assert read(write(tmp_path / "r.jsonl", *lines)) == expected


def test_answers_without_a_key_are_told_apart_by_what_was_asked(tmp_path: Path) -> None:
    """As ``describe --json`` prints them."""
    one, two = (json.loads(line(text=text)) for text in ("one", "two"))
    for record in (one, two):
        for name in ("index", "key", "attempts", "source_id", "duplicate_of", "path", "version", "row"):
            del record[name]
    asked = [one, {**one, "prompt": "tags", "text": "tags"}, two]
    path = write(tmp_path / "r.jsonl", *(json.dumps(record).encode() + b"\n" for record in asked))
    assert [text for _, _, text in read(path)] == ["tags", "two"]


@pytest.mark.parametrize(
    ("in_list_order", "expected"), [(False, ["a2.jpg", "a10.jpg", "b.jpg"]), (True, ["b.jpg", "a10.jpg", "a2.jpg"])]
)
def test_results_are_in_the_order_of_names_or_of_the_list(
    tmp_path: Path, *, in_list_order: bool, expected: list[str]
) -> None:
    path = write(tmp_path / "r.jsonl", line("a10.jpg", index=2), line("a2.jpg", index=3), line("b.jpg", index=1))
    assert [name for name, _, _ in read(path, in_list_order=in_list_order)] == expected


@pytest.mark.parametrize(
    ("content", "count", "note"),
    [
        (line() + line("b.jpg")[:-1], 2, ""),
        (line() + line("b.jpg")[:500], 1, "incomplete: the last line of {}, ignored"),
        (line() + b"\0" * 100, 1, ""),
        (b"{...}\n" + line() + b'{"a":\n' + line("b.jpg"), 2, "damaged: 2 lines of {} (1, 3), ignored"),
        (line() + b"\n\r\n" + line("b.jpg"), 2, ""),
        (b"\xef\xbb\xbf" + line(), 1, ""),
        ((line() + line("b.jpg")).decode().replace("\n", "\r\n").encode("utf-16"), 2, ""),
        (b"", 0, ""),
    ],
)
def test_damage_is_left_out_and_counted(tmp_path: Path, content: bytes, count: int, note: str) -> None:
    path = write(tmp_path / "r.jsonl", content)
    with Results([str(path)]) as results:
        assert len(list(results)) == count
        assert results.notes == ([note.format(path)] if note else [])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xff\xd8\xff\xe0 a picture", UsageError),
        (b'{"a": 1}\n' * 200, UsageError),
        (b"\xff\xfe\0", UsageError),
        (None, StorageError),
    ],
)
def test_what_is_not_a_results_file_is_refused(
    tmp_path: Path, content: bytes | None, error: type[QvisionError]
) -> None:
    path = tmp_path / "r.jsonl"
    if content is not None:
        write(path, content)
    with pytest.raises(error, match=r"r\.jsonl") as caught, Results([str(path)]):
        pass
    assert "qvision batch" in str(caught.value.hint)


def test_files_of_several_folders_are_about_the_same_images(tmp_path: Path) -> None:
    one = write(tmp_path / "one/r.jsonl", line(path="../photos/a.jpg", text="old"))
    two = write(tmp_path / "two/three/r.jsonl", line(path="../../photos/a.jpg"))
    write(tmp_path / "photos/a.jpg", b"")
    assert read(one, two) == [ANSWER]
    with Results([str(two)]) as results:
        assert results[0].find_file() == tmp_path / "photos/a.jpg"


@pytest.mark.parametrize(
    ("source", "path", "file"),
    [
        ("photos/a.jpg", "photos/a.jpg", "photos/a.jpg"),
        ("photos/a.jpg", None, "photos/a.jpg"),  # of an earlier version
        ("photos/a.jpg", "../moved/photos/a.jpg", "photos/a.jpg"),
        ("photos/doc.pdf#page=3", "photos/doc.pdf#page=3", "photos/doc.pdf"),
        ("gone.jpg", "gone.jpg", None),
        ("https://example.com/a.jpg", None, None),
        ("-", None, None),
        ("data:image/png;base64,AA", None, None),
        ("photos.tar/a.jpg", "photos.tar/a.jpg", None),
    ],
)
def test_the_file_of_an_image_is_found(tmp_path: Path, source: str, path: str | None, file: str | None) -> None:
    for name in ("photos/a.jpg", "photos/doc.pdf", "photos.tar"):
        write(tmp_path / name, b"")
    with Results([str(write(tmp_path / "r.jsonl", line(source, path=path)))]) as results:
        (item,) = results
    assert (item.find_file(), item.page) == (file and tmp_path / file, 3 if "page" in source else None)


def test_results_in_a_bucket_are_read_with_their_corrections(
    bucket: Bucket, batch: Batch, draw: Draw, tmp_path: Path
) -> None:
    """A run in parts, and a results file that was copied there."""
    draw("a.png", "b.png")
    batch("photos", "caption", "-o", "run/")
    folder = open_folder(f"{bucket.url}/run/")
    for path in (tmp_path / "run").rglob("*.json*"):
        folder.put(path.relative_to(tmp_path / "run").as_posix(), path.read_bytes())
    with Results([folder.url.rstrip("/")]) as results:
        key = results[0].answer_id
    folder.put("corrections.jsonl", json.dumps({"key": key, "text": "a kite", "bad": True}).encode())
    with Results([folder.url]) as results:
        assert [(item.text, item.is_bad) for item in results] == [("a kite", True), ("This is b.png.", False)]
        assert results.corrections_file is None
    with Results([f"{folder.url}part-00001.jsonl"]) as results:
        assert [item.text for item in results] == ["This is a.png.", "This is b.png."]


def test_values_of_a_wrong_type_are_left_out(tmp_path: Path) -> None:
    """A foreign program may write anything that looks like a result."""
    wrong: list[dict[str, Any]] = [
        {"text": 1, "prompt": [], "model": {}, "usage": [1], "x_metrics": "fast", "timing": 3, "cost": True},
        {"warnings": "no", "error": "no", "request": [], "created": 5},
        {"key": 3, "index": "x", "path": 7, "source_id": {}, "row": []},
    ]
    record = json.loads(line())
    for values in wrong:
        record.update(values)
    with Results([str(write(tmp_path / "r.jsonl", json.dumps(record).encode()))]) as results:
        (item,) = results
    found = (item.prompt, item.model, item.prompt_tokens, item.figures.ttft, item.cost, item.error, item.created)
    assert (item.state, item.text, found) == (State.FAILED, "", (None,) * 7)


def test_a_correction_is_saved_beside_the_file_of_its_result(tmp_path: Path) -> None:
    paths = [write(tmp_path / name / "r.jsonl", line(f"{name}.jpg")) for name in ("a", "b")]
    with Results([str(path) for path in paths]) as results:
        assert results.correct(1, text="corrected", is_bad=False).text == "corrected"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("corrections.jsonl")] == ["b/corrections.jsonl"]
    assert [text for _, _, text in read(*paths)] == ["text of a.jpg", "corrected"]
