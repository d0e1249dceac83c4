"""Answers that must fit a schema: asked for as JSON, read, checked, and asked for once more where they do not fit."""

# MERGED DOCSTRING of qubrid_cli.extraction: The JSON in what a model wrote: bare, in a code fence, or with some words around it. Pure.

# MERGED DOCSTRING of qubrid_cli.repairs: An answer that was put right by a second one: what both of them are together. Pure.

import json
import math
import re
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from ..client.deltas import TextDelta
from ..client.endpoint import Endpoint
from ..client.request import Message, Request, ResponseFormat
from ..client.retry import RetryLimits
from ..errors import IncompleteAnswerError, SchemaMismatchError
from ..frozen import frozen
from ..images.prepare import PendingImage
from ..metrics import Clock, Cost, Price, Stopwatch, get_number
from . import run
from .result import Description, Repairing, Sending, Writing
from .run import Item, Items

if TYPE_CHECKING:
    from ..schema.json_schema import Schema  # loads jsonschema

#: Brackets in brackets; no answer to a question about an image has as many, and what reads it would run out of stack.
_MAX_DEPTH = 100
#: Brackets that begin no JSON, before the search is given up: a text of nothing but brackets costs no more than that.
_MAX_TRIES = 20
_FENCE = re.compile(r"(`{3,}|~{3,})[^`]*")
_OPENING_BRACKET = re.compile(r"[{\[]")
#: A bracket that is no punctuation, for behind it stands what an object or an array begins with.
_JSON_START = re.compile(r"""\{\s*["']|\[\s*["'{\[]|\[\s*(-?\d|true|false|null|NaN)[^\]]*,""")


def json_values(text: str) -> list[Any]:
    """The JSON values that a text may be meant as: the whole of it, else those in code fences, else those among words.

    Raises:
        ValueError: there is none, and why.
    """
    try:
        return [_decode_value(text)]
    except ValueError as error:
        try:
            found = list(_iter_fenced(text)) or list(_iter_embedded(text))
        except ValueError as broken:
            raise ValueError(_explain_failure(text, broken)) from broken
        if not found:
            raise ValueError(_explain_failure(text, error)) from error
        return found


def _explain_failure(text: str, error: ValueError) -> str:
    if not text.strip():
        return "it is empty"
    if isinstance(error, json.JSONDecodeError) and not _OPENING_BRACKET.search(text):
        return "it is no JSON but plain text"
    return f"it is no JSON: {error}"


def _decode_value(text: str) -> Any:
    try:
        return _check_depth(_DECODER.decode(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _iter_fenced(text: str) -> Iterator[Any]:
    fence, inside = "", list[str]()
    for line in text.split("\n"):
        bare = line.strip()
        if fence and bare == fence:
            with suppress(ValueError):
                yield _decode_value("\n".join(inside))
            fence = ""
        elif fence:
            inside.append(line)
        elif opening := _FENCE.fullmatch(bare):
            fence, inside = opening[1], []


def _iter_embedded(text: str) -> Iterator[Any]:
    """Objects and arrays, from the first bracket on that begins one.

    Raises:
        ValueError: one begins and is broken. What stands inside it is not looked at: half a value is none.
    """
    at = failed = 0
    while (opening := _OPENING_BRACKET.search(text, at)) and failed < _MAX_TRIES:
        try:
            value, at = _DECODER.raw_decode(text, opening.start())
            yield _check_depth(value)
        except (ValueError, RecursionError) as error:
            if _JSON_START.match(text, opening.start()):
                raise ValueError(
                    "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
                ) from error
            failed += 1
            at = max(at, opening.end())


def _check_depth(value: Any) -> Any:
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


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} stands there twice")
    return found


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number in it is too large")
    return value


def _parse_integer(text: str) -> int:
    if len(text) > 300:  # longer ones are no floats, which other programs take every number for
        raise ValueError("a number in it is too large")
    return int(text)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_float=_parse_float, parse_int=_parse_integer, parse_constant=_reject_constant
)

_REPAIR_WARNING = "the first answer did not fit the schema, so it was asked for once more"


def merge_with_repair(first: Description, second: Description) -> Description:
    """The second answer, with what both took: each was paid for."""
    return replace(
        second,
        text=second.text or first.text,
        cost=_add_costs(first.cost, second.cost),
        usage=_add_usage(first.usage, second.usage) if first.usage and second.usage else second.usage or first.usage,
        timing=replace(
            second.timing,
            ttft_seconds=first.timing.ttft_seconds,
            total_seconds=_add_seconds(first.timing.total_seconds, second.timing.total_seconds),
        ),
        warnings=tuple(dict.fromkeys([*first.warnings, _REPAIR_WARNING, *second.warnings])),
    )


