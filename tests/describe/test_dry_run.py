"""``--dry-run`` shows what would leave the machine, and nothing leaves it."""

import json
from pathlib import Path

from ..conftest import KEY, Ask, Qvision
from ..support import draw
from ..support.server import Server


def test_nothing_is_sent(describe: Ask, server: Server, lighthouse: Path) -> None:
    for extra in ([], ["--json"], ["--each"], ["--no-stream"]):
        run = describe(lighthouse, draw.IMAGES / "screenshot.png", "what?", "--dry-run", *extra)
        assert (run.exit_code, run.stdout != b"") == (0, True)
    assert (server.asked, server.connections) == ([], 0)


def test_the_request_is_the_one_that_would_be_sent(describe: Ask, server: Server, lighthouse: Path) -> None:
    words = (lighthouse, "what is this?", "-s", "Be brief.", "-O", "seed=42", "--max-tokens", "99")
    would = json.loads(describe(*words, "--dry-run", "--json").stdout)
    assert describe(*words).exit_code == 0
    (asked,) = server.asked
    request = asked.json
    content, sent = would["request"]["messages"][1]["content"], request["messages"][1]["content"]
    url, short = sent[1]["image_url"].pop("url"), content[1]["image_url"].pop("url")
    assert would["request"] == request
    assert would["url"] == f"{server.url}/chat/completions"
    assert would["request_bytes"] == len(asked.body)
    assert short == f"{url[:48]}… ({len(url):,} characters)"


def test_each_image_is_listed_with_its_sizes_and_the_removed_metadata(describe: Ask, large_lighthouse: Path) -> None:
    (image,) = json.loads(describe(large_lighthouse, "what?", "--dry-run", "--json").stdout)["images"]
    assert (image["width"], image["height"], image["bytes"]) == (960, 720, large_lighthouse.stat().st_size)
    assert (image["sent"]["mime"], image["sent"]["tokens_estimate"]) == ("image/jpeg", 662)
    assert image["stripped"] == ["EXIF", "GPS position", "a comment"]


def test_people_read_the_same_facts(describe: Ask, large_lighthouse: Path) -> None:
    said = describe(large_lighthouse, "what?", "--dry-run").stdout.decode()
    assert said.startswith("POST http://127.0.0.1:")
    assert "960 × 720, about 662 tokens; removed: EXIF, GPS position, a comment\n" in said.replace(", 105 KB", "")
    assert said.splitlines()[-1].startswith("about 664 prompt tokens · request body of ")
    assert said.endswith(" · nothing was sent to the endpoint\n")
    assert KEY not in said


def test_it_needs_no_key(qvision: Qvision, lighthouse: Path) -> None:
    run = qvision("describe", lighthouse, "--dry-run", "--json")
    assert (run.exit_code, json.loads(run.stdout)["url"]) == (0, "https://platform.qubrid.com/v1/chat/completions")


def test_tokens_of_an_unknown_model_are_not_guessed(describe: Ask, lighthouse: Path) -> None:
    would = json.loads(describe(lighthouse, "--dry-run", "--json", "-m", "llava").stdout)
    assert (would["tokens_estimate"], would["images"][0]["sent"]["tokens_estimate"]) == (None, None)


def test_a_link_is_only_named(describe: Ask) -> None:
    run = describe("https://example.com/a.jpg", "what?", "--dry-run")
    assert "https://example.com/a.jpg: a link, which the endpoint would fetch\n" in run.stdout.decode()


def test_an_image_that_cannot_be_sent_is_the_same_failure_as_without(describe: Ask, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    run = describe("bad.jpg", "what?", "--dry-run", "--json")
    assert (run.exit_code, run.json["ok"], run.json["error"]["code"]) == (4, False, "damaged_image")


def test_a_hostile_file_name_is_harmless_on_a_terminal(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    name = "\x1b]0;pwned\x07.jpg"
    (tmp_path / name).write_bytes(lighthouse.read_bytes())
    for extra in ([], ["--json"]):
        assert b"\x1b" not in describe(name, "what?", "--dry-run", *extra).stdout


def test_a_dry_run_has_no_field_to_print(describe: Ask, lighthouse: Path) -> None:
    run = describe(lighthouse, "--dry-run", "--field", "text")
    assert (run.exit_code, run.stderr.splitlines()[0]) == (2, "error: --dry-run and --field exclude each other")


def test_each_bad_image_is_reported_and_the_others_continue(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    run = describe(lighthouse, "bad.jpg", lighthouse, "caption", "--each", "--dry-run", "--json")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert (run.exit_code, [line.get("ok") for line in lines]) == (4, [None, False, None])
    assert lines[1]["images"][0]["source"] == "bad.jpg"


def test_a_password_in_a_link_is_not_shown(describe: Ask) -> None:
    for extra in ([], ["--json"]):
        run = describe("http://me:secretpw@example.com/a.jpg?u=https://you:secretpw@h/x", "what?", "--dry-run", *extra)
        assert (run.exit_code, b"http://example.com/a.jpg" in run.stdout, b"secretpw" in run.stdout) == (0, True, False)
