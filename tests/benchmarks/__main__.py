"""Runs the benchmarks and prints a table of ratios."""

import argparse

from . import batching, chunks, peers, preparation, rendering, startup, wire
from .pairs import LEAST, Ratio, table

_ALL = {
    "startup": startup.run,
    "wire": wire.run,
    "rendering": rendering.run,
    "chunks": chunks.run,
    "preparation": preparation.run,
    "batching": batching.run,
}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=_ALL, action="append", help="one of them; may be given again")
    parser.add_argument("--pairs", type=int, default=7, help=f"runs of each way, {LEAST} at least [7]")
    asked = parser.parse_args()
    if asked.pairs < LEAST:
        parser.error(f"no ratio is told from fewer than {LEAST} pairs")
    found: list[Ratio] = []
    for name in asked.only or _ALL:
        found += _ALL[name](asked.pairs)
    print(f"\n{peers.told()}\nThe ratios are medians of pairs that were run in turn.\n\n{table(found)}")


if __name__ == "__main__":
    main()
