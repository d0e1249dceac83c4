"""Finding the images of a run in folders, globs and lists."""

import os
import pickle
import re
from collections.abc import Iterator
from io import BytesIO
from itertools import chain, count, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qubrid_cli.batch.folders import Shard, parse_patterns, parse_shard
from qubrid_cli.batch.inputs import (
    InputItem,
    MissingImage,
    Selection,
    Task,
    find_images,
    resolve_source,
    split_arguments,
    validate_arguments,
)
from qubrid_cli.batch.readers import lists
from qubrid_cli.batch.readers.lists import InvalidListEntry, ListEntry, ListItem, ListLine
from qubrid_cli.errors import ImageError, UsageError
from qubrid_cli.images.sources import Bytes, DocumentPage, File, Link, read_bytes
from qubrid_cli.text import natural_key

FILES = (
    "photos/IMG_2.jpg",
    "photos/IMG_10.JPG",
    "photos/notes.txt",
    "photos/results.jsonl",
    "photos/IMG_2.jpg.xmp",
    "photos/drawing.svg",
    "photos/trip/b.png",
    "photos/trip/a.webp",
    "photos/trip 2/c.heic",
    "photos/.private/t.jpg",
    "photos/.hidden.jpg",
    "photos/noimage",
    "top.gif",
)
IN_PHOTOS = ["photos/IMG_2.jpg", "photos/IMG_10.JPG", "photos/trip/a.webp", "photos/trip/b.png", "photos/trip 2/c.heic"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def listed(text: bytes, *, nul: bool = False) -> list[ListItem]:
    return list(lists.read_items(BytesIO(text), is_nul_separated=nul))


def names(found: Iterator[InputItem]) -> list[str]:
    return [item.task.source if isinstance(item, MissingImage) else item.source for item in found]


def test_a_folder_stands_for_the_images_below_it_in_natural_order() -> None:
    assert list(find_images(["photos"])) == [Task(number, name) for number, name in enumerate(IN_PHOTOS, 1)]


def test_a_slash_after_a_folder_changes_nothing() -> None:
    assert names(find_images(["photos/"])) == IN_PHOTOS


def test_the_current_folder() -> None:
    assert names(find_images(["."])) == [f"./{name}" for name in [*IN_PHOTOS, "top.gif"]]


def test_hidden_files_and_folders_are_found_on_request() -> None:
    found = names(find_images(["photos"], selection=Selection(include_hidden=True)))
    assert found == ["photos/.hidden.jpg", "photos/.private/t.jpg", *IN_PHOTOS]


def test_images_come_in_the_order_of_the_arguments() -> None:
    arguments = ["top.gif", "photos/trip", "https://example.com/a?b", "-", "photos/notes.txt", "nope.jpg", "top.gif"]
    assert names(find_images(arguments)) == [
        "top.gif", "photos/trip/a.webp", "photos/trip/b.png", "https://example.com/a?b", "-", "photos/notes.txt",
        "nope.jpg", "top.gif",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "ending", ["jpg", "JPEG", "png", "webp", "avif", "heic", "tif", "bmp", "jp2", "pgm", "qoi", "heics", "vda", "pjp"]
)
def test_in_a_folder_images_are_recognized_by_suffix(folder: Path, ending: str) -> None:
    (folder / "new").mkdir()
    (folder / f"new/a.{ending}").touch()
    assert names(find_images(["new"])) == [f"new/a.{ending}"]


@pytest.mark.parametrize("ending", ["svg", "eps", "jxl", "dng", "txt", "json", "jsonl", "xmp", "jpg.part", "jpgx"])
def test_in_a_folder_files_with_other_suffixes_are_skipped(folder: Path, ending: str) -> None:
    (folder / "new").mkdir()
    (folder / f"new/a.{ending}").touch()
    assert names(find_images(["new"])) == []


READ = {
    "JPEG",
    "MPO",
    "PNG",
    "GIF",
    "WEBP",
    "AVIF",
    "TIFF",
    "BMP",
    "DIB",
    "ICO",
    "JPEG2000",
    "PPM",
    "QOI",
    "TGA",
    "HEIF",
}


def test_all_suffixes_of_the_formats_that_pillow_reads_here_are_looked_for(folder: Path) -> None:
    Image.init()
    suffixes = [suffix for suffix, name in Image.registered_extensions().items() if name in READ]
    (folder / "new").mkdir()
    for suffix in suffixes:
        (folder / f"new/a{suffix}").touch()
    assert len(names(find_images(["new"]))) == len(suffixes) > 30


PREVIEW_FOLDERS = [
    "@eaDir", ".@__thumb", "#recycle", "__MACOSX", ".thumbnails", ".dtrash", ".picasaoriginals", ".Trash-1000",
    "$RECYCLE.BIN", "Trip Previews.lrdata", "CaptureOne", "Mine.photoslibrary/resources",
]  # fmt: skip


@pytest.mark.parametrize("name", PREVIEW_FOLDERS)
def test_previews_and_trash_are_left_out_unless_they_are_named(folder: Path, name: str) -> None:
    (folder / "new" / name / "sub").mkdir(parents=True)
    (folder / "new/a.jpg").touch()
    (folder / "new" / name / "sub/preview.jpg").touch()
    selection = Selection(include_hidden=True)
    assert names(find_images(["new"], selection=selection)) == ["new/a.jpg"]
    assert names(find_images(["new/**/*.jpg"], selection=selection)) == ["new/a.jpg"]
    inside = f"new/{name}"
    assert names(find_images([inside], selection=Selection())) == [f"{inside}/sub/preview.jpg"]
    assert names(find_images([f"{inside}/sub"], selection=Selection())) == [f"{inside}/sub/preview.jpg"]
    if "$" not in name:
        assert names(find_images([f"{inside}/sub/*.jpg"], selection=Selection())) == [f"{inside}/sub/preview.jpg"]
    assert selection.left_out.format_line() == f"1 folder of previews or trash left out: {inside}"


def test_what_is_left_out_is_counted_by_kind_and_captions_are_not(folder: Path) -> None:
    new = folder / "new"
    new.mkdir()
    for name in (
        "a.CR2", "b.dng", "c.mp4", "d.psd", "e.svg", "f.pages", "g.zip", "h", "i.what", "j.mp3",
        "k.txt", "k.xmp", "k.json", "Thumbs.db", "._a.jpg", "desktop.ini", "r.jsonl", ".hidden.cr2", "l.png",
    ):  # fmt: skip
        (new / name).touch()
    for arguments in (["new"], ["new/*"]):
        selection = Selection(include_hidden=False)
        assert names(find_images(arguments, selection=selection)) == ["new/l.png"]
        assert selection.left_out.format_line() == (
            "10 not read: 2 camera raw, 2 other, 1 video, 1 image format that cannot be read, 1 vector graphics, "
            "1 office document, 1 archive, 1 audio"
        )
    raw = Selection(parse_patterns(["*.cr2", "*.png"], []))
    assert names(find_images(["new"], selection=raw)) == ["new/l.png"]
    assert raw.left_out.format_line() is None  # not selected


def test_links_are_followed_but_not_in_a_cycle(folder: Path) -> None:
    (folder / "photos/trip/up").symlink_to("..")
    (folder / "photos/trip/itself").symlink_to("itself")
    (folder / "photos/z").symlink_to("trip")
    (folder / "photos/trip/link.jpg").symlink_to("../../top.gif")
    assert names(find_images(["photos/trip"])) == [
        "photos/trip/a.webp", "photos/trip/b.png", "photos/trip/link.jpg",
        *(name.replace("photos", "photos/trip/up", 1) for name in ("photos/IMG_2.jpg", "photos/IMG_10.JPG", "photos/trip 2/c.heic")),
    ]  # fmt: skip
    assert names(find_images(["photos"]))[-3:] == ["photos/z/a.webp", "photos/z/b.png", "photos/z/link.jpg"]


def test_a_broken_link_is_an_image_that_fails(folder: Path) -> None:
    (folder / "photos/trip/lost.jpg").symlink_to("nowhere")
    (task,) = find_images(["photos"], selection=Selection(patterns=parse_patterns(["lost.*"], [])))
    assert isinstance(task, Task)
    with pytest.raises(ImageError, match=r"^no such image: photos/trip/lost\.jpg$"):
        read_of(task)


def read_of(task: Task) -> bytes:
    source = resolve_source(task)
    assert not isinstance(source, Link | DocumentPage)
    return read_bytes(source)


def test_a_folder_that_cannot_be_read_is_reported_and_the_rest_goes_on(folder: Path) -> None:
    found = find_images(["photos"])
    first = next(found)
    for file in (folder / "photos/trip").iterdir():
        file.unlink()
    (folder / "photos/trip").rmdir()
    second, third, fourth = found
    assert [first, second, fourth] == [Task(1, IN_PHOTOS[0]), Task(2, IN_PHOTOS[1]), Task(4, IN_PHOTOS[-1])]
    assert isinstance(third, MissingImage)
    assert third.task == Task(3, "photos/trip")
    assert third.error.message == "cannot read the folder photos/trip: No such file or directory"


def test_a_folder_is_not_read_before_its_turn(folder: Path) -> None:
    found = find_images(["photos"])
    next(found)
    (folder / "photos/trip/ab.png").touch()
    assert names(found) == [*IN_PHOTOS[1:3], "photos/trip/ab.png", *IN_PHOTOS[3:]]


def test_a_list_is_read_only_as_far_as_needed() -> None:
    endless = (ListLine(f"{number}.jpg") for number in count())
    assert names(islice(find_images([], list_items=endless), 3)) == ["0.jpg", "1.jpg", "2.jpg"]


NAMES = st.text(st.sampled_from("ab-. ~é0129\x01"), min_size=1, max_size=8)


@given(st.sets(NAMES, max_size=8))
def test_names_sort_like_lists_of_texts_and_numbers(some: set[str]) -> None:
    """The key is a single string; it sorts like a list of texts and numbers."""
    by_parts = sorted(sorted(some), key=lambda name: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name)])
    assert sorted(some, key=lambda name: f"{natural_key(name)}\0\0{name}") == by_parts


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/IMG_*", ["photos/IMG_2.jpg", "photos/IMG_10.JPG"]),
        ("photos/IMG_?.jpg", ["photos/IMG_2.jpg"]),
        ("photos/IMG_[12]*", ["photos/IMG_2.jpg", "photos/IMG_10.JPG"]),
        ("photos/trip*", ["photos/trip/a.webp", "photos/trip/b.png", "photos/trip 2/c.heic"]),
        ("photos/**/*.png", ["photos/trip/b.png"]),
        ("**", [*IN_PHOTOS, "top.gif"]),
        ("photos/*.svg", ["photos/drawing.svg"]),
    ],
)
def test_a_quoted_glob_stands_for_images_and_folders(pattern: str, expected: list[str]) -> None:
    assert sorted(names(find_images([pattern]))) == sorted(expected)


