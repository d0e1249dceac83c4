"""A ``qvision`` that starts quickly: a process that has loaded the program forks for each command line.

Each command line still has a process of its own, with its arguments, folder, environment and files.
"""

import atexit
import importlib
import os
import pkgutil
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import qubrid_cli

from ..conftest import command, environment

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
import os, socket, sys
if sys.argv[1:3] == ["auth", "login"]:  # needs the terminal
    os.execv({argv[0]!r}, {argv!r} + sys.argv[1:])
variables = [f"{{name}}={{value}}" for name, value in os.environ.items()]
message = "\\0".join([os.getcwd(), str(len(sys.argv)), *sys.argv[1:], *variables])
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    socket.send_fds(link, [os.fsencode(message)], [0, 1, 2])
    os._exit(int(link.recv(8) or b"99"))
"""


@contextmanager
def preloaded_qvision(folder: Path) -> Iterator[Path]:
    """Write the program into a folder; it works until the end of the ``with``."""
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
        yield client
    finally:
        listener.close()
        process.terminate()
        process.wait()


def _serve(listener: socket.socket) -> None:
    for module in pkgutil.walk_packages(qubrid_cli.__path__, "qubrid_cli."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    importlib.import_module("jsonschema")
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            _run(link)
        link.close()
        with suppress(ChildProcessError):  # all of them have ended
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _run(link: socket.socket) -> None:
    """Run one command line, and end the process as Python does."""
    from qubrid_cli.__main__ import main

    request, files, _, _ = socket.recv_fds(link, _MAX_REQUEST, 3)
    cwd, count, *words = os.fsdecode(request).split("\0")
    arguments, variables = words[: int(count) - 1], words[int(count) - 1 :]
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
