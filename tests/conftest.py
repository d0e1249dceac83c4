"""Shared by the tests: the real program in a process of its own, a real server, real files."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import jsonschema
import pytest

from qubrid_cli.output.formatting import SCHEMA_FILE

from .support import draw, systems
from .support.buckets import Bucket, make_bucket
from .support.server import Server

if TYPE_CHECKING:
    from .support.preloaded import Preloaded

SCHEMA = json.loads(SCHEMA_FILE.read_text("utf-8"))
#: Made once: ``jsonschema.validate`` checks the schema itself each time, which takes 10 ms.
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
KEY = "qk-test-0123456789"

# How long an example takes says more about what else the machine does than about the program.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# Each process would rewrite the assertions of all tests, for 5 s, where Python is told to keep no bytecode. The programs
# that the tests start keep it anyway.
sys.dont_write_bytecode = False

# A shell that starts the tests in the background lets them ignore Ctrl-C, and the programs that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

if os.name == "nt":  # these import modules that Windows does not have
    collect_ignore = ["test_benchmarks.py", "batch/test_results_file.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On Windows, skip the tests that need what only POSIX has."""
    for item in items if os.name == "nt" else ():
        if isinstance(item, pytest.Function) and systems.needs_posix(systems.list_functions(item)):
            item.add_marker(pytest.mark.skip(reason="needs a terminal, a shell or signals of POSIX"))


@dataclass(frozen=True)
class Run:
    """A finished run of the program."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def json(self) -> Any:
        """The one object that was printed, checked against the schema."""
        (only,) = self.json_lines
        return only

    @property
    def json_lines(self) -> list[Any]:
        objects = [json.loads(line) for line in self.stdout.decode().split("\n")[:-1]]
        for value in objects:
            VALIDATOR.validate(value)
        return objects


def environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """An environment without the developer's own settings: no key, no keyring, no proxies."""
    inherited = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP") if name in os.environ}
    ours = {
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    return {**inherited, **at_home(NOWHERE), **ours, **extra}


#: A path below a file: it does not exist and cannot be created.
NOWHERE = Path(__file__) / "nowhere"


def at_home(folder: Path) -> dict[str, str]:
    """An environment in which settings and keys are below a folder, on every platform."""
    return dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA"), str(folder))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "qubrid_cli", *(os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments)]


class Qvision(Protocol):
    def __call__(
        self, *arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = ..., cwd: Path | None = None
    ) -> Run: ...


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary files are in a folder that pytest deletes: a program that a test kills leaves its own."""
    with pytest.MonkeyPatch.context() as changes:
        changes.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        changes.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Preloaded | None]":
    """A process that has loaded the program and forks for each command line; ``None`` on Windows."""
    if not hasattr(os, "fork"):
        yield None
        return
    from .support.preloaded import preloaded_qvision

    with preloaded_qvision(tmp_path_factory.mktemp("program")) as running:
        yield running


@pytest.fixture
def quick_program(preloaded: "Preloaded | None") -> list[str]:
    """A command that has a preloaded process run the program."""
    return command() if preloaded is None else [sys.executable, "-IS", str(preloaded.client)]


@pytest.fixture
def qvision(tmp_path: Path, preloaded: "Preloaded | None") -> Qvision:
    def run(
        *arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = {}, cwd: Path | None = None
    ) -> Run:
        program, folder, variables = (
            command(*arguments),
            cwd or tmp_path,
            environment({**at_home(tmp_path / "home"), **env}),
        )
        # What Python itself reads when it starts counts only in a new process, which alone has the terminal.
        is_new = any(name.startswith(("PYTHON", "LC_", "LANG")) for name in env)
        if preloaded is None or is_new or (arguments[:2] == ("auth", "login") and "--stdin" not in arguments):
            done = subprocess.run(
                program,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                env=variables,
                cwd=folder,
                check=False,
                timeout=60,
            )
        else:
            done = preloaded.run(program[3:], stdin=stdin, env=variables, cwd=folder)
        stderr = done.stderr.decode()
        assert "Traceback" not in stderr, stderr
        return Run(done.returncode, done.stdout, stderr)

    return run


class Ask(Protocol):
    def __call__(self, *arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = ...) -> Run: ...


@pytest.fixture
def describe(qvision: Qvision, server: Server) -> Ask:
    """``qvision describe`` against the test server, with a key."""

    def run(*arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = {}) -> Run:
        known = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url}
        done = qvision("describe", *arguments, stdin=stdin, env={**known, **env})
        assert KEY not in done.stderr
        assert KEY.encode() not in done.stdout
        return done

    return run


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket of a real server, which this process can reach; programs need its ``env``."""
    new = make_bucket()
    for name, value in new.env.items():
        monkeypatch.setenv(name, value)
    return new


@pytest.fixture(scope="session")
def lighthouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo as ``draw.IMAGES / "lighthouse.jpg"``, but so small that preparing it costs little."""
    path = tmp_path_factory.mktemp("photo") / "lighthouse.jpg"
    draw.photo(path, 160, 120)
    return path


@pytest.fixture
def large_lighthouse() -> Path:
    """960 × 720 pixels."""
    return draw.IMAGES / "lighthouse.jpg"
