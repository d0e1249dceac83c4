"""Comments above the tables of a TOML text, tied to them while the text is changed. Pure.

To tomlkit they end the table before: what is added to that one comes between them and theirs, and they go with it.
"""

import re
import tomllib
from collections.abc import Callable

from .frozen import frozen

_HEADER = re.compile(r"\s*\[.*\]\s*(#.*)?")
_COMMENT = re.compile(r"\s*#.*")


@frozen
class _Above:
    """The lines above a header: those that stand by themselves, and the comments right above it, which are its own."""

    loose: list[str]
    own: list[str]


def kept(source: str, change: Callable[[str], str]) -> str:
    r"""A text, changed with the lines above each header tied to it; a table that goes takes its own comments along.

    Args:
        source: with ``\n`` at the ends of lines.
    """
    tie = "#tied-"
    while tie in source:
        tie += "-"
    tied, blocks, tail = _tied(source.split("\n"), tie)
    return "\n".join(_untied(change("\n".join(tied)).split("\n"), blocks, tail, tie))


def _tied(source: list[str], tie: str) -> tuple[list[str], list[_Above], list[str]]:
    """The lines with a number behind each header in place of what is above it, that, and what is below all tables."""
    lines: list[str] = []
    blocks: list[_Above] = []
    for line in source:
        loose, own = _above(lines)
        if _HEADER.fullmatch(line) and _is_whole(lines[:loose]):
            blocks.append(_Above(lines[loose:own], lines[own:]))
            lines[loose:] = [f"{line} {tie}{len(blocks) - 1}"]
        else:
            lines.append(line)
    end = _above(lines)[0]
    if not blocks or not any(map(str.strip, lines[end:])) or not _is_whole(lines[:end]):
        return lines, blocks, []
    return [*lines[:end], ""], blocks, lines[end:]


def _above(lines: list[str]) -> tuple[int, int]:
    """Where the blank lines and comments at the end begin, from a blank one on; and the comments at their very end."""
    own = len(lines)
    while own and _COMMENT.fullmatch(lines[own - 1]):
        own -= 1
    first = own
    while first and (not lines[first - 1].strip() or _COMMENT.fullmatch(lines[first - 1])):
        first -= 1
    return next((at for at in range(first, own) if not lines[at].strip()), own), own


def _untied(lines: list[str], blocks: list[_Above], tail: list[str], tie: str) -> list[str]:
    """The lines with all in its place; what stood by itself above a table that is gone, above the next one."""
    found: list[str] = []
    done = 0
    for line in lines:
        number = re.search(rf" {tie}(\d+)", line)
        if number is None:
            found.append(line)
            continue
        at = int(number[1])
        loose = [*_left(blocks[done:at]), *blocks[at].loose]
        done = at + 1
        _end(found, loose)
        found += [*loose, *blocks[at].own, line[: number.start()] + line[number.end() :]]
    rest = [*_left(blocks[done:]), *tail]
    if rest:
        _end(found, rest)
    return [*found, *rest] if not rest or tail else [*found, *rest, ""]


def _left(gone: list[_Above]) -> list[str]:
    return [line for block in gone if any(map(str.strip, block.loose)) for line in block.loose]


def _end(found: list[str], following: list[str]) -> None:
    """Take off the blank lines that tomlkit added where there are some anyway."""
    while following and not following[0].strip() and found and not found[-1].strip():
        found.pop()


def _is_whole(lines: list[str]) -> bool:
    """Whether no value goes on behind them, so that what looks like a comment or a header there is one."""
    try:
        tomllib.loads("\n".join(lines))
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    return True
