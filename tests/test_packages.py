"""The packages that are published hold what users need, and the installed wheel works."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from flit_core import buildapi

from qubrid_cli import __version__

from .conftest import environment
from .support.draw import IMAGES

ROOT = Path(__file__).parent.parent
#: What is installed below the prefix of Python.
SHARED = ROOT / "completions"


def files_below(folder: Path) -> set[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if not name.endswith(".pyc")}


def test_the_sdist_builds_a_wheel_that_holds_everything_and_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / buildapi.build_sdist(str(tmp_path))) as sdist:
        sdist.extractall(tmp_path, filter="data")
    source = tmp_path / f"qubrid_cli-{__version__}"
    tests = {f"tests/{name}" for name in files_below(ROOT / "tests")}
    package = {f"qubrid_cli/{name}" for name in files_below(ROOT / "qubrid_cli")}
    shared = files_below(SHARED)
    completions = {f"completions/{name}" for name in shared}
    others = {"PKG-INFO", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", ".ci/run"}
    assert tests | package | completions | others <= files_below(source)
    assert {"qubrid_cli/py.typed", "qubrid_cli/output/description.schema.json"} <= package

    monkeypatch.chdir(source)
    wheel = tmp_path / buildapi.build_wheel(str(tmp_path))
    information = f"qubrid_cli-{__version__}.dist-info"
    metadata = {
        f"{information}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    data = {f"qubrid_cli-{__version__}.data/data/{name}" for name in shared}
    assert set(zipfile.ZipFile(wheel).namelist()) == package | data | metadata

    prefix = tmp_path / "prefix"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--prefix",
        prefix,
        wheel,
    ]
    subprocess.run(install, check=True, env=environment(), timeout=60)
    assert shared <= files_below(prefix)
    (modules,) = {path.parent for path in prefix.rglob("qubrid_cli")}
    (program,) = (path for path in prefix.rglob("qvision*") if path.parent.name in {"bin", "Scripts"})
    done = subprocess.run(
        [program, "describe", IMAGES / "lighthouse.jpg", "what is this?", "--offline"],
        env=environment({"PYTHONPATH": os.fspath(modules)}),
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, "JPEG, 960 × 720" in done.stdout.decode()) == (0, True)
