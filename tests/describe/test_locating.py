"""Where things are: a server looks for the square in the picture that it received, and answers as models do."""

import base64
import io
import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image, ImageDraw

from qubrid_cli import Client
from qubrid_cli.describe.locating.families import Coordinates
from qubrid_cli.describe.locating.parsing import Mention, read_mentions
from qubrid_cli.errors import ImageError, QvisionError, UsageError
from qubrid_cli.images.tokens import QWEN2, smart_resize
from qubrid_cli.settings.fields import FIELDS

from ..conftest import KEY, at_home
from ..support import documents
from ..support.server import Asked, Server, stream

#: Of the upright original: its size, and the edges of the square.
SIZE, SQUARE = (600, 400), (150, 280, 210, 340)
SHRINK_FACTORS = (1, 2, 3.3)
#: What turns an upright image into one that is stored with an EXIF orientation.
STORED = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}
Numbers = tuple[float, float, float, float]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    for name, value in {**at_home(tmp_path / "home"), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}.items():
        monkeypatch.setenv(name, value)


def draw(orientation: int = 1, *, size: tuple[int, int] = SIZE, square: tuple[int, int, int, int] = SQUARE) -> bytes:
    """A gray photo with a red square, stored in an orientation."""
    image = Image.new("RGB", size, (120, 130, 125))
    left, top, right, bottom = square
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill="red")
    for step in STORED[orientation]:
        image = image.transpose(step)
    exif, stream = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def find_square(asked: Asked) -> Numbers:
    """The edges of the red square in the picture of a request, as fractions of its sides."""
    picture = Image.open(io.BytesIO(base64.b64decode(asked.image_url.partition(",")[2])))
    box = picture.convert("RGB").getchannel("R").point(lambda value: 255 if value > 190 else 0)
    left, top, right, bottom = box.getbbox() or (0, 0, 0, 0)
    return left / picture.width, top / picture.height, right / picture.width, bottom / picture.height


def view(asked: Asked) -> tuple[int, int]:
    """The size in which Qwen2.5-VL sees the picture of a request."""
    picture = Image.open(io.BytesIO(base64.b64decode(asked.image_url.partition(",")[2])))
    return smart_resize(*picture.size, QWEN2)


def scaled(numbers: Numbers, x: float, y: float) -> list[int]:
    return [round(number * scale) for number, scale in zip(numbers, (x, y, x, y), strict=True)]


