"""Which tests need what Windows does not have: pseudo-terminals, named pipes, signals, and the shells of POSIX."""

from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

import pytest

#: Names and words in the code of such tests.
_ONLY_POSIX = {
    "pexpect",
    "openpty",
    "mkfifo",
    "prlimit",
    "geteuid",
    "chown",
    "sched_yield",
    "SIGKILL",
    "SIGHUP",
    "SIGTERM",
}
_SHELLS = {"bash", "sh", "zsh", "fish", "/dev/full", "/dev/stdin"}


def list_functions(item: pytest.Function) -> list[FunctionType]:
    """The function of a test, and those of its fixtures."""
    fixtures = [
        definition.func for definitions in item._fixtureinfo.name2fixturedefs.values() for definition in definitions
    ]
    return [function for function in [item.function, *fixtures] if isinstance(function, FunctionType)]


def needs_posix(functions: Iterable[FunctionType]) -> bool:
    """Whether one of the functions, or a function of the tests that it calls, uses what only POSIX has."""
    waiting, seen = list(functions), set[FunctionType]()
    while waiting:
        if (function := waiting.pop()) in seen:
            continue
        seen.add(function)
        names, constants = _collect(function.__code__)
        if names & _ONLY_POSIX or constants & _SHELLS:
            return True
        called = [function.__globals__.get(name) for name in names]
        waiting += [
            value for value in called if isinstance(value, FunctionType) and value.__module__.startswith("tests")
        ]
    return False


def _collect(code: CodeType) -> tuple[set[str], set[str]]:
    """The names and the texts in code, and in the functions inside it."""
    names, texts = set(code.co_names), set[str]()
    constants: list[Any] = list(code.co_consts)
    while constants:
        match constants.pop():
            case str(text):
                texts.add(text)
            case tuple(items) | frozenset(items):
                constants += items
            case CodeType() as inner:
                inner_names, inner_texts = _collect(inner)
                names |= inner_names
                texts |= inner_texts
    return names, texts
