"""The index of a large results file is kept from run to run, and never disagrees with the file."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qubrid_cli.batch import entries
from qubrid_cli.batch.inputs import Task
from qubrid_cli.batch.journal import Journal
from qubrid_cli.batch.results.indexing import IndexedLines
from qubrid_cli.batch.results.lines import make_question
from qubrid_cli.describe.result import Description, UnpreparedImage
from qubrid_cli.files import open_atomic

#: Lines of the smallest file whose index is saved.
COUNT = 5_000


def encode(number: int, *, ok: bool = True, name: str | None = None) -> bytes:
    """A line about an image; the same number has the same key."""
    source = name or f"photos/{number}.jpg"
    record = Description(prompt="what?", text="A lighthouse.", complete=ok, images=(UnpreparedImage(source),)).to_dict()
    record["images"][0]["sha256"] = f"{number:064x}"
    return entries.encode_line(
        record | {"ok": ok},
        Task(number, source, path=source, version=f"{number}-1"),
        key=f"{number:x}" * 8,
        attempts=1,
    )


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return [encode(number) for number in range(COUNT)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def get_index(path: Path) -> Path:
    return path.with_name(f".{path.name}.index")


def identify_index(path: Path) -> tuple[int, int]:
    """Another pair if the index was written again."""
    status = get_index(path).stat()
    return status.st_ino, status.st_mtime_ns


def write(path: Path, data: bytes) -> None:
    """Write a results file, and let a run save its index."""
    path.write_bytes(data)
    with Journal(path):
        pass


def read(path: Path) -> object:
    """All that is known of the lines, except what is known only of those that were read without decoding them."""
    indexed = IndexedLines(lambda *_: None)
    with path.open("rb") as file:
        indexed.read_all(file.fileno(), path)
    state, columns = indexed.index.dump()
    answers = [indexed.index.find_answer(b'"%b"' % (b"%x" % number * 8)) for number in range(0, COUNT, 10)]
    return state["has_pathless"], columns[:5], columns[7], indexed.damaged, indexed.size, indexed.result_count, answers


def read_without_index(path: Path) -> object:
    index = get_index(path)
    data = index.read_bytes()
    index.unlink()
    try:
        return read(path)
    finally:
        index.write_bytes(data)


def test_the_next_run_uses_the_index(path: Path, lines: list[bytes]) -> None:
    """If it did not, it would write it again."""
    write(path, b"".join(lines[:-1]) + b"damaged\n")
    assert not get_index(path).exists()  # reading so few lines is quick
    write(path, b"".join(lines))
    before = identify_index(path)
    path.chmod(0o640)
    with Journal(path) as journal:
        question = make_question("other name", "what?", path="photos/7.jpg", source_id=None, key=None)
        offset = journal.find_unchanged(question, "7-1", {f"{7:064x}": "7" * 8}.__getitem__)
        assert offset == len(b"".join(lines[:7]))
        assert journal.read_answer(offset) == json.loads(lines[7])
        assert journal.find_unchanged(question, "7-2", {f"{7:064x}": "7" * 8}.__getitem__) is None
        journal.append(encode(COUNT))
    assert identify_index(path) == before
    with Journal(path) as journal:
        for number in range(COUNT + 1, COUNT + 200):
            journal.append(encode(number))
    assert identify_index(path) != before
    assert sys.platform == "win32" or get_index(path).stat().st_mode & 0o777 == 0o640
    assert read(path) == read_without_index(path)


def test_a_name_of_any_length_has_an_index(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / ("r" * 255)
    write(path, b"".join(lines))
    assert len(list(tmp_path.glob(".*.index"))) == 1


def test_what_a_run_left_that_was_killed_while_it_saved_the_index_is_deleted(path: Path, lines: list[bytes]) -> None:
    with open_atomic(get_index(path)) as file:
        name = Path(file.name)
    name.write_bytes(b"half an index")
    write(path, b"".join(lines))
    assert sorted(path.parent.iterdir()) == [get_index(path), path]


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "appended": lambda data: data + encode(COUNT) + encode(1),
    "in the middle": lambda data: data.replace(b'"photos/4000.jpg"', b'"photos/400x.jpg"'),
    "damaged in the middle": lambda data: data.replace(b'"photos/4000.jpg"', b'"photos/4"00.jpg"'),
    "the order of lines": lambda data: encode(COUNT - 1) + data[: -len(encode(COUNT - 1))],
    "shortened": lambda data: data[: -len(encode(COUNT - 1))],
    "a torn line": lambda data: data + encode(COUNT)[:-20],
    "replaced": lambda _: encode(3),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_whatever_another_program_does_to_the_file_the_index_agrees_with_it(
    path: Path, lines: list[bytes], change: Callable[[bytes], bytes]
) -> None:
    write(path, b"".join(lines))
    status = path.stat()
    path.write_bytes(change(b"".join(lines)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read(path) == read_without_index(path)


def test_a_damaged_index_is_not_used(path: Path, lines: list[bytes]) -> None:
    write(path, b"".join(lines))
    expected, data = read(path), get_index(path).read_bytes()
    header, _, columns = data.partition(b"\n")
    state = json.loads(header)
    damaged = [
        data[:-1],
        data + b"\0",
        data[: len(header)],
        *(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in (len(header) // 2, len(data) // 2)),
        *(json.dumps(state | change).encode() + b"\n" + columns for change in (
            {"size": 10**30}, {"lengths": [10**18] * 10}, {"lengths": [-1] * 10}, {"format": 0}, {"lengths": None},
        )),
        *(text + b"\n" + columns for text in (b"[]", b"", b"\xff", b"[" * 100_000)),
    ]  # fmt: skip
    for variant in damaged:
        get_index(path).write_bytes(variant)
        assert read(path) == expected


def test_a_pipe_in_place_of_the_index_is_not_waited_for(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines))
    os.mkfifo(get_index(path))
    with Journal(path) as journal:
        assert journal.has_answer("7" * 8)
    assert get_index(path).is_file()


def test_the_index_follows_the_file_when_lines_are_removed_from_it(path: Path, lines: list[bytes]) -> None:
    failed = [encode(number, ok=False) for number in range(0, COUNT, 7)]
    earlier = [encode(number) for number in range(0, COUNT, 1000)]
    foreign = encode(8, name="elsewhere/8.jpg")  # the same image in another folder
    data = [*earlier, *failed, foreign, b"damaged\n", *lines[:50], b"\n", b'{"damaged', b"}\n", *lines[50:]]
    write(path, b"".join(data))
    assert path.read_bytes() == b"".join([foreign, *lines[:50], b"\n", *lines[50:]])
    assert path.with_name("results.jsonl.damaged").exists()
    before = identify_index(path)
    with Journal(path):
        pass
    assert identify_index(path) == before
    assert read(path) == read_without_index(path)
