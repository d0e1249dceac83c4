"""The results file: lines stay, are found again, and are complete."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli import files
from qubrid_cli.batch import entries
from qubrid_cli.batch.entries import Record
from qubrid_cli.batch.inputs import Task
from qubrid_cli.batch.journal import Journal, RecordedAnswer
from qubrid_cli.batch.results.lines import LineRow, LineScanner, Question, compile_pattern, make_question
from qubrid_cli.batch.tasks import BatchRequest
from qubrid_cli.client.request import Request
from qubrid_cli.describe.result import Description, UnpreparedImage
from qubrid_cli.errors import UsageError
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.library.image_options import read_tile_options
from qubrid_cli.settings.presets import Preset
from qubrid_cli.text import json_text

from ..conftest import environment

TASK = Task(1, "a.jpg")
FACETS = {"prompt": "what?", "model": "m", "temperature": 0.1}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def record(
    source: str = "a.jpg",
    *,
    ok: bool = True,
    text: str = "A lighthouse.",
    prompt: str = "what?",
    sha256: str | None = None,
) -> Record:
    made = Description(prompt=prompt, text=text, complete=ok, images=(UnpreparedImage(source),)).to_dict()
    made["images"][0]["sha256"] = sha256
    return made | {"ok": ok, "usage": {"prompt_tokens": 7}, "created": "2020-01-01T00:00:00Z"}


def line(
    key: str | None, source: str = "a.jpg", *, path: str | None = None, source_id: Any = None, **more: Any
) -> bytes:
    task = Task(1, source, None, source_id, path)
    return entries.encode_line(record(source, **more), task, key=key, attempts=1)


def question(
    source: str = "a.jpg", prompt: str = "what?", *, path: str | None = None, source_id: Any = None
) -> Question:
    return make_question(source, prompt, path=path, source_id=source_id, key=None)


def write(path: Path, *lines: bytes) -> None:
    with Journal(path) as journal:
        for one in lines:
            journal.append(one)


def known(path: Path, key: str, source: str = "a.jpg") -> bool | None:
    """Whether the answer has a line for this source; ``None`` if there is no answer."""
    with Journal(path) as journal:
        found = journal.find_answer(key, question(source))
        return None if found is None else found.has_own_line


def test_lines_are_in_the_file_as_they_were_appended(path: Path) -> None:
    write(path, line("k1"), line("k2", "b.jpg"))
    assert path.read_bytes() == line("k1") + line("k2", "b.jpg")


def test_a_line_is_in_the_file_before_the_run_ends(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(line("k1"))
        assert path.read_bytes() == line("k1")


def test_an_answer_is_found_at_once_and_in_the_next_run(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.find_answer("k1", question("a.jpg")) is None
        journal.append(line("k1"))
        expected = RecordedAnswer(json.loads(line("k1")), has_own_line=True)
        assert journal.find_answer("k1", question("a.jpg")) == expected
    with Journal(path) as journal:
        assert journal.find_answer("k1", question("a.jpg")) == expected


def test_a_failure_is_not_an_answer(path: Path) -> None:
    write(path, line("k1", ok=False), line(None, "b.jpg", ok=False))
    assert known(path, "k1") is None


def test_an_answer_is_found_under_another_name_of_the_image(path: Path) -> None:
    write(path, line("k1", "a.jpg"))
    assert known(path, "k1", "renamed.jpg") is False
    write(path, entries.encode_line(record("renamed.jpg"), TASK, key="k1", attempts=0, duplicate_of="a.jpg"))
    assert known(path, "k1", "renamed.jpg") is True
    assert known(path, "k1", "a.jpg") is True


def test_the_later_of_two_answers_counts(path: Path) -> None:
    write(path, line("k1", text="old"), line("k1", text="new"))
    with Journal(path) as journal:
        found = journal.find_answer("k1", question("a.jpg"))
    assert found is not None
    assert found.record["text"] == "new"


def test_an_answer_that_another_program_overwrote_is_not_found(path: Path) -> None:
    write(path, line("k1"))
    with Journal(path) as journal:
        path.write_bytes(line("k2"))
        assert journal.find_answer("k1", question("a.jpg")) is None


#: What a damaged line may contain.
BYTES = (b'"', b"\\", b",", b"}", b"0", b"\n", b" ")
UNCHANGED = entries.encode_line(
    record(sha256="5" * 64), Task(1, "a.jpg", None, 7, "a.jpg", "9-1"), key="k1", attempts=1
)


@pytest.mark.parametrize(
    ("data", "version", "is_unchanged"),
    [
        (UNCHANGED, "9-1", True),
        (UNCHANGED, "9-2", False),
        (UNCHANGED.replace(b'"k1"', b'"k2"'), "9-1", False),  # another model
        (UNCHANGED.replace(b"lighthouse", b"light\\u0020house"), "9-1", True),
        (UNCHANGED.replace(b'":', b'": '), "9-1", True),  # as other programs write JSON
        (UNCHANGED.replace(b'"a.jpg"', b'"b.jpg"'), "9-1", False),
        (UNCHANGED.replace(b'source_id":7', b'source_id":8'), "9-1", False),
        (UNCHANGED.replace(b"lighthouse", b'light"house'), "9-1", False),  # damaged between a sound beginning and end
        (UNCHANGED.replace(b"lighthouse", b"light\xffhouse"), "9-1", False),
    ],
)
def test_an_image_is_done_if_a_sound_line_has_its_path_id_version_and_key(
    path: Path, data: bytes, version: str, *, is_unchanged: bool
) -> None:
    write(path, line("k0", "z.jpg"), data)
    with Journal(path) as journal:
        image = question(path="a.jpg", source_id=7)
        found = journal.find_unchanged(image, version, {"5" * 64: "k1"}.__getitem__)
        assert (found is not None) is is_unchanged


FULL = (
    UNCHANGED.replace(b'"usage":{', b'"usage":{"details":{"cached":1.5e-3},')
    .replace(b'"sent":null', b'"sent":{"mime":"image/png","width":16,"box":[0,0,8,8],"tiles":null}')
    .replace(b'"row":null', b'"row":{"Name":"x","n":-0.5,"is":true}')
)


@pytest.mark.parametrize("data", [UNCHANGED, FULL, UNCHANGED.replace(b"lighthouse", rb"\"light\n\u0041\"")])
def test_a_line_as_a_run_writes_it_is_read_without_decoding_it(data: bytes) -> None:
    """A key that is added to records must be added to the pattern too."""
    assert compile_pattern().fullmatch(data)


def test_what_is_read_without_decoding_it_is_read_as_if_it_had_been_decoded(path: Path) -> None:
    """Whatever byte is missing, or stands where it should not."""
    data = b"".join(
        FULL[:at] + byte + FULL[end:] for at in range(len(FULL)) for byte in (b"", *BYTES) for end in (at, at + 1)
    )
    path.write_bytes(data)
    with path.open("rb") as file:
        rows = [
            (row, entries.parse_line(data[begin:end]))
            for begin, end, row in LineScanner(decoded_first=0).scan(file.fileno())
            if isinstance(row, LineRow)
        ]
    assert len(rows) > len(FULL)  # a different name or text is no damage
    for row, decoded in rows:
        assert decoded
        assert row._replace(source_at=0, path_at=0) == decoded.row


@pytest.mark.parametrize("source", ["caf\udce9.jpg", "new\nline.jpg", 'q"uote.jpg', "é🎉\u2028.jpg", "\x9b\x7f.jpg"])
def test_images_with_unusual_names_are_found_again(path: Path, source: str) -> None:
    write(path, line("k1", source))
    assert path.read_bytes().count(b"\n") == 1
    assert known(path, "k1", source) is True


def test_a_torn_last_line_is_cut_off_at_the_next_start(path: Path) -> None:
    """At whatever byte of the line the run was killed."""
    last = line("k2", "b.jpg")
    for size in range(1, len(last) - 1):
        path.write_bytes(line("k1") + last[:size])
        with Journal(path) as journal:
            assert path.read_bytes() == line("k1"), size
            assert journal.find_answer("k2", question("b.jpg")) is None


def test_a_torn_first_line_is_cut_off(path: Path) -> None:
    path.write_bytes(line("k1")[:40])
    write(path, line("k2"))
    assert path.read_bytes() == line("k2")


def test_a_line_that_lacks_only_its_line_break_is_kept(path: Path) -> None:
    path.write_bytes(line("k1")[:-1])
    assert known(path, "k1") is True
    assert path.read_bytes() == line("k1")


def test_a_torn_line_of_another_run_is_cut_off_before_the_next_line(path: Path) -> None:
    with Journal(path) as journal:
        journal.append(line("k1"))
        with path.open("ab") as other:
            other.write(line("k2")[:50])
        journal.append(line("k3"))
    assert path.read_bytes() == line("k1") + line("k3")


def test_zeros_after_a_loss_of_power_are_cut_off(path: Path) -> None:
    path.write_bytes(line("k1") + bytes(100))
    write(path, line("k2"))
    assert path.read_bytes() == line("k1") + line("k2")


@pytest.mark.parametrize(
    "damaged",
    [line("k2").replace(b'"ok"', b"\0\0\0\0"), line("k2").replace(b"house", b"h\xffuse"), b"diary\n", b"and so on"],
)
def test_a_damaged_line_affects_no_other_and_is_moved_to_another_file(path: Path, damaged: bytes) -> None:
    rest = line("k3") if damaged.endswith(b"\n") else b""
    path.write_bytes(line("k1") + damaged + rest)
    with Journal(path) as journal:
        assert journal.find_answer("k1", question())
        assert bool(journal.find_answer("k3", question())) is bool(rest)
        assert journal.find_answer("k2", question()) is None
    assert path.read_bytes() == line("k1") + rest
    assert path.with_name("results.jsonl.damaged").read_bytes() == damaged.rstrip() + b"\n"
    assert journal.notes == [f"damaged: 1 line of {path} (2), moved to {path}.damaged"]


def test_random_bytes_at_the_end_do_not_make_the_file_foreign(path: Path) -> None:
    for seed in range(20):
        path.write_bytes(line("k1") + random.Random(seed).randbytes(600))
        with Journal(path) as journal:
            assert journal.find_answer("k1", question())
            journal.append(line("k2"))
        assert path.read_bytes() == line("k1") + line("k2")


@pytest.mark.parametrize(
    "content",
    [
        b"Dear diary,\n",
        b"Dear diary",
        b"a.jpg\nb.jpg\nc.jpg\n",
        b'{"image": "a.jpg"}\n',
        b'{\n  "schema_version": 1\n}\n',
        b"[1, 2]\n",
        b"\xff\xd8\xff\xe0",
        b'{"schema_version":3,"token":"precious"}',
        b'{"schema_version":1,"ok":true,"mine":1}',
        b'{"schema_version":2,"ok":tr',
        bytes(100),
        b"\n" + b"diary\n" * 20_000,
        b'{"schema_version": 1, "ok": true, "complete": true, "images": [7]}\n',
    ],
)
def test_a_file_that_is_not_a_results_file_is_refused_and_unchanged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        Journal(path)
    assert caught.value.message == f"-o {path} is not a results file, and was not changed"
    assert path.read_bytes() == content


def limited(path: Path, beginning: bytes, size: int, *, seconds: int) -> str:
    """Open a sparse file of this size with a limit on CPU time; return the length of the answer, or the error."""
    path.write_bytes(beginning)
    os.truncate(path, size)
    program = (
        "import resource, sys; from pathlib import Path; from qubrid_cli.batch.journal import Journal; from qubrid_cli.batch.results.lines import make_question\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)\n"
        "try:\n    print(len(Journal(Path(sys.argv[1])).find_answer('k1', make_question('a.jpg', 'what?', path=None, source_id=None, key=None)).record['text']))\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        env=environment(),
        check=False,
        timeout=120,
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize("beginning", [b"", b"\x89PNG", b'{"type":', b'{"type":\n' * 200_000])
def test_a_large_file_that_is_not_a_results_file_is_not_read_to_its_end(path: Path, beginning: bytes) -> None:
    assert limited(path, beginning, 1 << 40, seconds=5) == "UsageError"


def test_a_long_answer_is_read_in_linear_time(path: Path) -> None:
    """It takes half a second; joining every piece to all earlier ones would take more than a minute."""
    made = line("k1", text="x" * 60_000_000)
    assert limited(path, made, len(made), seconds=10) == "60000000"


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_a_results_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    write(path, line("k1"))
    assert known(path, "k1") is True


def test_a_path_that_cannot_be_a_results_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a regular file$"):
        Journal(tmp_path)
    with pytest.raises(UsageError, match=r"is not a regular file$"):
        Journal(Path("/dev/null"))
    with pytest.raises(UsageError, match=r"cannot be written: No such file or directory$"):
        Journal(tmp_path / "nope" / "r.jsonl")


def test_a_refused_file_is_closed(path: Path) -> None:
    path.write_text("diary\n")
    before = os.listdir("/dev/fd")
    with pytest.raises(UsageError):
        Journal(path)
    assert os.listdir("/dev/fd") == before


def test_a_line_is_not_written_in_part_when_the_disk_is_full(path: Path) -> None:
    """A limit on the size of a file stands in for a full disk: a part is written, then nothing."""
    program = (
        "import os, resource, sys; from pathlib import Path; from qubrid_cli.batch.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])); line = sys.argv[2].encode() + b'\\n'; journal.append(line)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (len(line) + 50, resource.RLIM_INFINITY))\n"
        "for _ in range(2):\n"
        "    try:\n        journal.append(line)\n"
        "    except Exception as error:\n        print(type(error).__name__, error)\n"
        "    print(os.stat(sys.argv[1]).st_size - len(line))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "journal.append(line)\n"
    )
    text = line("k1").decode().strip()
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), text], capture_output=True, env=environment(), check=True, timeout=60
    )
    message = f"OutputError cannot write {path}: No space left on device"
    assert done.stdout.decode().splitlines() == [message, "0"] * 2
    assert path.read_text() == f"{text}\n{text}\n"


APPENDING = (
    "import sys; from pathlib import Path; from qubrid_cli.batch.journal import Journal; from qubrid_cli.batch import entries\n"
    "from qubrid_cli.batch.inputs import Task\n"
    "record = {'schema_version': 1, 'ok': True, 'complete': True, 'images': [{'source': 'a'}], 'text': 'x' * 9000}\n"
    "with Journal(Path(sys.argv[1])) as journal:\n"
    "    print('ready', flush=True); sys.stdin.read(1)\n"
    "    for n in range(200):\n"
    "        task = Task(n, 'a.jpg')\n"
    "        journal.append(entries.encode_line(record, task, key=f'{sys.argv[2]}-{n}', attempts=1))\n"
    "    print('done', flush=True); sys.stdin.read()\n"
)


def appending(path: Path, name: str) -> subprocess.Popen[bytes]:
    """Another run that waits for a byte, adds 200 lines, and waits for the end of its input."""
    command = [sys.executable, "-c", APPENDING, str(path), name]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    assert run.stdout
    assert run.stdout.readline() == b"ready\n"
    return run


def tell(run: subprocess.Popen[bytes], text: bytes) -> None:
    assert run.stdin
    run.stdin.write(text)
    run.stdin.flush()


def test_several_runs_append_to_one_file_without_losing_or_mixing_lines(path: Path) -> None:
    runs = [appending(path, name) for name in "abc"]
    for run in runs:
        tell(run, b"\n")
    for run in runs:
        run.communicate(timeout=60)
    keys = [json.loads(one)["key"] for one in path.read_text().splitlines()]
    assert sorted(keys) == sorted(f"{name}-{n}" for name in "abc" for n in range(200))


def test_a_run_that_is_killed_at_any_moment_leaves_only_complete_lines(path: Path) -> None:
    for _ in range(5):
        run = appending(path, "x")
        tell(run, b"\n")
        while path.stat().st_size < 100_000:  # it is in the middle of it
            pass
        run.kill()
        run.communicate(timeout=60)
        write(path, line("mine"))
        assert all(json.loads(one)["ok"] for one in path.read_text().splitlines())
        path.unlink()


def test_an_answer_that_another_run_has_just_written_is_found(path: Path) -> None:
    with Journal(path) as journal:
        run = appending(path, "other")
        assert journal.find_answer("other-199", question("a")) is None
        tell(run, b"\n")
        assert run.stdout
        assert run.stdout.readline() == b"done\n"
        found = journal.find_answer("other-199", question("a"))
        run.communicate(timeout=60)
    assert found is not None
    assert found.record["key"] == "other-199"


def test_only_the_last_failure_of_an_image_stays_at_the_end(path: Path) -> None:
    write(path, line("k1", ok=False, text="1"), line(None, "b.jpg", ok=False), line("k1", ok=False, text="2"))
    assert path.read_bytes() == line(None, "b.jpg", ok=False) + line("k1", ok=False, text="2")


def test_a_failure_is_removed_when_there_is_an_answer(path: Path) -> None:
    write(path, line(None, "a.jpg", ok=False), line("k2", "b.jpg"))
    write(path, line("k1", "a.jpg"))
    assert path.read_bytes() == line("k2", "b.jpg") + line("k1", "a.jpg")


@pytest.mark.parametrize("source", ["-", "data:image/png;base64,…"])
def test_images_without_a_name_of_their_own_are_told_apart(path: Path, source: str) -> None:
    write(path, line("k1", source, ok=False), line("k2", source), line("k3", source, ok=False))
    assert len(path.read_bytes().splitlines()) == 3


def test_a_new_answer_to_the_same_request_replaces_the_old_one(path: Path) -> None:
    write(path, line("k1", text="old"), line("k2", "b.jpg"))
    write(path, line("k1", text="new"))
    assert path.read_bytes() == line("k2", "b.jpg") + line("k1", text="new")


def test_nothing_else_is_ever_removed(path: Path) -> None:
    """Answers to other questions, failures of other prompts, copies, lines of other commands, damaged ones."""
    lines = [
        line("k1", ok=False, prompt="why?"),
        line("k1"),
        line("k2"),
        line("k1", "copy.jpg"),
        json_text(record()).encode() + b"\n",
        line("k3", ok=False, text="failed at last"),
        b'{"schema_version":1,"ok":\n',
        line("k4", "twice.jpg", ok=False, text="goes"),
        line("k4", "twice.jpg", text="stays"),
    ]
    path.write_bytes(b"".join(lines))
    write(path)
    assert path.read_bytes() == b"".join(one for one in lines if b"goes" not in one and one.endswith(b"}\n"))


def test_an_answer_about_the_old_content_of_an_image_is_removed(path: Path) -> None:
    about = {"path": "photos/a.jpg", "sha256": "old"}
    write(path, line("k1", **about), line("k2", "b.jpg", **about | {"path": "b"}), line("k3", prompt="why?", **about))
    write(path, line("k4", path="photos/a.jpg", sha256="new"))
    assert [json.loads(one)["key"] for one in path.read_text().splitlines()] == ["k2", "k3", "k4"]


@pytest.mark.parametrize("paths", [("A/x.png", "B/x.png"), (None, "B/x.png"), (None, None)])
def test_an_answer_stays_if_it_may_be_about_another_image_of_the_same_name(
    path: Path, paths: tuple[str | None, str | None]
) -> None:
    """Lines of earlier versions have no path."""
    lines = [line(f"k{number}", "x.png", path=one, sha256=f"{number}") for number, one in enumerate(paths)]
    write(path, *lines)
    assert path.read_bytes() == b"".join(lines)


def test_a_failure_of_an_earlier_version_is_removed_when_there_is_an_answer(path: Path) -> None:
    write(path, line("k1", ok=False), line("k1", path="photos/a.jpg"))
    assert path.read_bytes() == line("k1", path="photos/a.jpg")


def test_rows_with_the_same_image_and_another_id_have_lines_of_their_own(path: Path) -> None:
    lines = [line("k1", path="a", source_id=1), line("k1", path="a", source_id="2")]
    write(path, *lines)
    assert path.read_bytes() == b"".join(lines)
    with Journal(path) as journal:
        found = {name: journal.find_answer("k1", question(path="a", source_id=name)) for name in (1, "2", None, 3)}
    own = {name: answer and answer.has_own_line for name, answer in found.items()}
    assert own == {1: True, "2": True, None: True, 3: False}


def test_the_results_file_can_be_moved(path: Path, tmp_path: Path) -> None:
    """The image of the recorded path does not exist any more, so an image of the same name and content is the same."""
    write(path, line("k1", path="../photos/a.jpg"))
    with Journal(path) as journal:
        moved = journal.find_answer("k1", question(path="photos/a.jpg"))
        (tmp_path.parent / "photos").mkdir(exist_ok=True)
        (tmp_path.parent / "photos" / "a.jpg").touch()
        other = journal.find_answer("k1", question(path="photos/a.jpg"))
    assert (moved and moved.has_own_line, other and other.has_own_line) == (True, False)


@pytest.mark.parametrize(
    "made",
    [
        line("k1"),
        line("k1", path="a/b.jpg", source_id="x", text="é"),
        line("k1", source_id=-15, sha256="ab"),
        line("k1", path="a.jpg", prompt='Two lines:\n"é\\"\x01'),
    ],
)
def test_a_line_that_this_program_wrote_is_indexed_as_if_it_had_been_decoded(path: Path, made: bytes) -> None:
    decoded = entries.parse_line(made)
    path.write_bytes(made)
    with path.open("rb") as file:
        [(_, _, row)] = LineScanner(decoded_first=0).scan(file.fileno())
    assert isinstance(row, LineRow)
    assert decoded
    assert row._replace(source_at=0, path_at=0) == decoded.row


def test_the_index_of_many_lines_is_exact(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(5_000):
            file.write(line(f"k{number}", f"{number}.jpg", path=f"{number}.jpg"))
    with Journal(path) as journal:
        for number in range(0, 5_000, 7):
            found = journal.find_answer(f"k{number}", question(f"{number}.jpg", path=f"{number}.jpg"))
            assert found
            assert (found.record["key"], found.has_own_line) == (f"k{number}", True)
        assert journal.find_answer("k5000", question()) is None


def test_the_index_grows_with_the_lines_that_are_appended(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(1_500):
            journal.append(line(f"k{number}", f"{number}.jpg", path=f"{number}.jpg"))
        assert all(journal.find_answer(f"k{number}", question()) for number in range(1_500))
        assert path.read_bytes().count(b"\n") == 1_500


def test_incomplete_answers_are_counted_over_all_runs(path: Path) -> None:
    cut = record(ok=False) | {"finish_reason": "length", "error": {"code": "length"}}
    for count in (1, 2, 3):
        write(path, entries.encode_line(cut, TASK, key="k1", attempts=1, incomplete_attempts=count))
    with Journal(path) as journal:
        assert [journal.count_incomplete(key, question()) for key in ("k1", "k2")] == [3, 0]
        assert journal.find_failure("k1", question())
    assert len(path.read_bytes().splitlines()) == 1


def test_temporary_files_of_a_killed_run_are_deleted(path: Path, tmp_path: Path) -> None:
    (tmp_path / ".results.jsonl.0123abcd.new").write_bytes(b"half a file")
    (tmp_path / ".other.jsonl.0123abcd.new").write_bytes(b"half a file")
    write(path, line("k1"))
    assert sorted(os.listdir(tmp_path)) == [".other.jsonl.0123abcd.new", "results.jsonl"]


def test_answers_to_several_questions_about_an_image_stay(path: Path) -> None:
    """Other prompts, models and parameters, and links, whose content is not known."""
    lines = [
        line("k1", sha256="a"),
        line("k2", prompt="why?", sha256="a"),
        line("k3", sha256="a", text="at another temperature"),
        line("k4", "-", sha256="a"),
        line("k5", "-", sha256="b"),
        line("k6", "https://example.org/a.jpg"),
        line("k7", "https://example.org/a.jpg"),
    ]
    write(path, *lines)
    assert path.read_bytes() == b"".join(lines)


def test_the_owner_of_the_file_stays(path: Path) -> None:
    """Only root can give files to others; for other users, the owner is the same from the start."""
    owner = 65534 if os.geteuid() == 0 else os.geteuid()
    write(path, line("k1", ok=False))
    os.chown(path, owner, -1)
    write(path, line("k1"))
    assert (path.read_bytes(), path.stat().st_uid) == (line("k1"), owner)


def test_a_file_with_two_hard_links_keeps_both(path: Path, tmp_path: Path) -> None:
    write(path, line("k1", ok=False))
    os.link(path, tmp_path / "second")
    write(path, line("k1"))
    assert (tmp_path / "second").read_bytes() == line("k1", ok=False) + line("k1")
    assert path.samefile(tmp_path / "second")


def test_a_file_without_superseded_lines_is_not_touched_at_the_end(path: Path) -> None:
    write(path, line("k1"))
    before = path.stat()
    write(path, line("k2", "b.jpg", ok=False))
    after = path.stat()
    assert (after.st_ino, after.st_dev) == (before.st_ino, before.st_dev)


def test_the_mode_of_the_file_and_a_link_to_it_stay(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    write(link, line("k1", ok=False))
    path.chmod(0o640)
    write(link, line("k1"))
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (line("k1"), 0o640, True)
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_no_line_is_removed_while_another_run_uses_the_file(path: Path) -> None:
    run = appending(path, "other")
    write(path, line("k1", ok=False), line("k1"))
    assert path.read_bytes() == line("k1", ok=False) + line("k1")
    tell(run, b"\n")
    run.communicate(timeout=60)
    keys = [json.loads(one)["key"] for one in path.read_text().splitlines()]
    assert keys == ["k1", *(f"other-{n}" for n in range(200))]


def has_open(run: subprocess.Popen[bytes], path: Path) -> bool:
    folder = f"/proc/{run.pid}/fd"
    try:
        return any(os.path.samefile(os.path.join(folder, name), path) for name in os.listdir(folder))
    except FileNotFoundError:  # closed in between
        return False


def test_a_run_does_not_write_to_a_file_that_was_replaced(path: Path) -> None:
    """A run starts while another one, which is ending, replaces the file by a smaller one."""
    path.write_bytes(line("k1"))
    descriptor = os.open(path, os.O_RDWR)
    assert files.try_lock_exclusive(descriptor)
    command = [sys.executable, "-c", APPENDING, str(path), "late"]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    while os.path.exists("/proc") and not has_open(run, path):
        pass
    new = path.with_name("new")
    new.write_bytes(line("k1"))
    new.replace(path)
    os.close(descriptor)
    run.communicate(b"\n", timeout=60)
    assert len(path.read_text().splitlines()) == 201


def test_the_texts_of_all_answers_about_an_image_are_found(path: Path) -> None:
    write(path, line("k1", text="A light\nhouse.\n"))
    with Journal(path) as journal:
        journal.append(line("k2", "b.jpg", text="A dog."))
        assert [journal.has_text(*said) for said in (("a.jpg", "A light house."), ("b.jpg", "A dog."))] == [True, True]
        assert [journal.has_text(*said) for said in (("b.jpg", "A light house."), ("a.jpg", "A cat."))] == [
            False,
            False,
        ]


def compute_key(image_id: str, facets: dict[str, Any]) -> str:
    return entries.compute_key(image_id, entries.encode_facets(facets))


def test_a_key_is_the_same_in_every_version() -> None:
    assert compute_key("ab" * 32, FACETS) == "a020564f89a87446b2f3c2be57161b660aac139e8ab3d8773b25ff059e2f744a"


def test_the_key_of_a_request_is_the_one_of_earlier_versions() -> None:
    """Otherwise the images of every results file would be requested, and paid for, again."""
    request = Request("m", "caption", (), 100, 0.1, 1.0, system="s", extra={"seed": 4})
    batch_request = BatchRequest(request, ImageLimits(), {"offline": True}, {})
    key = "d787edf43d506c51ad0b3281ab0d9bd3ccce95d4592a6da310b5f129e6f49e2a"
    assert batch_request.compute_key(Task(1, "a.jpg"), "0" * 64) == key
    black = BatchRequest(request, ImageLimits(background="#000000"), {"offline": True}, {})
    assert black.compute_key(Task(1, "a.jpg"), "0" * 64) != key


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.1, "model": "m", "prompt": "what?"},
        FACETS | {"prompt": "what?"},
    ],
)
def test_a_key_does_not_depend_on_the_order(other: dict[str, Any]) -> None:
    assert compute_key("a", other) == compute_key("a", FACETS)


def test_numbers_have_the_same_key_only_if_they_are_equal() -> None:
    keys = [compute_key("a", {"x": [value]}) for value in (1, 1.0, True, "1", 1.5, None)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_a_key_depends_on_the_image_and_on_every_facet() -> None:
    keys = {
        compute_key("a", FACETS),
        compute_key("b", FACETS),
        *(compute_key("a", FACETS | {name: "other"}) for name in FACETS),
        compute_key("a", FACETS | {"more": None}),
        compute_key("a", FACETS | {"prompt": "caf\udce9"}),
    }
    assert len(keys) == 7


def test_a_line_is_the_record_and_the_fields_of_a_batch() -> None:
    made = entries.encode_line(record(), Task(3, "a.jpg", None, 7), key="k", attempts=2, duplicate_of="b.jpg")
    added = {"index": 3, "key": "k", "attempts": 2, "source_id": 7, "duplicate_of": "b.jpg"}
    added |= {"path": None, "version": None, "incomplete_attempts": 0, "row": None}
    assert json.loads(made) == record() | added
    assert made.startswith(entries.LINE_START)


def test_the_copy_of_an_answer_has_its_own_name_and_no_cost() -> None:
    of = record("a.jpg") | {"timing": {"total_seconds": 2.0}, "cost": 1.5, "x_metrics": {"tps": 1}}
    changed = {"usage": None, "x_metrics": None, "cost": None, "timing": {"total_seconds": None}}
    (image,) = record("b.jpg")["images"]
    assert entries.copy_for_duplicate(of, source="b.jpg") == of | changed | {"images": [image]}


def test_the_key_depends_on_tiles_and_crop_only_if_they_are_not_the_usual_ones() -> None:
    ocr = Preset("ocr", "read")
    fields = [
        read_tile_options(tiles, crop, preset, has_schema=False).facets
        for tiles, crop, preset in (
            (None, None, None), ("off", None, None), ("auto", None, ocr), (None, None, ocr),
            ("auto", None, None), ("off", None, ocr), (None, "0,0,9,9", None),
        )
    ]  # fmt: skip
    assert fields == [
        {},
        {},
        {},
        {},
        {"tiles": None},
        {"tiles": 1},
        {"crop": ((0, False), (0, False), (9, False), (9, False))},
    ]
