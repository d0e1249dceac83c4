"""Sidecars: their content, and which existing files they replace."""

import json
import os
import stat
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qubrid_cli.batch.entries import Record
from qubrid_cli.batch.sidecars.captions import extract_texts, format_caption, list_fields
from qubrid_cli.batch.sidecars.choice import (
    ExistingPolicy,
    SidecarFormat,
    SidecarOptions,
    XmpName,
    build_options,
    check_arguments,
)
from qubrid_cli.batch.sidecars.writer import Sidecars
from qubrid_cli.describe.result import Description, UnpreparedImage
from qubrid_cli.errors import ImageError, UsageError
from qubrid_cli.files import write_atomic
from qubrid_cli.images.sources import Bytes, File, Link, Stdin

DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("photo.jpg", "photo.png", "other.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(name: str = "photo.jpg") -> File:
    return File(name, Path(name))


def record(text: str = "A lighthouse.\n", source: str = "photo.jpg", data: Any = None) -> Record:
    made = Description(prompt="what?", text=text, complete=True, images=(UnpreparedImage(source),)).to_dict()
    return made | {"data": data, "created": "2020-01-01T00:00:00Z"}


def sidecars(*kinds: SidecarFormat, force: bool = False, said: tuple[str, str] = ("", ""), **options: Any) -> Sidecars:
    policy = {"existing": ExistingPolicy.REPLACE} if force else {}
    return Sidecars(SidecarOptions(kinds, **policy | options), has_text=lambda *asked: asked == said)


def write(kind: SidecarFormat, text: str = "A lighthouse.\n", *, force: bool = False, **options: Any) -> None:
    beside = sidecars(kind, force=force, **options)
    beside.claim(file())
    beside.write(file(), record(text))


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        (SidecarFormat.TXT, "photo.txt", b"A lighthouse.\n"),
        (
            SidecarFormat.JSON,
            "photo.json",
            json.dumps(record(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n",
        ),
    ],
)
def test_the_content_of_a_sidecar(folder: Path, kind: SidecarFormat, name: str, content: bytes) -> None:
    write(kind)
    assert (folder / name).read_bytes() == content
    assert sorted(os.listdir(folder)) == sorted(["photo.jpg", "photo.png", "other.jpg", name])


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("  A\n\nB \n\n", "A\n\nB"),
        ("\x1b[31mred\x07", "[31mred"),
        ("é🎉\u2028", "é🎉"),
        ("half \ud800", "half ?"),
        ("", ""),
    ],
)
def test_a_text_sidecar_has_the_text_and_one_line_break(text: str, content: str) -> None:
    write(SidecarFormat.TXT, text)
    assert Path("photo.txt").read_bytes().decode() == content + "\n"


@pytest.mark.parametrize(
    ("data", "caption"),
    [
        ({"tags": ["sea", "light\nhouse", 1, ""]}, "sea, light house"),
        ({"keywords": "sea, light; house"}, "sea, light, house"),
        ({"title": "T", "Caption": "C", "keywords": ["k"], "alt": "A"}, "C"),
        ({"description": "D", "caption": "C", "people": 2}, "D"),
        ({"title": "T", "tags": ["k"]}, "T"),
        ({"title": "T", "alt": "A"}, "A"),
        ({"title": "T", "rows": [["a"]]}, "as it is"),
        ({"tags": [1]}, "as it is"),
        (["a"], "as it is"),
        ("a", "as it is"),
        ([{"label": "a", "box": [1, 2, 3, 4]}], '[{"label": "a", "box": [1, 2, 3, 4]}]'),
    ],
)
def test_the_caption_of_an_answer_in_json(data: object, caption: str) -> None:
    assert format_caption(record("as it is", data=data)) == caption


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        (record("Sea."), {"description": ("Sea.",)}),
        (record(" \n"), {}),
        (record(data={"Title": "A\nB", "caption": "\x1bC ", "tags": ["x"], "keywords": "y, x", "alt-text": "L"}),
         {"title": ("A B",), "description": ("C",), "keywords": ("y", "x"), "alt": ("L",)}),
        (record(data={"title": None, "caption": "", "tags": [], "alt": ["a"]}), {}),
        (record(data={"rows": [["a"]]}), {}),
        (record(data=["a"]), {}),
        (record('{"caption": "C"}'), {"description": ("C",)}),
        (record('```json\n{"caption": "C"}\n```\n'), {"description": ("C",)}),
        (record('{"people": 2}'), {}),
        (record("[a note] {sic}"), {"description": ("[a note] {sic}",)}),
    ],
)  # fmt: skip
def test_the_fields_of_an_answer(answer: Record, texts: dict[str, tuple[str, ...]]) -> None:
    """JSON never becomes a text, whether the model was given a schema or not."""
    assert extract_texts(answer) == texts


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (None, {"description"}),
        ({"properties": {"Caption": {}, "people": {}}}, {"description"}),
        ({"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#"}], "$defs": {"a": {"properties": {"tags": {}}}}}, {"keywords"}),
        ({"type": "array", "items": {"properties": {"title": {}}}}, set()),
        (True, set()),
    ],
)
def test_the_fields_that_a_schema_has(schema: object, fields: set[str]) -> None:
    assert list_fields(schema, is_alt_text=False) == fields


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("photo", "photo.txt"),
        ("a.b.jpg", "a.b.txt"),
        (".jpg", ".jpg.txt"),
        ("./-x.jpg", "-x.txt"),
        ("caf\udce9\n.jpg", "caf\udce9\n.txt"),
        ("sub/../photo.jpg", "photo.txt"),
    ],
)
def test_the_name_is_derived_from_the_image(folder: Path, name: str, beside: str) -> None:
    (folder / "sub").mkdir()
    image = File(name, Path(name))
    sidecars(SidecarFormat.TXT).write(image, record(source=name))
    assert (folder / beside).exists()


