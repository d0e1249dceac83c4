"""Reading and decoding an image before the rest of the program is loaded."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
import typer
from PIL import Image

from qubrid_cli import __main__, cli
from qubrid_cli.errors import ImageError
from qubrid_cli.images import prefetch, sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import PreparationPool, PreparedImage, prepare_image

from ..conftest import Qvision
from ..support import draw
from ..support.files import saved
from ..support.pictures import SCREENSHOT, plain

# Whether there is one


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.jpg", "b.jpg", "notes"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLAIN = [
    ["a.jpg"],
    ["a.jpg", "what is this?"],
    ["what is this?", "a.jpg"],
    ["a.jpg", "-p", "what is this?"],
    ["--prompt=what is this?", "a.jpg"],
    ["-m", "b.jpg", "a.jpg"],
    ["--json", "a.jpg", "-q", "what is this?", "--max-tokens", "9"],
    ["-o", "b.jpg", "a.jpg"],
    ["--offline", "a.jpg", "x", "--field", "text"],
    ["-P", "alt", "a.jpg", "x", "--profile", "ollama"],
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_a_simple_command_line_names_the_image_to_prefetch(words: list[str]) -> None:
    assert (__main__.parse_plain(["describe", *words]) or ("",))[0] == "a.jpg"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "line",
    [
        pytest.param([], id="nothing"),
        pytest.param(["batch", "a.jpg"], id="another command"),
        pytest.param(["a.jpg"], id="no command"),
        pytest.param(["describe"], id="no image"),
        pytest.param(["describe", "nope.jpg"], id="an image that is not there"),
        pytest.param(["describe", "folder"], id="a folder"),
        pytest.param(["describe", "a.jpg", "b.jpg"], id="two images"),
        pytest.param(["describe", "a.jpg", "one", "two"], id="two prompts"),
        pytest.param(["describe", "a.jpg", "one", "-p", "two"], id="two prompts, one behind an option"),
        pytest.param(["describe", "a.jpg", "--nonsense"], id="an unknown option"),
        pytest.param(["describe", "a.jpg", "--help"], id="the help"),
        pytest.param(["describe", "a.jpg", "-m"], id="an option without its value"),
        pytest.param(["describe", "a.jpg", "--json=yes"], id="a switch with a value"),
        pytest.param(["describe", "a.jpg", "--max-pixels", "4000"], id="another size"),
        pytest.param(["describe", "a.jpg", "--original"], id="the whole size"),
        pytest.param(["describe", "a.jpg", "--frame", "2"], id="another frame"),
        pytest.param(["describe", "-m", "a.jpg"], id="an image that is a model"),
    ],
)
def test_nothing_is_prefetched_in_doubt(line: list[str]) -> None:
    assert __main__.parse_plain(line) is None


def test_the_options_that_change_nothing_are_options_of_describe() -> None:
    command = typer.main.get_command(cli._build_app(["describe"]))
    parameters = command.get_command(typer.Context(command), "describe").params  # type: ignore[attr-defined]
    takes_value = {
        name: not parameter.is_flag
        for parameter in (*command.params, *parameters)
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    assert __main__._NEUTRAL_OPTIONS.items() <= takes_value.items()


@pytest.mark.parametrize("words", [["one", "two"], ["--nonsense"], ["--max-tokens"]], ids=" ".join)
def test_a_mistyped_command_line_is_refused_as_without(
    qvision: Qvision, lighthouse: Path, words: Sequence[str]
) -> None:
    done = qvision("describe", lighthouse, *words)
    assert (done.exit_code, done.stdout) == (2, b"")


# What comes of it


def turned(picture: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[draw.ORIENTATION] = orientation
    return saved(picture, "JPEG", exif=exif.tobytes())


def animated() -> bytes:
    stream = BytesIO()
    plain("red").save(stream, "PNG", save_all=True, append_images=[plain("blue")])
    return stream.getvalue()


@cache
def vast() -> Image.Image:
    """So large that a decoder can halve it."""
    return draw.lighthouse(3800, 2800)


@cache
def large() -> Image.Image:
    """So large that it is shrunk."""
    return draw.lighthouse(1900, 1500)


#: Functions, because these files are drawn and encoded where they are used, not in each process that collects tests.
FILES: dict[str, Callable[[], bytes]] = {
    "vast JPEG": lambda: saved(vast(), "JPEG"),
    "vast JPEG, on its side": lambda: turned(vast(), 6),
    "large JPEG": lambda: saved(large(), "JPEG"),
    "large JPEG, progressive": lambda: saved(large(), "JPEG", progressive=True),
    "large JPEG, gray": lambda: saved(large().convert("L"), "JPEG"),
    "large JPEG, CMYK": lambda: saved(large().convert("CMYK"), "JPEG"),
    "large JPEG of several pictures": lambda: saved(large(), "MPO"),
    "large PNG": lambda: saved(large(), "PNG"),
    "large PNG with transparency": lambda: saved(large().convert("RGBA"), "PNG"),
    "large PNG with a palette": lambda: saved(large().convert("P"), "PNG"),
    "large WebP": lambda: saved(large(), "WEBP"),
    "small JPEG": lambda: saved(plain(), "JPEG"),
    "screenshot": SCREENSHOT.read_bytes,
    "animation": animated,
    "GIF": lambda: saved(plain(), "GIF"),
    "JPEG cut off": lambda: saved(large(), "JPEG")[:50_000],
    "JPEG without a picture": lambda: b"\xff\xd8\xff\xe0" + bytes(100),
    "PNG cut off": lambda: saved(large(), "PNG")[:5_000],
    "too small": lambda: saved(plain(size=(9, 9)), "JPEG"),
    "text": lambda: b"hello",
    "empty": lambda: b"",
}


@cache
def read(name: str) -> bytes:
    return FILES[name]()


def outcome(path: Path, limits: ImageLimits) -> PreparedImage | tuple[str, str, str | None]:
    try:
        return replace(prepare_image(sources.File("x", path), limits), prepare_seconds=0)
    except ImageError as error:
        return error.code, error.message, error.hint


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "limits",
    [ImageLimits(), ImageLimits(max_pixels=400_000), ImageLimits(max_pixels=None, quality=60)],
    ids=["as guessed", "smaller", "unshrunk"],
)
def test_the_result_is_the_same_with_and_without_prefetch(tmp_path: Path, name: str, limits: ImageLimits) -> None:
    path = tmp_path / "x"
    path.write_bytes(read(name))
    without = outcome(path, limits)
    prefetch.start(str(path))
    assert outcome(path, limits) == without


def test_a_prefetched_image_is_not_decoded_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(read("vast JPEG"))
    prefetch.start(str(path))
    data = prefetch.take(path)
    assert data is not None
    image = Image.open(path)
    image.draft(None, (1900, 1400))
    found = prefetch.get_decoded(image, data)
    assert (found is not image, found.size, found.tobytes() == image.tobytes()) == (True, image.size, True)


def test_another_size_is_decoded_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(read("vast JPEG"))
    prefetch.start(str(path))
    data = prefetch.take(path)
    assert data is not None
    with Image.open(path) as image:
        assert prefetch.get_decoded(image, data) is image


def test_only_the_prefetched_file_is_taken(tmp_path: Path) -> None:
    guessed, wanted = tmp_path / "guessed.png", tmp_path / "wanted.png"
    guessed.write_bytes(saved(plain("red"), "PNG"))
    wanted.write_bytes(saved(plain("blue"), "PNG"))
    for found in (sources.File("wanted.png", wanted), sources.Bytes("x", wanted.read_bytes())):
        without = prepare_image(found, ImageLimits())
        prefetch.start(str(guessed))
        (begun,) = PreparationPool(ImageLimits()).submit([found])
        image = begun.future.result()
        assert isinstance(image, PreparedImage)
        assert image == replace(without, prepare_seconds=image.prepare_seconds)


def test_a_file_deleted_meanwhile_was_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(read("large PNG"))
    prefetch.start(str(path))
    assert prefetch.take(path) == read("large PNG")
    path.unlink()
    assert prepare_image(sources.File("x", path), ImageLimits()).size == len(read("large PNG"))


def test_only_regular_files_are_prefetched(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert __main__.parse_plain(["describe", str(tmp_path / "pipe.jpg")]) is None


def test_a_quoted_tilde_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qvision: Qvision, lighthouse: Path
) -> None:
    """``~/x.jpg`` in quotes is a file at home, also where a folder is called ``~``."""
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "x.jpg").write_bytes(saved(plain("red"), "JPEG"))
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(lighthouse, home / "x.jpg")
    monkeypatch.chdir(tmp_path)
    done = qvision("describe", "~/x.jpg", "--offline", "--field", "images.0.sha256", env={"HOME": str(home)})
    image = prepare_image(sources.File("x", lighthouse), ImageLimits())
    assert done.stdout.decode().strip() == image.sha256