def center(numbers: Numbers) -> tuple[float, float]:
    return (numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2


def answer_qwen3(asked: Asked) -> str:
    return json.dumps([{"bbox_2d": scaled(find_square(asked), 1000, 1000), "label": "square"}])


def answer_qwen25(asked: Asked) -> str:
    return (
        "```json\n" + json.dumps([{"bbox_2d": scaled(find_square(asked), *view(asked)), "label": "square"}]) + "\n```"
    )


def answer_gemini(asked: Asked) -> str:
    left, top, right, bottom = scaled(find_square(asked), 1000, 1000)
    return json.dumps([{"box_2d": [top, left, bottom, right], "label": "square"}])


def answer_qwen2(asked: Asked) -> str:
    left, top, right, bottom = scaled(find_square(asked), 1000, 1000)
    ref = "<|object_ref_start|>square<|object_ref_end|>"
    return f"{ref}<|box_start|>({left},{top}),({right},{bottom})<|box_end|>"


def answer_molmo(asked: Asked) -> str:
    x, y = center(find_square(asked))
    return f' <point x="{100 * x:.1f}" y="{100 * y:.1f}" alt="square">square</point>'


def answer_molmo2(asked: Asked) -> str:
    x, y = center(find_square(asked))
    return f'<points coords="1 1 {round(1000 * x):03} {round(1000 * y):03}">square</points>'


def answer_fractions(asked: Asked) -> str:
    return json.dumps({"objects": [{"box": find_square(asked), "label": "square"}]})


def answer_named(asked: Asked) -> str:
    left, top, right, bottom = scaled(find_square(asked), 1000, 1000)
    box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return json.dumps({"square": [box]})


MODELS: dict[str, tuple[Callable[[Asked], str], Coordinates | None]] = {
    "Qwen/Qwen3-VL-8B-Instruct": (answer_qwen3, None),
    "Qwen/Qwen2.5-VL-7B-Instruct": (answer_qwen25, None),
    "google/gemini-3-flash": (answer_gemini, None),
    "Qwen/Qwen2-VL-7B-Instruct": (answer_qwen2, None),
    "allenai/Molmo-7B-D-0924": (answer_molmo, None),
    "allenai/Molmo2-8B": (answer_molmo2, None),
    "someone/model": (answer_named, None),
    "someone/other": (answer_fractions, Coordinates.FRACTIONS),
}


@pytest.fixture(scope="module")
def photos() -> dict[int, bytes]:
    return {orientation: draw(orientation) for orientation in STORED}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("factor", SHRINK_FACTORS)
def test_a_square_comes_back_where_it_is(model: str, factor: float, photos: dict[int, bytes], server: Server) -> None:
    """For all orientations, within 1 % of the sides of the original."""
    write, coordinates = MODELS[model]
    server.answer = lambda asked: stream(write(asked))
    with Client(model=model, max_side=round(max(SIZE) / factor), coordinates=coordinates) as client:
        for orientation, photo in photos.items():
            (detection,) = client.locate(photo, "the square")
            true: tuple[float, ...] = SQUARE
            if detection.box is None:
                true = ((SQUARE[0] + SQUARE[2]) / 2, (SQUARE[1] + SQUARE[3]) / 2)
            misses = [
                abs(a - b) / SIZE[i % 2]
                for i, (a, b) in enumerate(zip(detection.box or detection.point or (), true, strict=True))
            ]
            assert (detection.label, max(misses) < 0.01) == ("square", True), (orientation, detection)
    assert len(server.asked) == len(STORED)


# What answers look like

BOX, LABEL = (10.0, 20.0, 300.0, 400.0), "a dog"
MENTION = Mention(LABEL, BOX)


@pytest.mark.parametrize(
    "text",
    [
        '[{"bbox_2d": [10, 20, 300, 400], "label": "a dog"}]',
        'Here it is:\n```json\n[{"bbox": [10, 20, 300, 400], "label": "a dog"},]\n```\nAnything else?',
        '{"objects": [{"box": ["10", "20", "300", "400"], "name": "a dog"}]}',
        '{"bbox": "[10, 20, 300, 400]", "label": "a dog"}',
        '{"a dog": [10, 20, 300, 400]}',
        '{"detections": {"a dog": [[10, 20, 300, 400]]}}',
        '{"boxes": [[10, 20, 300, 400]], "labels": ["a dog"]}',
        '{"bounding_box": [[10, 20], [300, 400]], "class": "a dog"}',
        '{"label": "a dog", "x1": 10, "y1": 20, "x2": 300, "y2": 400}',
        '{"label": "a dog", "box": {"left": 10, "top": 20, "right": 300, "bottom": 400}}',
        '{"label": "a dog", "Bounding-Box": {"x_min": 10, "y_min": 20, "x_max": 300, "y_max": 400}}',
        '{"label": "a dog", "box": {"x": 10, "y": 20, "width": 290, "height": 380}}',
        '[{"bbox_2d": [10, 20, 300, 400], "label": "a dog"}]\n[{"bbox_2d": [10, 20, 300, 400], "label": "a dog"}]',
        "<ref>a dog</ref><box>(10,20),(300,400)</box>",
        "<ref>a dog</ref><box>(10,20),(300,400)",
        "a dog(10,20),(300,400)",
        "- a dog: (10, 20), (300, 400)",
        '[[10, 20, 300, 400, "a dog"]]',
        "<ref>a dog</ref><box>[[10, 20, 300, 400]]</box>",
        "<|ref|>a dog<|/ref|><|det|>[[10, 20, 300, 400]]<|/det|>",
        "<|object_ref_start|>a dog<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|>",
        '<|begin_of_box|>[{"bbox_2d": [10, 20, 300, 400], "label": "a dog"}]<|end_of_box|>',
    ],
)
def test_a_box_is_read_however_it_is_written(text: str) -> None:
    assert [(found.label, found.numbers) for found in read_mentions(text)] == [(LABEL, BOX)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('[{"point_2d": [1, 2], "label": "a"}, {"point": {"x": 3, "y": 4}, "label": "b"}]', [("a", 1, 2), ("b", 3, 4)]),
        ('{"points": [[1, 2], [3, 4]]}', [("", 1, 2), ("", 3, 4)]),
        ('<points x1="1.5" y1="2" x2="3" y2="4" alt="cats">cats</points>', [("cats", 1.5, 2), ("cats", 3, 4)]),
        ("<point x='1' y='2' alt=''>the cat's ear</point>", [("the cat's ear", 1, 2)]),
        ("<point>10 20</point>", [("", 10, 20)]),
        ('<points coords="1 1 012 345 2 678 900">cats</points>', [("cats", 12, 345), ("cats", 678, 900)]),
        ("[[1, 2, 3, 4], [5, 6, 7, 8]]", [("", 1, 2, 3, 4), ("", 5, 6, 7, 8)]),
        ("<box>(1,2),(3,4)</box><box>(5,6),(7,8)</box>", [("", 1, 2, 3, 4), ("", 5, 6, 7, 8)]),
        ('{"cats": [[1, 2, 3, 4]], "dogs": [], "note": "one cat"}', [("cats", 1, 2, 3, 4)]),
        *(
            (text, [])
            for text in ("[]", '{"objects": []}', '{"dogs": []}', '{"box": null}', "There are none.", "```\n[]\n```")
        ),
    ],
)
def test_points_lists_and_nothing_are_read(text: str, places: list[tuple[Any, ...]]) -> None:
    assert [(found.label, *found.numbers) for found in read_mentions(text)] == places


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("I see a dog.", "it is plain text instead of JSON"),
        ("", "it is empty"),
        ('{"answer": "a dog on the left"}', "it contains no box"),
        ('[{"bbox_2d": [1, 2, 3, 4]', "it is not valid JSON: "),
    ],
)
def test_other_answers_are_requested_once_more_and_then_an_error(text: str, problem: str, server: Server) -> None:
    server.answer = stream(text)
    with pytest.raises(QvisionError) as caught:
        Client(model="qwen3-vl").locate(draw(), "the square")
    assert (caught.value.exit_code, len(server.asked)) == (8 if text else 6, 2)
    assert problem in server.asked[1].json["messages"][-1]["content"]