@pytest.mark.parametrize("kind", list(SidecarFormat))
def test_a_new_sidecar_has_the_mode_of_the_umask(folder: Path, kind: SidecarFormat) -> None:
    before = os.umask(0o027)
    try:
        write(kind)
    finally:
        os.umask(before)
    (new,) = folder.glob("photo*.*[tnp]")
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


def test_a_replaced_sidecar_keeps_its_mode() -> None:
    write(SidecarFormat.XMP)
    Path("photo.jpg.xmp").chmod(0o604)
    write(SidecarFormat.XMP, "A dog.")
    assert stat.S_IMODE(Path("photo.jpg.xmp").stat().st_mode) == 0o604


def test_an_open_sidecar_can_be_read_to_its_end_after_it_was_replaced() -> None:
    write(SidecarFormat.JSON, "old")
    with Path("photo.json").open() as reader:
        write(SidecarFormat.JSON, "new")
        assert (json.load(reader)["text"], json.loads(Path("photo.json").read_text())["text"]) == ("old", "new")


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        (SidecarFormat.TXT, "photo.txt", "My own caption.\n"),
        (SidecarFormat.TXT, "photo.txt", ""),
        (SidecarFormat.JSON, "photo.json", '{"mine": true}\n'),
        (SidecarFormat.JSON, "photo.json", json.dumps(record(source="photo.png"))),
    ],
)
def test_a_file_of_other_origin_is_replaced_only_with_force(
    folder: Path, kind: SidecarFormat, name: str, content: str
) -> None:
    (folder / name).write_text(content)
    for step in (sidecars(kind).claim, lambda image: sidecars(kind).write(image, record())):
        with pytest.raises(ImageError) as caught:
            step(file())
        assert caught.value.code == "sidecar"
        assert f"cannot write the sidecar of photo.jpg: {name} already exists" in caught.value.message
        assert "--existing replace" in str(caught.value.hint)
    assert (folder / name).read_text() == content
    write(kind, "new", force=True)
    assert (folder / name).read_text() != content


def test_a_text_of_an_earlier_answer_may_be_replaced() -> None:
    write(SidecarFormat.TXT, "old")
    again = sidecars(SidecarFormat.TXT, said=("photo.jpg", "old\n"))
    again.claim(file())
    again.write(file(), record("new"))
    assert Path("photo.txt").read_text() == "new\n"


def test_a_json_sidecar_of_the_same_image_may_be_replaced() -> None:
    write(SidecarFormat.JSON, "old")
    image = file(os.path.abspath("photo.jpg"))
    sidecars(SidecarFormat.JSON).write(image, record("new", source=image.name))
    assert json.loads(Path("photo.json").read_text())["text"] == "new"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 picture", b"nul\0", b"caf\xe9"])
