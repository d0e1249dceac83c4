"""``qvision test`` as scripts use it: the exit code is the answer, and standard output stays empty."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qubrid_cli import cli

from ..conftest import VALIDATOR, Qvision, at_home
from ..describe.test_judge import decision, logprobs, plain, predicate
from ..support.server import Asked, Reply, Server

#: The exit code, standard output and standard error of a command line.
Question = Callable[..., tuple[int, str, str]]


@pytest.fixture
def question(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Question:
    """The command in this process, against the server."""
    home = {**at_home(tmp_path / "home"), "QUBRID_API_KEY": "qk-0123456789", "QUBRID_BASE_URL": server.url}
    for name, value in {**home, "QVISION_CONFIG": "", "QVISION_PROFILE": "", "FORCE_COLOR": ""}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> tuple[int, str, str]:
        exit_code = cli.main(["test", *map(str, arguments)])
        return (exit_code, *capfd.readouterr())

    return run


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in (1, 2, 3)]
    for path in paths:
        Image.new("RGB", (32, 32), "teal").save(path)
    return paths


def answering(*shares: float) -> Callable[[Asked], Reply]:
    """A server that answers with one probability of yes after the other."""
    left = iter(shares)

    def answer(_: Asked) -> Reply:
        share = next(left)
        return plain("Yes", logprobs=logprobs({"Yes": share, "No": 1 - share}), finish="length")

    return answer


@pytest.mark.parametrize(
    ("share", "exit_code", "error"),
    [
        (0.9, 0, ""),
        (0.1, 1, ""),
        (0.6, 8, "error: neither yes nor no: the probability 0.6 is between 0.2 and 0.8\n"),
    ],
)
def test_the_exit_code_is_the_answer_and_nothing_is_printed(
    question: Question, server: Server, images: list[Path], share: float, exit_code: int, error: str
) -> None:
    server.answer = answering(share)
    assert question(images[0], "is it red?", "--threshold", "0.8") == (exit_code, "", error)


def test_the_verdict_is_in_the_record_and_shown_with_statistics(
    question: Question, server: Server, images: list[Path]
) -> None:
    server.answer = answering(0.9)
    exit_code, out, err = question(images[0], "-p", "is it red?", "--stats", "--json")
    record: dict[str, Any] = json.loads(out)
    VALIDATOR.validate(record)
    assert record["data"] == {"answer": "yes", "probability": 0.9, "reason": None, "by": "logprobs"}
    assert (exit_code, record["ok"], record["prompt"]) == (0, True, "is it red?")
    assert re.fullmatch(r"yes \(probability 0.9; by logprobs\)\nttft .*\n", err)


@pytest.mark.parametrize(
    ("arguments", "shares", "exit_code", "requests"),
    [
        ((), (0.9, 0.9, 0.9), 0, 3),
        ((), (0.9, 0.1, 0.9), 1, 2),
        ((), (0.9, 0.6, 0.9), 8, 3),
        ((), (0.6, 0.9, 0.1), 1, 3),
        (("--any",), (0.1, 0.9, 0.1), 0, 2),
        (("--any",), (0.1, 0.1, 0.1), 1, 3),
        (("--any",), (0.1, 0.6, 0.1), 8, 3),
    ],
)
def test_all_images_must_be_true_or_one_of_them(  # a table
    question: Question,
    server: Server,
    images: list[Path],
    arguments: tuple[str, ...],
    shares: tuple[float, ...],
    exit_code: int,
    requests: int,
) -> None:
    server.answer = answering(*shares)
    code, out, _ = question(*images, "is it teal?", "--threshold", "0.8", *arguments)
    assert (code, out, len(server.asked)) == (exit_code, "", requests)


def test_an_image_that_cannot_be_read_decides_nothing(question: Question, server: Server, images: list[Path]) -> None:
    images[0].write_bytes(b"not an image")
    server.answer = answering(0.9, 0.9)
    exit_code, _, err = question(*images, "is it teal?")
    assert (exit_code, len(server.asked)) == (4, 2)
    assert "error: 1 of 3 images have no answer\n" in err


def test_a_threshold_without_a_probability_is_noted(question: Question, server: Server, images: list[Path]) -> None:
    server.answer = plain("Yes.")
    exit_code, _, err = question(images[0], "is it teal?", "--threshold", "0.8")
    assert exit_code == 0
    assert "note: --threshold has no effect, because the endpoint returned no probability\n" in err


def test_a_profile_says_that_there_are_decisions(
    question: Question, server: Server, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = f'[profiles.work]\nbase_url = "{server.url}"\nmodel = "m"\ndecisions = true\n'
    (tmp_path / "config.toml").write_text(settings)
    monkeypatch.setenv("QVISION_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("QUBRID_BASE_URL")
    server.answer = decision(predicate(0.9))
    assert question(images[0], "is it red?", "--profile", "work") == (0, "", "")
    _, out, _ = question(images[0], "is it red?", "--profile", "work", "--dry-run", "--json")
    assert (server.asked[0].path, json.loads(out)["url"]) == ("/v1/decisions", f"{server.url}/decisions")


def test_without_a_model_the_answer_is_unsure(qvision: Qvision, lighthouse: Path) -> None:
    run = qvision("test", lighthouse, "is it red?", "--offline")
    assert (run.exit_code, run.stdout, run.stderr) == (8, b"", "error: neither yes nor no: no model was asked\n")
