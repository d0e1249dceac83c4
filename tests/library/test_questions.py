"""Yes-or-no questions, and where things are, from Python."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qubrid_cli import Client
from qubrid_cli.errors import QvisionError, RefusedAnswerError, SchemaMismatchError, UsageError

from ..conftest import KEY, at_home
from ..describe.test_judge import logprobs, plain
from ..describe.test_locating import draw
from ..support.server import Asked, Reply, Server, refusal, stream


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    for name, value in {**at_home(tmp_path / "home"), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("share", "threshold", "answer"), [(0.9, None, "yes"), (0.1, None, "no"), (0.6, 0.8, "unsure"), (0.6, 0.5, "yes")]
)
def test_a_judgment_has_a_probability_and_unsure_is_not_an_error(
    share: float, threshold: float | None, answer: str, server: Server
) -> None:
    server.answer = plain("Yes", logprobs=logprobs({"Yes": share, "No": 1 - share}), finish="length")
    judgment = Client(preset="tags").judge(draw(), "is it red?", threshold=threshold)
    assert (judgment.answer, judgment.probability, judgment.by) == (answer, share, "logprobs")
    assert (judgment.is_true, judgment.reason, judgment.description.error) == (answer == "yes", None, None)
    (asked,) = server.asked
    assert "keywords" not in str(asked.json["messages"])  # of the preset
    assert judgment.description.to_dict()["data"]["answer"] == answer


def test_a_client_remembers_what_the_endpoint_offers(server: Server) -> None:
    def answer(asked: Asked) -> Reply:
        if "logprobs" in asked.json:
            return refusal(400, {"error": {"message": "logprobs is not supported"}})
        return plain('{"answer": "no", "reason": "It is gray."}')

    server.answer = answer
    with Client() as client:
        for _ in range(2):
            judgment = client.judge([draw(), draw()], "are they red?")
            assert (judgment.answer, judgment.reason, judgment.by) == ("no", "It is gray.", "schema")
    assert len(server.asked) == 3
    assert len(server.asked[-1].image_urls) == 2


def test_the_votes_are_counted(server: Server) -> None:
    answers = iter(["yes", "no", "yes"])
    server.answer = lambda _: plain(f'{{"answer": "{next(answers)}", "reason": "…"}}')
    assert Client().judge(draw(), "is it red?", votes=3).is_true
    assert [asked.json["temperature"] for asked in server.asked] == [1.0] * 3


def test_a_failure_is_raised_or_kept(server: Server) -> None:
    server.answer = plain(None, finish="content_filter")
    with pytest.raises(RefusedAnswerError):
        Client().judge(draw(), "is it red?")
    judgment = Client().judge(draw(), "is it red?", check=False)
    assert (judgment.answer, judgment.by) == ("unsure", None)
    assert isinstance(judgment.description.error, RefusedAnswerError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.5}, "threshold is not between 0 and 1: 1.5"),
        ({"votes": 2}, "invalid value for --votes: 2"),
        ({"by": "magic"}, "by is not a method: magic"),
        ({"question": " "}, "the prompt is empty"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str, server: Server) -> None:
    with pytest.raises(UsageError, match=message):
        Client().judge(draw(), **{"question": "is it red?", **arguments})
    assert server.asked == []


def test_detections_are_a_sequence(server: Server) -> None:
    server.answer = stream('[{"bbox_2d": [500, 250, 1000, 500], "label": "dog", "score": 0.5}, {"point_2d": [1, 500]}]')
    with Client(preset="tags", schema="a", tiles=2, model="qwen3-vl") as client:  # of which locate uses only the model
        detections = client.locate(Image.open(io.BytesIO(draw(6))), "the dogs")
        pickle.loads(pickle.dumps(client)).close()
    dog, point = detections
    assert (len(detections), detections[1] == point) == (2, True)
    assert (dog.label, dog.box, dog.point, dog.score) == ("dog", (300, 100, 600, 200), None, 0.5)
    assert (point.label, point.box, point.point) == ("", None, (0, 200))
    assert detections.description.data == [dog.to_dict(), point.to_dict()]


def test_nothing_found_is_an_empty_sequence_and_a_failure_can_be_kept(server: Server) -> None:
    server.answer = stream("[]")
    assert not Client(model="qwen3-vl").locate(draw(), "a whale")
    server.answer = stream("[[1, 1, 1, 1]]")
    with pytest.raises(SchemaMismatchError):
        Client(model="qwen3-vl").locate(draw(), "a whale")
    detections = Client(model="qwen3-vl").locate(draw(), "a whale", check=False)
    assert (list(detections), isinstance(detections.description.error, QvisionError)) == ([], True)


def test_a_link_is_downloaded_because_its_size_must_be_known(server: Server) -> None:
    photo = draw()

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply([photo], headers={"Content-Type": "image/jpeg"})
        return stream('[{"bbox_2d": [0, 0, 1000, 1000]}]')

    server.answer = answer
    (all_of_it,) = Client(model="qwen3-vl").locate(server.url.removesuffix("/v1") + "/photo.jpg", "everything")
    assert all_of_it.box == (0, 0, 600, 400)
