"""The JSON in what a model wrote: bare, in a code fence, or with some words around it. Pure."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

#: Brackets in brackets; no answer to a question about an image has as many, and what reads it would run out of stack.
_MAX_DEPTH = 100
#: Brackets that begin no JSON, before the search is given up: a text of nothing but brackets costs no more than that.
_MAX_TRIES = 20
_FENCE = re.compile(r"(`{3,}|~{3,})[^`]*")
_OPENING = re.compile(r"[{\[]")
#: A bracket that is no punctuation, for behind it stands what an object or an array begins with.
_LIKE_JSON = re.compile(r"""\{\s*["']|\[\s*["'{\[]|\[\s*(-?\d|true|false|null|NaN)[^\]]*,""")


def values(text: str) -> list[Any]:
    """The JSON values that a text may be meant as: the whole of it, else those in code fences, else those among words.

    Raises:
        ValueError: there is none, and why.
    """
    try:
        return [_value(text)]
    except ValueError as error:
        try:
            found = list(_fenced(text)) or list(_among_words(text))
        except ValueError as broken:
            raise ValueError(_reason(text, broken)) from broken
        if not found:
            raise ValueError(_reason(text, error)) from error
        return found


def _reason(text: str, error: ValueError) -> str:
    if not text.strip():
        return "it is empty"
    if isinstance(error, json.JSONDecodeError) and not _OPENING.search(text):
        return "it is no JSON but plain text"
    return f"it is no JSON: {error}"


def _value(text: str) -> Any:
    try:
        return _checked(_DECODER.decode(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _fenced(text: str) -> Iterator[Any]:
    fence, inside = "", list[str]()
    for line in text.split("\n"):
        bare = line.strip()
        if fence and bare == fence:
            with suppress(ValueError):
                yield _value("\n".join(inside))
            fence = ""
        elif fence:
            inside.append(line)
        elif opening := _FENCE.fullmatch(bare):
            fence, inside = opening[1], []


def _among_words(text: str) -> Iterator[Any]:
    """Objects and arrays, from the first bracket on that begins one.

    Raises:
        ValueError: one begins and is broken. What stands inside it is not looked at: half a value is none.
    """
    at = failed = 0
    while (opening := _OPENING.search(text, at)) and failed < _MAX_TRIES:
        try:
            value, at = _DECODER.raw_decode(text, opening.start())
            yield _checked(value)
        except (ValueError, RecursionError) as error:
            if _LIKE_JSON.match(text, opening.start()):
                raise ValueError(
                    "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                ) from error
            failed += 1
            at = max(at, opening.end())


def _checked(value: Any) -> Any:
    """A value that other programs can read too; looked at floor by floor, for it may be deep."""
    floor = [value]
    for _ in range(_MAX_DEPTH):
        floor = [
            part
            for whole in floor
            for part in (whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ())
        ]
        if not floor:
            return value
    raise ValueError("it is nested too deeply")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} stands there twice")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number in it is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 300:  # longer ones are no floats, which other programs take every number for
        raise ValueError("a number in it is too large")
    return int(text)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=_constant)
