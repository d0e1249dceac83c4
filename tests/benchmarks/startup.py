"""The CPU time of command lines that do little, compared with a Python that does nothing.

Both run in an environment with qvision as users install it, with the same interpreter: once through the installed script, and
once as a module, for which Python loads ``runpy`` first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import peers
from .pairs import Ratio, cost, median_ms

_COMPLETING = {"_QVISION_COMPLETE": "complete_zsh"}


@dataclass(frozen=True)
class _Case:
    what: str
    arguments: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)
    code: int = 0
    target: float | None = None


_CASES = (
    _Case("--version", ["--version"], target=1.3),
    _Case("--help", ["--help"], target=7),
    _Case("describe --help", ["describe", "--help"]),
    _Case("a usage error of describe", ["describe", "--no-such-option"], code=2),
    _Case("completion of a command", [], {**_COMPLETING, "_TYPER_COMPLETE_ARGS": "qvision des"}),
    _Case("completion of an option of describe", [], {**_COMPLETING, "_TYPER_COMPLETE_ARGS": "qvision describe --pr"}),
)


def run(pairs: int) -> list[Ratio]:
    """The ratios."""
    home = peers.qvision()
    python = str(home / "python")
    ways = {"script": [str(home / "qvision")], "-m": [python, "-m", "qubrid_cli"]}
    found: list[Ratio] = []
    for case in _CASES:
        env = peers.clean() | case.env
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for number in range(pairs + 1):
            for way, program in ways.items():
                least = cost([python, "-c", "pass"], peers.clean()).cpu
                ours = cost([*program, *case.arguments], env, code=case.code).cpu
                if number:  # the first only warms what the system caches
                    spent[way].append((ours, least))
        for way, both in spent.items():
            name = f"{case.what} ({way}): CPU, of python -c pass"
            found.append(Ratio(name, [ours / least for ours, least in both], case.target))
            print(
                f"{case.what} ({way}): {median_ms(ours for ours, _ in both)} against {median_ms(low for _, low in both)}"
            )
    return found