def test_a_score_is_kept_and_numbers_stay_where_their_names_say() -> None:
    (found,) = read_mentions('{"label": "a", "confidence": "0.9", "ymin": 1, "xmin": 2, "ymax": 3, "xmax": 4}')
    assert found == Mention("a", (2, 1, 4, 3), is_named=True, score=0.9)


@pytest.mark.parametrize("depth", [50, 5000])
def test_a_hostile_answer_takes_no_time_and_breaks_nothing(depth: int) -> None:
    for text in (
        "[" * depth,
        '{"a":' * depth,
        "<box>" * depth,
        "<point " + "a=" * depth,
        "<ref>" * depth + "1e999",
        "1" * depth,
        "(1," * depth,
        "(" + " " * depth,
    ):
        with suppress(ValueError):
            read_mentions(text * 20)


# Which answers are plausible


def locate(server: Server, data: object, model: str = "qwen3-vl", **options: Any) -> Any:
    """The boxes and the warnings of an answer about an image of 600 × 400 pixels; or the error."""
    server.answer = stream(data if isinstance(data, str) else json.dumps(data))
    found = Client(model=model, **options).locate(draw(), "the square", check=False)
    if found.description.error is not None:
        return found.description.error.message, found.description.error.hint
    return [detection.box or detection.point for detection in found], list(found.description.warnings)


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ([10, 20, 1300, 400], "reaches beyond the image"),
        ([-50, 20, 300, 400], "reaches beyond the image"),
        ([300, 20, 10, 400], "is inverted"),
        ([10, 20, 10, 400], "is empty"),
        ([0.1, 0.2, 0.3, 0.4], "has no coordinate above 1, although relative-1000 is expected"),
        ([0, 0, 0, 0], "has no coordinate above 1, although relative-1000 is expected"),
        ([1001, 20, 1010, 400], "is outside the image"),
        ([10, 20, 300], "has 3 numbers instead of 4"),
        ([10, 20, 300, "left"], "has no coordinates that can be read"),
        (["nan", 20, 300, 400], "has a coordinate that is not a number"),
        (math.inf, "has no coordinates that can be read"),
    ],
)
def test_an_implausible_box_is_refused_and_left_out_among_good_ones(numbers: Any, problem: str, server: Server) -> None:
    bad, good = {"bbox_2d": numbers, "label": "bad"}, {"bbox_2d": [500, 250, 1000, 500], "label": "good"}
    message, hint = locate(server, [bad])
    assert message.startswith(f"the answer cannot be used: box 1 (bad) {problem}"), message
    assert hint.endswith("son keeps the answer's text.")
    places, warnings = locate(server, [bad, good])
    assert (places, len(warnings)) == ([(300, 100, 600, 200)], 1)
    assert warnings[0].startswith(f"left out: box 1 (bad) {problem}")


