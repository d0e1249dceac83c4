"""The limits of ``qvision batch``: requests at once, tokens, money and time."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ..conftest import KEY, command, environment
from ..support.gallery import BROKEN, OVERLOADED, RESET, Batch, Draw, Gallery, numbered, source
from ..support.server import USAGE, Pause, Reply, document


def test_no_more_requests_are_in_flight_than_jobs(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(30))
    gallery.rule = lambda name, _: Reply([Pause(0.02), *document(name).pieces], headers={})
    batch("photos", "-j", 3)
    assert gallery.most_at_once == 3


def test_max_tokens_total_stops_the_run(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(20))
    run = batch("photos", "--max-tokens-total", 5 * USAGE["total_tokens"], "-j", 2)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert "stopped at --max-tokens-total 840; 15 of 20 images are left" in run.stderr


def test_max_time_stops_the_run(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(20))
    run = batch("photos", "--max-time", 0)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 0)
    assert "stopped at --max-time 0" in run.stderr


def test_a_run_stops_before_it_exceeds_max_cost(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw(*numbered(20))
    (tmp_path / "config.toml").write_text('[prices."Qwen/Qwen3-VL-Plus"]\ninput = 1000\noutput = 10000\n')
    price = (120 * 1000 + 48 * 10000) / 1e6
    run = batch("photos", "--max-cost", 5 * price, "-j", 1, env={"QVISION_CONFIG": str(tmp_path / "config.toml")})
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert f"${5 * price:.2f}" in run.stderr
    assert {line["cost"]["amount"] for line in run.json_lines} == {price}


@pytest.mark.parametrize(("allowed", "most"), [(0, 0), (5, 5)])
def test_many_requests_at_once_do_not_exceed_max_cost(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, allowed: int, most: int
) -> None:
    draw(*numbered(20))
    (tmp_path / "config.toml").write_text('[prices."Qwen/Qwen3-VL-Plus"]\ninput = 1000\noutput = 10000\n')
    price = (120 * 1000 + 48 * 10000) / 1e6
    run = batch(
        "photos", "--max-cost", allowed * price, "-j", 16, env={"QVISION_CONFIG": str(tmp_path / "config.toml")}
    )
    assert (run.exit_code, sum(gallery.tries.values())) == (7, most)
    assert f"{20 - most} of 20 images are left" in run.stderr


def test_without_usage_from_the_server_a_budget_uses_an_estimate(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(20))
    answer = {"choices": [{"message": {"content": "x" * 400}, "finish_reason": "stop"}]}
    gallery.rule = lambda *_: Reply([json.dumps(answer).encode()], headers={"Content-Type": "application/json"})
    run = batch("photos", "caption", "--max-tokens-total", 5 * (74 + 100), "-j", 4)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert "about 370 → 500 tokens (estimated: the server does not report usage)" in run.stderr


def test_a_first_answer_counts_even_if_its_repair_fails(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    gallery.rule = lambda _, number: document("not json") if number == 1 else BROKEN
    run = batch("photos", "--schema", "title", "--retries", 1)
    assert (run.exit_code, gallery.tries["a.png"]) == (7, 3)
    assert f"\n{USAGE['prompt_tokens']} → {USAGE['completion_tokens']} tokens" in run.stderr
    gallery.tries.clear()
    ended = batch("photos", "--schema", "title", "--patience", 0)
    assert (ended.exit_code, ended.stdout) == (5, b"")
    assert "no complete answer for 0 s" in ended.stderr
    assert re.search(r"\d+ → \d+ tokens", ended.stderr)


def test_when_a_repair_fails_only_the_repair_is_retried(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    """Paid for are the first answer, once, and the one that put it right; whole requests are counted, and their tokens."""
    draw("a.png")
    replies = [document("not json"), OVERLOADED, RESET, BROKEN, document('{"title": "A"}')]
    gallery.rule = lambda _, number: replies[number - 1]
    run = batch("photos", "--schema", "title")
    (line,) = run.json_lines
    assert [len(asked.json["messages"]) for asked in gallery.asked] == [1, 3, 3, 3, 3]
    assert (run.exit_code, line["data"], line["attempts"]) == (0, {"title": "A"}, 5)
    assert line["usage"] == {name: 2 * count for name, count in USAGE.items()}
    assert f"{2 * USAGE['prompt_tokens']} → {2 * USAGE['completion_tokens']} tokens" in run.stderr
    assert line["warnings"] == ["the first answer did not fit the schema, so a second one was requested"]


def test_a_failed_repair_keeps_the_text_and_counts_all_tokens(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    replies = [document("not json"), BROKEN, document("nor this")]
    gallery.rule = lambda _, number: replies[number - 1]
    run = batch("photos", "--schema", "title")
    (line,) = run.json_lines
    assert (run.exit_code, line["error"]["code"], line["text"]) == (7, "schema_mismatch", "nor this")
    assert line["usage"] == {name: 2 * count for name, count in USAGE.items()}


@pytest.mark.parametrize("jobs", [1, 16])
def test_max_cost_is_kept_by_the_costs_that_the_endpoint_reports(
    batch: Batch, draw: Draw, gallery: Gallery, jobs: int
) -> None:
    draw(*numbered(20))
    (body,) = [json.loads(piece) for piece in document("A cat.").pieces if isinstance(piece, bytes)]
    reply = [json.dumps(body | {"usage": {**USAGE, "cost": 0.25}}).encode()]
    gallery.rule = lambda *_: Reply([Pause(0.02), *reply], headers={})
    run = batch("photos", "--max-cost", 1.25, "-j", jobs)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert "stopped at --max-cost 1.25; 15 of 20 images are left" in run.stderr
    assert "$1.25" in run.stderr


@pytest.mark.parametrize("config", ["", '[prices."Qwen/Qwen3-VL-Plus"]\ninput = 1000\n'])
def test_max_cost_without_a_price_stops_after_an_answer_without_its_cost(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, config: str
) -> None:
    draw(*numbered(20))
    (tmp_path / "config.toml").write_text(config)
    gallery.rule = lambda name, _: Reply([Pause(0.02), *document(name).pieces], headers={})
    run = batch("photos", "--max-cost", 1, "-j", 8, env={"QVISION_CONFIG": str(tmp_path / "config.toml")})
    assert (run.exit_code, sum(gallery.tries.values()), len(run.json_lines)) == (3, 1, 1)
    assert "--max-cost needs a price for Qwen/Qwen3-VL-Plus, because the endpoint does not report costs" in run.stderr


@pytest.mark.parametrize("jobs", ["128", "auto"])
@pytest.mark.parametrize("descriptors", [32, 64])
def test_with_few_file_descriptors_all_images_are_done(
    draw: Draw, gallery: Gallery, tmp_path: Path, descriptors: int, jobs: str
) -> None:
    draw(*numbered(100))
    gallery.rule = lambda name, _: Reply([Pause(0.02), *document(name).pieces], headers={})
    run = subprocess.run(
        ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command("batch", "photos", "-j", jobs)],
        env=environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}),
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr.count(b"rror")) == (0, 0)
    assert len(run.stdout.splitlines()) == sum(gallery.tries.values()) == 100


def test_a_request_that_trickles_is_given_up(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("slow.png", "fast.png")
    trickle = Reply([piece for _ in range(100) for piece in (b" ", Pause(0.05))], headers={})
    gallery.rule = lambda name, _: trickle if name == "slow.png" else document(name)
    run = batch("photos", "--request-timeout", 0.4, "--timeout", 30, "--retries", 1)
    errors = {source(line): line["error"] for line in run.json_lines}
    assert (run.exit_code, errors["fast.png"], gallery.tries["slow.png"]) == (7, None, 2)
    assert errors["slow.png"]["message"].endswith("did not finish within --request-timeout")
    assert errors["slow.png"]["hint"] == "Raise --request-timeout."
