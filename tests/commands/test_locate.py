"""``qvision locate``: boxes as JSON, as a table, drawn and cut out; and the same boxes from ``describe`` and ``batch``."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qubrid_cli import Client, cli
from qubrid_cli.errors import ConfigError
from qubrid_cli.images.detections.crops import save_crops
from qubrid_cli.images.detections.detection import Detection
from qubrid_cli.images.detections.drawing import draw_detections

from ..conftest import KEY, VALIDATOR, Qvision, at_home
from ..describe.test_locating import SQUARE, draw
from ..output import test_terminal
from ..output.test_terminal import Screen, Terminal
from ..support import documents
from ..support.server import Asked, Reply, Server, document, stream

on_a_terminal = test_terminal.run  # the fixture
#: The exit code, standard output and standard error of a command line.
Command = Callable[..., tuple[int, bytes, str]]
#: The square of the picture, as Qwen3-VL gives it, and another box; and both in pixels.
ANSWER = [{"bbox_2d": [250, 700, 350, 850], "label": "Square"}, {"bbox_2d": [0, 0, 500, 250], "label": "../\x1b[31m"}]
DATA = [{"label": "Square", "box": list(SQUARE)}, {"label": "../\x1b[31m", "box": [0, 0, 300, 100]}]
RED, GRAY = (254, 0, 0), (120, 130, 125)


def load(path: Path | str) -> Image.Image:
    """The image in a file, which is closed."""
    with Image.open(path) as image:
        image.load()
    return image


@pytest.fixture
def command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Command:
    """The program in this process, in an empty folder with an upright and a turned photo, against the server."""
    home = {**at_home(tmp_path / "home"), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}
    for name, value in {**home, "QVISION_CONFIG": "", "QVISION_PROFILE": "", "FORCE_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for name, orientation in {"photo.jpg": 1, "turned.jpg": 6}.items():
        (tmp_path / name).write_bytes(draw(orientation))
    answer = json.dumps(ANSWER)
    server.answer = lambda asked: stream(answer) if asked.json.get("stream") else document(answer)

    def run(*arguments: object) -> tuple[int, bytes, str]:
        exit_code = cli.main(list(map(str, arguments)))
        out, err = capfdbinary.readouterr()
        return exit_code, out, err.decode()

    return run


def test_a_pipe_gets_a_list_of_boxes_for_each_image(command: Command) -> None:
    exit_code, out, err = command("locate", "photo.jpg", "turned.jpg", "the square")
    assert (exit_code, [json.loads(line) for line in out.splitlines()], err) == (0, [DATA, DATA], "")
    assert b"\x1b" not in out


def test_json_is_the_record_and_its_prompt_is_the_whole_question(command: Command) -> None:
    exit_code, out, _ = command("locate", "photo.jpg", "-p", "the square", "--json")
    record = json.loads(out)
    VALIDATOR.validate(record)
    assert (exit_code, record["data"], record["text"]) == (0, DATA, json.dumps(ANSWER))
    assert record["prompt"].endswith("\n\nthe square")
    assert record["request"]["schema"] == "boxes"


@pytest.mark.parametrize("answer", ["[]", '{"objects": []}'])
def test_finding_nothing_is_a_success(answer: str, command: Command, server: Server) -> None:
    server.answer = stream(answer)
    assert command("locate", "photo.jpg", "a whale", "--draw", "out.png", "--crop-to", "crops") == (0, b"[]\n", "")
    assert list(Path("crops").iterdir()) == []
    assert load("out.png").size == (600, 400)


@pytest.mark.parametrize("arguments", [("describe", "photo.jpg"), ("batch", "photo.jpg", "-q")])
def test_the_preset_gives_the_same_boxes(arguments: tuple[str, ...], command: Command) -> None:
    exit_code, out, _ = command(
        *arguments, "-P", "boxes", "the square", *(() if arguments[0] == "batch" else ("--json",))
    )
    assert (exit_code, json.loads(out)["data"]) == (0, DATA)


def test_the_form_of_the_coordinates_belongs_to_the_key_of_an_answer(command: Command, server: Server) -> None:
    line = ("batch", "photo.jpg", "-q", "-P", "boxes", "the square", "-o", "results.jsonl")
    for options, count in (
        ((), 1),
        ((), 1),
        (("--coordinates", "percent"), 2),
        (("--coordinates", "relative-1000"), 3),
    ):
        command(*line, *options)
        assert len(server.asked) == count


def test_a_failure_keeps_the_answer_in_the_record(command: Command, server: Server) -> None:
    server.answer = stream('[{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "label": "dog"}]')
    exit_code, out, err = command("locate", "photo.jpg", "the dogs", "--json")
    record = json.loads(out)
    VALIDATOR.validate(record)
    assert (exit_code, record["ok"], record["data"], record["text"][:9]) == (8, False, None, '[{"bbox_2')
    assert err == (
        "error: the answer cannot be used: box 1 (dog) has no coordinate above 1, although relative-1000 is expected: "
        "[0.1, 0.2, 0.3, 0.4]\nhint: Try --coordinates fractions; --json keeps the answer's text.\n"
    )
    assert command("locate", "photo.jpg", "the dogs", "--coordinates", "fractions")[0] == 0


@pytest.mark.parametrize("name", ["photo.jpg", "turned.jpg"])
def test_boxes_are_drawn_on_the_upright_original(name: str, command: Command) -> None:
    assert command("locate", name, "the square", "--max-side", 200, "--draw", "out.png", "-q")[0] == 0
    drawing = load("out.png")
    assert (drawing.size, drawing.mode, drawing.info, len(drawing.getexif())) == ((600, 400), "RGB", {}, 0)
    x, y = (SQUARE[0] + SQUARE[2]) // 2, (SQUARE[1] + SQUARE[3]) // 2
    assert drawing.getpixel((x, y)) == RED  # inside the box, the picture is unchanged
    edges = [drawing.getpixel(point) for point in ((SQUARE[0], y), (SQUARE[2] - 1, y), (x, SQUARE[3] - 1))]
    assert len(set(edges)) == 1
    assert edges[0] not in {RED, GRAY}


def test_a_drawing_can_be_a_jpeg_or_go_to_standard_output(command: Command) -> None:
    assert command("locate", "photo.jpg", "the square", "--draw", "out.JPG", "-q")[0] == 0
    assert load("out.JPG").format == "JPEG"
    exit_code, out, err = command("locate", "photo.jpg", "the square", "--draw", "-")
    assert (exit_code, Image.open(io.BytesIO(out)).format, err) == (0, "PNG", "")


def test_boxes_are_cut_out_of_the_original_under_safe_names(command: Command) -> None:
    Path("crops").mkdir()
    Path("crops/turned-1-Square.png").write_text("mine")
    for _ in range(2):  # the second run writes the same files
        assert command("locate", "turned.jpg", "the square", "--max-side", 200, "--crop-to", "crops", "-q")[0] == 0
    names = sorted(path.name for path in Path("crops").iterdir())
    assert names == ["turned-1-Square-2.png", "turned-1-Square.png", "turned-2-31m.png"]
    assert Path("crops/turned-1-Square.png").read_text() == "mine"
    crop = load("crops/turned-1-Square-2.png")
    assert (crop.size, crop.info, crop.getpixel((30, 30))) == ((60, 60), {}, RED)


@pytest.mark.parametrize(
    ("name", "label", "file"),
    [
        ("photos/a b.jpg", "dog", "a-b-1-dog.png"),
        ("https://example.com/x/photo.jpg?size=2", "..", "photo-1.png"),
        ("scan.pdf#page=3", "Überschrift", "scan-3-1-Überschrift.png"),
        ("-", "a/b\\c:d", "image-1-a-b-c-d.png"),
        ("image 7", "\u202egnp", "image-7-1-gnp.png"),
        ("é" * 300 + ".png", "犬" * 300, "é" * 60 + "-1-" + "犬" * 26 + ".png"),
    ],
)
def test_the_name_of_a_crop_is_safe(name: str, label: str, file: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30))
    (path,) = save_crops(image, [Detection(label, (1, 2, 30, 20))], tmp_path / "new" / "crops", name)
    assert path == tmp_path / "new" / "crops" / file
    assert load(path).size == (29, 18)


def test_labels_of_any_length_stay_inside_tiny_and_large_images() -> None:
    detections = [
        Detection("x" * 500, (0, 0, 12, 12)),
        Detection("\x1b[2J\n狗\u202e", (5, 5, 6, 6)),
        Detection("", point=(11, 11)),
        *(Detection(f"label {number}", (0, 0, 12, 12)) for number in range(20)),
    ]
    for size in ((12, 12), (12, 400), (1500, 20)):
        image = Image.new("RGB", size, GRAY)
        drawing = draw_detections(image, detections)
        assert (drawing.size, image.getpixel((0, 0)), drawing.tobytes() == image.tobytes()) == (size, GRAY, False)


def test_standard_input_can_be_drawn(qvision: Qvision, server: Server, tmp_path: Path) -> None:
    server.answer = stream('[{"bbox_2d": [0, 0, 500, 1000], "label": "left"}]')
    env = {"QUBRID_BASE_URL": server.url, "QUBRID_API_KEY": KEY}
    run = qvision("locate", "-", "the left", "--draw", "out.png", "--crop-to", "crops", stdin=draw(), env=env)
    assert (run.exit_code, run.stderr, run.stdout) == (0, "", b'[{"label":"left","box":[0,0,300,400]}]\n')
    assert load(tmp_path / "crops/image-1-left.png").size == (300, 400)


def test_what_is_cut_out_of_a_page_is_larger_than_its_points(command: Command, server: Server) -> None:
    server.answer = stream('[{"bbox_2d": [0, 0, 500, 1000], "label": "left"}]')
    Path("a.pdf").write_bytes(documents.pdf([documents.filled(0, 0, 1)] * 2))
    exit_code, out, _ = command("locate", "a.pdf#page=2", "the left", "--crop-to", "pages")
    crop = load("pages/a-2-1-left.png")
    assert (exit_code, crop.width > json.loads(out)[0]["box"][2]) == (0, True)
    assert crop.getcolors() == [(crop.width * crop.height, (0, 0, 255))]


def test_a_terminal_shows_a_table(server: Server, on_a_terminal: Terminal, tmp_path: Path) -> None:
    server.answer = stream(json.dumps([*ANSWER, {"bbox_2d": [1, 1, 999, 999], "label": "all", "score": 0.5}]))
    (tmp_path / "photo.jpg").write_bytes(draw())
    written, _ = on_a_terminal(tmp_path / "photo.jpg", "the square", "-P", "boxes", "--no-stats")
    lines = [line.split() for line in Screen().feed(written).lines if line.strip()]
    assert lines[-4:] == [
        ["label", "left", "top", "right", "bottom", "score"],
        ["1", "Square", "150", "280", "210", "340"],
        ["2", "../\\x1b[31m", "0", "0", "300", "100"],
        ["3", "all", "1", "0", "599", "400", "0.5"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["photo.jpg"], "no object was named", 'qvision locate photo.jpg "the dogs"'),
        (["photo.jpg", " "], "what to look for is empty", "quotes"),
        (["the dogs"], "no image was named", 'qvision locate photo.jpg "the dogs"'),
        (["photo.jpg", "x", "--draw", "a.gif"], "--draw a.gif is not a PNG or JPEG", "--draw boxes.png"),
        (["photo.jpg", "x", "--draw", "photo.jpg"], "--draw would overwrite", "Name another file"),
        (["photo.jpg", "x", "--draw", "no/a.png"], "--draw no/a.png: there is no folder", "Create it first"),
        (["photo.jpg", "turned.jpg", "x", "--draw", "a.png"], "--draw with 2 images", "--crop-to"),
        (["photo.jpg", "x", "--draw", "-", "--json"], "--draw - and --json exclude each other", "--draw boxes.png"),
        (["photo.jpg", "x", "--crop-to", "photo.jpg"], "--crop-to photo.jpg is not a folder", "Name a folder"),
        (["photo.jpg", "x", "--crop-to", "s3://a/b"], "--crop-to s3://a/b is not a folder on this machine", "Name a folder"),
        (["photo.jpg", "x", "--coordinates", "relative"], "'relative' is not one of relative-1000", "--help"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_refused_before_anything_is_sent(
    arguments: list[str], message: str, hint: str, command: Command, server: Server
) -> None:
    exit_code, out, err = command("locate", *arguments)
    assert (exit_code, message in err, hint in err, server.asked) == (2, True, True, []), err
    assert bool(out) is ("--json" in arguments)  # the record of the failure


@pytest.mark.parametrize("name", ["describe", "batch"])
def test_the_form_of_coordinates_is_refused_where_it_has_no_effect(name: str, command: Command) -> None:
    assert command(name, "photo.jpg", "x", "--coordinates", "pixels")[::2] == (
        2,
        "error: --coordinates has no effect on answers without boxes\nhint: Add -P boxes.\n",
    )


def test_one_of_several_images_may_fail(command: Command, server: Server) -> None:
    answers: list[Any] = ["[]", "[[9, 9, 9, 9]]"]

    def answer(_: Asked) -> Reply:
        return stream(answers.pop())

    server.answer = answer
    exit_code, out, err = command("locate", "photo.jpg", "turned.jpg", "x")
    assert (exit_code, out) == (8, b"[]\n")
    assert "error: photo.jpg: the answer cannot be used: box 1 is empty: [9, 9, 9, 9]" in err
    assert "1 of 2 requests failed" in err


def test_a_note_names_its_image_if_there_are_several(command: Command, server: Server) -> None:
    server.answer = lambda _: stream(json.dumps([*ANSWER, {"bbox_2d": [9, 9, 3, 3], "label": ""}]))
    assert command("locate", "photo.jpg", "turned.jpg", "the square")[2] == (
        "note: photo.jpg: left out: box 3 is inverted: [9, 9, 3, 3]\n"
        "note: turned.jpg: left out: box 3 is inverted: [9, 9, 3, 3]\n"
    )


def test_a_dry_run_shows_what_the_model_is_asked(command: Command, server: Server) -> None:
    exit_code, out, _ = command("locate", "photo.jpg", "the dogs", "--dry-run", "--crop-to", "crops")
    assert (exit_code, b'{\\"bbox_2d\\": [x1, y1, x2, y2]' in out, server.asked) == (0, True, [])
    assert not Path("crops").exists()


def test_offline_nothing_is_found(command: Command) -> None:
    assert command("locate", "photo.jpg", "the dogs", "--offline", "-q")[:2] == (0, b"[]\n")


def test_a_preset_without_boxes_is_refused(command: Command, server: Server) -> None:
    command("config", "set", "presets.boxes.prompt", "Look closely.")
    assert command("locate", "photo.jpg", "the dogs")[0] == 0
    assert "Look closely.\\n\\nthe dogs" in server.asked[0].body.decode()
    command("config", "set", "presets.boxes.schema", "a, b")
    exit_code, _, err = command("locate", "photo.jpg", "the dogs")
    assert (exit_code, err.splitlines()[0]) == (3, "error: presets.boxes has a schema without boxes")
    with pytest.raises(ConfigError, match="has a schema without boxes"):
        Client().locate("photo.jpg", "the dogs")
    assert len(server.asked) == 1


def test_a_field_of_a_box_can_be_printed(command: Command) -> None:
    line = ("describe", "photo.jpg", "-P", "boxes", "the square", "--field")
    assert command(*line, "data.0.box.2") == (0, b"210\n", "")
    assert command(*line, "data.0.bbox")[0] == 2