def test_the_matches_of_a_glob_are_in_natural_order() -> None:
    assert names(find_images(["photos/IMG*"])) == ["photos/IMG_2.jpg", "photos/IMG_10.JPG"]


def test_a_glob_without_matches_fails_like_an_image() -> None:
    (missed,) = find_images(["nope/*.jpg"])
    assert isinstance(missed, MissingImage)
    assert (missed.task, missed.error.message) == (Task(1, "nope/*.jpg"), "no image matches nope/*.jpg")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("./photso/", "no such image: ./photso/; did you mean ./photos?"),
        ("nope.png", "no such image: nope.png"),
        ("top.gif/a.png", "no such image: top.gif/a.png"),
        ("nope*.png", "no image matches nope*.png"),
        ("file:///nope.png", "no such image: file:///nope.png"),
    ],
)
def test_an_argument_that_does_not_exist_is_refused_before_the_run(argument: str, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        validate_arguments(["top.gif", argument])
    assert (caught.value.message, caught.value.exit_code) == (message, 4)


def test_arguments_that_exist_in_some_form_pass(folder: Path) -> None:
    (folder / "broken.png").symlink_to("nothing")
    (folder / "[x].png").touch()
    validate_arguments(
        ["-", "photos", "photos/", "ph*/", "*.gif", "broken.png", "[x].png", "https://example.org/a.png"]
    )
    validate_arguments(["file://" + str(folder / "top.gif"), "data:image/png;base64,AAAA"])


def test_a_file_whose_name_looks_like_a_glob_is_a_file(folder: Path) -> None:
    (folder / "sea[1].jpg").touch()
    (folder / "sea1.jpg").touch()
    assert names(find_images(["sea[1].jpg"])) == ["sea[1].jpg"]


def test_a_tilde_is_the_home_folder_unless_a_file_has_that_name(folder: Path) -> None:
    assert names(find_images(["~/photos/trip"])) == [
        str(folder / name) for name in ("photos/trip/a.webp", "photos/trip/b.png")
    ]
    (folder / "~").mkdir()
    (folder / "~/own.jpg").touch()
    assert names(find_images(["~"])) == ["~/own.jpg"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], ["trip/"], ["IMG_2.jpg", "IMG_10.JPG", "trip 2/c.heic"]),
        ([], ["/trip*"], ["IMG_2.jpg", "IMG_10.JPG"]),
        ([], ["*", "!*.jpg"], ["IMG_2.jpg"]),
        (["*.png", "trip 2/"], [], ["trip/b.png", "trip 2/c.heic"]),
        (["trip*/"], ["*.png"], ["trip/a.webp", "trip 2/c.heic"]),
        (["*.txt"], [], []),
    ],
)
def test_patterns_work_as_in_a_gitignore_in_the_folder(
    include: list[str], exclude: list[str], expected: list[str]
) -> None:
    choose = Selection(patterns=parse_patterns(include, exclude))
    assert names(find_images(["photos"], selection=choose)) == [f"photos/{name}" for name in expected]
    assert names(find_images([os.path.abspath("photos")], selection=choose)) == [
        os.path.abspath(f"photos/{n}") for n in expected
    ]


