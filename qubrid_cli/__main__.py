"""The program's entry: answers ``--version`` before anything is imported, and hands the rest to ``cli``."""

import gc
import os
import sys

from . import __version__


def main() -> int:
    """Run ``qvision`` with the arguments of this process and return its exit code."""
    try:
        return _show_version() if sys.argv[1:] == ["--version"] else _run()
    finally:
        gc.freeze()  # at its end Python looks through all that was loaded for garbage: 13 ms of a describe, 1 of --version


def _run() -> int:
    # Nothing that is being loaded is garbage, and looking for some 70 times takes 5 ms. The commands that work for long
    # have it done again.
    gc.disable()
    # httpx loads its own command line, click and Rich with it, wherever click is installed: 60 ms. Nothing here needs it.
    sys.modules["click"] = None  # type: ignore[assignment]  # whoever imports it is told that it is not there
    try:
        from . import headstart

        ahead = None
        if (image := headstart.image(sys.argv[1:])) is not None:
            from .ahead import Ahead

            ahead = Ahead(image)
        from .cli import main as run

        return run(ahead=ahead)
    except KeyboardInterrupt:  # while modules are still loading; later Typer sees to it
        return 130


def _show_version() -> int:
    """Before typer is imported, which costs five times an empty Python."""
    try:
        print(f"qvision {__version__}", flush=True)
    except OSError:  # nobody listens any more; Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