def test_a_file_that_is_not_text_is_never_replaced(folder: Path, content: bytes, *, force: bool) -> None:
    """It may be an image of that name."""
    (folder / "photo.txt").write_bytes(content)
    with pytest.raises(ImageError, match="cannot be replaced"):
        sidecars(SidecarFormat.TXT, force=force).claim(file())
    assert (folder / "photo.txt").read_bytes() == content


@pytest.mark.parametrize("force", [False, True])
def test_the_image_itself_is_never_replaced(folder: Path, *, force: bool) -> None:
    (folder / "scan.txt").write_text("P2 1 1 1 0")
    with pytest.raises(ImageError, match=r"scan\.txt is the image itself"):
        sidecars(SidecarFormat.TXT, force=force).claim(file("scan.txt"))


@pytest.mark.parametrize("force", [False, True])
def test_a_link_is_not_written_through(folder: Path, *, force: bool) -> None:
    (folder / "target").write_text("precious")
    (folder / "photo.txt").symlink_to("target")
    with pytest.raises(ImageError, match="it is not a regular file"):
        sidecars(SidecarFormat.TXT, force=force).claim(file())


@pytest.mark.parametrize(
    ("kind", "force"), [(SidecarFormat.TXT, False), (SidecarFormat.TXT, True), (SidecarFormat.JSON, True)]
)
def test_two_images_of_a_run_do_not_share_a_sidecar(kind: SidecarFormat, *, force: bool) -> None:
    beside = sidecars(kind, force=force)
    beside.claim(file("photo.jpg"))
    beside.claim(file("photo.jpg"))
    with pytest.raises(
        ImageError, match=r"^cannot write .* photo\.png: photo\.\w+ is the sidecar of another image of this run$"
    ):
        beside.claim(file("photo.png"))


def test_two_images_do_not_share_an_xmp_file() -> None:
    beside = sidecars(SidecarFormat.XMP)
    for name in ("photo.jpg", "photo.png"):
        beside.claim(file(name))
        beside.write(file(name), record(name))
    texts = [ET.parse(f"{name}.xmp").getroot().findtext(f".//{DESCRIPTION}/*/*") for name in ("photo.jpg", "photo.png")]
    assert texts == ["photo.jpg", "photo.png"]


def test_a_file_created_between_request_and_answer_is_not_lost() -> None:
    beside = sidecars(SidecarFormat.TXT)
    beside.claim(file())
    Path("photo.txt").write_text("mine")
    with pytest.raises(ImageError):
        beside.write(file(), record())
    assert Path("photo.txt").read_text() == "mine"


def test_a_file_created_at_the_last_moment_is_not_overwritten(folder: Path) -> None:
    Path("photo.txt").write_text("mine")
    before = sorted(os.listdir(folder))
    with pytest.raises(FileExistsError):
        write_atomic(Path("photo.txt"), b"ours", overwrite=False)
    assert (Path("photo.txt").read_text(), sorted(os.listdir(folder))) == ("mine", before)


def test_a_sidecar_that_a_killed_run_did_not_write_is_written_later() -> None:
    sidecars(SidecarFormat.TXT).write_missing(file(), record())
    assert Path("photo.txt").read_text() == "A lighthouse.\n"


def test_an_existing_sidecar_is_not_missing() -> None:
    Path("photo.txt").write_text("corrected by hand")
    sidecars(SidecarFormat.TXT, force=True).write_missing(file(), record())
    assert Path("photo.txt").read_text() == "corrected by hand"


@pytest.mark.parametrize(
    ("age", "policy", "content"),
    [
        (10, ExistingPolicy.REPLACE, "new\n"),
        (10, ExistingPolicy.APPEND, "mine\nnew\n"),
        (10, ExistingPolicy.SKIP, "mine"),
        (-10, ExistingPolicy.REPLACE, "mine"),
        (-10, ExistingPolicy.APPEND, "mine"),
        (10, ExistingPolicy.FAIL, "mine"),
    ],
)
def test_of_a_recorded_answer_only_what_is_older_is_changed(age: int, policy: ExistingPolicy, content: str) -> None:
    """What is newer was written by this program, or corrected by a person."""
    path, answered_at = Path("photo.txt"), 1_700_000_000
    path.write_text("mine")
    os.utime(path, (answered_at - age, answered_at - age))
    answer = record("new") | {"created": "2023-11-14T22:13:20Z"}
    sidecars(SidecarFormat.TXT, existing=policy).write_missing(file(), answer)
    assert path.read_text() == content


