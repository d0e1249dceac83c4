"""``qvision bench`` against an endpoint whose speed and accuracy are known."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pexpect
import pytest
from PIL import Image

from qubrid_cli import cli

from ..conftest import at_home, command, environment
from ..describe.test_judge import logprobs
from ..support.server import DONE, JSON, Asked, Hold, Pause, Reply, Server, delta, document, event, refusal, stream

#: The exit code, standard output and standard error of a command line.
Bench = Callable[..., tuple[int, str, str]]

PRICES = '[prices]\n"m/cheap" = { input = 1.0, output = 2.0 }\n"m/good" = { input = 2.0, output = 4.0 }\n'


@pytest.fixture
def bench(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Bench:
    """The command in this process, in a folder of its own, against the server."""
    home = {**at_home(tmp_path / "home"), "QUBRID_API_KEY": "qk-0123456789", "QUBRID_BASE_URL": server.url}
    for name, value in {**home, "QVISION_CONFIG": "", "QVISION_PROFILE": "", "FORCE_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        exit_code = cli.main(["bench", *map(str, arguments)])
        return (exit_code, *capfd.readouterr())

    return run


@pytest.fixture(autouse=True)
def images(tmp_path: Path) -> None:
    for number in (1, 2):
        Image.new("RGB", (640, 480), (90 * number, 90, 90)).save(tmp_path / f"{number}.png")


def read_image(asked: Asked) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(asked.image_url.partition(",")[2])))


def answer_at(ttft: float, *, speed: float, text: str = "a b c") -> Reply:
    """An answer whose speed is known, and which states it."""
    words = text.split()
    pieces: list[bytes | Hold | Pause] = [Pause(ttft)]
    for word in words:
        pieces += [delta(f"{word} "), Pause(1 / speed)]
    figures = {"ttft_seconds": ttft, "tps": speed, "total_time_seconds": ttft + len(words) / speed}
    usage = {"prompt_tokens": 100, "completion_tokens": len(words), "total_tokens": 100 + len(words)}
    return Reply(
        [*pieces, delta("", finish="stop"), event({"choices": [], "usage": usage, "x_metrics": figures}), DONE]
    )


def load(run: tuple[int, str, str]) -> Any:
    assert run[0] in {0, 5, 7}, run
    return json.loads(run[1])


def test_the_figures_of_the_endpoint_are_exact_and_ours_include_its_delays(bench: Bench, server: Server) -> None:
    speeds = {"m/slow": (0.06, 40), "m/fast": (0.02, 100)}
    server.answer = lambda asked: answer_at(speeds[asked.json["model"]][0], speed=speeds[asked.json["model"]][1])
    result = load(bench("1.png", "what?", "--models", "m/slow,m/fast", "-n", 2, "--json", "-q"))
    for variant, (ttft, speed) in zip(result["variants"], speeds.values(), strict=True):
        seconds = {"ttft_seconds": ttft, "tokens_per_second": speed, "total_seconds": ttft + 3 / speed}
        assert variant["server"] == {
            name: dict.fromkeys(("min", "p50", "p95"), value) for name, value in seconds.items()
        }
        assert variant["local"]["ttft_seconds"]["min"] >= ttft
        assert variant["local"]["total_seconds"]["min"] >= ttft + 3 / speed
        assert (variant["answers"], variant["failed"]) == (2, 0)
        assert (variant["prompt_tokens"]["p50"], variant["completion_tokens"]["p95"]) == (100, 3)
    assert [len(result["measurements"]), result["complete"], result["error"]] == [4, True, None]


def test_all_variants_take_turns_at_each_image_after_a_warm_up(bench: Bench, server: Server) -> None:
    options = (
        "--models",
        "m/a,m/b",
        "--max-pixels",
        "65536,307200",
        "--image-order",
        "first,last",
        "--think",
        "off,on",
    )
    run = bench("1.png", "2.png", "what?", *options, "-n", 2, "--json")
    assert run[2].startswith("16 variants × 2 images × 2 runs = 64 requests, and 16 to warm up; ")
    assert load(run)["ok"]

    def identify(asked: Asked) -> tuple[object, ...]:
        first = asked.json["messages"][0]["content"][0]["type"]
        return asked.json["model"], read_image(asked).size, first, asked.json["chat_template_kwargs"]["enable_thinking"]

    requests = [identify(asked) for asked in server.asked]
    variants = set(requests[:16])
    assert len(variants) == 16
    assert {size for _, size, _, _ in variants} == {(256, 192), (640, 480)}
    for start in range(16, 80, 16):
        assert set(requests[start : start + 16]) == variants
    assert len({requests[start] for start in range(16, 80, 16)}) > 1
    assert len({asked.image_url for asked in server.asked}) == 4


def test_requests_are_made_at_once_and_each_connection_is_warmed_up(bench: Bench, server: Server) -> None:
    held = Hold()

    def answer(_: Asked) -> Reply:
        if len(server.asked) == 3:
            held.event.set()
        return Reply([held, *stream("a").pieces])

    server.answer = answer
    result = load(bench("1.png", "-n", 2, "-j", 3, "--json", "-q"))
    assert (result["warm_up_requests"], len(server.asked), len(result["measurements"])) == (3, 5, 2)


def label(path: Path, rows: list[tuple[str, object]]) -> Path:
    path.write_text("".join(json.dumps({"image": image, "expected": expected}) + "\n" for image, expected in rows))
    return path


def test_the_method_of_the_command_line_is_used(bench: Bench, server: Server, tmp_path: Path) -> None:
    server.answer = lambda _: document('{"answer": "yes", "reason": "r"}')
    label(tmp_path / "yes.jsonl", [("1.png", "yes"), ("2.png", "no")])
    result = load(bench("--labels", "yes.jsonl", "is it?", "--by", "schema", "-n", 1, "--json", "-q"))
    verdict = {"answer": "yes", "probability": None, "reason": "r", "by": "schema"}
    assert [measurement["data"] for measurement in result["measurements"]] == [verdict, verdict]
    assert ["logprobs" in asked.json for asked in server.asked] == [False] * 3


def test_the_threshold_of_a_model_is_found_and_the_cheaper_size_is_enough(
    bench: Bench, server: Server, tmp_path: Path
) -> None:
    """The model states the brightness of the image as its probability; it is yes from 0.37 on."""
    rows: list[tuple[str, object]] = []
    for level in range(5, 255, 12):
        Image.new("L", (320, 320), level).save(tmp_path / f"{level}.png")
        rows.append((f"{level}.png", level / 255 >= 0.37))

    def answer(asked: Asked) -> Reply:
        image = read_image(asked)
        level = image.getpixel((0, 0))
        assert isinstance(level, int)
        tokens = logprobs({"Yes": level / 255, "No": 1 - level / 255})
        choice = {"message": {"role": "assistant", "content": "Yes"}, "finish_reason": "length", "logprobs": tokens}
        usage = {"prompt_tokens": image.width, "completion_tokens": 1}
        return Reply([json.dumps({"choices": [choice], "usage": usage}).encode()], headers=JSON)

    server.answer = answer
    labels = label(tmp_path / "labels.jsonl", rows)
    exit_code, out, _ = bench("--labels", labels, "is it bright?", "--max-pixels", "65536,102400", "-n", 1, "--json")
    result = json.loads(out)
    assert (exit_code, result["best"], result["choice"], result["choice_by"]) == (0, 0, 0, "tokens")
    for variant in result["variants"]:
        found = variant["scores"]
        assert abs(found["calibration"]["threshold"] - 0.37) < 0.05
        assert found["calibration"]["accuracy"] == 1
        wrong = sum(0.37 <= level / 255 < 0.5 for level in range(5, 255, 12))
        assert found["counts"] == {
            "true_yes": 10,
            "false_yes": 0,
            "true_no": 8,
            "false_no": wrong,
            "unsure_yes": 0,
            "unsure_no": 0,
        }
        assert (found["accuracy"], found["precision"], found["recall"]) == (18 / 21, 1, 10 / 13)


ANSWERS = {"m/good": {"1.png": "A red car.", "2.png": "a dog"}, "m/cheap": {"1.png": "red car", "2.png": "a cat"}}


@pytest.mark.parametrize(
    ("texts", "scores", "choice"),
    [
        (("red car", "dog", "red car", "dog"), ((1, 1), (1, 1)), 1),
        (("red car", "dog", "red bus", "dog"), ((1, 1), (0.75, 0.5)), 1),
        (("red car", "dog", "tree", "tree"), ((1, 1), (0, 0)), 0),
        (("tree", "tree", "red car", "dog"), ((0, 0), (1, 1)), 1),
        (("tree", "tree", "tree", "tree"), ((0, 0), (0, 0)), None),
    ],
)
def test_the_cheapest_variant_within_the_error_of_the_best_is_marked(
    bench: Bench,
    server: Server,
    tmp_path: Path,
    texts: tuple[str, ...],
    scores: tuple[tuple[float, float], ...],
    choice: int | None,
) -> None:
    (tmp_path / "config.toml").write_text(PRICES)
    os.environ["QVISION_CONFIG"] = str(tmp_path / "config.toml")  # restored by the fixture
    levels = {90: 0, 180: 1}

    def answer(asked: Asked) -> Reply:
        pixel = read_image(asked).convert("RGB").getpixel((0, 0))
        assert isinstance(pixel, tuple)
        return stream(texts[2 * (asked.json["model"] == "m/cheap") + levels[int(pixel[0])]])

    server.answer = answer
    labels = label(tmp_path / "labels.jsonl", [("1.png", "a red car"), ("2.png", "Dog")])
    arguments = ("--labels", labels, "what is it?", "--models", "m/good,m/cheap", "-n", 2)
    result = load(bench(*arguments, "--json", "-q"))
    found = [variant["scores"] for variant in result["variants"]]
    assert tuple((score["token_f1"], score["exact_match"]) for score in found) == scores
    assert (result["choice"], result["choice_by"]) == (choice, None if choice is None else "cost")
    assert [variant["cost"]["mean"] for variant in result["variants"]] == [0.000432, 0.000216]


def test_values_of_a_schema_are_compared_and_images_can_be_chosen(bench: Bench, server: Server, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,expected\n1.png,12.0\n2.png,13\n")
    label(tmp_path / "labels.jsonl", [("1.png", {"count": 12}), ("2.png", {"count": 13, "kind": "Cat"})])
    scores = []
    for chosen in (("--labels", "labels.csv"), ("./1.png", "--labels", "labels.csv"), ("--labels", "labels.jsonl")):
        schema = "count int" if "labels.csv" in chosen else "count int, kind"
        server.answer = stream('{"count": 12}' if "labels.csv" in chosen else '{"count": 12, "kind": "cat"}')
        scores.append(load(bench(*chosen, "--schema", schema, "-n", 1, "--json", "-q"))["variants"][0]["scores"])
    assert [(score["exact_match"], score["token_f1"], score["error"]) for score in scores] == [
        (0.5, 0.5, 0.5),
        (1, 1, None),
        (0.5, 0.75, 0.25),
    ]


def test_failures_are_counted_and_nothing_else_of_them_counts(bench: Bench, server: Server) -> None:
    def answer(asked: Asked) -> Reply:
        model = asked.json["model"]
        if model == "m/none":
            return refusal(404, {"error": {"message": "no such model", "code": "model_not_found"}})
        if model == "Qwen/Qwen3-VL-Flash" and len(server.asked) % 2:
            return Reply([Pause(0.2), delta("cut", finish="length"), DONE])
        return stream("fine")

    server.answer = answer
    run = bench("1.png", "--models", "Qwen/Qwen3-VL-Flash,m/none", "-n", 4, "--json", "-q")
    result = load(run)
    half, none = result["variants"]
    assert run[0] == 7
    assert (half["answers"], half["failed"], [failure["code"] for failure in half["failures"]]) == (
        2,
        2,
        ["length"],
    )
    assert (none["answers"], none["failed"], none["unreachable"][-14:]) == (0, 0, " no such model")
    assert Counter(asked.json["model"] for asked in server.asked) == {"Qwen/Qwen3-VL-Flash": 5, "m/none": 1}
    assert result["error"]["message"] == "6 of 8 requests have no answer"


def test_if_nothing_has_an_answer_the_first_failure_is_the_error(bench: Bench, server: Server, tmp_path: Path) -> None:
    server.answer = refusal(400, {"error": {"message": "bad image"}})
    exit_code, out, err = bench("1.png", "-n", 1)
    assert (exit_code, out) == (5, "")
    assert "bad image" in err
    (tmp_path / "3.png").write_bytes(b"nothing")
    count = len(server.asked)
    exit_code, out, err = bench("3.png", "-n", 1, "--json")
    assert (exit_code, json.loads(out)["error"]["code"], len(server.asked)) == (4, "not_an_image", count)


def test_after_ctrl_c_what_was_measured_is_shown(server: Server, tmp_path: Path) -> None:
    is_held = threading.Event()

    def answer(_: Asked) -> Reply:
        if len(server.asked) < 4:
            return stream("fine")
        is_held.set()
        return Reply([Hold()])

    server.answer = answer
    env = environment({**at_home(tmp_path), "QUBRID_BASE_URL": server.url, "QUBRID_API_KEY": "qk-0123456789"})
    arguments = command("bench", "1.png", "-n", 9, "--json", "-q")
    with subprocess.Popen(arguments, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert is_held.wait(30)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    result = json.loads(out)
    assert (running.returncode, err) == (130, b"error: stopped by Ctrl-C after 2 of 9 requests\n")
    assert (result["complete"], result["variants"][0]["answers"], result["error"]["code"]) == (False, 2, "interrupted")


def test_a_dry_run_sends_nothing_and_tells_the_tokens_and_the_cost(
    bench: Bench, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text('[prices]\n"qwen3-vl" = { input = 1.0, output = 2.0 }\n')
    monkeypatch.setenv("QVISION_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("QUBRID_API_KEY")
    arguments = ("1.png", "2.png", "what?", "-m", "qwen3-vl", "--max-pixels", "65536,307200", "-n", 3, "--dry-run")
    exit_code, out, err = bench(*arguments)
    assert (exit_code, err, server.asked) == (0, "", [])
    assert out.splitlines()[:2] == ["65,536 px   518    $0.00052", "307,200 px  2,128  $0.0021"]
    assert out.splitlines()[2].startswith(
        "2 variants × 2 images × 3 runs = 12 requests, and 2 to warm up; about 2,646 "
    )
    assert load(bench(*arguments, "--json"))["tokens_estimate"] == 2646


def test_in_a_pipe_there_is_a_line_for_each_variant(bench: Bench, server: Server) -> None:
    server.answer = answer_at(0.01, speed=200)
    exit_code, out, _ = bench("1.png", "--models", "m/a,m/b", "-n", 1)
    names, *rows = (line.split("\t") for line in out.splitlines())
    assert exit_code == 0
    assert [dict(zip(names, row, strict=True))["server_ttft_seconds_p50"] for row in rows] == ["0.01", "0.01"]
    assert [row[:6] for row in rows] == [[model, "2621440", "last", "", "1", "0"] for model in ("m/a", "m/b")]


class Tags(HTMLParser):
    """Collects the tags of a page with their attributes, and its texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_the_page_shows_charts_and_answers_side_by_side_and_nothing_hostile_runs(
    bench: Bench, server: Server, tmp_path: Path
) -> None:
    hostile = "<img src=x onerror=alert(1)> [x](javascript:alert(1)) </script><script>alert(1)</script>"
    server.answer = lambda asked: stream(hostile if asked.json["model"] == "m/a" else "**a dog**")
    name = "<b onclick=alert(1)>.png"
    (tmp_path / "1.png").rename(tmp_path / name)
    label(tmp_path / "labels.jsonl", [(name, hostile), ("2.png", "a dog")])
    arguments = ("--labels", "labels.jsonl", hostile, "--models", "m/a,m/b", "-n", 2, "-q", "-o", "bench.html")
    assert bench(*arguments)[0] == 0
    html = (tmp_path / "bench.html").read_text()
    page = Tags(html)
    assert not [
        tag for tag, attributes in page.tags if tag == "script" or any(key.startswith("on") for key in attributes)
    ]
    assert [attributes["src"][:22] for tag, attributes in page.tags if tag == "img"] == ["data:image/png;base64,"] * 2  # type: ignore[index]
    assert not [attributes for tag, attributes in page.tags if tag == "a"]
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert Counter(page.texts)["a dog"] == 3  # the label and both answers of one variant, which are equal
    assert Counter(page.texts)["correct"] == Counter(page.texts)["wrong"] == 2
    assert name in page.texts
    assert [tag for tag, _ in page.tags].count("svg") == 7