def _add_usage(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Figures added up, also those in objects of their own (``prompt_tokens_details``); all else is the second's."""
    found = dict(second)
    for key, value in second.items():
        other = first.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found[key] = _add_usage(other, value)
        elif get_number(first, key) is not None and get_number(second, key) is not None:
            found[key] = value + other
    return found


def _add_costs(first: Cost | None, second: Cost | None) -> Cost | None:
    return replace(second, amount=round(first.amount + second.amount, 9)) if first and second else second or first


def _add_seconds(first: float | None, second: float | None) -> float | None:
    return round((first or 0) + (second or 0), 4) if first is not None or second is not None else None


#: Characters of a wrong answer that are sent back, some 6,000 tokens: what is wrong with a longer one is its length.
_MAX_QUOTED_ANSWER = 20_000
_SCHEMA_INSTRUCTION = (
    "Answer in JSON: one value that fits this JSON Schema, and nothing else. No code fence, no words around it."
)
_REPAIR_INSTRUCTION = "Answer once more: the whole JSON value, put right, and nothing else."


@frozen
class Valid:
    """An answer that holds what was asked for."""

    value: Any


@frozen
class Invalid:
    """An answer that does not, and why: at least one problem, each with its place."""

    problems: tuple[str, ...]


def parse_answer(text: str, schema: "Schema") -> Valid | Invalid:
    """The value in an answer: the only one in it, or the only one of several that fits."""
    try:
        values = json_values(text)
    except ValueError as error:
        return Invalid((str(error),))
    # The same one twice, first thought aloud and then given, is still one.
    values = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    problems = [schema.find_problems(value) for value in values]
    fitting = [value for value, wrong in zip(values, problems, strict=True) if not wrong]
    if len(fitting) == 1:
        return Valid(fitting[0])
    if len(values) > 1:
        return Invalid((f"there are {len(values)} JSON values in it instead of one",))
    return Invalid(tuple(problems[0]))


def build_response_format(schema: "Schema") -> ResponseFormat:
    """How a request asks for an answer that fits."""
    document = json.dumps(schema.document, ensure_ascii=False, separators=(",", ":"))
    return ResponseFormat(schema.document, f"{_SCHEMA_INSTRUCTION}\n{document}")


class Session:
    """The requests of a run whose answers must fit a schema; it remembers what the endpoint refused."""

    def __init__(self, schema: "Schema") -> None:
        self._schema = schema
        self._response_format = build_response_format(schema)
        self._refused_parameters: frozenset[str] = frozenset()

    def describe(
        self,
        endpoint: Endpoint,
        request: Request,
        images: Sequence[PendingImage],
        *,
        labels: bool,
        retry_limits: RetryLimits,
        prices: Mapping[str, Price] = {},
        first_answer: Description | None = None,
        clock: Clock = time.perf_counter,
    ) -> Items:
        """As ``description.describe``, with ``data`` in the ``Description``; no text is given out on the way.

        An answer that fits neither at first nor when it was asked for once more has a ``SchemaError``, and its text.

        Args:
            first_answer: the ``first`` of an earlier ``Description``: it is not asked for again, only put right, and what comes
                out is the second answer alone, with what that took.

        Raises:
            UsageError: the schema turns out to lead nowhere.
        """
        ask = partial(run.describe, endpoint, images=images, labels=labels, prices=prices, clock=clock)
        request = replace(request, form=self._response_format, dropped=request.dropped | self._refused_parameters)
        watch = Stopwatch(clock, retry_limits.max_time)
        answer = first_answer or (
            yield from self._forward_items(ask(request=request, retry_limits=retry_limits), watch)
        )
        found = self._check_answer(answer, endpoint)
        left = watch.seconds_left()
        if isinstance(found, Invalid) and left != 0:
            yield Repairing(found.problems[0])
            request = replace(
                request, turns=_repair_messages(answer, found), dropped=request.dropped | answer.refused_parameters
            )
            second = yield from self._forward_items(
                ask(request=request, retry_limits=replace(retry_limits, max_time=left)), watch
            )
            found = self._check_answer(second, endpoint)
            unrepaired = None if second.error is None else answer
            answer = replace(second if first_answer else merge_with_repair(answer, second), first_answer=unrepaired)
        yield _apply_check_result(answer, found)

    def _forward_items(self, items: Items, watch: Stopwatch) -> Generator[Item, None, Description]:
        """Pass on what happens, without the text; the answer."""
        with closing(items):
            for item in items:
                match item:
                    case Description():
                        if item.has_answer:
                            self._refused_parameters |= item.refused_parameters
                        return item
                    case TextDelta():
                        yield Writing()
                    case Sending():
                        watch.mark_sent()
                        yield item
                    case _:
                        yield item
        raise AssertionError("a description ends the items")

    def _check_answer(self, answer: Description, endpoint: Endpoint) -> Valid | Invalid | None:
        if answer.error is not None:
            return None
        found = parse_answer(answer.text, self._schema)
        # What is wrong is told with the words of the answer, and a server may have put the key into those.
        return Invalid(tuple(map(endpoint.redact, found.problems))) if isinstance(found, Invalid) else found


def _repair_messages(answer: Description, invalid: Invalid) -> tuple[Message, ...]:
    """What goes behind the question to get a better answer."""
    # Some servers refuse a turn with nothing in it.
    said = Message("assistant", answer.text[:_MAX_QUOTED_ANSWER] if answer.text.strip() else "(nothing)")
    problems = "\n".join(f"- {problem}" for problem in invalid.problems)
    return said, Message("user", f"That answer cannot be used:\n{problems}\n{_REPAIR_INSTRUCTION}")


def _apply_check_result(answer: Description, check_result: Valid | Invalid | None) -> Description:
    match check_result:
        case Valid():
            return replace(answer, data=check_result.value)
        case Invalid():
            first, others = check_result.problems[0], len(check_result.problems) - 1
            more = f" (and {others} more)" if others else ""
            error = SchemaMismatchError(
                f"the answer does not fit the schema: {first}{more}",
                hint="--json keeps its text; a simpler schema or another model may do better.",
            )
            return replace(answer, error=error)
    if isinstance(answer.error, IncompleteAnswerError):  # half a JSON value is none, and is not printed
        first = "Raise --max-tokens" if "--max-tokens" in (answer.error.hint or "") else "Ask again"
        hint = f"{first}; --json keeps what arrived."
        return replace(answer, error=answer.error.with_message(answer.error.message, hint=hint))
    return answer
