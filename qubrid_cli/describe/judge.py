"""Decide whether something is true of an image, by the best method that the endpoint offers.

A decision endpoint and log probabilities give a probability; any other endpoint answers in JSON, with a reason. A method
that the endpoint does not offer fails with the first image, and is not tried again.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from ..client.endpoint import Endpoint
from ..client.request import Request
from ..errors import (
    AuthError,
    EmptyAnswerError,
    EndpointError,
    IncompleteAnswerError,
    NetworkError,
    QvisionError,
    RefusedAnswerError,
    SchemaMismatchError,
    UnsureError,
)
from ..frozen import frozen
from ..images.prepare import PendingImage
from ..text import shorten
from . import run
from .result import Description
from .run import Item, Items, RequestOptions
from .totals import add_answers, forward_progress
from .verdicts import (
    DEFAULT_THRESHOLD,
    Answer,
    Method,
    Verdict,
    count_votes,
    decide,
    read_probability,
    read_verdict_text,
)

if TYPE_CHECKING:
    from ..client.thinking import Thinking
    from .structured import Session


#: The number of log probabilities to request for each token; some servers allow only five.
_TOP_LOGPROBS = (20, 5)
_LOGPROBS_INSTRUCTION = "Answer with one word: yes or no."
_SCHEMA_INSTRUCTION = "Answer yes, no, or unsure if the image does not show it, and give the reason in one sentence."
_SCHEMA = {
    "title": "verdict",
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no", "unsure"]}, "reason": {"type": "string"}},
    "required": ["answer", "reason"],
    "additionalProperties": False,
}
#: Statuses with which servers refuse a path or a field that they do not have.
_REFUSAL_STATUSES = frozenset({400, 404, 405, 415, 422, 501})
#: The statuses among them with which they refuse a path.
_MISSING_STATUSES = frozenset({404, 405, 501})
#: Characters of an answer that a message quotes.
_MAX_QUOTED_LENGTH = 120


@frozen
class _Exchange:
    """The images of a question, and what all requests about them have in common."""

    endpoint: Endpoint
    images: Sequence[PendingImage]
    options: RequestOptions

    def send(self, request: Request) -> Items:
        """Make a request."""
        return run.describe(self.endpoint, request, self.images, self.options)

    def repair(self, request: Request, first_answer: Description, session: "Session") -> Items:
        """Request another answer, because the first one does not fit the schema."""
        return session.describe(self.endpoint, request, self.images, replace(self.options, first_answer=first_answer))


class Judge:
    """Answers the questions of a run, and remembers what the endpoint offers. It may be used from any thread.

    Args:
        methods: the methods that may be used, the best first.
        threshold: the probability from which an answer is yes.
        votes: how often the model is asked if it answers in JSON; more than half must agree.
        thinking_off: turns thinking off in the request for log probabilities.

    Attributes:
        votes: as above.
    """

    def __init__(
        self,
        methods: Sequence[Method] = tuple(Method),
        *,
        threshold: float = DEFAULT_THRESHOLD,
        votes: int = 1,
        thinking_off: "Thinking | None" = None,
    ) -> None:
        self._methods = tuple(methods)
        self._threshold = threshold
        self.votes = votes
        self._thinking_off = thinking_off
        self._proven: frozenset[Method] = frozenset()  # have given a verdict, so the endpoint offers them
        self._top_logprobs = _TOP_LOGPROBS[0]
        self._refused_parameters: frozenset[str] = frozenset()
        self._session: Session | None = None

    def build_request(self, request: Request, method: Method | None = None) -> Request:
        """The request for a question; ``method`` is by default the one that is tried first."""
        method = method or self._methods[0]
        request = replace(request, stream=False, dropped=request.dropped | self._refused_parameters)
        if method is Method.DECISIONS:
            return replace(request, is_decision=True)
        if method is Method.SCHEMA:
            from .structured import build_response_format

            prompt = f"{request.prompt}\n\n{_SCHEMA_INSTRUCTION}"
            return replace(request, prompt=prompt, response_format=build_response_format(_load_schema()))
        return replace(
            request,
            prompt=f"{request.prompt}\n\n{_LOGPROBS_INSTRUCTION}",
            max_tokens=1,
            # Some servers return the probabilities as changed by these parameters; 1 changes nothing.
            temperature=None if request.temperature is None else 1.0,
            top_p=None if request.top_p is None else 1.0,
            thinking=self._thinking_off,
            extra={"logprobs": True, "top_logprobs": self._top_logprobs, **request.extra},
        )

    def judge(
        self, endpoint: Endpoint, request: Request, images: Sequence[PendingImage], options: RequestOptions
    ) -> Items:
        """Ask whether the prompt is true; yield progress, and last the ``Description``, whose ``data`` is the verdict.

        If the answer is neither yes nor no, its ``error`` says why.

        Args:
            options: the votes of a ``first_answer`` are used. ``labels`` and ``loop_check`` count as true.
        """
        first_answer = options.first_answer
        exchange = _Exchange(endpoint, images, replace(options, labels=True, loop_check=True, first_answer=None))
        earlier: Description | None = None
        methods = self._methods
        for position, method in enumerate(methods, 1):
            answer, verdict = yield from self._ask(method, request, exchange, first_answer)
            answer = answer if earlier is None else add_answers(earlier, answer)
            if verdict is not None:
                self._proven |= {method}
            elif position < len(methods) and _may_use_another_method(method, answer):
                note = _explain_change(method, answer)
                earlier = replace(answer, warnings=(*answer.warnings, note), error=None, text="")
                if method not in self._proven:
                    remaining = methods[position:]
                    self._methods = tuple(candidate for candidate in self._methods if candidate in remaining)
                continue
            yield self._build_result(replace(answer, prompt=request.prompt), method, verdict)
            return

    def describe(
        self, endpoint: Endpoint, request: Request, images: Sequence[PendingImage], options: RequestOptions
    ) -> Items:
        """Judge one of many images: here unsure is an answer too, and an endpoint without a usable method is a fatal error."""
        with closing(self.judge(endpoint, request, images, options)) as items:
            for item in items:
                yield self._judge_for_many(item) if isinstance(item, Description) else item

    def _judge_for_many(self, answer: Description) -> Description:
        match answer.error:
            case UnsureError():
                return replace(answer, error=None)
            case SchemaMismatchError() as error if self._has_no_method() and not answer.token_probabilities:
                fatal = EndpointError(error.message, hint=error.hint, is_fatal=True)
                return replace(answer, error=fatal)
        return answer

    def _has_no_method(self) -> bool:
        """Whether the endpoint seems to offer none of the methods that may be used.

        None of them has given a verdict yet, and JSON, which every endpoint offers, is not one of them.
        """
        return self._proven.isdisjoint(self._methods) and Method.SCHEMA not in self._methods

    def _ask(
        self, method: Method, request: Request, exchange: _Exchange, first_answer: Description | None
    ) -> Generator[Item, None, tuple[Description, Verdict | None]]:
        if method is Method.SCHEMA:
            return (yield from self._collect_votes(request, exchange, first_answer))
        if method is Method.DECISIONS:
            answer = yield from self._forward(exchange.send(self.build_request(request, method)))
            return answer, self._judge_probability(answer.probability, method)
        count = self._top_logprobs
        answer = yield from self._forward(exchange.send(self.build_request(request, method)))
        if _is_refused_number(answer.error) and count > _TOP_LOGPROBS[-1]:
            self._top_logprobs = _TOP_LOGPROBS[-1]  # another thread may have done this already
            answer = yield from self._forward(exchange.send(self.build_request(request, method)))
        return answer, self._judge_probability(read_probability(answer.token_probabilities), method)

    def _judge_probability(self, probability: float | None, method: Method) -> Verdict | None:
        return None if probability is None else Verdict(decide(probability, self._threshold), probability, None, method)

    def _collect_votes(
        self, request: Request, exchange: _Exchange, first_answer: Description | None
    ) -> Generator[Item, None, tuple[Description, Verdict | None]]:
        """Ask until more than half of the votes agree, or until an answer cannot be used."""
        total: Description | None = None
        verdicts = [] if first_answer is None else list(first_answer.votes)
        while True:
            answer, verdict = yield from self._ask_by_schema(request, exchange)
            if verdict is None and verdicts:  # a retry can build on the votes so far
                answers = [earlier for earlier in (first_answer, total) if earlier is not None]
                answer = replace(answer, first_answer=replace(reduce(add_answers, answers), votes=tuple(verdicts)))
            total = answer if total is None else add_answers(total, answer)
            if verdict is None:
                return total, None
            verdicts.append(verdict)
            if (majority := count_votes(verdicts, self.votes)) is not None:
                return total, majority

    def _ask_by_schema(
        self, request: Request, exchange: _Exchange
    ) -> Generator[Item, None, tuple[Description, Verdict | None]]:
        """Ask for JSON, and once more if the answer is neither yes nor no."""
        from .structured import Session

        answer = yield from self._forward(exchange.send(self.build_request(request, Method.SCHEMA)))
        verdict = _read_verdict(answer)
        is_empty = isinstance(answer.error, EmptyAnswerError) and answer.error.is_temporary
        if verdict is not None or not (answer.error is None or is_empty):
            return answer, verdict
        self._session = self._session or Session(_load_schema())
        repair_request = self.build_request(request, Method.SCHEMA)
        second = yield from self._forward(exchange.repair(repair_request, answer, self._session))
        if isinstance(second.error, SchemaMismatchError):
            second = replace(second, error=None)
        merged = add_answers(answer, second)
        return merged, _read_verdict(merged)

    def _forward(self, items: Items) -> Generator[Item, None, Description]:
        """Yield the progress of a request, remember what the endpoint refused, and return the ``Description``."""
        answer = yield from forward_progress(items)
        if answer.has_answer:
            self._refused_parameters |= answer.refused_parameters
        return answer

    def _build_result(self, answer: Description, method: Method, verdict: Verdict | None) -> Description:
        if verdict is None:
            return replace(answer, error=_explain_failure(method, answer))
        if verdict.probability is None and self._threshold != DEFAULT_THRESHOLD:
            note = "--threshold has no effect, because the endpoint returned no probability"
            answer = replace(answer, warnings=(*answer.warnings, note))
        error: QvisionError | None = None
        if verdict.answer is Answer.UNSURE:
            reason = verdict.reason or "the model is unsure"
            if verdict.probability is not None:
                low, high = f"{1 - self._threshold:.10g}", f"{self._threshold:.10g}"
                reason = f"the probability {verdict.probability:.3g} is between {low} and {high}"
            error = UnsureError(f"neither yes nor no: {reason}")
        return replace(answer, data=verdict.to_dict(), complete=True, error=error)


def _load_schema() -> Any:
    from ..schema import json_schema

    return json_schema.load_schema(_SCHEMA, where="schema")


def _read_verdict(answer: Description) -> Verdict | None:
    """The verdict in an answer in JSON or in words; ``None`` if there is none."""
    content = read_verdict_text(answer.text) if answer.error is None else None
    return None if content is None else Verdict(content[0], None, content[1], Method.SCHEMA)


def _may_use_another_method(method: Method, answer: Description) -> bool:
    """Whether an answer without a verdict means that the endpoint does not offer the method."""
    match answer.error:
        case None:
            return True
        case AuthError() | NetworkError() | RefusedAnswerError():
            return False
        case EndpointError() as error:
            is_named = method is Method.LOGPROBS and "logprob" in f"{error.param} {error.reason}"
            return is_named or error.status in _REFUSAL_STATUSES
        case IncompleteAnswerError():  # the only token was part of the reasoning, or the server needs more than one
            return True
    return False


def _is_refused_number(error: QvisionError | None) -> bool:
    """Whether the endpoint refused the number of probabilities that was requested."""
    return (
        isinstance(error, EndpointError) and "top_logprobs" in f"{error.param} {error.reason}" and error.status != 429
    )


def _explain_change(method: Method, answer: Description) -> str:
    missing = "decisions" if method is Method.DECISIONS else "probabilities of yes and no"
    advice = f"; --by {Method.SCHEMA} saves a request" if method is Method.LOGPROBS else ""
    cause = f" ({answer.error.message})" if answer.error is not None and method is Method.DECISIONS else ""
    return f"the endpoint returned no {missing}{cause}{advice}"


def _explain_failure(method: Method, answer: Description) -> QvisionError:
    error = answer.error
    if method is Method.DECISIONS and isinstance(error, EndpointError) and error.status in _MISSING_STATUSES:
        message = f"the endpoint has no decisions for this model (HTTP {error.status})"
        return error.with_message(message, hint=f"Leave out --by {method}.")
    is_incomplete = isinstance(error, IncompleteAnswerError) and not isinstance(error, RefusedAnswerError)
    if error is not None and (method is Method.SCHEMA or not is_incomplete):
        return error
    if method is not Method.SCHEMA:
        missing = "decision" if method is Method.DECISIONS else "probabilities of yes and no"
        return SchemaMismatchError(f"the endpoint returned no {missing}", hint=f"Leave out --by {method}.")
    return SchemaMismatchError(
        f"the answer is neither yes nor no: {shorten(' '.join(answer.text.split()), _MAX_QUOTED_LENGTH)}",
        hint="--json keeps the answer's text; a question with only these two answers, or another model, may work better.",
    )
