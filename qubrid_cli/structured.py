"""Answers that must fit a schema: asked for as JSON, read, checked, and asked for once more where they do not fit."""

import json
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from . import chat, description, extraction, repairs
from .costs import Price
from .deltas import Text
from .description import Item, Items
from .draft import Description
from .endpoint import Endpoint
from .errors import IncompleteError, SchemaError
from .frozen import frozen
from .images import Preparation
from .metrics import Clock, Stopwatch
from .progress import Repairing, Sending, Writing
from .retries import Patience
from .schema import Schema

#: Characters of a wrong answer that are sent back, some 6,000 tokens: what is wrong with a longer one is its length.
_MAX_REPEATED = 20_000
_WORDS = "Answer in JSON: one value that fits this JSON Schema, and nothing else. No code fence, no words around it."
_AGAIN = "Answer once more: the whole JSON value, put right, and nothing else."


@frozen
class Fits:
    """An answer that holds what was asked for."""

    value: Any


@frozen
class Misfit:
    """An answer that does not, and why: at least one problem, each with its place."""

    problems: tuple[str, ...]


def read(text: str, schema: Schema) -> Fits | Misfit:
    """The value in an answer: the only one in it, or the only one of several that fits."""
    try:
        values = extraction.values(text)
    except ValueError as error:
        return Misfit((str(error),))
    # The same one twice, first thought aloud and then given, is still one.
    values = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    problems = [schema.problems(value) for value in values]
    fitting = [value for value, wrong in zip(values, problems, strict=True) if not wrong]
    if len(fitting) == 1:
        return Fits(fitting[0])
    if len(values) > 1:
        return Misfit((f"there are {len(values)} JSON values in it instead of one",))
    return Misfit(tuple(problems[0]))


def form(schema: Schema) -> chat.Form:
    """How a request asks for an answer that fits."""
    document = json.dumps(schema.document, ensure_ascii=False, separators=(",", ":"))
    return chat.Form(schema.document, f"{_WORDS}\n{document}")


class Session:
    """The requests of a run whose answers must fit a schema; it remembers what the endpoint refused."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._form = form(schema)
        self._refused: frozenset[str] = frozenset()

    def describe(
        self,
        endpoint: Endpoint,
        request: chat.Request,
        images: Sequence[Preparation],
        *,
        labels: bool,
        patience: Patience,
        prices: Mapping[str, Price] = {},
        first: Description | None = None,
        clock: Clock = time.perf_counter,
    ) -> Items:
        """As ``description.describe``, with ``data`` in the ``Description``; no text is given out on the way.

        An answer that fits neither at first nor when it was asked for once more has a ``SchemaError``, and its text.

        Args:
            first: the ``first`` of an earlier ``Description``: it is not asked for again, only put right, and what comes
                out is the second answer alone, with what that took.

        Raises:
            UsageError: the schema turns out to lead nowhere.
        """
        ask = partial(description.describe, endpoint, images=images, labels=labels, prices=prices, clock=clock)
        request = replace(request, form=self._form, without=request.without | self._refused)
        watch = Stopwatch(clock, patience.max_time)
        answer = first or (yield from self._asked(ask(request=request, patience=patience), watch))
        found = self._read(answer, endpoint)
        left = watch.left()
        if isinstance(found, Misfit) and left != 0:
            yield Repairing(found.problems[0])
            request = replace(request, turns=_turns(answer, found), without=request.without | answer.refused)
            second = yield from self._asked(ask(request=request, patience=replace(patience, max_time=left)), watch)
            found = self._read(second, endpoint)
            unrepaired = None if second.error is None else answer
            answer = replace(second if first else repairs.both(answer, second), first=unrepaired)
        yield _judged(answer, found)

    def _asked(self, items: Items, watch: Stopwatch) -> Generator[Item, None, Description]:
        """Pass on what happens, without the text; the answer."""
        with closing(items):
            for item in items:
                match item:
                    case Description():
                        if item.has_answer:
                            self._refused |= item.refused
                        return item
                    case Text():
                        yield Writing()
                    case Sending():
                        watch.send()
                        yield item
                    case _:
                        yield item
        raise AssertionError("a description ends the items")

    def _read(self, answer: Description, endpoint: Endpoint) -> Fits | Misfit | None:
        if answer.error is not None:
            return None
        found = read(answer.text, self._schema)
        # What is wrong is told with the words of the answer, and a server may have put the key into those.
        return Misfit(tuple(map(endpoint.clean, found.problems))) if isinstance(found, Misfit) else found


def _turns(answer: Description, misfit: Misfit) -> tuple[chat.Turn, ...]:
    """What goes behind the question to get a better answer."""
    # Some servers refuse a turn with nothing in it.
    said = chat.Turn("assistant", answer.text[:_MAX_REPEATED] if answer.text.strip() else "(nothing)")
    problems = "\n".join(f"- {problem}" for problem in misfit.problems)
    return said, chat.Turn("user", f"That answer cannot be used:\n{problems}\n{_AGAIN}")


def _judged(answer: Description, found: Fits | Misfit | None) -> Description:
    match found:
        case Fits():
            return replace(answer, data=found.value)
        case Misfit():
            first, others = found.problems[0], len(found.problems) - 1
            more = f" (and {others} more)" if others else ""
            error = SchemaError(
                f"the answer does not fit the schema: {first}{more}",
                hint="--json keeps its text; a simpler schema or another model may do better.",
            )
            return replace(answer, error=error)
    if isinstance(answer.error, IncompleteError):  # half a JSON value is none, and is not printed
        first = "Raise --max-tokens" if "--max-tokens" in (answer.error.hint or "") else "Ask again"
        answer.error.hint = f"{first}; --json keeps what arrived."
    return answer
