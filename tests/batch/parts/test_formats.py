"""Results as Parquet: those of parts, and those of a run in one file."""

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qubrid_cli import cli
from qubrid_cli.batch.parts.join import open_run
from qubrid_cli.batch.parts.run_file import RunDescription, begin_output
from qubrid_cli.batch.tasks import BatchRequest
from qubrid_cli.client.request import Request
from qubrid_cli.errors import UsageError
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.output.parquet import read_records
from qubrid_cli.storage.opening import open_folder
from qubrid_cli.text import json_text

from ...conftest import KEY, Qvision, at_home, command, environment
from ...support.gallery import REFUSED, Batch, Draw, Gallery, answered, numbered, source

OUTPUTS = ["folder", "bucket"]


def read(data: bytes) -> list[bytes]:
    """The records of a Parquet file, as lines."""
    return [json_text(record).encode() + b"\n" for record in read_records(io.BytesIO(data), "test")]


@pytest.mark.parametrize("place", OUTPUTS)
def test_parts_in_parquet_are_continued_repeated_and_joined_like_others(
    batch: Batch, qvision: Qvision, draw: Draw, gallery: Gallery, bucket: Any, tmp_path: Path, place: str
) -> None:
    """The options of the first run hold for the second one."""
    names = numbered(7)
    draw(*names)
    out, env = ("out/", {}) if place == "folder" else (f"{bucket.url}/run/", bucket.env)
    gallery.rule = lambda name, number: REFUSED if name == names[1] else answered(name, number)
    options = ("--part-size", 3, "--part-format", "parquet")
    assert batch("photos", "caption", "-o", out, *options, "--shard", "1/2", env=env).exit_code == 7
    assert sum(gallery.tries.values()) == 4
    (failure,) = qvision("join", out, "--failed", env=env).json_lines
    assert source(failure) == names[1]

    gallery.rule = answered
    second = batch("photos", "caption", "-o", out, env=env)
    assert second.exit_code == 0, second.stderr
    assert sum(gallery.tries.values()) == len(names) + 1
    joined = qvision("join", out, env=env)
    assert [source(line) for line in joined.json_lines] == names
    if place == "folder":
        files = sorted((tmp_path / "out").glob("part-*"))
        assert [path.suffix for path in files] == [".parquet"] * 3
        stored = [json.loads(line) for path in files for line in read(path.read_bytes())]
        assert [line["path"] for line in stored] == [f"../photos/{name}" for name in names]
        moved = [{**line, "path": f"photos/{name}"} for line, name in zip(stored, names, strict=True)]
        assert moved == joined.json_lines
    other = batch("photos", "caption", "-o", out, "--part-format", "jsonl", env=env)
    assert (other.exit_code, "are parquet files, and --part-format is jsonl" in other.stderr) == (2, True)


@pytest.mark.parametrize("place", OUTPUTS)
def test_join_writes_the_same_records_in_either_format(
    batch: Batch,
    qvision: Qvision,
    draw: Draw,
    gallery: Gallery,
    bucket: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    names = numbered(5)
    draw(*names)
    gallery.rule = lambda name, number: REFUSED if name == names[1] else answered(name, number)
    assert batch("photos", "caption", "-o", "out/", "--part-size", 2).exit_code == 7
    lines = qvision("join", "out/").stdout.splitlines(keepends=True)
    assert read(qvision("join", "out/", "--format", "parquet").stdout) == lines
    target, env = (
        (str(tmp_path / "all.parquet"), {}) if place == "folder" else (f"{bucket.url}/all.parquet", bucket.env)
    )
    assert qvision("join", "out/", "--failed", "-o", target, env=env).stdout == b""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    folder, _, name = target.rpartition("/")
    assert read(open_folder(folder).read(name)) == lines[-1:]
    if place == "folder":
        assert qvision("join", "out/", "-o", "all.jsonl").exit_code == 0
        assert (tmp_path / "all.jsonl").read_bytes() == b"".join(lines)
        (tmp_path / "deep").mkdir()
        assert qvision("join", "out/", "-o", "deep/all.jsonl").exit_code == 0
        first = json.loads((tmp_path / "deep" / "all.jsonl").read_bytes().splitlines()[0])
        assert first == {**json.loads(lines[0]), "path": f"../photos/{names[0]}"}


def test_join_does_not_overwrite_a_file_of_the_run(tmp_path: Path) -> None:
    output = open_folder(str(tmp_path / "out"))
    request = Request("m", "p", (), None, None, None)
    begin_output(output, RunDescription(BatchRequest(request, ImageLimits())))
    for name in ("part-00001.jsonl", "part-00007.parquet", "run.json", "plan/part-00001.jsonl"):
        target = os.path.join(tmp_path, "x", "..", "out", name)
        with pytest.raises(UsageError, match=f"-o would overwrite .*{name}"):
            open_run(output.url, target)
    open_run(output.url, os.path.join(output.url, "all.jsonl"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_parquet_is_not_written_to_a_terminal(batch: Batch, draw: Draw, tmp_path: Path) -> None:
    draw("a.png")
    assert batch("photos", "caption", "-o", "out/").exit_code == 0
    program, *arguments = command("join", "out/", "--format", "parquet")
    child = pexpect.spawn(program, arguments, env=environment({}), cwd=str(tmp_path), encoding="utf-8")
    shown = child.read()
    child.close()
    assert (child.exitstatus, "PAR1" in shown) == (2, False)
    assert re.search("a terminal cannot show it", shown)


def test_without_the_library_the_run_does_not_begin(
    draw: Draw,
    gallery: Gallery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw("a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for name, value in {**at_home(tmp_path), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["batch", "photos", "caption", "-o", "out/", "--part-format", "parquet"]) == 3
    assert "error: Parquet needs an extra library" in capsys.readouterr().err
    assert (list(tmp_path.glob("out")), gallery.tries.total()) == ([], 0)
