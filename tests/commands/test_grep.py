"""``qvision grep`` against a server that answers by the color of the picture that it receives."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from PIL import Image

from qubrid_cli import cli

from ..conftest import KEY, VALIDATOR, Qvision, at_home, command, environment
from ..describe.test_judge import logprobs, plain
from ..support import documents
from ..support.server import Asked, Hold, Pause, Reply, Server, refusal

QUESTION = "is it red?"
#: Each with the probability that the server gives for red.
COLORS = {"red": (250, 0, 0), "rust": (180, 60, 0), "brown": (120, 80, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
SHARES = {"red": 0.99, "rust": 0.75, "brown": 0.6, "green": 0.01, "blue": 0.01}

#: The exit code, standard output and standard error of a command line.
Grep = Callable[..., tuple[int, str, str]]


def redness(asked: Asked) -> float:
    """The part of the light that is red, of the picture that was sent."""
    picture = Image.open(io.BytesIO(base64.b64decode(asked.image_url.partition(",")[2]))).convert("RGB")
    light = picture.resize((1, 1)).getpixel((0, 0))
    assert isinstance(light, tuple)
    return min(0.99, max(0.01, light[0] / max(1, sum(light))))


def probably(asked: Asked) -> Reply:
    share = redness(asked)
    return plain("Yes", logprobs=logprobs({"Yes": share, "No": 1 - share}), finish="length")


def in_words(asked: Asked) -> Reply:
    """Like a server without log probabilities."""
    share = redness(asked)
    answer = "yes" if share > 0.7 else "unsure" if share > 0.5 else "no"
    return plain(json.dumps({"answer": answer, "reason": f"It is\n{share:.2f}\t\x1b[31mred."}))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, color in COLORS.items():
        Image.new("RGB", (32, 32), color).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def grep(server: Server, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Grep:
    """The command in this process, in the folder of ``photos``, with the question."""
    tmp_path = photos.parent
    home = {**at_home(tmp_path / "home"), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}
    for name, value in {**home, "QVISION_CONFIG": "", "QVISION_PROFILE": "", "FORCE_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    server.answer = probably

    def run(*arguments: object) -> tuple[int, str, str]:
        exit_code = cli.main(["grep", QUESTION, *map(str, arguments)])
        return (exit_code, *capfd.readouterr())

    return run


def names(output: str, separator: str = "\n") -> set[str]:
    """The colors in the output, each of which ends with a separator."""
    *lines, rest = output.split(separator)
    assert rest == ""
    return {Path(line).stem for line in lines}


@pytest.mark.parametrize(
    ("arguments", "expected", "exit_code"),
    [
        ((), {"red", "rust", "brown"}, 0),
        (("-l",), {"red", "rust", "brown"}, 0),
        (("--threshold", "0.7"), {"red", "rust"}, 0),
        (("--threshold", "0.999"), set(), 1),
        (("-v",), {"green", "blue"}, 0),
        (("-L",), {"green", "blue"}, 0),
        (("-v", "--threshold", "0.7"), {"green", "blue"}, 0),
        (("--include", "r*"), {"red", "rust"}, 0),
        (("--exclude", "r*", "-v"), {"green", "blue"}, 0),
    ],
)
def test_the_names_of_matches_are_printed(
    grep: Grep, arguments: tuple[str, ...], expected: set[str], exit_code: int
) -> None:
    code, out, _ = grep("photos", *arguments)
    assert (names(out), code) == (expected, exit_code)


@pytest.mark.parametrize(
    ("arguments", "output", "exit_code"),
    [
        (("-c",), "3\n", 0),
        (("-cv",), "2\n", 0),
        (("-c", "--threshold", "0.999"), "0\n", 1),
        (("-q",), "", 0),
        (("-q", "--threshold", "0.999"), "", 1),
        (("--sort", "probability"), "photos/red.png\nphotos/rust.png\nphotos/brown.png\n", 0),
        (("--sort", "probability", "-v"), "photos/blue.png\nphotos/green.png\n", 0),
        (
            ("--sort", "probability", "--why"),
            "photos/red.png\t0.99\nphotos/rust.png\t0.75\nphotos/brown.png\t0.6\n",
            0,
        ),
        (("--why", "-0", "--threshold", "0.9"), "photos/red.png\t0.99\0", 0),
    ],
)
def test_what_is_printed_instead(grep: Grep, arguments: tuple[str, ...], output: str, exit_code: int) -> None:
    code, out, err = grep("photos", *arguments)
    assert (out, code) == (output, exit_code)
    assert err.startswith("matches: ") is ("-q" not in arguments)


def test_a_record_is_printed_for_each_match(grep: Grep) -> None:
    code, out, err = grep("photos", "--json", "--threshold", "0.7", "-v", "--quiet")
    records = [json.loads(line) for line in out.splitlines()]
    for record in records:
        VALIDATOR.validate(record)
    data = {"answer": "no", "probability": 0.01, "reason": None, "by": "logprobs"}
    assert [(record["data"], record["ok"], record["index"] > 0) for record in records] == [(data, True, True)] * 2
    assert (code, err) == (0, "")


def test_without_probabilities_the_reason_stands_beside_the_name_and_unsure_matches_neither_way(
    grep: Grep, server: Server
) -> None:
    server.answer = in_words
    code, out, err = grep("photos", "--why", "--by", "schema")
    reasons = {"photos/red.png\tIt is 0.99 \\x1b[31mred.", "photos/rust.png\tIt is 0.75 \\x1b[31mred."}
    assert (code, set(out.splitlines())) == (0, reasons)
    assert err.startswith("matches: 2 of 5 images, 1 unsure\n")
    assert names(grep("photos", "-v", "--by", "schema")[1]) == {"green", "blue"}


def test_images_without_a_probability_are_sorted_last_and_a_threshold_does_not_apply(
    grep: Grep, server: Server
) -> None:
    server.answer = in_words
    code, out, err = grep("photos", "--sort", "probability", "--threshold", "0.9")
    assert (code, out) == (0, "photos/red.png\nphotos/rust.png\n")
    assert (
        "note: 4 answers have no probability, because the endpoint returned none: --threshold has no effect and" in err
    )


def test_another_threshold_asks_nothing(grep: Grep, server: Server) -> None:
    """The other options, which only say what is printed, neither; and nothing but failures is requested again."""
    assert names(grep("photos", "-o", "r.jsonl")[1]) == {"red", "rust", "brown"}
    assert len(server.asked) == 5
    assert names(grep("photos", "-o", "r.jsonl", "--threshold", "0.7")[1]) == {"red", "rust"}
    assert names(grep("photos", "-o", "r.jsonl", "-v", "--threshold", "0.3")[1]) == {"green", "blue"}
    assert grep("photos", "-o", "r.jsonl", "-c")[1] == "3\n"
    assert grep("photos", "-o", "r.jsonl", "--sort", "probability", "--verify")[1].startswith("photos/red.png\n")
    (line,) = grep("photos", "-o", "r.jsonl", "--json", "--threshold", "0.9")[1].splitlines()
    assert (json.loads(line)["data"]["answer"], len(server.asked)) == ("yes", 5)
    grep("photos", "-o", "r.jsonl", "--by", "schema")
    assert len(server.asked) > 5


def test_unsure_answers_are_kept_and_failures_are_requested_again(grep: Grep, server: Server) -> None:
    server.answer = lambda asked: refusal(400, {}) if 0.7 < redness(asked) < 0.8 else in_words(asked)
    code, out, err = grep("photos", "-o", "r.jsonl", "--by", "schema")
    assert (code, names(out)) == (7, {"red"})
    assert "error: 1 of 5 images failed\nhint: To retry them, run the same command again.\n" in err
    server.answer, count = in_words, len(server.asked)
    code, out, _ = grep("photos", "-o", "r.jsonl", "--by", "schema")
    assert (code, names(out), len(server.asked) - count) == (0, {"red", "rust"}, 1)


def test_with_q_a_match_is_enough_even_if_images_failed(grep: Grep, photos: Path) -> None:
    (photos / "a.png").write_bytes(b"not an image")
    assert grep(photos / "a.png", photos / "red.png", "-j", "1", "-q")[:2] == (0, "")
    code, _, err = grep(photos / "a.png", photos / "blue.png", "-q")
    assert (code, err.startswith("error: 1 of 2 images failed\n")) == (7, True)


@pytest.mark.parametrize(("arguments", "count"), [(("-m", "1"), 1), (("-m", "2"), 2), (("-q",), 1)])
def test_after_enough_matches_nothing_more_is_requested(
    grep: Grep, server: Server, arguments: tuple[str, ...], count: int
) -> None:
    code, out, _ = grep("-j", "1", "photos/red.png", "photos/rust.png", "photos/brown.png", *arguments)
    assert (code, out.count("\n"), len(server.asked)) == (0, count if "-m" in arguments else 0, count)


def test_answers_on_their_way_are_saved_when_there_are_enough_matches(grep: Grep, server: Server) -> None:
    def answer(asked: Asked) -> Reply:
        reply = probably(asked)
        is_blue = asked.image_url != green and redness(asked) < 0.5
        return Reply([Pause(0.3), *reply.pieces], headers=reply.headers) if is_blue else reply

    green = f"data:image/png;base64,{base64.b64encode(Path('photos/green.png').read_bytes()).decode()}"
    server.answer = answer
    images = [f"photos/{name}.png" for name in ("green", "red", "blue")]  # the first request is sent alone
    assert grep("-j", "2", *images, "-m", "1", "-o", "r.jsonl")[:2] == (0, "photos/red.png\n")
    assert len(Path("r.jsonl").read_text().splitlines()) == len(server.asked)


def test_lists_may_end_names_with_nul_and_their_prompts_do_not_count(grep: Grep, server: Server) -> None:
    Path("nul.txt").write_bytes(b"photos/red.png\0photos/blue.png\0")
    Path("rows.jsonl").write_text('{"image": "photos/red.png", "prompt": "something else"}\n')
    assert grep("--from", "nul.txt", "-0")[1] == "photos/red.png\0"
    assert grep("--from", "rows.jsonl", "-0")[1] == "photos/red.png\0"
    assert all(asked.json["messages"][0]["content"][0]["text"].startswith(QUESTION) for asked in server.asked)


@pytest.mark.usefixtures("grep")
def test_a_question_after_e_may_begin_with_a_dash_and_the_pages_of_a_document_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pages = [documents.filled(*color) for color in ((1, 0, 0), (0, 0, 1), (1, 0, 0))]
    (tmp_path / "scan.pdf").write_bytes(documents.pdf(pages))
    assert cli.main(["grep", "-e", "-5 degrees or red?", "scan.pdf", "--pages", "2-3"]) == 0
    assert capfd.readouterr().out == "scan.pdf#page=3\n"


def test_an_endpoint_without_the_method_ends_the_search_at_once(grep: Grep, server: Server) -> None:
    server.answer = in_words
    code, out, err = grep("photos", "--by", "logprobs")
    assert (code, out, len(server.asked)) == (5, "", 1)
    assert "error: the endpoint returned no probabilities of yes and no; 5 of 5 images are left\nhint: Leave out" in err


def test_xargs_copies_the_right_files_whatever_their_names_are(
    qvision: Qvision, server: Server, photos: Path, tmp_path: Path
) -> None:
    server.answer = probably
    hostile = [b"-rf.png", b"two\nlines.png", b"\x1b[31m \xff.png", "日本.png".encode()]
    for number, name in enumerate(hostile):
        Image.new("RGB", (32, 32), (250, number, 0)).save(os.path.join(os.fsencode(photos), name))
    env = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}
    search = qvision("grep", "-0", QUESTION, "photos", env=env)
    (tmp_path / "out").mkdir()
    copy = ["xargs", "-0", "cp", "-t", "out"]
    subprocess.run(copy, input=search.stdout, cwd=tmp_path, check=True, timeout=60)
    copied = {b"red.png", b"rust.png", b"brown.png", *hostile}
    assert (search.exit_code, set(os.listdir(os.fsencode(tmp_path / "out")))) == (0, copied)


def test_when_head_has_read_enough_nothing_more_is_requested(server: Server, tmp_path: Path) -> None:
    """No later image matches, so the closed pipe is noticed although nothing is written."""
    (tmp_path / "photos").mkdir()
    for number in range(200):
        color = (0, 0, number + 1) if number else (250, 0, 0)
        Image.new("RGB", (16, 16), color).save(tmp_path / f"photos/{number}.png")

    def answer(asked: Asked) -> Reply:
        reply = probably(asked)
        return Reply([Pause(0.02), *reply.pieces], headers=reply.headers)

    server.answer = answer
    search = subprocess.Popen(
        command("grep", QUESTION, "photos", "-j", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}),
        cwd=tmp_path,
    )
    assert search.stdout is not None
    assert search.stderr is not None
    with search:
        assert search.stdout.readline() == b"photos/0.png\n"
        search.stdout.close()
        assert (search.stderr.read(), search.wait(60)) == (b"", 1)
    assert len(server.asked) < 100


def test_on_a_terminal_names_are_printable_and_stand_above_the_progress(
    server: Server, photos: Path, tmp_path: Path
) -> None:
    (photos / "red.png").rename(photos / "\x1b[31mred.png")
    hold = Hold()

    def answer(asked: Asked) -> Reply:
        reply = probably(asked)
        return Reply([hold, *reply.pieces], headers=reply.headers) if 0.5 < redness(asked) < 0.7 else reply

    server.answer = answer
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable,
        ["-m", "qubrid_cli", "grep", QUESTION, "photos"],
        env=environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url, "TERM": "xterm-256color"}),
        cwd=str(tmp_path),
        dimensions=(24, 100),
    )
    child.logfile_read = out = io.BytesIO()
    child.expect("4 of 5 ", timeout=30)
    hold.event.set()
    child.expect("matches: 3 of 5 images", timeout=30)
    child.expect(pexpect.EOF, timeout=30)
    child.close()
    assert rb"photos/\x1b[31mred.png" in out.getvalue()
    assert (b"\x1b[31mred" in out.getvalue(), child.exitstatus) == (False, 0)
