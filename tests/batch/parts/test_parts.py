"""Runs in parts: what they leave, what they do again, and what they refuse."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli import cli

from ...conftest import KEY, Qvision, at_home
from ...support.gallery import REFUSED, Batch, Draw, Gallery, answered, lines, numbered, source
from ...support.server import Reply, document, refusal


def parts(folder: Path) -> list[list[str]]:
    """The images of each finished part, in the order of its lines."""
    return [[source(line) for line in lines(path)] for path in sorted(folder.glob("part-*.jsonl"))]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_failures_come_last_and_are_requested_again_by_the_next_run(
    batch: Batch, qvision: Qvision, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    names = numbered(25)
    draw(*names)
    out = tmp_path / "out"
    gallery.rule = lambda name, number: REFUSED if name == names[3] else answered(name, number)
    first = batch("photos", "caption", "-o", "out/", "--part-size", 10)
    assert first.exit_code == 7
    assert "hint: To retry them, run the same command again." in first.stderr
    assert parts(out) == [names[:10], names[10:20], names[20:]]
    plans = [f"plan/part-0000{number}.jsonl" for number in (1, 2, 3)]
    results = [f"part-0000{number}.jsonl" for number in (1, 2, 3)]
    assert files(out) == sorted(["failed/part-00001.json", *plans, *results, "run.json"])
    joined = qvision("join", out)
    assert [source(line) for line in joined.json_lines] == [*names[:3], *names[4:], names[3]]
    assert [source(line) for line in qvision("join", out, "--failed").json_lines] == [names[3]]

    gallery.rule = answered
    second = batch("photos", "caption", "-o", "out")  # it holds a run, so the slash is not needed
    assert second.exit_code == 0
    assert re.match(r"1 described, 24 skipped · ", second.stderr)
    assert sum(gallery.tries.values()) == len(names) + 1
    assert files(out) == sorted([*plans, *results, "run.json"])
    assert [source(line) for line in qvision("join", out).json_lines] == names


def test_images_whose_answers_were_incomplete_too_often_are_counted(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png", "b.png")
    cut = document("This is").pieces[0]
    assert isinstance(cut, bytes)
    cut_off = Reply([cut.replace(b'"stop"', b'"length"')], headers=document("").headers)
    gallery.rule = lambda name, number: cut_off if name == "a.png" else answered(name, number)
    results = [batch("photos", "caption", "-o", "out/", "--retries", 1) for _ in range(2)]
    assert [result.exit_code for result in results] == [7, 7]
    assert gallery.tries == {"a.png": 1, "b.png": 1}
    assert "1 image was not requested again, because" in results[1].stderr
    assert results[1].stderr.endswith("hint: To retry them, run the same command with --retry-incomplete.\n")


@pytest.mark.parametrize(
    ("again", "message"),
    [
        (["label"], "holds the answers to another question: prompt differs"),
        (["caption", "-m", "other", "--max-side", "64"], "another question: model, max_side differ"),
        (["caption", "--schema", "title"], "another question: schema differs"),
    ],
)
def test_another_question_is_refused(batch: Batch, draw: Draw, tmp_path: Path, again: list[str], message: str) -> None:
    draw("a.png")
    assert batch("photos", "caption", "-o", "out/", "--plan").exit_code == 0
    refused = batch("photos", *again, "-o", "out/")
    assert (refused.exit_code, message in refused.stderr) == (2, True), refused.stderr
    assert not list((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "photos/"], "is not empty, and does not hold a run: it has a.png"),
        (["-o", "r.jsonl", "--processes", "2"], "--processes needs a folder after -o"),
        (["--part-size", "5"], "--part-size needs a folder after -o"),
        (["-o", "out/", "--ordered"], "--ordered does not apply to a run in parts, -o out/"),
        (["-o", "out/", "--sidecar", "txt"], "--sidecar does not apply"),
        (["-o", "out/", "--failures", "f"], "--failures does not apply"),
        (["-o", "out/", "--processes", "0"], "invalid value for --processes: 0"),
        (["-o", "out/", "--send-key"], "--send-key applies to --dask"),
        (["-o", "out/", "--plan", "--dask", "local"], "exclude each other"),
        (["-o", "s3://bucket/r.jsonl"], "a results file cannot be in a bucket: s3://bucket/r.jsonl"),
    ],
)
def test_an_option_that_does_not_apply_is_refused_by_its_name(
    draw: Draw,
    gallery: Gallery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    draw("a.png")
    monkeypatch.chdir(tmp_path)
    for name, value in {**at_home(tmp_path), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}.items():
        monkeypatch.setenv(name, value)
    exit_code = cli.main(["batch", "photos", "caption", *arguments])
    stderr = capsys.readouterr().err
    assert (exit_code, message in " ".join(stderr.split()), len(gallery.tries)) == (2, True, 0), stderr


def test_a_refused_key_stops_the_run_and_nothing_is_lost(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    names = numbered(30)
    draw(*names)

    def rule(name: str, number: int) -> Reply:
        answers = sum(gallery.tries.values())
        return answered(name, number) if answers <= 12 else refusal(401, {"error": {"message": "bad key"}})

    gallery.rule = rule
    stopped = batch("photos", "caption", "-o", "out/", "--part-size", 10, "-j", 1)
    assert stopped.exit_code == 3
    assert "some parts are left" in stopped.stderr
    gallery.rule = answered
    assert batch("photos", "caption", "-o", "out/", "-j", 1).exit_code == 0
    assert parts(tmp_path / "out") == [names[:10], names[10:20], names[20:]]
    assert sum(gallery.tries.values()) == len(names) + 1


def test_the_limits_of_the_run_hold_for_all_parts_together(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    """Each answer has 168 tokens, so ten fit; two parts may reserve the same rest, so up to two fewer are requested."""
    draw(*numbered(30))
    stopped = batch("photos", "caption", "-o", "out/", "--part-size", 5, "-j", 2, "--max-tokens-total", 1700)
    assert stopped.exit_code == 7
    assert "stopped at --max-tokens-total 1700" in stopped.stderr
    assert 8 <= sum(gallery.tries.values()) <= 10
    assert gallery.most_at_once <= 2


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in {"timing", "created", "id", "x_metrics"}}


def test_parts_are_worked_on_by_any_executor_with_the_same_result(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the images are equal."""
    from qubrid_cli.batch.parts.session import open_parts
    from qubrid_cli.batch.parts.worker import run_part

    (first, *_) = draw(*numbered(12))
    (first.parent / "0000-copy.png").write_bytes(first.read_bytes())
    for out in ("out/", "other/"):
        assert batch("photos", "caption", "-o", out, "--part-size", 4, "--plan").exit_code == 0
    monkeypatch.setenv("QUBRID_API_KEY", KEY)
    monkeypatch.setenv("QUBRID_BASE_URL", gallery.url)
    monkeypatch.chdir("/")
    with ThreadPoolExecutor(4) as pool:
        summaries = list(pool.map(run_part, open_parts(str(tmp_path / "out"))))
    assert [summary.done for summary in summaries] == [4, 4, 4, 1]
    assert [summary.stop_reason for summary in summaries] == [None] * 4
    assert batch("photos", "caption", "-o", "other/", "--processes", 2).exit_code == 0
    for path in sorted((tmp_path / "out").glob("part-*")):
        mine, others = (
            [without_times(json.loads(line)) for line in (tmp_path / folder / path.name).read_text().splitlines()]
            for folder in ("out", "other")
        )
        assert mine == others
    assert list(open_parts(str(tmp_path / "out"))) == []


