"""A ``qvision`` that starts quickly: a process that has loaded the program forks for each command line.

Each command line still has a process of its own, with its arguments, folder, environment and files.
"""

import importlib
import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import qubrid_cli

from ..conftest import command, environment

_MAX_REQUEST = 1_000_000
_CLIENT = """\
#!{python} -IS
import os, socket, sys
if sys.argv[1:3] == ["auth", "login"]:  # needs the terminal
    os.execv({argv[0]!r}, {argv!r} + sys.argv[1:])
lists = [sys.argv[1:], [f"{{name}}={{value}}" for name, value in os.environ.items()]]
message = os.getcwd() + "".join("\\0\\0" + "\\0".join(words) for words in lists)
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
        importlib.import_module(module.name)
    importlib.import_module("jsonschema")
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            _run(link)
        link.close()
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _run(link: socket.socket) -> None:
    """Run one command line, and end the process."""
    from qubrid_cli.__main__ import main

    request, files, _, _ = socket.recv_fds(link, _MAX_REQUEST, 3)
    cwd, arguments, variables = (part.split("\0") if part else [] for part in os.fsdecode(request).split("\0\0"))
    for target, file in enumerate(files):
        os.dup2(file, target)
    os.chdir(cwd[0])
    os.environ.clear()
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    sys.argv = ["qvision", *arguments]
    code = main()
    sys.stdout.flush()
    link.sendall(str(code).encode())
    os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
