"""Answers that must fit a schema: they are requested as JSON, validated, and requested once more if they do not fit."""

import json
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..client.endpoint import Endpoint
from ..client.request import Message, Request, ResponseFormat
from ..errors import EmptyAnswerError, IncompleteAnswerError, SchemaMismatchError
from ..images.prepare import PendingImage
from ..metrics import Stopwatch
from . import run
from .json_text import Invalid, Valid, parse_value
from .repetition import REPETITION
from .result import Description, Repairing
from .run import Item, Items, RequestOptions
from .totals import add_answers, forward_progress

if TYPE_CHECKING:
    from ..schema.json_schema import Schema  # loads jsonschema

#: Characters of an invalid answer that are sent back, about 6,000 tokens. Longer answers are cut.
_MAX_QUOTED_ANSWER = 20_000
_SCHEMA_INSTRUCTION = (
    "Answer in JSON: one value that fits this JSON Schema, and nothing else. No code fence, no words around it."
)
_REPAIR_INSTRUCTION = "Answer again with the whole corrected JSON value and nothing else."
_REPAIR_WARNING = "the first answer did not fit the schema, so a second one was requested"


def build_response_format(schema: "Schema") -> ResponseFormat:
    """Build the part of a request that asks for an answer that fits the schema."""
    document = json.dumps(schema.document, ensure_ascii=False, separators=(",", ":"))
    return ResponseFormat(schema.document, f"{_SCHEMA_INSTRUCTION}\n{document}", schema.name)


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
        options: RequestOptions,
    ) -> Items:
        """Make a request as ``run.describe`` does; yield no text, and set ``data`` in the ``Description``.

        An answer that does not fit is followed by one more request, for its repair. If that answer does not fit either,
        the ``Description`` has a ``SchemaMismatchError`` and the text.

        Args:
            options: with a ``first_answer``, only its repair is requested.

        Raises:
            UsageError: the schema turns out to be unusable.
        """
        request = self.prepare_request(replace(request, dropped=request.dropped | self._refused_parameters))
        stopwatch, first_answer = options.start_stopwatch(), options.first_answer
        answer = first_answer or (yield from self._forward(run.describe(endpoint, request, images, options), stopwatch))
        parsed = self._parse_answer(answer, endpoint)
        seconds_left = stopwatch.seconds_left()
        if isinstance(parsed, Invalid) and seconds_left != 0:
            yield Repairing(parsed.problems[0])
            request = replace(
                request,
                follow_ups=_repair_messages(answer, parsed),
                dropped=request.dropped | answer.refused_parameters,
            )
            options = options.with_max_time(seconds_left)
            second = yield from self._forward(run.describe(endpoint, request, images, options), stopwatch)
            parsed = self._parse_answer(second, endpoint)
            unrepaired = None if second.error is None else answer
            second = replace(second, warnings=(_REPAIR_WARNING, *second.warnings))
            answer = replace(second if first_answer else add_answers(answer, second), first_answer=unrepaired)
        yield _add_data(answer, parsed)

    def prepare_request(self, request: Request) -> Request:
        """Add the schema to a request."""
        return replace(request, response_format=self._response_format)

    def _parse(self, answer: Description) -> Valid | Invalid:
        return parse_value(answer.text, self._schema)

    def _forward(self, items: Items, stopwatch: Stopwatch) -> Generator[Item, None, Description]:
        """Yield the progress of a request, remember what the endpoint refused, and return the ``Description``."""
        answer = yield from forward_progress(items, stopwatch)
        if answer.has_answer:
            self._refused_parameters |= answer.refused_parameters
        return answer

    def _parse_answer(self, answer: Description, endpoint: Endpoint) -> Valid | Invalid | None:
        """Parse an answer; ``None`` if the request failed."""
        if isinstance(answer.error, EmptyAnswerError) and answer.error.is_temporary:
            return Invalid(("it is empty",))
        if answer.error is not None:
            return None
        parsed = self._parse(answer)
        # These texts quote the answer, into which a server may have put the key.
        if isinstance(parsed, Invalid):
            return Invalid(tuple(map(endpoint.redact, parsed.problems)))
        return replace(parsed, corrections=tuple(map(endpoint.redact, parsed.corrections)))


def _repair_messages(answer: Description, invalid: Invalid) -> tuple[Message, ...]:
    """Build the messages that follow the prompt in the second request."""
    # Some servers refuse an empty message.
    quoted = Message("assistant", answer.text[:_MAX_QUOTED_ANSWER] if answer.text.strip() else "(nothing)")
    problems = "\n".join(f"- {problem}" for problem in invalid.problems)
    return quoted, Message("user", f"That answer cannot be used:\n{problems}\n{_REPAIR_INSTRUCTION}")


def _add_data(answer: Description, parsed: Valid | Invalid | None) -> Description:
    match parsed:
        case Valid():
            corrections = f"the answer was corrected: {'; '.join(parsed.corrections)}"
            warnings = (*answer.warnings, corrections) if parsed.corrections else answer.warnings
            return replace(answer, data=parsed.value, warnings=warnings)
        case Invalid() if answer.error is None:
            more = f" (and {len(parsed.problems) - 1} more)" if len(parsed.problems) > 1 else ""
            error = SchemaMismatchError(
                f"the answer does not fit the schema: {parsed.problems[0]}{more}",
                hint="--json keeps the answer's text; a simpler schema or another model may work better.",
            )
            return replace(answer, error=error)
    if isinstance(answer.error, IncompleteAnswerError) and answer.error.code != REPETITION:
        # A partial JSON value is not printed.
        action = "Raise --max-tokens" if "--max-tokens" in (answer.error.hint or "") else "Repeat the request"
        hint = f"{action}; --json keeps the partial answer."
        return replace(answer, error=answer.error.with_message(answer.error.message, hint=hint))
    return answer
