"""Lists with columns, tar files and Parquet files: what images are in them, what stands beside them, and their bytes."""

import io
import json
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qubrid_cli.batch.inputs import BatchInputs, MissingImage, Task, resolve_source
from qubrid_cli.batch.readers import lists
from qubrid_cli.batch.readers.lists import InvalidListEntry, ListEntry, ListItem, ListLine
from qubrid_cli.describe.prompt import check_placeholders
from qubrid_cli.errors import ImageError, UsageError
from qubrid_cli.images import sources
from qubrid_cli.storage.opening import open_folder

from ..support.buckets import Bucket
from ..support.draw import IMAGES
from ..support.gallery import Batch, Gallery
from ..support.server import document

LIGHTHOUSE, SCREENSHOT = (IMAGES / "lighthouse.jpg").read_bytes(), (IMAGES / "screenshot.png").read_bytes()

# Lists with columns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image\na.jpg\n", [ListEntry("a.jpg")]),
        ("image,label\na.jpg,x\n\nb.jpg,\n", [ListEntry("a.jpg", row={"label": "x"}), ListEntry("b.jpg", row={"label": ""})]),
        ("\ufeffimage;label\r\na.jpg;1,5\r\n", [ListEntry("a.jpg", row={"label": "1,5"})]),
        ("label\timage\nx\ta b.jpg\n", [ListEntry("a b.jpg", row={"label": "x"})]),
        ('image,label\na.jpg,"two\nlines, ""quoted"""\n', [ListEntry("a.jpg", row={"label": 'two\nlines, "quoted"'})]),
        ("image,prompt,id,n\na.jpg,why?,7,1\nb.jpg\n", [ListEntry("a.jpg", "why?", "7", {"n": "1"}), ListEntry("b.jpg", row={"n": ""})]),
        (
            "image,n\na.jpg,1,2\n,1\nb.jpg,1\n",
            [
                InvalidListEntry(2, "has 3 cells, but the header has 2"),
                InvalidListEntry(3, "has no value in the column image"),
                ListEntry("b.jpg", row={"n": "1"}),
            ],
        ),
        ('{"image": "a.jpg", "n": NaN}\n{"image": "b.jpg"}\n', [ListEntry("a.jpg", row={"n": None}), ListEntry("b.jpg", row={})]),
        ('{"image": "a.jpg", "error": {"code": "c", "message": "m", "hint": null}}\n', [ListEntry("a.jpg")]),
        ("a,b.jpg\nimages\n", [ListLine("a,b.jpg"), ListLine("images")]),
    ],
)  # fmt: skip
def test_a_list_with_columns(text: str, expected: list[ListItem]) -> None:
    assert list(lists.read_items(io.BytesIO(text.encode()))) == expected


def test_a_sample_of_a_table_has_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("image,n\n" + "".join(f"{number}.jpg,{number}\n" for number in range(1000)))
    count, items = lists.sample_items(path, 50, random.Random(0))
    assert count == 1001
    assert all(isinstance(item, ListEntry) and item.row == {"n": item.image[:-4]} for item in items)


@pytest.mark.parametrize(
    ("text", "name", "column", "expected"),
    [
        ("image,label,id,prompt\n", "list.txt", None, ["label"]),
        ("path;label\n", "list.csv", "path", ["label"]),
        ('{"image": "a.jpg", "n": 1}\n', "list", None, ["n"]),
        ('{"file": "a.jpg"}\n', "list", "file", None),
        ("a.jpg\n", "list.txt", None, None),
        ("", "list.csv", None, None),
        ("https://example.com/a.jpg\n", "list.csv", None, None),
    ],
)
def test_the_columns_of_a_list(text: str, name: str, column: str | None, expected: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert BatchInputs((), path, image_column=column).find_columns(name) == expected


def test_a_table_without_a_column_of_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,label\na.jpg,x\n")
    with pytest.raises(UsageError, match=r"^list\.csv has no column image$") as caught:
        BatchInputs((), path).find_columns("list.csv")
    assert caught.value.hint == "Name it: --image-column path. The columns: path, label"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{labl}", "the images have no column labl, which the prompt names; did you mean label?"),
        ("{thing}", "the images have no column thing, which the prompt names"),
    ],
)
def test_with_columns_every_word_in_braces_must_be_known(prompt: str, message: str) -> None:
    check_placeholders("{name} {label} {{thing}} { x }", images=1, columns=["label"])
    with pytest.raises(UsageError) as caught:
        check_placeholders(prompt, images=1, columns=["label"])
    assert caught.value.message == message
    hint = "Available: {name}, {stem}, {dir}, {index}, {label}. For literal braces, double them: {" + prompt + "}"
    assert caught.value.hint == hint