@pytest.mark.parametrize("width", [60, 100])
def test_a_terminal_shows_tables_with_bars(server: Server, tmp_path: Path, width: int) -> None:
    server.answer = lambda asked: answer_at(0.01, speed=200, text="a b" if asked.json["model"] == "m/a" else "a")
    label(tmp_path / "labels.jsonl", [("1.png", "a b"), ("2.png", "A b")])
    home = {"QUBRID_BASE_URL": server.url, "QUBRID_API_KEY": "qk-0123456789", "TERM": "xterm"}
    env = environment({**at_home(tmp_path), **home, "LC_ALL": "C.UTF-8"})
    program, *arguments = command("bench", "--labels", "labels.jsonl", "what?", "--models", "m/a,m/\x9b31m", "-n", 1)
    child = pexpect.spawn(program, arguments, env=env, cwd=str(tmp_path), timeout=30, dimensions=(99, width))
    child.expect(pexpect.EOF)
    assert isinstance(child.before, bytes)
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", child.before.decode())
    child.close()
    assert child.exitstatus == 0
    tables = shown.splitlines()[-20:]  # above them is a line that the terminal wraps
    assert max(map(len, tables)) <= width
    assert "\x9b" not in shown
    assert re.search(r"^\* (m/a|A) +1\.000 +0\.000 +1\.000", shown, re.MULTILINE), shown
    assert "█" in shown


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (
            "1.png --max-pixels 5",
            "invalid value for --max-pixels: 5 is below 1024",
            "For example: --max-pixels 262144,",
        ),
        (
            "1.png --max-pixels 2048,,4096",
            "invalid value for --max-pixels: '2048,,4096' has an empty item",
            "Separate ",
        ),
        ("1.png --think maybe", "invalid value for --think: maybe is not one of on, ", "For example: --think off,on"),
        ("1.png --models a -m b", "--models and --model exclude each other", "Put all models into --models"),
        ("1.png --by schema", "--by applies to yes-or-no questions", "They need --labels"),
        ("1.png --max-pixels 4096 --original", "--original excludes --max-pixels and --max-side", "Leave "),
        ("1.png -o bench.txt", "-o bench.txt is not the name of an HTML file", "Name a file such as bench.html."),
        ("1.png -o no/bench.html", "-o no/bench.html: there is no folder ", "Create it first."),
        ("--labels nope.jsonl x", "cannot read the list nope.jsonl: No such file", "Check the name after --labels."),
        ("--labels yes.jsonl", "there is no question", "For example: qvision bench --labels"),
        ("--labels yes.jsonl x -s y", "yes-or-no questions have neither a preset nor a system prompt", "Leave out"),
        ("2.png --labels yes.jsonl x", "2.png is not in yes.jsonl", "To use all images in yes.jsonl"),
        (
            "--labels list.txt x",
            "list.txt has no expected answer for 1.png",
            'A line looks like this: {"image": "a.jpg"',
        ),
        (
            "--labels object.jsonl x",
            "some expected answers are objects, and there is no schema",
            "Add one: qvision bench",
        ),
        ("--labels broken.jsonl x", "broken.jsonl: line 2 of the list is not valid JSON", "A line looks like this"),
        ("--labels empty.jsonl x", "empty.jsonl has no labels", "A line looks like this"),
        (f"1.png --models {','.join(map(str, range(65)))}", "65 values make 65 variants; at most 64 ", "Vary one"),
    ],
)
def test_a_wrong_command_line_is_refused_before_any_request(  # a table
    bench: Bench, server: Server, tmp_path: Path, arguments: str, error: str, hint: str
) -> None:
    label(tmp_path / "yes.jsonl", [("1.png", True)])
    label(tmp_path / "object.jsonl", [("1.png", {"n": 1})])
    (tmp_path / "list.txt").write_text("1.png\n")
    (tmp_path / "broken.jsonl").write_text('{"image": "1.png", "expected": 1}\n{"image"\n')
    (tmp_path / "empty.jsonl").write_text("")
    exit_code, out, err = bench(*arguments.split())
    lines = err.splitlines()
    assert (exit_code, out, server.asked) == (2, "", [])
    assert lines[0].startswith(f"error: {error}")
    assert lines[1].startswith(f"hint: {hint}")