def test_a_missing_folder_fails_the_image_before_the_request() -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        sidecars(SidecarFormat.TXT).claim(file("gone/photo.jpg"))


def test_a_name_that_is_too_long_raises_our_error() -> None:
    long = file("x" * 254)
    with pytest.raises(ImageError, match="File name too long"):
        sidecars(SidecarFormat.XMP).write(long, record())


@pytest.mark.parametrize("source", [Bytes("data:,…", b"x"), Link("https://a/b", "https://a/b"), Stdin(BytesIO())])
def test_an_image_that_is_not_a_file_has_no_sidecar(source: Bytes | Link | Stdin) -> None:
    with pytest.raises(ImageError, match="is not a file, so it cannot have a sidecar"):
        sidecars(SidecarFormat.TXT).claim(source)


@pytest.mark.parametrize("argument", ["-", "https://example.com/a.jpg", "HTTP://a/b", "data:image/png;base64,aGk="])
def test_arguments_that_are_not_files_are_refused_before_the_run(argument: str) -> None:
    with pytest.raises(UsageError, match=r"^--sidecar writes files next to image files, but .* is not a file$"):
        check_arguments(["photos", argument])


def test_arguments_that_may_be_files_pass() -> None:
    check_arguments(["photos", "a.jpg", "file:///a.jpg", "*.jpg", "nope"])


# Names and options


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "photo.txt"),
        ({"caption_suffix": ".caption"}, "photo.caption"),
        ({"caption_suffix": "_tags.txt"}, "photo_tags.txt"),
        ({"append_suffix": True}, "photo.jpg.txt"),
        ({"caption_suffix": ".caption", "append_suffix": True}, "photo.jpg.caption"),
    ],
)
def test_the_name_of_a_text_sidecar(folder: Path, options: dict[str, Any], name: str) -> None:
    write(SidecarFormat.TXT, **options)
    assert (folder / name).read_text() == "A lighthouse.\n"


@pytest.mark.parametrize(("name", "path"), [(XmpName.NAME, "photo.jpg.xmp"), (XmpName.STEM, "photo.xmp")])
def test_the_name_of_an_xmp_sidecar(folder: Path, name: XmpName, path: str) -> None:
    write(SidecarFormat.XMP, xmp_name=name)
    assert (folder / path).exists()


@pytest.mark.parametrize("kind", list(SidecarFormat))
def test_a_page_has_its_own_sidecar(kind: SidecarFormat) -> None:
    options = SidecarOptions((kind,), xmp_name=XmpName.STEM)
    assert options.derive_path(kind, Path("scan.pdf"), 3) == Path(f"scan.pdf-3.{kind}")


def test_images_with_the_same_stem_have_their_own_texts_with_the_suffix_of_the_image() -> None:
    beside = sidecars(SidecarFormat.TXT, append_suffix=True)
    for name in ("photo.jpg", "photo.png"):
        beside.claim(file(name))


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({"prefix": "ohwx person, "}, "ohwx person, A dog.\n\nIt runs.\n"),
        ({"one_line": True}, "A dog. It runs.\n"),
        ({"prefix": "ohwx,\n", "one_line": True}, "ohwx, A dog. It runs.\n"),
        ({"prefix": "\udcff <b>"}, "? <b>A dog.\n\nIt runs.\n"),
    ],
)
def test_the_form_of_a_text(options: dict[str, Any], content: str) -> None:
    write(SidecarFormat.TXT, "A dog.\n\nIt runs.", **options)
    assert Path("photo.txt").read_text() == content
    again = sidecars(SidecarFormat.TXT, said=("photo.jpg", "Adog.Itruns."), **options)
    again.claim(file())  # it is still ours


