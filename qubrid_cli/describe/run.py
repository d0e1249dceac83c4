"""Describe images: prepared images become a request, and the events of its answer become a ``Description``.

``describe`` is a generator. It yields progress and pieces of the answer as they arrive, and last the ``Description``.
It calls nothing back; closing it closes the connection.
"""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn, Protocol

from ..client.answer import read_answer
from ..client.endpoint import Endpoint, Response
from ..client.events import (
    ChunkInfo,
    ErrorEvent,
    Finish,
    Probability,
    ReasoningDelta,
    Refusal,
    TextDelta,
    TextWasReasoning,
    TokenProbabilities,
    ToolCall,
    find_cut_off,
)
from ..client.request import ImagePart, Request, build_body
from ..client.retry import RetryLimits, RetryScheduled, with_retries
from ..errors import ContextOverflow, EndpointError, InterruptedByUserError, QvisionError
from ..frozen import frozen
from ..images.prepare import PendingImage, PreparedImage, PreparedImageOrLink
from ..metrics import Clock, Cost, Price, Stopwatch, clean_usage, find_cost, get_number
from .endings import build_incomplete_error, error_for_answer
from .repetition import Repetition, stop_at_repetition
from .result import Description, Preparing, Receiving, Refused, Repairing, Sending, UnpreparedImage, Writing

#: Tokens whose probabilities are kept: enough for the first word, after whitespace and markup.
_MAX_POSITIONS = 8
#: LiteLLM's, in US dollars.
_COST_HEADER = "x-litellm-response-cost"

Delta = TextDelta | ReasoningDelta | TextWasReasoning
Progress = Preparing | Sending | Receiving | Refused | RetryScheduled | Writing | Repairing
Item = Progress | Delta | Description
Items = Generator[Item, None, None]

_LATE_REASONING_WARNING = "the text before the answer was the model's reasoning, as its closing tag shows"


@frozen
class RequestOptions:
    """How requests about images are made, whatever their prompt.

    Attributes:
        labels: before each of several images, add a text part with its number and name.
        loop_check: end an answer that repeats itself.
        prices: the user's prices by model.
        first_answer: the ``first_answer`` of an earlier ``Description``. Its content is not requested again; usage, cost and time
            of the result are those of the other requests. ``describe`` itself makes only one request, and ignores it.
    """

    retry_limits: RetryLimits
    labels: bool = True
    loop_check: bool = True
    prices: Mapping[str, Price] = field(default_factory=dict)
    first_answer: Description | None = None
    clock: Clock = time.perf_counter

    def start_stopwatch(self) -> Stopwatch:
        """Make a stopwatch for all requests with these options together."""
        return Stopwatch(self.clock, self.retry_limits.max_time)

    def with_max_time(self, seconds: float | None) -> "RequestOptions":
        """Return a copy for a request that has this many seconds left; ``None`` for no limit."""
        return replace(self, retry_limits=replace(self.retry_limits, max_time=seconds))


class DescribeFunction(Protocol):
    """A function that makes one request about some images: ``describe``, ``Session.describe``, ``Judge.describe``."""

    def __call__(
        self, endpoint: Endpoint, request: Request, images: Sequence[PendingImage], options: RequestOptions
    ) -> Items:
        """Yield progress and pieces of the answer; the last item is the ``Description``."""


def collect(items: Iterable[Item]) -> Description:
    """Exhaust the items and return the last one."""
    (last,) = deque(items, maxlen=1)
    assert isinstance(last, Description)
    return last