def test_a_bare_nan_is_left_out_too(server: Server) -> None:
    places, _ = locate(server, '[{"bbox_2d": [NaN, 1, 2, 3]}, {"bbox_2d": [500, 250, 1000, 500]}]')
    assert places == [(300, 100, 600, 200)]


@pytest.mark.parametrize(
    ("numbers", "place"),
    [
        ([-10, 500, 1015, 1020], (0, 200, 600, 400)),
        ([500, 500, 501, 501], (300, 200, 301, 201)),
        ([999.9, 0, 1000, 9], (599, 0, 600, 4)),
    ],
)
def test_a_box_is_clipped_to_the_image_and_has_at_least_a_pixel(numbers: Any, place: Any, server: Server) -> None:
    assert locate(server, [{"bbox_2d": numbers}]) == ([place], [])


@pytest.mark.parametrize(
    ("model", "numbers", "form"),
    [
        ("qwen3-vl", [0.1, 0.2, 0.3, 0.4], "fractions"),
        ("qwen2.5-vl", [0.1, 0.2, 0.3, 0.4], "fractions"),
        ("qwen2.5-vl", [10, 20, 700, 800], "relative-1000"),
        ("gemini-3-flash", [900, 10, 20, 800], None),
        ("gemini-3-flash", [10, 900, 20, 800], None),
    ],
)
def test_the_hint_names_a_form_with_which_the_same_answer_is_good(
    model: str, numbers: list[float], form: str | None, server: Server
) -> None:
    answer = [{"box": numbers, "label": "bad"}]
    _, hint = locate(server, answer, model)
    assert hint.startswith(f"Try --coordinates {form}; --json" if form else "--json"), hint
    if form is not None:
        places, warnings = locate(server, answer, model, coordinates=form)
        assert (len(places), warnings) == (1, [])


@pytest.mark.parametrize(
    ("item", "place", "form"),
    [
        ({"box": [100, 200, 300, 400]}, (60, 80, 180, 160), "relative-1000, as requested"),
        ({"box": [0.1, 0.2, 0.3, 0.4]}, (60, 80, 180, 160), "fractions, because none is above 1"),
        ({"box_2d": [200, 100, 400, 300]}, (60, 80, 180, 160), "relative-1000-yx, because they are named box_2d"),
    ],
)
def test_an_unknown_model_is_read_with_care_and_a_note(item: Any, place: Any, form: str, server: Server) -> None:
    places, warnings = locate(server, {"objects": [item]}, "someone/model")
    assert (places, len(warnings)) == ([place], 1)
    assert f"they were read as {form}" in warnings[0]


def test_numbers_above_1000_of_an_unknown_model_are_pixels(server: Server) -> None:
    server.answer = stream('[{"box": [1300, 50, 1500, 150]}]')
    found = Client(model="someone/model").locate(draw(size=(1600, 200)), "the square")
    assert [detection.box for detection in found] == [(1300, 50, 1500, 150)]
    assert "pixels, because some are above 1000" in found.description.warnings[0]


