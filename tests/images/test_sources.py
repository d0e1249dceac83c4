"""Command-line arguments: images, prompts and errors; and reading the bytes of an image."""

import os
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pytest

from qubrid_cli.errors import ImageError, QvisionError, UsageError
from qubrid_cli.images.arguments import Arguments, classify
from qubrid_cli.images.sources import Bytes, File, Link, Stdin, read_bytes

from ..conftest import Ask
from ..support.server import Server

STDIN = BytesIO(b"from standard input")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where we stand, with some files in it; it is the home folder too."""
    for name in ("a.jpg", "img2.png", "img10.png", "img1.png", "notes", "what is this?", "sea[1].jpg", "a b.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "trip").mkdir()
    (tmp_path / "trip" / "deep.jpg").touch()
    (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def classified(*arguments: str, has_prompt_option: bool = False) -> Arguments:
    return classify(arguments, has_prompt_option=has_prompt_option, stdin=STDIN)


def refusal(*arguments: str, has_prompt_option: bool = False) -> tuple[int, str]:
    """The exit code and the message."""
    try:
        error: QvisionError | None = classified(*arguments, has_prompt_option=has_prompt_option).error
    except UsageError as raised:
        error = raised
    assert error is not None
    return error.exit_code, error.message


def file(name: str) -> File:
    return File(name, Path(name))


@pytest.mark.parametrize("has_prompt_option", [False, True])
@pytest.mark.parametrize(
    ("argument", "images"),
    [
        pytest.param("-", [Stdin(STDIN)], id="1 standard input"),
        ("http://example.com/a", [Link("http://example.com/a", "http://example.com/a")]),
        ("HTTPS://example.com/a", [Link("https://example.com/a", "HTTPS://example.com/a")]),
        ("https://me:pw@example.com/a", [Link("https://example.com/a", "https://me:pw@example.com/a")]),
        (
            "https://example.com/*.jpg?x=[1]",
            [Link("https://example.com/*.jpg?x=[1]", "https://example.com/*.jpg?x=[1]")],
        ),
        ("data:image/png;base64,aGk=", [Bytes("data:image/png;base64,…", b"hi")]),
        ("DATA:image/png;BASE64,aGk=", [Bytes("data:image/png;BASE64,…", b"hi")]),
        ("data:image/png;base64,aG\nk=\n", [Bytes("data:image/png;base64,…", b"hi")]),
        ("data:image/png;charset=utf-8;base64,aGk=", [Bytes("data:image/png;charset=utf-8;base64,…", b"hi")]),
        ("data:image/png; base64,aGk=", [Bytes("data:image/png; base64,…", b"hi")]),
        ("data:image/png;base64,aGk", [Bytes("data:image/png;base64,…", b"hi")]),
        ("data:image/png;base64, a G%0Ak%3d ", [Bytes("data:image/png;base64,…", b"hi")]),
        ("data:;base64,+/%2B%2f", [Bytes("data:;base64,…", b"\xfb\xff\xbf")]),
        ("data:image/png,%89PNG%0d%0a,%20+", [Bytes("data:image/png,…", b"\x89PNG\r\n, +")]),
        (f"data:{'x' * 99},a", [Bytes(f"data:{'x' * 60},…", b"a")]),
        ("data:,a%20b", [Bytes("data:,…", b"a b")]),
        pytest.param("a.jpg", [file("a.jpg")], id="3 an existing file"),
        ("./a.jpg", [File("./a.jpg", Path("a.jpg"))]),
        ("notes", [file("notes")]),
        ("what is this?", [file("what is this?")]),
        ("a b.webp", [file("a b.webp")]),
        ("lost.jpg", [file("lost.jpg")]),
        pytest.param("sea[1].jpg", [file("sea[1].jpg")], id="3 before 4"),
        pytest.param("img*.png", [file("img1.png"), file("img2.png"), file("img10.png")], id="4 a glob"),
        ("img?.png", [file("img1.png"), file("img2.png")]),
        ("img[12].png", [file("img1.png"), file("img2.png")]),
        ("trip/*.jpg", [file("trip/deep.jpg")]),
        ("**/deep.jpg", [file("trip/deep.jpg")]),
        ("a*.webp", [file("a b.webp")]),
    ],
)
def test_what_is_an_image(argument: str, images: list[object], *, has_prompt_option: bool) -> None:
    assert list(classified(argument, has_prompt_option=has_prompt_option).images) == images


def test_a_file_url_is_a_path(folder: Path) -> None:
    url = (folder / "a b.webp").as_uri()
    assert classified(url).images == (File(url, folder / "a b.webp"),)


def test_a_tilde_is_the_home_folder(folder: Path) -> None:
    assert classified("~/a.jpg").images == (File("~/a.jpg", folder / "a.jpg"),)


def test_a_glob_under_the_home_folder(folder: Path) -> None:
    assert [image.name for image in classified("~/img*0.png").images] == [str(folder / "img10.png")]


@pytest.mark.parametrize("has_prompt_option", [False, True])
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        pytest.param("nope.jpg", (4, "no such image: nope.jpg"), id="5 an image suffix and no blank"),
        ("NOPE.JPEG", (4, "no such image: NOPE.JPEG")),
        ("nope.heic", (4, "no such image: nope.heic")),
        ("nope.jgp", (4, "no such image: nope.jgp")),
        ("trip/nope.png", (4, "no such image: trip/nope.png")),
        pytest.param("./nope", (4, "no such image: ./nope"), id="5 the start of a path and no blank"),
        ("../nope", (4, "no such image: ../nope")),
        ("/nope", (4, "no such image: /nope")),
        ("~/nope", (4, "no such image: ~/nope")),
        ("C:\\nope", (4, "no such image: 'C:\\nope'")),
        pytest.param("nope*.jpg", (4, "no image matches nope*.jpg"), id="4 a glob without matches"),
        ("folder*.jpg", (4, "no image matches folder*.jpg")),
        pytest.param("trip", (2, "trip is a folder"), id="3 a folder"),
        (".", (2, ". is a folder")),
        ("folder.jpg", (2, "folder.jpg is a folder")),
        pytest.param("https://", (2, "https:// has no host"), id="2 no host"),
        (
            "data:image/png;base64,%%",
            (4, "data:image/png;base64,… is not a valid data URL: Only base64 data is allowed"),
        ),
        ("data:image/png", (4, "data:image/png,… is not a valid data URL: no comma in it")),
        ("data:;base64,aGk-", (4, "data:;base64,… is not a valid data URL: Only base64 data is allowed")),
        ("https://example.com:port/a.jpg", (2, "https://example.com:port/a.jpg is not a URL")),
        ("https://:80/a.jpg", (2, "https://:80/a.jpg has no host")),
    ],
)
def test_what_is_an_error(argument: str, expected: tuple[int, str], *, has_prompt_option: bool) -> None:
    assert refusal("a.jpg", argument, has_prompt_option=has_prompt_option) == expected


def test_a_data_url_may_be_as_large_as_a_photo() -> None:
    data = bytes(range(256)) * 80_000
    assert classified(f"data:image/png;base64,{b64encode(data).decode()}").images == (
        Bytes("data:image/png;base64,…", data),
    )


def test_a_broken_data_url_is_named_by_its_head_only() -> None:
    assert classified("data:image/png;base64,%%", "data:" + "x" * 999).names == (
        "data:image/png;base64,…", f"data:{'x' * 60},…",
    )  # fmt: skip


def test_a_missing_file_url_is_no_such_image(folder: Path) -> None:
    url = (folder / "nope.jpg").as_uri()
    with pytest.raises(ImageError, match=f"^no such image: {url}$"):
        read_bytes(file_at(url))


def file_at(url: str) -> File:
    (image,) = classified(url).images
    assert isinstance(image, File)
    return image


@pytest.mark.parametrize(
    "text",
    [
        "what is in it?",
        "describe",
        "Is there a cat in a.jpg?",
        "is it nope.jpg",
        "C:\\nope on the left?",
        "Look at https://example.com/a.jpg",
        "https://example.com/a.jpg says what?",
        "data: what does the chart say",
        "Qwen3.5",
        "1.5",
        "…?",
        "*",
        "--",
        "",
        "a\nb",
        "nul\0byte",
        "long " * 2000,
        "x" * 5000,
    ],
)
def test_what_is_the_prompt(text: str) -> None:
    assert classified("a.jpg", text) == Arguments((file("a.jpg"),), ("a.jpg",), text)


def test_images_keep_their_order_wherever_the_prompt_stands() -> None:
    assert classified("img2.png", "which?", "-", "a.jpg", "img1*.png") == Arguments(
        (file("img2.png"), Stdin(STDIN), file("a.jpg"), file("img1.png"), file("img10.png")),
        ("img2.png", "-", "a.jpg", "img1.png", "img10.png"),
        "which?",
    )


def test_a_missing_image_is_listed_among_the_names() -> None:
    found = classified("a.jpg", "nope.jpg", "what?")
    assert (found.names, found.prompt, found.error and found.error.message) == (
        ("a.jpg", "nope.jpg"), "what?", "no such image: nope.jpg",
    )  # fmt: skip


def test_two_prompts_are_a_usage_error_that_names_both() -> None:
    assert refusal("a.jpg", "what?", "where?") == (2, "two prompts: 'what?' and 'where?'")


def test_a_text_beside_the_prompt_option_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        classified("a.jpg", "what is this thing?", has_prompt_option=True)


@pytest.mark.parametrize("arguments", [(), ("describe this",)])
def test_no_image_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert refusal(*arguments) == (2, "no image was named")


def test_a_single_missing_name_with_a_blank_is_not_a_prompt() -> None:
    assert refusal("my photo.jpg") == (4, 'no such image: "my photo.jpg"')


def test_standard_input_is_not_read_by_classifying() -> None:
    stream = BytesIO(b"picture")
    classify(["-"], has_prompt_option=False, stdin=stream)
    assert stream.tell() == 0


@pytest.mark.parametrize(
    "source", [Bytes("x", b"picture"), Stdin(BytesIO(b"picture"))], ids=["at hand", "standard input"]
)
def test_reading(source: Bytes | Stdin) -> None:
    assert read_bytes(source) == b"picture"


def test_reading_a_file_through_a_symlink(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"picture")
    (folder / "link").symlink_to("a.jpg")
    assert read_bytes(file("link")) == b"picture"


def test_a_name_with_a_nul_cannot_be_read() -> None:
    with pytest.raises(ImageError) as caught:
        read_bytes(file("x\0"))
    assert caught.value.message == 'cannot read "x\0": embedded null byte'


def test_a_refused_folder_is_closed(folder: Path) -> None:
    before = os.listdir("/dev/fd")
    with pytest.raises(ImageError):
        read_bytes(File("trip", folder / "trip"))
    assert os.listdir("/dev/fd") == before


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@[::1/a.jpg",
        "http://me:hunter2@host:port/a.jpg",
        "http://me:hunter2/@host/a.jpg",
        "http://me:hunter2@/a.jpg",
        "http:/me:hunter2@host/a.jpg",
        "http://me:hunter2@ho\u2100st/a.jpg",
        "file://me:hunter2@host/a.jpg",
        "ftp://me:hunter2@host/a.jpg",
    ],
)
def test_a_password_in_a_broken_url_is_shown_nowhere(describe: Ask, server: Server, url: str) -> None:
    for form in ([], ["--json"]):
        run = describe(url, "what?", *form)
        assert (run.exit_code in {2, 4}, b"hunter2" in run.stdout + run.stderr.encode()) == (True, False)
    assert server.asked == []


@pytest.mark.parametrize(
    "argument",
    [
        "https:me:secretpw@host/a.jpg",
        "https://me:secretpw@host/a b.jpg",
        " https://me:secretpw@host/b.jpg",
        "s3://me:secretpw@host/a",
        "//me:secretpw@host/a.jpg",
        "https://me:sec ret/secretpw@host/a",
    ],
)
def test_a_broken_url_shows_no_password_either(argument: str) -> None:
    try:
        found = classify([argument, "two"], has_prompt_option=True, stdin=BytesIO())
    except QvisionError as error:
        said = error.format_report()
    else:
        assert found.error is not None
        said = found.error.format_report() + "".join(found.names)
    assert "secretpw" not in said