@dataclass(slots=True)
class _Draft:
    """The answer while it arrives."""

    request: Request
    stopwatch: Stopwatch
    images: list[PreparedImageOrLink | UnpreparedImage]
    options: RequestOptions
    text_parts: list[str] = field(default_factory=list)
    reasoning_parts: list[str] = field(default_factory=list)
    chunk_info: ChunkInfo = field(default_factory=ChunkInfo)
    finish: Finish | None = None
    warnings: list[str] = field(default_factory=list)
    error: QvisionError | None = None
    overflow: ContextOverflow | None = None
    header_cost: str | None = None
    is_refused: bool = False
    tools: list[str] = field(default_factory=list)
    token_probabilities: tuple[dict[str, float], ...] = ()
    probability: float | None = None
    has_ended: bool = False  # and no text has followed

    @property
    def has_begun(self) -> bool:
        """Whether any part of the answer has arrived."""
        return bool(self.text_parts or self.reasoning_parts)

    def add_delta(self, delta: Delta) -> None:
        """Append a piece of the answer or of the reasoning."""
        self.stopwatch.mark_text()
        self.has_ended = False
        match delta:
            case TextDelta():
                self.text_parts.append(delta.text)
            case ReasoningDelta():
                self.reasoning_parts.append(delta.text)
            case TextWasReasoning():
                self.reasoning_parts += self.text_parts
                self.text_parts.clear()
                self.warnings.append(_LATE_REASONING_WARNING)

    def end_at_repetition(self, repetition: Repetition) -> NoReturn:
        """Keep the repeated text once, and raise the error."""
        parts = self.reasoning_parts if repetition.is_reasoning else self.text_parts
        parts[:] = ["".join(parts)[: repetition.end]]
        raise repetition.build_error()

    def record_finish(self, reason: str | None) -> None:
        """Record the end of the answer: the first reason, unless a later one says that the answer was cut off."""
        self.stopwatch.mark_end()
        self.has_ended = True
        recorded = self.finish.reason if self.finish else None
        if recorded is None or (find_cut_off(recorded) is None and find_cut_off(reason) is not None):
            self.finish = Finish(reason)

    def record_refusal_or_probability(self, event: Refusal | TokenProbabilities | Probability) -> None:
        """Record a refusal, or the probabilities that come with a text or in place of it."""
        match event:
            case Refusal():
                self.is_refused = True
            case TokenProbabilities():
                self.token_probabilities = (*self.token_probabilities, *event.positions)[:_MAX_POSITIONS]
            case Probability():
                self.probability = event.value

    def forget_attempt(self) -> None:
        """Reset what a failed attempt has set, except the warnings; no text arrived in it."""
        self.chunk_info, self.finish = ChunkInfo(), None
        self.token_probabilities = ()
        self.is_refused = self.has_ended = False
        self.tools.clear()

    def clean_usage(self) -> None:
        """Drop impossible figures, with a warning."""
        usage, dropped = clean_usage(self.chunk_info.usage or {})
        if dropped:
            self.warnings.append(f"impossible figures in the endpoint's usage were dropped: {', '.join(dropped)}")
        if usage != self.chunk_info.usage:
            self.chunk_info = replace(self.chunk_info, usage=usage or None)

    def raise_if_unusable(self) -> None:
        """Raise an error if the answer was cut off or refused, or has no text."""
        if self.request.is_decision and self.probability is not None:
            return
        error = error_for_answer(
            "".join(self.text_parts),
            "".join(self.reasoning_parts),
            finish=self.finish,
            is_refused=self.is_refused,
            tools=self.tools,
            usage=self.chunk_info.usage,
        )
        if error is not None:
            raise error

    def build_description(self) -> Description:
        """Build the ``Description`` of the finished request."""
        prepared = [image for image in self.images if isinstance(image, PreparedImage)]
        return Description(
            prompt=self.request.prompt,
            model=self.chunk_info.model or self.request.model,
            requested_model=self.request.model,
            images=tuple(self.images),
            text="".join(self.text_parts),
            reasoning="".join(self.reasoning_parts) or None,
            complete=self.error is None,
            finish_reason=self.finish.reason if self.finish else None,
            id=self.chunk_info.id,
            usage=self.chunk_info.usage,
            metrics=self.chunk_info.metrics,
            timing=self.stopwatch.build_timing(
                prepare_seconds=sum(image.prepare_seconds for image in prepared) if prepared else None,
                completion_tokens=get_number(self.chunk_info.usage, "completion_tokens"),
            ),
            cost=self._find_cost(),
            warnings=(*self.warnings, *self._note_thinking()),
            error=self.error,
            refused_parameters=self.request.dropped,
            overflow=self.overflow,
            detail=None if "detail" in self.request.dropped else self.request.detail,
            request=self.request,
            token_probabilities=self.token_probabilities,
            probability=self.probability,
        )

    def _find_cost(self) -> Cost | None:
        info = self.chunk_info
        other_costs = (info.cost, (info.metrics or {}).get("cost"), self.header_cost)
        return find_cost(self.options.prices, self.request.model, info.model, info.usage, *other_costs)

    def _note_thinking(self) -> Iterator[str]:
        """The note about what was sent for ``--think``, if there is an answer that shows its effect."""
        thinking = self.request.thinking
        if thinking is not None and not thinking.is_implied and (self.error is None or self.has_begun):
            from ..client.thinking import describe_thinking

            yield describe_thinking(self.request, has_thought=bool(self.reasoning_parts))


