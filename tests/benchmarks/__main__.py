"""Runs the benchmarks and prints a table of ratios."""

import argparse

from . import batching, chunks, latency, peers, preparation, rendering, small, startup, wire
from .pairs import MIN_PAIRS, Ratio, table

_ALL = {
    "startup": startup.run,
    "wire": wire.run,
    "latency": latency.run,
    "rendering": rendering.run,
    "chunks": chunks.run,
    "preparation": preparation.run,
    "batching": batching.run,
    "small": small.run,
}


def main() -> None:
    """Run the chosen benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=_ALL, action="append", help="run only this one; repeatable")
    parser.add_argument("--pairs", type=int, default=7, help=f"runs of each variant, at least {MIN_PAIRS} [7]")
    options = parser.parse_args()
    if options.pairs < MIN_PAIRS:
        parser.error(f"a ratio needs at least {MIN_PAIRS} pairs")
    ratios: list[Ratio] = []
    for name in options.only or _ALL:
        ratios += _ALL[name](options.pairs)
    print(f"\n{peers.describe_machine()}\nThe ratios are medians over pairs of alternating runs.\n\n{table(ratios)}")


if __name__ == "__main__":
    main()