def test_an_excluded_folder_is_not_read(folder: Path) -> None:
    found = find_images(["photos"], selection=Selection(patterns=parse_patterns([], ["trip/"])))
    next(found)
    for file in (folder / "photos/trip").iterdir():
        file.unlink()
    (folder / "photos/trip").rmdir()
    assert names(found) == [IN_PHOTOS[1], IN_PHOTOS[-1]]


def test_patterns_do_not_apply_to_file_arguments() -> None:
    choose = Selection(patterns=parse_patterns([], ["*"]))
    assert names(find_images(["top.gif", "photos"], selection=choose)) == ["top.gif"]


def test_patterns_apply_to_lists() -> None:
    choose = Selection(patterns=parse_patterns([], ["*.png"]))
    assert names(find_images([], list_items=listed(b"photos/a.png\nb.jpg\n"), selection=choose)) == ["b.jpg"]


def test_an_invalid_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^invalid pattern for --exclude: "):
        parse_patterns([], ["!"])


def test_the_results_file_is_not_an_image_even_with_the_suffix_of_one(folder: Path) -> None:
    choose = Selection(excluded_files=(folder / "photos/IMG_2.jpg", Path("later.jpg")))
    (folder / "later.jpg").touch()
    found = find_images(
        ["photos", "later.jpg", "top.gif"], list_items=listed(b"./photos/IMG_2.jpg\n"), selection=choose
    )
    assert names(found) == [*IN_PHOTOS[1:], "top.gif"]