@pytest.mark.parametrize(
    ("kinds", "changes", "message"),
    [
        ((), {"existing": "skip"}, "--existing has no effect without --sidecar txt or --sidecar json or --sidecar xmp"),
        (("xmp",), {"prefix": "a"}, "--prefix has no effect without --sidecar txt"),
        (("xmp",), {"one_line": True}, "--one-line has no effect without --sidecar txt"),
        (
            ("xmp",),
            {"append_suffix": True},
            "--append-suffix has no effect without --sidecar txt or --sidecar json",
        ),
        (("txt",), {"xmp_name": "{stem}.xmp"}, "--xmp-name has no effect without --sidecar xmp"),
        (("txt",), {"caption_suffix": "caption"}, "invalid value for --caption-suffix: caption"),
        (("txt",), {"caption_suffix": "/a.txt"}, "invalid value for --caption-suffix: /a.txt"),
        (("txt",), {"caption_suffix": ".JPG"}, "invalid value for --caption-suffix: .JPG"),
        (("txt", "json"), {"caption_suffix": ".json"}, "two sidecars of an image would have the same name"),
        (("json",), {"existing": "append"}, "--existing append does not apply to --sidecar json"),
    ],
)
def test_options_that_do_not_fit_are_refused(kinds: tuple[str, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_options(kinds, changes=changes)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_xmp_is_refused_for_a_schema_without_fields_of_photo_managers() -> None:
    with pytest.raises(UsageError, match="the schema has no field that photo managers have"):
        build_options(("xmp",), changes={}, schema={"properties": {"people": {}}})


# Existing files


def update(kind: SidecarFormat, policy: ExistingPolicy, text: str = "new", **options: Any) -> None:
    """Do what a run does with an image."""
    beside = sidecars(kind, existing=policy, **options)
    if not beside.may_skip_request(file()):
        beside.claim(file())
        beside.write(file(), record(text))


@pytest.mark.parametrize(
    ("existing", "options", "content"),
    [
        (b"old", {}, b"old\nnew\n"),
        (b"old \r\n", {}, b"old\r\nnew\r\n"),
        (b"\xef\xbb\xbfold\n", {}, b"\xef\xbb\xbfold\nnew\n"),
        (b"old\n", {"one_line": True}, b"old, new\n"),
        (b"", {}, b"new\n"),
        (b"old and n\new\n", {}, b"old and n\new\n"),
    ],
)
def test_a_text_is_appended_once(existing: bytes, options: dict[str, Any], content: bytes) -> None:
    path = Path("photo.txt")
    path.write_bytes(existing)
    for _ in range(2):
        update(SidecarFormat.TXT, ExistingPolicy.APPEND, **options)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"mine", b"", b"\xff\0"])
@pytest.mark.parametrize("kind", [SidecarFormat.TXT, SidecarFormat.JSON])
def test_an_existing_file_is_skipped(kind: SidecarFormat, content: bytes) -> None:
    path = Path(f"photo.{kind}")
    path.write_bytes(content)
    assert sidecars(kind, existing=ExistingPolicy.SKIP).may_skip_request(file())
    update(kind, ExistingPolicy.SKIP)
    assert path.read_bytes() == content


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("gone")])
@pytest.mark.parametrize("kind", list(SidecarFormat))
def test_what_is_not_a_regular_file_is_skipped_or_refused(kind: SidecarFormat, make: Any) -> None:
    path = sidecars(kind)._options.derive_path(kind, Path("photo.jpg"))
    make(path)
    update(kind, ExistingPolicy.SKIP)
    with pytest.raises(ImageError, match="it is not a regular file"):
        update(kind, ExistingPolicy.REPLACE)
    assert path.is_symlink() or path.is_dir()


def test_an_image_with_some_of_its_sidecars_gets_the_others() -> None:
    Path("photo.txt").write_text("mine")
    beside = sidecars(SidecarFormat.TXT, SidecarFormat.JSON, existing=ExistingPolicy.SKIP)
    assert not beside.may_skip_request(file())
    beside.claim(file())
    beside.write(file(), record())
    assert (Path("photo.txt").read_text(), Path("photo.json").exists()) == ("mine", True)


def test_the_sidecar_of_another_image_of_the_run_does_not_count_as_existing() -> None:
    beside = sidecars(SidecarFormat.TXT, existing=ExistingPolicy.SKIP)
    beside.claim(file("photo.jpg"))
    beside.write(file("photo.jpg"), record())
    assert not beside.may_skip_request(file("photo.png"))
    with pytest.raises(ImageError, match="is the sidecar of another image of this run"):
        beside.claim(file("photo.png"))


def test_if_one_sidecar_cannot_be_written_the_others_are() -> None:
    beside = sidecars(SidecarFormat.TXT, SidecarFormat.JSON)
    beside.claim(file())
    Path("photo.txt").write_text("mine")
    with pytest.raises(ImageError, match=r"photo\.txt already exists"):
        beside.write(file(), record())
    assert Path("photo.json").exists()