# Archives


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def find_tasks(*arguments: Path, column: str | None = None) -> list[Task]:
    tasks = []
    for item in BatchInputs(tuple(map(str, arguments)), image_column=column).find_images():
        if isinstance(item, MissingImage):
            raise item.error
        tasks.append(item)
    return tasks


def read(task: Task) -> bytes:
    source = resolve_source(task)
    assert isinstance(source, sources.FetchedLink)
    assert source.name == task.source
    return sources.read_bytes(source)


SAMPLES = [
    ("a/001.json", b'{"label": "tower", "n": 1}'),
    ("a/001.jpg", LIGHTHOUSE),
    ("a/001.txt", b"a caption\n"),
    ("a/001.seg.png", SCREENSHOT),
    ("a/._001.jpg", b"junk of macOS"),
    ("a/002.jpg", LIGHTHOUSE[:-1]),
    ("a/002.cls", b"3"),
    ("a/002.npy", b"\x93NUMPY\xff"),
    ("a/" + "n" * 150 + ".png", SCREENSHOT),
]


@pytest.mark.parametrize("name", ["shard.tar", "shard.tar.gz", "shard.TGZ"])
def test_the_images_of_a_tar_file(name: str, tmp_path: Path) -> None:
    """A long name has a header of its own; images that are read in another order than theirs are found too."""
    path = tmp_path / name
    write_tar(path.with_name(name.lower()), SAMPLES)
    path = path.with_name(name.lower()).rename(path)
    tasks = find_tasks(path)
    rows = {"label": "tower", "n": 1, "txt": "a caption"}
    expected = [("001.jpg", rows), ("001.seg.png", rows), ("002.jpg", {"cls": "3"}), ("n" * 150 + ".png", {})]
    assert [(task.source, task.row) for task in tasks] == [(f"{path}/a/{name}", row) for name, row in expected]
    contents = [LIGHTHOUSE, SCREENSHOT, LIGHTHOUSE[:-1], SCREENSHOT]
    for order in (tasks, tasks[::-1]):
        assert [read(task) for task in order] == (contents if order is tasks else contents[::-1])
    assert read(Task(1, tasks[2].source)) == LIGHTHOUSE[:-1]  # without its place, as from a list of failures


def test_a_tar_file_of_images_alone_has_no_rows(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.jpg", LIGHTHOUSE), ("2.jpg", LIGHTHOUSE)])
    assert [task.row for task in find_tasks(tmp_path / "a.tar")] == [None, None]


def test_shards_can_be_named_by_a_glob(tmp_path: Path) -> None:
    for number in (10, 9):
        write_tar(tmp_path / f"{number}.tar", [("1.jpg", LIGHTHOUSE)])
    names = [f"{tmp_path}/{number}.tar/1.jpg" for number in (9, 10)]
    assert [task.source for task in find_tasks(tmp_path / "*.tar")] == names


@pytest.mark.parametrize(
    ("members", "cut", "message"),
    [
        ([("a.txt", b"x")], None, "no image in "),
        ([("a.jpg", LIGHTHOUSE), ("b.jpg", LIGHTHOUSE)], 150_000, "cannot read "),
        ([("a.jpg", LIGHTHOUSE)], 100, "cannot read "),
        ([], 0, "cannot read "),
    ],
)
@pytest.mark.parametrize("name", ["a.tar", "a.tgz"])
def test_a_damaged_tar_file_is_an_error(
    name: str, members: list[tuple[str, bytes]], cut: int | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write_tar(path, members)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ImageError, match=message):
        find_tasks(path)


def test_a_tar_file_that_has_changed_gives_no_other_image(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, [("a.jpg", LIGHTHOUSE)])
    (task,) = find_tasks(path)
    write_tar(path, [("b.png", SCREENSHOT)])
    with pytest.raises(ImageError, match="it has changed"):
        read(task)


IMAGE_STRUCTS = [
    {"bytes": LIGHTHOUSE, "path": "x/cat.jpg"},
    {"bytes": None, "path": "dog.png"},
    {"bytes": SCREENSHOT, "path": None},
]


@pytest.mark.parametrize(
    ("columns", "column", "expected"),
    [
        (
            {"image": IMAGE_STRUCTS, "label": ["a", "b", "c"], "n": [1.5, float("nan"), None]},
            None,
            [
                ("/0/cat.jpg", {"label": "a", "n": 1.5}, LIGHTHOUSE),
                ("/1/dog.png", {"label": "b", "n": None}, SCREENSHOT),
                ("/2", {"label": "c", "n": None}, SCREENSHOT),
            ],
        ),
        ({"data": [LIGHTHOUSE, SCREENSHOT]}, None, [("/0", None, LIGHTHOUSE), ("/1", None, SCREENSHOT)]),
        ({"x": [b"1"], "jpg": [LIGHTHOUSE]}, "jpg", [("/0", None, LIGHTHOUSE)]),
    ],
)  # fmt: skip
def test_the_images_of_a_parquet_file(columns: Any, column: str | None, expected: Any, tmp_path: Path) -> None:
    (tmp_path / "dog.png").write_bytes(SCREENSHOT)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    tasks = find_tasks(path, column=column)
    assert [(task.source, task.row, read(task)) for task in tasks] == [
        (f"{path}{name}", *rest) for name, *rest in expected
    ]
    assert [read(task) for task in tasks[::-1]] == [data for _, _, data in expected[::-1]]


def test_paths_and_urls_in_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"file": ["a.jpg", "https://example.com/b.jpg"], "prompt": ["why?", None], "id": [7, 8], "n": [[1], []]}
    pq.write_table(pa.table(columns), path)
    assert find_tasks(path, column="file") == [
        Task(1, "a.jpg", "why?", 7, row={"n": [1]}),
        Task(2, "https://example.com/b.jpg", None, 8, row={"n": []}),
    ]


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"n": [1]}, None, "a.parquet has no column image"),
        ({"image": ["a"]}, "picture", "a.parquet has no column picture"),
        ({"image": [1]}, None, "a.parquet: the column image holds int64, not images"),
    ],
)
def test_a_parquet_file_without_images_is_refused(
    columns: Any, column: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(columns), "a.parquet")
    with pytest.raises(UsageError) as caught:
        BatchInputs(("a.parquet",), image_column=column).find_columns(None)
    assert caught.value.message == message