def test_the_limit_is_the_number_of_images() -> None:
    assert names(find_images(["photos"], selection=Selection(limit=2))) == IN_PHOTOS[:2]


def test_shards_are_disjoint_and_complete() -> None:
    shares = [list(find_images(["photos", "top.gif"], selection=Selection(shard=Shard(n, 3)))) for n in (1, 2, 3)]
    tasks = [item for share in shares for item in share if isinstance(item, Task)]
    assert sorted(tasks, key=lambda task: task.index) == list(find_images(["photos", "top.gif"]))


def test_the_limit_applies_to_all_shards_together() -> None:
    shares = [names(find_images(["photos"], selection=Selection(shard=Shard(n, 2), limit=3))) for n in (1, 2)]
    assert sorted(chain.from_iterable(shares)) == sorted(IN_PHOTOS[:3])


def test_a_shard_does_not_depend_on_the_location_of_the_folder() -> None:
    choose = Selection(shard=Shard(2, 3))
    here = [os.path.abspath(name) for name in names(find_images(["photos"], selection=choose))]
    assert names(find_images([os.path.abspath("photos")], selection=choose)) == here


def test_a_shard_is_the_same_in_every_version() -> None:
    assert [n for n in range(30) if Shard(1, 4).contains(f"trip/IMG_{n}.jpg")] == [1, 2, 6, 8, 14, 17, 25, 26, 28]


def test_shards_have_about_the_same_size() -> None:
    sizes = [sum(Shard(number, 4).contains(f"{n}.jpg") for n in range(4000)) for number in range(1, 5)]
    assert all(900 < size < 1100 for size in sizes)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3", "-1/2", "1/ 2", ""])
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^invalid value for --shard: "):
        parse_shard(text)


