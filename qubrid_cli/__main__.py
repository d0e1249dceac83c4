"""The program's entry: answers ``--version`` before anything is imported, and hands the rest to ``cli``."""

import sys

from . import __version__


def main() -> int:
    """Run ``qvision`` with the arguments of this process and return its exit code."""
    if sys.argv[1:] == ["--version"]:
        print(f"qvision {__version__}")  # noqa: T201  # before typer, which costs five times an empty Python
        return 0
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # while modules are still loading; later Typer sees to it
        return 130


if __name__ == "__main__":
    sys.exit(main())