def test_a_row_without_an_image_and_a_damaged_file_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"", LIGHTHOUSE]}), path)
    with pytest.raises(ImageError, match=r"^row 0 of .*a\.parquet has no image$"):
        read(find_tasks(path)[0])
    path.write_bytes(b"PAR1 damaged")
    with pytest.raises(ImageError, match=r"^cannot read .*a\.parquet: "):
        find_tasks(path)


# Whole runs


def test_a_run_over_a_tar_file_asks_with_what_stands_beside_the_images_and_can_be_resumed(
    batch: Batch, gallery: Gallery, tmp_path: Path
) -> None:
    write_tar(
        tmp_path / "s.tar", [("1.jpg", LIGHTHOUSE), ("1.txt", b"a tower"), ("2.jpg", b"damaged"), ("2.txt", b"?")]
    )
    gallery.answer = document("Yes.")
    arguments = ["s.tar", "Is {stem} {txt}?", "-o", "out.jsonl"]
    assert batch(*arguments, "--failures", "failed.jsonl").exit_code == 7
    lines = {
        line["images"][0]["source"]: line for line in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    }
    assert {name: (line["prompt"], line["row"], line["ok"]) for name, line in lines.items()} == {
        "s.tar/1.jpg": ("Is 1 a tower?", {"txt": "a tower"}, True),
        "s.tar/2.jpg": ("Is 2 ??", {"txt": "?"}, False),
    }
    assert batch(*arguments).exit_code == 7
    assert len(gallery.asked) == 1
    again = batch("--from", "failed.jsonl", "-o", "again.jsonl")
    assert (again.exit_code, json.loads((tmp_path / "again.jsonl").read_text())["prompt"]) == (7, "Is 2 ??")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "l.csv", "Is it {labl}?"], "error: the images have no column labl, which the prompt names"),
        (
            ["s.tar", "x", "--sidecar", "txt"],
            "error: --sidecar writes files next to image files, but s.tar is an archive",
        ),
    ],
)
def test_a_run_that_cannot_succeed_asks_nothing(
    batch: Batch, gallery: Gallery, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "l.csv").write_text("image,label\na.jpg,x\n")
    write_tar(tmp_path / "s.tar", [("1.jpg", LIGHTHOUSE)])
    run = batch(*arguments)
    assert (run.exit_code, run.stderr.startswith(message), gallery.asked) == (2, True, [])


def test_a_tar_file_in_a_bucket_is_read_from_the_front(bucket: Bucket, tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", SAMPLES)
    open_folder(f"{bucket.url}/d/").put("s.tar", (tmp_path / "s.tar").read_bytes())
    inputs = BatchInputs((f"{bucket.url}/d/s.tar",))
    tasks = [item for item in inputs.find_images() if isinstance(item, Task)]
    assert [task.source for task in tasks][:2] == [
        f"{bucket.url}/d/s.tar/a/001.jpg",
        f"{bucket.url}/d/s.tar/a/001.seg.png",
    ]
    assert [read(task) for task in tasks[1::-1]] == [SCREENSHOT, LIGHTHOUSE]
    assert (inputs.can_be_found_twice, inputs.find_columns(None)) == (False, ["label", "n", "txt"])