def describe(endpoint: Endpoint, request: Request, images: Sequence[PendingImage], options: RequestOptions) -> Items:
    """Make one request; yield progress and pieces of the answer, and last the ``Description``.

    Failures of images, network and endpoint are not raised, but returned as the ``error`` of the ``Description``.

    Args:
        request: its images are added here; if it has image parts already, these are sent, with their labels.
        images: the images, which other threads are preparing.
    """
    draft = _Draft(request, options.start_stopwatch(), [UnpreparedImage(image.name) for image in images], options)
    try:
        yield from _add_images(draft, images)
        send = partial(_request_with_fallbacks, draft, endpoint)
        yield from with_retries(send, options.retry_limits, draft.stopwatch, endpoint.host)
        draft.raise_if_unusable()
    except QvisionError as error:
        draft.error = error
        if draft.overflow is not None:
            from .fallbacks import correct_hint

            draft.error = correct_hint(error, draft.overflow)
    except KeyboardInterrupt as error:
        incomplete = "; the answer is incomplete" if draft.has_begun and draft.finish is None else ""
        draft.error = InterruptedByUserError(f"stopped by Ctrl-C{incomplete}", cause=error)
    yield draft.build_description()


def _add_images(draft: _Draft, images: Sequence[PendingImage]) -> Iterator[Item]:
    """Wait for the prepared images and put them into the request."""
    prepared = []
    for index, pending in enumerate(images):
        yield Preparing(pending.name)
        image = pending.wait()
        draft.images[index] = image
        prepared.append(image)
        if isinstance(image, PreparedImage):
            draft.warnings += image.warnings
    if draft.request.images:  # in a conversation, images are numbered across messages, so they are labeled already
        return
    if len(prepared) == 1 and not (isinstance(prepared[0], PreparedImage) and prepared[0].upload.tiles):
        parts: tuple[ImagePart, ...] = (ImagePart(prepared[0].url),)
    else:
        from .prompt import build_parts

        parts = build_parts(prepared, labels=draft.options.labels)
    draft.request = replace(draft.request, images=parts)


def _request_with_fallbacks(draft: _Draft, endpoint: Endpoint) -> Iterator[Item]:
    """Send the request; after an error that a change to the request avoids, send the changed request."""
    while True:
        try:
            yield from _send_once(draft, endpoint)
        except EndpointError as error:
            from . import fallbacks  # most requests need none

            fallback = fallbacks.find_fallback(draft.request, error, earlier_overflow=draft.overflow)
            if fallback is None:
                raise fallbacks.suggest_max_pixels(error, draft.request, draft.images) from error.__cause__
            draft.request, warning = fallback
            draft.overflow = error.context or draft.overflow
            draft.warnings.append(warning)
        else:
            return


def _send_once(draft: _Draft, endpoint: Endpoint) -> Iterator[Item]:
    """Send the request once and read the response.

    Raises:
        EndpointError: the exchange failed before any part of the answer arrived, so the request can be repeated.
        IncompleteAnswerError: it failed after a part had arrived.
    """
    body = build_body(draft.request)
    sent = threading.Event()
    yield Sending(endpoint.format_route(body.path), len(body), sent, draft.request)
    draft.stopwatch.mark_sent()
    draft.forget_attempt()
    try:
        with endpoint.request_completion(body, sent=sent, within=draft.stopwatch.seconds_left()) as response:
            yield Receiving(response.status, response.request_id, response.seconds)
            draft.header_cost = response.headers.get(_COST_HEADER)
            if not response.is_success:
                raise endpoint.read_error(response)
            yield from _read_events(draft, endpoint, response)
    except EndpointError as error:
        if draft.has_ended and draft.text_parts:  # the answer is finished; only metrics were outstanding
            return
        if error.body is not None:
            yield Refused(error.body)
        if draft.has_begun:
            raise build_incomplete_error(error) from error
        raise
    finally:
        draft.clean_usage()


def _read_events(draft: _Draft, endpoint: Endpoint, response: Response) -> Iterator[Item]:
    chunks = _mark_reads(response.iter_chunks(), draft.stopwatch)
    events = read_answer(chunks, model=draft.request.model, redact=endpoint.redact)
    for event in stop_at_repetition(events) if draft.options.loop_check else events:
        match event:
            case TextDelta() | ReasoningDelta() | TextWasReasoning():
                if draft.has_ended:  # some servers put a finish_reason on every chunk
                    response.restore_wait()
                draft.add_delta(event)
                yield event
            case ChunkInfo():
                draft.chunk_info = ChunkInfo(**draft.chunk_info.to_dict() | endpoint.redact_json(event.to_dict()))
            case Finish():
                draft.record_finish(endpoint.redact_json(event.reason))
                response.limit_wait(is_done=event.reason is None)
            case Repetition():
                draft.end_at_repetition(event)
            case Refusal() | TokenProbabilities() | Probability():
                draft.record_refusal_or_probability(event)
            case ToolCall():
                draft.tools.append(endpoint.redact(event.name))
            case ErrorEvent():
                raise endpoint.interpret_error(event.payload, response)


def _mark_reads(chunks: Iterable[bytes], stopwatch: Stopwatch) -> Iterator[bytes]:
    for chunk in chunks:
        stopwatch.mark_read()
        yield chunk
