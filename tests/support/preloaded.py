"""A ``qvision`` that starts quickly: a process that has loaded the program forks for each command line.

Each command line still has a process of its own, with its arguments, folder, environment and files.
"""

import atexit
import dataclasses
import gc
import importlib
import os
import pkgutil
import random
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

import qubrid_cli

_MAX_REQUEST = 1_000_000
#: Modules that are not loaded before forking: their libraries start threads, and few command lines need them.
_LEFT_OUT = (
    "qubrid_cli.storage",
    "qubrid_cli.batch.parts",
    "qubrid_cli.batch.readers",
    "qubrid_cli.images.documents.pdf_process",
)
_CLIENT = """\
#!{python} -IS
import os, signal, socket, sys
if sys.argv[1:3] == ["auth", "login"] and "--stdin" not in sys.argv:  # needs the terminal
    os.execv({argv[0]!r}, {argv!r} + sys.argv[1:])
variables = [f"{{name}}={{value}}" for name, value in os.environ.items()]
message = "\\0".join([os.getcwd(), str(len(sys.argv) - 1), *sys.argv[1:], *variables])
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    socket.send_fds(link, [os.fsencode(message)], [0, 1, 2])
    pid = int(link.recv(8))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    link.settimeout(0.5)
    while True:
        try:
            os._exit(int(link.recv(8) or b"99"))
        except TimeoutError:  # a signal that arrives just before recv is handled only after it
            pass
"""


@dataclasses.dataclass(frozen=True)
class Preloaded:
    """The process that forks, and a program that has one command line run there."""

    client: Path
    address: str

    def run(
        self, arguments: Sequence[str], *, stdin: bytes | None, env: Mapping[str, str], cwd: Path
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command line as ``subprocess.run`` does, but with no other process in between."""
        variables = [f"{name}={value}" for name, value in env.items()]
        message = os.fsencode("\0".join([str(cwd), str(len(arguments)), *arguments, *variables]))
        source, sink = os.pipe() if stdin is not None else (os.open(os.devnull, os.O_RDONLY), None)
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(self.address)
            socket.send_fds(link, [message], [source, their_out, their_err])
            for end in (source, their_out, their_err):
                os.close(end)
            pid = int(link.recv(8))
            received = {(ending := link.detach()): b"", out: b"", err: b""}
        try:
            _exchange(received, sink, memoryview(stdin or b""))
        finally:
            if not (code := received[ending]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return subprocess.CompletedProcess(arguments, int(code or b"99"), received[out], received[err])


def _exchange(received: dict[int, bytes], sink: int | None, data: memoryview) -> None:
    """Write the data, and read from each of the other ends until it is closed.

    Raises:
        TimeoutError: nothing happened for a minute.
    """
    with selectors.DefaultSelector() as selector:
        for end in received:
            selector.register(end, selectors.EVENT_READ)
        if sink is not None:
            selector.register(sink, selectors.EVENT_WRITE)
        while selector.get_map():
            if not (ready := selector.select(60)):
                raise TimeoutError(b"".join(received.values()))
            for key, _ in ready:
                if key.fd != sink:
                    part = os.read(key.fd, _MAX_REQUEST)
                    received[key.fd] += part
                    is_done = not part
                else:
                    try:
                        data = data[os.write(key.fd, data[: select.PIPE_BUF]) :]
                    except BrokenPipeError:  # the program does not read it
                        data = data[:0]
                    is_done = not data
                if is_done:
                    selector.unregister(key.fd)
                    os.close(key.fd)


@contextmanager
def preloaded_qvision(folder: Path) -> Iterator[Preloaded]:
    """Start the process, and write the program ``qvision`` into a folder; both work until the end of the ``with``."""
    from ..conftest import (
        command,
        environment,
    )  # not in the process that forks: hypothesis and pytest would make it large

    address, client = folder / "socket", folder / "qvision"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen(64)
    client.write_text(_CLIENT.format(python=sys.executable, argv=command(), address=str(address)))
    client.chmod(0o755)
    serving = [sys.executable, "-m", "tests.support.preloaded", str(listener.fileno())]
    process = subprocess.Popen(
        serving, pass_fds=[listener.fileno()], env=environment(), cwd=folder, stdin=subprocess.DEVNULL
    )
    try:
        yield Preloaded(client, str(address))
    finally:
        listener.close()
        process.terminate()
        process.wait()


def _serve(listener: socket.socket) -> None:
    _load_all()
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            _run(link)
        link.close()
        with suppress(ChildProcessError):  # all of them have ended
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _load_all() -> None:
    """Do what each process would do again, as far as it cannot change what a command line does."""
    for found in pkgutil.walk_packages(qubrid_cli.__path__, "qubrid_cli."):
        if not found.name.startswith(_LEFT_OUT):
            module = importlib.import_module(found.name)
            for value in vars(module).values():
                if isinstance(value, type) and dataclasses.is_dataclass(value):
                    dataclasses.fields(value)  # completes it, see qubrid_cli.frozen
    for name in ("jsonschema", "PIL.ImageOps"):
        importlib.import_module(name)
    Image.preinit()
    gc.freeze()  # a search for garbage would copy all pages


def _run(link: socket.socket) -> None:
    """Run one command line, and end the process as Python does."""
    from qubrid_cli.__main__ import main

    request, files, _, _ = socket.recv_fds(link, _MAX_REQUEST, 3)
    cwd, count, *words = os.fsdecode(request).split("\0")
    arguments, variables = words[: int(count)], words[int(count) :]
    link.sendall(f"{os.getpid():8}".encode())
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # the old ones know what the old files were
        old = getattr(sys, name)
        is_error = name == "stderr"
        new = open(old.fileno(), mode, 1 if is_error else -1, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
    os.chdir(cwd)
    os.environ.clear()
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    time.tzset()
    tempfile.tempdir = None
    random.seed()
    sys.argv = ["qvision", *arguments]
    try:
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else bool(error.code)
    except BaseException:  # noqa: BLE001  # Python would show it too
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are left
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    link.sendall(str(int(code)).encode())
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
