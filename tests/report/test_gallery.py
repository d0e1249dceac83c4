"""What the page says about images and answers, which pictures it has, and where they are kept."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qubrid_cli.images.documents.pages import Documents
from qubrid_cli.images.encode import Upload
from qubrid_cli.report.gallery import Gallery, list_figures
from qubrid_cli.report.gallery_data import build_answer, find_boxes, group_items
from qubrid_cli.report.pictures import ImageOrigin, PictureStore, Size, load_picture
from qubrid_cli.report.results import Results

from ..conftest import Qvision
from ..support import documents
from ..support.results import line, write


def open_results(tmp_path: Path, *lines: bytes) -> Results:
    return Results([str(write(tmp_path / "results.jsonl", *lines))], in_list_order=True)


def read_data(page: bytes) -> Any:
    """The data of a page."""
    return json.loads(page.decode().partition('id="data">')[2].partition("</script>")[0])


# Pictures


def save_image(path: Path, color: str = "red", size: tuple[int, int] = (640, 480)) -> Path:
    Image.new("RGB", size, color).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "page", "note", "size"),
    [
        ("a.jpg", None, None, (640, 480)),
        ("sideways.jpg", None, None, (480, 640)),
        ("scan.pdf", 2, None, (595, 842)),
        ("shard.tar/a.png", None, None, (640, 480)),
        ("file:///nowhere/a.jpg", None, "cannot be read", None),
        ("gone.jpg", None, "not found", None),
        ("gone.tar/a.jpg", None, "not found", None),
        ("scan.pdf", 9, "cannot be read", None),
        ("text.jpg", None, "cannot be read", None),
        (".", None, "cannot be read", None),
        ("https://example.com/a.jpg", None, "on the web", None),
        ("s3://bucket/a.jpg", None, "in a bucket", None),
        ("s3://bucket/shard.tar/a.jpg", None, "in a bucket", None),
        (None, None, "no longer available", None),
    ],
)
def test_an_image_is_shown_or_a_note_that_names_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, page: int | None, note: str | None, size: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 480)).save("sideways.jpg", exif=exif)
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "scan.pdf").write_bytes(documents.pdf([documents.filled(0, 0, 1)] * 2))
    with tarfile.open("shard.tar", "w") as tar:
        tar.add(save_image(tmp_path / "in.png"), "a.png")
    picture = load_picture(ImageOrigin(name, page), Documents(), None)
    assert (picture.size, picture.note) == (size, note)
    for upload, side in ((picture.thumbnail, 320), (picture.preview, 1024)):
        assert (upload is None) is (size is None)
        if upload is not None:
            assert max(Image.open(io.BytesIO(upload.data)).size) <= side


def test_a_link_is_shown_if_it_may_be_downloaded(tmp_path: Path) -> None:
    from qubrid_cli.images.sources import Bytes

    data = save_image(tmp_path / "a.jpg").read_bytes()
    picture = load_picture(ImageOrigin("https://example.com/a.jpg"), Documents(), lambda link: Bytes(link.name, data))
    assert picture.size == (640, 480)


def test_a_file_that_has_changed_since_is_noted(tmp_path: Path) -> None:
    origin = ImageOrigin(str(save_image(tmp_path / "a.jpg")), sha256="0" * 64)
    assert load_picture(origin, Documents(), None).note == "the file has changed since"


def make_upload(number: int, size: int) -> Upload:
    return Upload("image/jpeg", 1, 1, bytes([number]) * size)


@pytest.mark.parametrize(
    ("limit", "thumbnails", "previews"),
    [
        (10_000, "data:", "data:"),
        (500, "data:", "g_files/"),
        (100, "g_files/", "g_files/"),
        (0, "g_files/", "g_files/"),
    ],
)
def test_beyond_the_limit_the_large_pictures_are_beside_the_page_and_then_all(
    tmp_path: Path, limit: int, thumbnails: str, previews: str
) -> None:
    store = PictureStore(tmp_path / "g_files", limit)
    numbers: dict[Size, list[int]] = {size: [] for size in Size}
    for number in range(3):
        numbers[Size.THUMBNAIL].append(store.add(make_upload(number, 90), Size.THUMBNAIL))
        numbers[Size.PREVIEW].append(store.add(make_upload(number, 900), Size.PREVIEW))
    assert {store.get_url(number).startswith(thumbnails) for number in numbers[Size.THUMBNAIL]} == {True}
    assert {store.get_url(number).startswith(previews) for number in numbers[Size.PREVIEW]} == {True}
    files = list((tmp_path / "g_files").iterdir()) if limit < 10_000 else []
    assert len(files) == {10_000: 0, 500: 3, 100: 6, 0: 6}[limit]


def test_pictures_of_an_earlier_page_are_deleted_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "my page_files"
    first = PictureStore(folder, 0)
    first.add(make_upload(1, 9), Size.PREVIEW)
    (folder / "mine.jpg").write_bytes(b"x")
    second = PictureStore(folder, 0)
    url = second.get_url(second.add(make_upload(2, 9), Size.PREVIEW))
    second.remove_stale_files()
    assert url.startswith("my%20page_files/")
    assert sorted(path.name for path in folder.iterdir()) == sorted([url.partition("/")[2], "mine.jpg"])


# Answers


@pytest.mark.parametrize(
    ("data", "boxes"),
    [
        ([{"label": "dog", "box": [0, 0, 50, 100]}], [("dog", 0, 0, 0.5, 1)]),
        ({"a": {"b": [{"box": [-10, 25.0, 500, 50]}]}}, [("", 0, 0.25, 1, 0.5)]),
        ([{"label": 3, "box": [0, 0, 10, 10]}], [("", 0, 0, 0.1, 0.1)]),
        ([{"label": "eye", "point": [50, 25.5]}], [("eye", 0.5, 0.255, 0.5, 0.255)]),
        ([{"box": [0, 0, 10**400, 100]}, {"point": [1]}], [("", 0, 0, 1, 1)]),
        ([{"box": [10, 10, 5, 20]}, {"box": [1, 2, 3]}, {"box": ["1", 2, 3, 4]}, {"box": None}], []),
        ([{"box": [float("nan"), 0, 10, 10]}, {"box": [float("-inf"), 0, float("inf"), 10]}], [("", 0, 0, 1, 0.1)]),
    ],
)
def test_boxes_are_found_wherever_they_are_and_only_if_they_are_some(data: Any, boxes: Sequence[Any]) -> None:
    assert find_boxes(data, 100, 100) == boxes


@pytest.mark.parametrize(
    ("data", "caption"),
    [
        ({"title": "A boat", "description": "A red boat."}, "A red boat."),
        ({"answer": "yes", "probability": 0.9, "reason": "It barks.", "by": "schema"}, "yes: It barks."),
        ({"answer": "no", "probability": None, "reason": None, "by": "schema"}, "no"),
        ([{"label": "dog", "box": [0, 0, 1, 1]}, {"label": "dog"}, {"label": "cat"}], "2 × dog, cat"),
        ({"total": 3, "items": ["a", "b"], "more": {}}, "total: 3\nitems: a, b"),
        ({"rows": [[1], [2]]}, "rows: 2 items"),
        ([], "the text"),
        (3, "the text"),
    ],
)
def test_data_has_a_caption(tmp_path: Path, data: Any, caption: str) -> None:
    with open_results(tmp_path, line(data=data, text="the text")) as results:
        assert build_answer(results[0], (None, None))["caption"] == caption


def sent(width: int) -> dict[str, Any]:
    image = {"source": "a.jpg", "sha256": None, "format": "JPEG", "width": 9, "height": 9, "bytes": 9, "page": None}
    return {"images": [{**image, "sent": {"width": width, "height": 32, "bytes": 9, "tiles": None}}]}


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        ({"model": "a"}, {"model": "b"}, ["a", "b"]),
        ({"prompt": "What?"}, {"prompt": "Why\n\nthat?"}, ["What?", "Why that?"]),
        (sent(64), sent(1024), ["64 × 32", "1,024 × 32"]),
        ({"model": "a", "prompt": "p"}, {"model": "b", "prompt": "q"}, ["a · p", "b · q"]),
        ({}, {}, ["Answer 1", "Answer 2"]),
    ],
)
def test_answers_about_one_image_are_called_by_what_differs(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], labels: Sequence[str]
) -> None:
    with open_results(tmp_path, line(key="1", **first), line(key="2", **second)) as results:
        (group,) = group_items(results)
        assert group.label_answers() == labels


def test_the_header_counts_and_sums(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 20}
    cost = {"amount": 0.25, "currency": "USD", "source": "server"}
    good = line("a.jpg", usage=usage, cost=cost, x_metrics={"ttft_seconds": 0.5, "tps": 40, "total_time_seconds": 1})
    with open_results(tmp_path, good, line("b.jpg", usage=usage, cost=cost), line("c.jpg", error="no")) as results:
        figures = list_figures(list(results), 3)
    assert {figure.name: figure.value for figure in figures} == {
        "Images": "3",
        "OK": "2",
        "Failed": "1",
        "Median time to first token": "0.5 s",
        "Median speed": "40 tok/s",
        "Median time": "1 s",
        "Prompt tokens": "2,000",
        "Answer tokens": "40",
        "Cost": "$0.5000",
    }


def test_a_foreign_line_with_wrong_types_is_shown_all_the_same(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "usage": [],
        "x_metrics": 3,
        "cost": "x",
        "timing": None,
        "request": [],
        "warnings": 1,
        "reasoning": {},
    }
    images = [{"source": "a.jpg", "width": "9", "height": -1, "bytes": True, "format": [], "sent": 3}]
    with open_results(tmp_path, line(**wrong, images=images, data={"x": float("nan")}, created="yesterday")) as results:
        page = Gallery(results, PictureStore(None, 0), title="t").render()
    (image,) = read_data(page)["images"]
    assert (image["name"], image["facts"], image["answers"][0]["data"]) == ("a.jpg", ["not found"], {"x": None})


# The command


def test_a_page_is_written_with_its_pictures_in_it_or_beside_it(qvision: Qvision, tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg")
    write(tmp_path / "results.jsonl", line("a.jpg"), line("b.jpg"))
    run = qvision("report", "results.jsonl", "-o", "gallery.html", "--inline-limit", "0")
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"", "")
    assert len(list((tmp_path / "gallery_files").iterdir())) == 2
    assert qvision("report", "results.jsonl", "-o", "gallery.html").exit_code == 0
    assert not (tmp_path / "gallery_files").exists()
    images = read_data((tmp_path / "gallery.html").read_bytes())["images"]
    assert [(image["name"], (image["preview"] or "")[:11]) for image in images] == [
        ("a.jpg", "data:image/"),
        ("b.jpg", ""),
    ]
    assert read_data(qvision("report", "results.jsonl", "-o", "-", "--format", "html").stdout)["images"] == images


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: there is no output\nhint: Name a file: -o gallery.html; or look at the results: --serve\n"),
        (
            ["--serve", "-o", "x.html"],
            "error: --serve and -o or --format exclude each other\nhint: Leave one of them out.\n",
        ),
        (
            ["--edit", "--format", "csv"],
            "error: --serve and -o or --format exclude each other\nhint: Leave one of them out.\n",
        ),
    ],
)
def test_a_report_needs_one_output(qvision: Qvision, tmp_path: Path, arguments: Sequence[str], message: str) -> None:
    write(tmp_path / "results.jsonl", line())
    run = qvision("report", "results.jsonl", *arguments)
    assert (run.exit_code, run.stderr) == (2, message)


def test_results_from_standard_input_cannot_be_corrected(qvision: Qvision) -> None:
    run = qvision("report", "-", "--serve", stdin=line())
    assert (run.exit_code, run.stderr) == (
        2,
        "error: corrections cannot be saved, because the results are not in a local file\nhint: Name a results file.\n",
    )