def test_a_shard_is_parsed() -> None:
    assert parse_shard("2/16") == Shard(2, 16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a.jpg\nb b.jpg\n", [ListLine("a.jpg"), ListLine("b b.jpg")]),
        (b"a.jpg\nb.jpg", [ListLine("a.jpg"), ListLine("b.jpg")]),
        (b"\xef\xbb\xbfa.jpg\r\n\r\n  \r\nb.jpg\r\n", [ListLine("a.jpg"), ListLine("b.jpg")]),
        (b" a.jpg \n", [ListLine(" a.jpg ")]),
        (b"-x.jpg\n{1}.jpg\n", [ListLine("-x.jpg"), ListLine("{1}.jpg")]),
        (b"{1}.jpg\n", [ListLine("{1}.jpg")]),
        (b'{"x": 1}\n', [InvalidListEntry(1, 'is not an object with an "image"')]),
        (
            b" { }\na.jpg\n",
            [
                InvalidListEntry(1, 'is not an object with an "image"'),
                InvalidListEntry(2, "is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
            ],
        ),
        (
            b'{"image": 7}\n{"image": "a.jpg"}\n',
            [InvalidListEntry(1, 'is not an object with an "image"'), ListEntry("a.jpg")],
        ),
        (b"{}.jpg\n", [ListLine("{}.jpg")]),
        (b"caf\xe9.jpg\n", [ListLine("caf\udce9.jpg")]),
        ("é🎉.jpg\n".encode(), [ListLine("é🎉.jpg")]),
        (b"", []),
        (b"\n\n", []),
        (
            b'\xef\xbb\xbf\n{"image": "a.jpg"}\r\n{"image": "b.jpg", "prompt": "why?", "id": 7, "more": []}\n\n',
            [ListEntry("a.jpg"), ListEntry("b.jpg", "why?", 7, {"more": []})],
        ),
        (b'{"image": "a.jpg", "prompt": null, "id": null}\n', [ListEntry("a.jpg")]),
        (b'{"image": "caf\\udce9.jpg", "id": "x"}\n', [ListEntry("caf\udce9.jpg", id="x")]),
        (b'{"image": "caf\xe9\\n.jpg"}\n', [ListEntry("caf\udce9\n.jpg")]),
        (
            b'{"image": "a.jpg"}\nb.jpg\n{"image": ""}\n{"image": "c", "prompt": 1}\n{"image": "c", "id": []}\n[]\n',
            [
                ListEntry("a.jpg"),
                InvalidListEntry(2, "is not valid JSON: Expecting value: line 1 column 1 (char 0)"),
                InvalidListEntry(3, 'is not an object with an "image"'),
                InvalidListEntry(4, 'has a "prompt" that is not a string'),
                InvalidListEntry(5, 'has an "id" that is neither a string nor a number'),
                InvalidListEntry(6, 'is not an object with an "image"'),
            ],
        ),
    ],
)
def test_a_list(text: bytes, expected: list[ListItem]) -> None:
    assert listed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a.jpg\0b\n.jpg\r\n\0", ["a.jpg", "b\n.jpg\r\n"]),
        (b"a.jpg\0b.jpg", ["a.jpg", "b.jpg"]),
        (b'\0\0{"image": "a"}\0', ['{"image": "a"}']),
        (b" \0", [" "]),
        (b"x" * 70_000 + b"\0" + b"y" * 70_000, ["x" * 70_000, "y" * 70_000]),
    ],
)
def test_a_list_with_nuls_holds_only_names(text: bytes, expected: list[str]) -> None:
    assert listed(text, nul=True) == [ListLine(name) for name in expected]


def test_a_list_comes_after_the_arguments() -> None:
    found = find_images(["top.gif"], list_items=listed(b'{"image": "a.jpg", "prompt": "why?", "id": "x"}\n'))
    assert list(found) == [Task(1, "top.gif"), Task(2, "a.jpg", "why?", "x")]


def test_an_image_in_the_output_of_find_is_not_found_twice() -> None:
    """Folders in it are skipped, because the files in them are listed too."""
    text = b".\0./photos\0./photos/trip\0./photos/trip/a.webp\0./top.gif\0"
    assert names(find_images([], list_items=listed(text, nul=True))) == ["./photos/trip/a.webp", "./top.gif"]


def test_a_folder_in_a_jsonl_list_stands_for_its_images() -> None:
    found = find_images([], list_items=[ListEntry("photos/trip", "why?", 3)])
    assert list(found) == [Task(1, "photos/trip/a.webp", "why?", 3), Task(2, "photos/trip/b.png", "why?", 3)]


