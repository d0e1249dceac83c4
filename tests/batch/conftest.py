"""The fixtures of the tests that run ``qvision batch``."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..conftest import KEY, Qvision, Run, command, environment
from ..support.gallery import Batch, Draw, Gallery, digest


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    with Gallery() as running:
        yield running


@pytest.fixture
def draw(tmp_path: Path, gallery: Gallery) -> Draw:
    """Makes pictures in ``photos/``, each of its own color and small enough to be sent as it is."""

    def make(*names: str | bytes) -> list[Path]:
        made = []
        for name in names:
            path = tmp_path / "photos" / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            number = len(gallery.names)
            Image.new("RGB", (48, 32), (number % 256, number // 256, 99)).save(path, "PNG")
            gallery.names[digest(path.read_bytes())] = os.fsdecode(name)
            made.append(path)
        return made

    return make


@pytest.fixture
def batch(qvision: Qvision, gallery: Gallery) -> Batch:
    def run(*arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = {}) -> Run:
        known = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}
        done = qvision("batch", *arguments, stdin=stdin, env={**known, **env})
        assert KEY not in done.stderr
        assert KEY.encode() not in done.stdout
        return done

    return run


@pytest.fixture
def start_batch(gallery: Gallery, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the program and leaves it alone."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command("batch", *arguments),
            env=environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}),
            cwd=tmp_path,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    return start
