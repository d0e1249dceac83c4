"""What each word of a command line is taken for; a mistyped image is an error that names the right one, and asks nothing."""

import os
import shlex
import shutil
import subprocess
import threading
import unicodedata
from io import BytesIO
from pathlib import Path

import pytest

from qubrid_cli.batch.inputs import split_arguments
from qubrid_cli.images.arguments import classify, is_path_beside_folder, no_such_image_error

from ..conftest import Qvision, command, environment
from ..support.server import Server

IMAGE, PROMPT = "image", "prompt"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lighthouse: Path) -> Path:
    """Where we stand, with some images."""
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "my photo.jpg", "IMG_0012.jpg", "caf\u00e9.jpg", "photos/a.jpg", "photos/b.jpg"):
        shutil.copy(lighthouse, tmp_path / name)
    (tmp_path / "list.txt").write_text("photo.jpg\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("phots", IMAGE),
        ("Photos2024", IMAGE),
        ("holiday-pictures", IMAGE),
        ("caption", PROMPT),
        ("Describe", PROMPT),
        ("tags", PROMPT),
        ("mine", PROMPT),
        ("describe it", PROMPT),
        ("描述", PROMPT),
        ("???", PROMPT),
        ("", PROMPT),
    ],
)
def test_a_single_word_beside_a_folder(text: str, kind: str) -> None:
    assert is_path_beside_folder(text, lambda word: word == "mine") == (kind == IMAGE)


@pytest.mark.parametrize(
    ("mistyped", "message"),
    [
        ("My Photo.jpg", 'no such image: "My Photo.jpg"; did you mean "my photo.jpg"?'),
        ("my  photo.jpg", 'no such image: "my  photo.jpg"; did you mean "my photo.jpg"?'),
        ("my\u00a0photo.jpg", 'no such image: "my\u00a0photo.jpg"; did you mean "my photo.jpg"?'),
        (unicodedata.normalize("NFD", "caf\u00e9.jpg"), 'no such image: "cafe\u0301.jpg"; did you mean caf\u00e9.jpg?'),
        ("foto.jpg", 'no such image: foto.jpg; did you mean photo.jpg or "my photo.jpg"?'),
        ("IMG_0012", "no such image: IMG_0012; did you mean IMG_0012.jpg?"),
        ("phots/a.jpg", "no such image: phots/a.jpg; did you mean photos/a.jpg?"),
        ("phots/", "no such image: phots/; did you mean photos?"),
        ("photos/c.jpg", "no such image: photos/c.jpg; did you mean photos/b.jpg or photos/a.jpg?"),
        ("nothing-like-it.webp", "no such image: nothing-like-it.webp"),
    ],
)
def test_the_error_names_what_may_have_been_meant(mistyped: str, message: str) -> None:
    error = no_such_image_error(mistyped)
    assert (error.message, error.exit_code, error.code) == (message, 4, "no_such_image")


def test_an_image_in_a_pipe_without_a_dash_is_told_where_the_dash_goes(qvision: Qvision, lighthouse: Path) -> None:
    run = qvision("describe", "hi", stdin=lighthouse.read_bytes())
    assert (run.exit_code, run.stderr.splitlines()[1]) == (
        2, "hint: To read the image from standard input: qvision describe - hi",
    )  # fmt: skip


@pytest.mark.parametrize("redirection", ["<(cat photo.jpg)", "/dev/stdin < photo.jpg", "/dev/stdin < <(cat photo.jpg)"])
def test_what_a_shell_opens_is_read(server: Server, folder: Path, redirection: str) -> None:
    env = environment({"QUBRID_API_KEY": "k", "QUBRID_BASE_URL": server.url})
    script = f"{shlex.join(command('describe'))} {redirection.replace(' <', ' hi <', 1)}"
    if not redirection.startswith("/dev"):
        script += " hi"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr, len(server.asked)) == (0, b"", 1)


def test_a_named_pipe_is_read(qvision: Qvision, server: Server, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    writer = threading.Thread(target=(folder / "pipe").write_bytes, args=[(folder / "photo.jpg").read_bytes()])
    writer.start()
    run = qvision("describe", "pipe", "hi", env={"QUBRID_API_KEY": "k", "QUBRID_BASE_URL": server.url}, cwd=folder)
    writer.join()
    assert (run.exit_code, len(server.asked)) == (0, 1)


def test_a_pipe_whose_writer_is_gone_is_read(server: Server, folder: Path) -> None:
    """It must be opened only once: another opening would wait for another writer."""
    script = f"mkfifo pipe; cat photo.jpg > pipe & exec < pipe; wait; {shlex.join(command('describe'))} /dev/stdin hi"
    env = environment({"QUBRID_API_KEY": "k", "QUBRID_BASE_URL": server.url})
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, cwd=folder, check=False, timeout=30)
    assert (done.returncode, len(server.asked)) == (0, 1), done.stderr


def test_describe_and_batch_agree_about_images_and_prompts() -> None:
    for words in (["photo.jpg", "what is this?"], ["what now", "photo.jpg", "my photo.jpg"], ["photo.jpg"]):
        described = classify(words, has_prompt_option=False, stdin=BytesIO())
        assert split_arguments(words, has_prompt_option=False, is_preset=bool) == (described.names, described.prompt)
