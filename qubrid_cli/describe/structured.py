"""Answers that must fit a schema: requested as JSON, parsed and validated, and requested once more if they do not fit."""

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

from ..client.endpoint import Endpoint
from ..client.events import TextDelta
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

#: Characters of an invalid answer that are sent back, about 6,000 tokens. Longer answers are cut.
_MAX_QUOTED_ANSWER = 20_000
_SCHEMA_INSTRUCTION = (
    "Answer in JSON: one value that fits this JSON Schema, and nothing else. No code fence, no words around it."
)
_REPAIR_INSTRUCTION = "Answer again with the whole corrected JSON value and nothing else."
_REPAIR_WARNING = "the first answer did not fit the schema, so a second one was requested"

#: Levels of nesting. No answer about an image has as many; JSON readers would overflow their stack.
_MAX_DEPTH = 100
#: The search ends after this many brackets that do not begin a JSON value, so that a text of brackets costs little.
_MAX_ATTEMPTS = 20
_FENCE = re.compile(r"(`{3,}|~{3,})[^`]*")
_OPENING_BRACKET = re.compile(r"[{\[]")
#: A bracket that begins an object or an array, rather than being punctuation.
_JSON_START = re.compile(r"""\{\s*["']|\[\s*["'{\[]|\[\s*(-?\d|true|false|null|NaN)[^\]]*,""")


@frozen
class Valid:
    """The value of an answer that fits the schema."""

    value: Any


@frozen
class Invalid:
    """Why an answer does not fit the schema: at least one problem, each with its path."""

    problems: tuple[str, ...]


def build_response_format(schema: "Schema") -> ResponseFormat:
    """Build the part of a request that asks for an answer that fits the schema."""
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
        """Make a request as ``run.describe`` does; yield no text, and set ``data`` in the ``Description``.

        An answer that does not fit is followed by one more request, for its repair. If that answer does not fit either,
        the ``Description`` has a ``SchemaMismatchError`` and the text.

        Args:
            first_answer: the ``first_answer`` of an earlier ``Description``. Only its repair is requested, and the
                result counts only that request's usage, cost and time.

        Raises:
            UsageError: the schema turns out to be unusable.
        """
        send = partial(run.describe, endpoint, images=images, labels=labels, prices=prices, clock=clock)
        request = replace(
            request, response_format=self._response_format, dropped=request.dropped | self._refused_parameters
        )
        stopwatch = Stopwatch(clock, retry_limits.max_time)
        answer = first_answer or (
            yield from self._forward_items(send(request=request, retry_limits=retry_limits), stopwatch)
        )
        parsed = self._parse_answer(answer, endpoint)
        seconds_left = stopwatch.seconds_left()
        if isinstance(parsed, Invalid) and seconds_left != 0:
            yield Repairing(parsed.problems[0])
            request = replace(
                request,
                follow_ups=_repair_messages(answer, parsed),
                dropped=request.dropped | answer.refused_parameters,
            )
            retry_limits = replace(retry_limits, max_time=seconds_left)
            second = yield from self._forward_items(send(request=request, retry_limits=retry_limits), stopwatch)
            parsed = self._parse_answer(second, endpoint)
            unrepaired = None if second.error is None else answer
            answer = replace(second if first_answer else merge_with_repair(answer, second), first_answer=unrepaired)
        yield _add_data(answer, parsed)

    def _forward_items(self, items: Items, stopwatch: Stopwatch) -> Generator[Item, None, Description]:
        """Yield the items except the text; return the ``Description``."""
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
                        stopwatch.mark_sent()
                        yield item
                    case _:
                        yield item
        raise AssertionError("the last item is a description")

    def _parse_answer(self, answer: Description, endpoint: Endpoint) -> Valid | Invalid | None:
        """Parse an answer; ``None`` if there is an error already."""
        if answer.error is not None:
            return None
        parsed = parse_answer(answer.text, self._schema)
        # The problems quote the answer, and a server may have put the key into it.
        return Invalid(tuple(map(endpoint.redact, parsed.problems))) if isinstance(parsed, Invalid) else parsed


def _repair_messages(answer: Description, invalid: Invalid) -> tuple[Message, ...]:
    """Build the messages that follow the prompt in the second request."""
    # Some servers refuse an empty message.
    quoted = Message("assistant", answer.text[:_MAX_QUOTED_ANSWER] if answer.text.strip() else "(nothing)")
    problems = "\n".join(f"- {problem}" for problem in invalid.problems)
    return quoted, Message("user", f"That answer cannot be used:\n{problems}\n{_REPAIR_INSTRUCTION}")