def test_a_damaged_line_fails_like_an_image() -> None:
    first, missed = find_images([], list_items=listed(b'{"image": "a.jpg"}\n{}\n'))
    assert (first, isinstance(missed, MissingImage) and missed.error.message) == (
        Task(1, "a.jpg"), 'line 2 of the list is not an object with an "image"',
    )  # fmt: skip


def test_a_dash_in_a_list_is_a_file() -> None:
    assert names(find_images([], list_items=listed(b"-\n"))) == ["./-"]


@pytest.mark.parametrize(
    "name", [b"new\nline.jpg", b"caf\xe9.jpg", b"-p.jpg", b"q\"uo'te.jpg", b"http:x.jpg", b"data:,a.jpg"]
)
def test_files_with_unusual_names_are_read(folder: Path, name: bytes) -> None:
    (folder / "odd").mkdir()
    path = os.path.join(os.fsencode(folder), b"odd", name)
    with open(path, "wb") as file:
        file.write(b"picture")
    os.chdir("odd")
    walked, from_list = (
        next(find_images(["."])),
        next(find_images([], list_items=listed(b"./" + name + b"\0", nul=True))),
    )
    assert walked == from_list
    assert isinstance(walked, Task)
    assert read_of(pickle.loads(pickle.dumps(walked))) == b"picture"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("top.gif", File("top.gif", Path("top.gif"))),
        ("nope.jpg", File("nope.jpg", Path("nope.jpg"))),
        ("what is this?", File("what is this?", Path("what is this?"))),
        ("data: x", File("data: x", Path("data: x"))),
        ("*.jpg", File("*.jpg", Path("*.jpg"))),
        ("https://me:pw@example.com/a", Link("https://example.com/a", "https://me:pw@example.com/a")),
        ("data:,hi", Bytes("data:,…", b"hi")),
    ],
)
def test_the_source_of_a_task(source: str, expected: File | Link | Bytes) -> None:
    assert resolve_source(Task(1, source)) == expected


def test_a_task_may_be_a_file_url(folder: Path) -> None:
    url = (folder / "top.gif").as_uri()
    assert resolve_source(Task(1, url)) == File(url, folder / "top.gif")


@pytest.mark.parametrize("source", ["https://", "data:image/png;base64,%%", "file:///nope/nope.jpg", "http://[::1"])
def test_an_invalid_url_fails_only_its_image(source: str) -> None:
    with pytest.raises(ImageError):
        read_of(Task(1, source))


@pytest.mark.parametrize(
    ("arguments", "images", "prompt"),
    [
        (["photos", "caption"], ("photos",), "caption"),
        (["caption", "photos/", "top.gif"], ("photos/", "top.gif"), "caption"),
        (["photos/trip*", "what is this?"], ("photos/trip*",), "what is this?"),
        (
            ["*.gif", "nope.jpg", "https://example.com/a", "-"],
            ("*.gif", "nope.jpg", "https://example.com/a", "-"),
            None,
        ),
        (["photos", "is it a/b?"], ("photos",), "is it a/b?"),
        (["photos", "a/b*"], ("photos", "a/b*"), None),
        (["photos", "phots"], ("photos", "phots"), None),
        (["photos", "zusammenfassen"], ("photos",), "zusammenfassen"),
        (["photos", "これは何"], ("photos",), "これは何"),
        (["top.gif", "phots"], ("top.gif",), "phots"),
        (["photos", ""], ("photos",), ""),
        (["caption"], (), "caption"),
        ([], (), None),
    ],
)
def test_images_and_the_prompt_are_separated(arguments: list[str], images: tuple[str, ...], prompt: str | None) -> None:
    assert split_arguments(arguments, has_prompt_option=False, is_preset=lambda word: word == "zusammenfassen") == (
        images,
        prompt,
    )


@pytest.mark.parametrize(
    ("arguments", "has_prompt_option", "message"),
    [
        (["top.gif", "one", "two"], False, "two prompts: 'one' and 'two'"),
        (["top.gif", "one"], True, "two prompts: -p and 'one'"),
        (["photos", "https://"], False, "https:// has no host"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(
    arguments: list[str], message: str, *, has_prompt_option: bool
) -> None:
    with pytest.raises(UsageError) as caught:
        split_arguments(arguments, has_prompt_option=has_prompt_option, is_preset=lambda _: False)
    assert caught.value.message == message