# What is sent


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("Qwen/Qwen3-VL-Plus", "bbox_2d", "integers from 0 to 1000"),
        ("google/gemini-2.5-pro", "box_2d", "[ymin, xmin, ymax, xmax]"),
        ("qwen2.5vl:7b", "bbox_2d", "pixels of the image"),
        ("anthropic/claude-opus-4.5", "box", "pixels of the image"),
        ("someone/model", "box", "integers from 0 to 1000"),
    ],
)
def test_a_model_is_asked_in_the_form_that_it_knows(model: str, key: str, words: str, server: Server) -> None:
    locate(server, [], model)
    (asked,) = server.asked
    schema = asked.json["response_format"]["json_schema"]["schema"]
    items = schema if schema["type"] == "array" else schema["properties"]["objects"]
    text = str(next(part["text"] for part in asked.json["messages"][-1]["content"] if part["type"] == "text"))
    assert (key in items["items"]["properties"], words in text, "\n\nthe square\n\nAnswer in JSON" in text) == (
        True,
    ) * 3
    assert "x-boxes" not in json.dumps(asked.json)


def test_a_model_that_points_is_not_asked_for_json(server: Server) -> None:
    locate(server, "There are none.", "allenai/Molmo-7B-D-0924")
    (asked,) = server.asked
    assert "response_format" not in asked.json
    assert "Point to each of them." in json.dumps(asked.json)


def test_an_image_in_pixels_is_not_sent_larger_than_every_host_shows_it(server: Server) -> None:
    """Model Studio shrinks to a million pixels, other hosts to 12 million: so more would have two meanings."""
    server.answer = lambda asked: stream(answer_qwen25(asked))
    photo = draw(size=(2400, 1600), square=(600, 1120, 840, 1360))
    for options, notes in (({}, 0), ({"max_pixels": 2_000_000}, 1)):
        found = Client(model="qwen2.5-vl", **options).locate(photo, "the square")  # type: ignore[arg-type]
        (detection,) = found
        assert detection.box is not None
        assert max(abs(a - b) for a, b in zip(detection.box, (600, 1120, 840, 1360), strict=True)) < 16
        assert len(found.description.warnings) == notes
    assert view(server.asked[0]) == (1204, 812)


def test_numbers_beyond_what_most_hosts_show_mean_that_this_one_shows_more(server: Server) -> None:
    photo, options = draw(size=(2400, 1600)), {"model": "qwen2.5-vl", "max_pixels": 4_000_000}
    for answer, places in (
        ("[[1204, 798, 2408, 1596]]", [(1200, 800, 2400, 1600)]),
        ("[[1200, 800, 9999, 1600], [602, 406, 1204, 812]]", [(1200, 800, 2400, 1600)]),
    ):
        server.answer = stream(answer)
        found = Client(**options).locate(photo, "the square")  # type: ignore[arg-type]
        assert [dog.box for dog in found] == places


def test_a_crop_is_taken_into_account(server: Server) -> None:
    server.answer = lambda asked: stream(answer_qwen3(asked))
    with Client(model="qwen3-vl", crop="100,50%,300,40%") as client:
        (detection,) = client.locate(draw(6), "the square")
    assert detection.box is not None
    assert max(abs(a - b) for a, b in zip(detection.box, SQUARE, strict=True)) <= 3


def test_boxes_on_a_page_of_a_pdf_are_in_points(server: Server) -> None:
    server.answer = stream('[{"bbox_2d": [0, 0, 500, 1000]}]')
    page = documents.pdf([documents.filled(0, 0, 1)])
    found = Client(model="qwen3-vl", pages="1").locate(page, "the left half")
    (image,) = found.description.to_dict()["images"]
    assert [detection.box for detection in found] == [(0, 0, round(image["width"] / 2), image["height"])]


@pytest.mark.parametrize(
    ("images", "options", "error", "hint"),
    [
        (["https://example.com/a.jpg"], {"fetch": False}, ImageError, "Add --fetch"),
        (["photo", "photo"], {}, UsageError, "Add --each"),
        (["photo"], {"tiles": 2}, UsageError, "Leave out --tiles"),
    ],
)
def test_boxes_that_could_not_be_placed_are_not_requested(
    images: list[Any], options: dict[str, Any], error: type, hint: str, server: Server
) -> None:
    photo = draw()
    with pytest.raises(QvisionError) as caught:
        Client(model="qwen3-vl", preset="boxes", **options).describe(
            [photo if image == "photo" else image for image in images], "the square"
        )
    assert (type(caught.value), hint in str(caught.value.hint)) == (error, True)
    assert server.asked == []


def test_the_forms_of_the_setting_are_those_that_are_understood() -> None:
    assert list(FIELDS["coordinates"].check.words) == list(Coordinates)  # type: ignore[attr-defined]