def _add_data(answer: Description, parsed: Valid | Invalid | None) -> Description:
    match parsed:
        case Valid():
            return replace(answer, data=parsed.value)
        case Invalid():
            first, others = parsed.problems[0], len(parsed.problems) - 1
            more = f" (and {others} more)" if others else ""
            error = SchemaMismatchError(
                f"the answer does not fit the schema: {first}{more}",
                hint="--json keeps its text; a simpler schema or another model may work better.",
            )
            return replace(answer, error=error)
    if isinstance(answer.error, IncompleteAnswerError):  # a partial JSON value is not printed
        action = "Raise --max-tokens" if "--max-tokens" in (answer.error.hint or "") else "Repeat the request"
        hint = f"{action}; --json keeps the partial answer."
        return replace(answer, error=answer.error.with_message(answer.error.message, hint=hint))
    return answer


def merge_with_repair(first: Description, second: Description) -> Description:
    """Return the second answer with the usage, cost and time of both."""
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
    """Add numbers, also in nested objects (``prompt_tokens_details``); all other values are those of the second."""
    total = dict(second)
    for key, value in second.items():
        other = first.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            total[key] = _add_usage(other, value)
        elif get_number(first, key) is not None and get_number(second, key) is not None:
            total[key] = value + other
    return total


def _add_costs(first: Cost | None, second: Cost | None) -> Cost | None:
    return replace(second, amount=round(first.amount + second.amount, 9)) if first and second else second or first


def _add_seconds(first: float | None, second: float | None) -> float | None:
    return round((first or 0) + (second or 0), 4) if first is not None or second is not None else None


def parse_answer(text: str, schema: "Schema") -> Valid | Invalid:
    """Parse the value in an answer: the only one, or the only one of several that fits the schema."""
    try:
        values = _find_json_values(text)
    except ValueError as error:
        return Invalid((str(error),))
    # A model may repeat its value, first while it thinks and then as its answer.
    values = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    problems = [schema.find_problems(value) for value in values]
    fitting = [value for value, errors in zip(values, problems, strict=True) if not errors]
    if len(fitting) == 1:
        return Valid(fitting[0])
    if len(values) > 1:
        return Invalid((f"it contains {len(values)} JSON values instead of one",))
    return Invalid(tuple(problems[0]))


def _find_json_values(text: str) -> list[Any]:
    """Return the JSON values in a text: the whole text, else those in code fences, else those between words.

    Raises:
        ValueError: the text contains no JSON value, or a broken one.
    """
    try:
        return [_decode_value(text)]
    except ValueError as error:
        try:
            values = list(_iter_fenced(text)) or list(_iter_embedded(text))
        except ValueError as broken:
            raise ValueError(_explain_failure(text, broken)) from broken
        if not values:
            raise ValueError(_explain_failure(text, error)) from error
        return values


def _explain_failure(text: str, error: ValueError) -> str:
    if not text.strip():
        return "it is empty"
    if isinstance(error, json.JSONDecodeError) and not _OPENING_BRACKET.search(text):
        return "it is plain text instead of JSON"
    return f"it is not valid JSON: {error}"


def _decode_value(text: str) -> Any:
    try:
        return _check_depth(_DECODER.decode(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


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
    """Yield the objects and arrays in a text.

    Raises:
        ValueError: one is broken. The values inside a broken one are not answers.
    """
    position = failures = 0
    while (opening := _OPENING_BRACKET.search(text, position)) and failures < _MAX_ATTEMPTS:
        try:
            value, position = _DECODER.raw_decode(text, opening.start())
            yield _check_depth(value)
        except (ValueError, RecursionError) as error:
            if _JSON_START.match(text, opening.start()):
                reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise ValueError(reason) from error
            failures += 1
            position = max(position, opening.end())


def _check_depth(value: Any) -> Any:
    """Return a value that other programs can read too; checked level by level, because it may be deep."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
        ]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        duplicate, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"duplicate key {duplicate[:80]!r}")
    return dict(pairs)


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _parse_integer(text: str) -> int:
    if len(text) > 300:  # more digits than a float can hold, and many programs read every number as a float
        raise ValueError("a number is too large")
    return int(text)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_float=_parse_float, parse_int=_parse_integer, parse_constant=_reject_constant
)