def test_shards_divide_the_parts(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    names = numbered(25)
    draw(*names)
    for shard in ("2/2", "1/2"):
        assert batch("photos", "caption", "-o", "out/", "--part-size", 10, "--shard", shard).exit_code == 0
        assert sum(gallery.tries.values()) == {"2/2": 10, "1/2": 25}[shard]
    assert parts(tmp_path / "out") == [names[:10], names[10:20], names[20:]]


def test_nothing_in_the_output_is_a_secret(batch: Batch, draw: Draw, tmp_path: Path) -> None:
    draw("a.png")
    (tmp_path / "home").mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        '[profiles.mine]\nmodel = "m"\nbase_url = "https://x.test/v1?sig=s3cret"\nheaders = { X-Api-Key = "s3cret" }\n'
    )
    env = {"QVISION_CONFIG": str(config)}
    run = batch("photos", "caption", "-o", "out/", "--profile", "mine", "--plan", env=env)
    assert run.exit_code == 0, run.stderr
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or not re.search(rb"s3cret|" + KEY.encode(), path.read_bytes())
    refused = batch("photos", "caption", "-o", "other/", "-O", 'user_token="s3cret"')
    assert (refused.exit_code, "user_token" in refused.stderr) == (2, True)


def test_a_run_in_a_bucket_leaves_what_it_leaves_in_a_folder(
    batch: Batch, qvision: Qvision, draw: Draw, bucket: Any, tmp_path: Path
) -> None:
    names = numbered(5)
    draw(*names)
    run = batch("photos", "caption", "-o", f"{bucket.url}/run/", "--part-size", 3, env=bucket.env)
    assert run.exit_code == 0, run.stderr
    joined = qvision("join", f"{bucket.url}/run", env=bucket.env)
    assert [source(line) for line in joined.json_lines] == names
    assert [line["path"] for line in joined.json_lines] == [
        os.path.realpath(tmp_path / "photos" / name) for name in names
    ]


def test_join_says_which_folder_holds_no_run_and_that_parts_are_left(
    batch: Batch, qvision: Qvision, draw: Draw, tmp_path: Path
) -> None:
    nothing = qvision("join", tmp_path)
    assert nothing.exit_code == 4
    assert nothing.stderr.startswith(f"error: there is no run in {tmp_path}/\n")
    draw("a.png")
    batch("photos", "caption", "-o", "out/", "--plan")
    left = qvision("join", "out/")
    assert (left.exit_code, left.stdout) == (7, b"")
    assert "1 part has no result yet" in left.stderr
