"""The heart: one request about some images becomes one answer, as an iterator whose last item is the whole of it.

Nothing calls back and nothing is half filled: whoever shows or records an answer pulls. Closing the iterator closes
the connection.
"""

# MERGED DOCSTRING of qubrid_cli.draft: The answer while it grows, and the whole of it: what was asked, what came, and what became of it.

# MERGED DOCSTRING of qubrid_cli.rehearsal: What a request would send, without sending it: for whoever wants to see what leaves the machine, and what it costs.

import itertools
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..client import events
from ..client.deltas import ReasoningDelta, TextDelta
from ..client.endpoint import Endpoint, Response
from ..client.request import Request, build_body, drop_refused_field
from ..client.retry import RetryLimits, RetryScheduled
from ..describe import prompt
from ..errors import EndpointError, InterruptedByUserError, QvisionError
from ..images.prepare import PendingImage, PreparedImage, PreparedImageOrLink
from ..metrics import Clock, Price, Stopwatch, compute_cost, get_number
from . import result
from .result import Description, Preparing, Receiving, Repairing, Sending, UnpreparedImage, Writing

#: Characters; the longest context of any model, a few million tokens, is far below it.
_MAX_ANSWER_LENGTH = 64_000_000


@dataclass(slots=True)
class Draft:
    """The answer while it grows; only ``build_description`` sees it."""

    request: Request
    stopwatch: Stopwatch
    images: list[PreparedImageOrLink | UnpreparedImage]
    prices: Mapping[str, Price] = field(default_factory=dict)
    text_parts: list[str] = field(default_factory=list)
    reasoning_parts: list[str] = field(default_factory=list)
    chunk_info: events.ChunkInfo = field(default_factory=events.ChunkInfo)
    finish: events.Finish | None = None
    warnings: list[str] = field(default_factory=list)
    error: QvisionError | None = None
    text_length: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether anything of an answer has come, so that it must not be asked for again."""
        return bool(self.text_parts or self.reasoning_parts)

    def start_attempt(self) -> None:
        """The request goes out, for the first time or anew: what a failed try told does not count."""
        self.stopwatch.mark_sent()
        self.chunk_info, self.finish = events.ChunkInfo(), None

    def append_text(self, text: str) -> None:
        """Take a piece of the answer, as long as it is one: nothing else would end what a broken server sends."""
        self.text_parts.append(text)
        self.text_length += len(text)
        if self.text_length > _MAX_ANSWER_LENGTH:
            raise EndpointError("it grew over 64 million characters", hint="Lower --max-tokens.", code="too_long")

    def update_chunk_info(self, changes: dict[str, Any]) -> None:
        """Take over what a chunk tells; what it leaves out stays."""
        self.chunk_info = replace(self.chunk_info, **changes)

    def record_finish(self, finish: events.Finish) -> None:
        """The answer has ended; the first reason given stays."""
        self.stopwatch.mark_end()
        if self.finish is None or self.finish.reason is None:
            self.finish = finish

    def raise_if_incomplete(self) -> None:
        """Raise where the answer was cut."""
        error = result.error_for_finish_reason(
            self.finish.reason if self.finish else None, announced=self.finish is not None
        )
        if error is not None:
            raise error
        if not self.text_parts:
            self.warnings.append("the model answered with no text at all")

    def record_error(self, error: QvisionError) -> None:
        """An endpoint that fails when an answer had begun leaves an incomplete answer."""
        self.error = result.incomplete_because(error) if self.has_begun and isinstance(error, EndpointError) else error

    def build_description(self) -> Description:
        """All of it, finished."""
        encoded = [image for image in self.images if isinstance(image, PreparedImage)]
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
                prepare_seconds=sum(image.prepare_seconds for image in encoded) if encoded else None,
                completion_tokens=get_number(self.chunk_info.usage, "completion_tokens"),
            ),
            cost=compute_cost(self.prices, self.request.model, self.chunk_info.model, self.chunk_info.usage),
            warnings=tuple(self.warnings),
            error=self.error,
            refused_parameters=self.request.dropped,
        )


Item = Preparing | Sending | Receiving | RetryScheduled | Writing | Repairing | TextDelta | ReasoningDelta | Description
Items = Generator[Item, None, None]


class DescribeFunction(Protocol):
    """A function that makes one request about some images: ``describe``, or ``Session.describe`` with a schema."""

    def __call__(
        self,
        endpoint: Endpoint,
        request: Request,
        images: Sequence[PendingImage],
        *,
        labels: bool,
        retry_limits: RetryLimits,
        prices: Mapping[str, Price] = ...,
        clock: Clock = ...,
    ) -> Items:
        """Yield what happens and what arrives; the last item is the ``Description``."""


def collect(items: Iterable[Item]) -> Description:
    """Pull everything and keep the end."""
    (last,) = deque(items, maxlen=1)
    assert isinstance(last, Description)
    return last


def describe(
    endpoint: Endpoint,
    request: Request,
    images: Sequence[PendingImage],
    *,
    labels: bool,
    retry_limits: RetryLimits,
    prices: Mapping[str, Price] = {},
    clock: Clock = time.perf_counter,
) -> Items:
    """Prepare, ask, and give out what happens and what arrives; the last item is the ``Description``.

    Whatever goes wrong with the images, the network or the answer is in its ``error``; nothing of ours is raised.

    Args:
        request: what to ask; the pictures are put in here.
        images: prepared in threads meanwhile.
        labels: several images are named, each in a text part before it.
        prices: by the model's name.
    """
    draft = Draft(
        request, Stopwatch(clock, retry_limits.max_time), [UnpreparedImage(image.name) for image in images], prices
    )
    try:
        yield from _collect_images(draft, images, labels=labels)
        yield from _request_with_retries(draft, endpoint, retry_limits)
        draft.raise_if_incomplete()
    except QvisionError as error:
        draft.record_error(error)
    except KeyboardInterrupt as error:
        incomplete = "; the answer is incomplete" if draft.has_begun and draft.finish is None else ""
        draft.error = InterruptedByUserError(f"stopped by Ctrl-C{incomplete}", cause=error)
    yield draft.build_description()


def _collect_images(draft: Draft, images: Sequence[PendingImage], *, labels: bool) -> Iterator[Item]:
    prepared = []
    for place, preparation in enumerate(images):
        yield Preparing(preparation.name)
        image = preparation.future.result()
        draft.images[place] = image
        prepared.append(image)
        if isinstance(image, PreparedImage):
            draft.warnings += image.warnings
    draft.request = replace(draft.request, images=prompt.build_image_parts(prepared, labels=labels))


def _request_with_retries(draft: Draft, endpoint: Endpoint, retry_limits: RetryLimits) -> Iterator[Item]:
    """Ask, and again when what went wrong may pass; never once anything of an answer has come."""
    for attempt in itertools.count(1):
        try:
            yield from _request_with_fallbacks(draft, endpoint)
        except EndpointError as error:
            if draft.has_begun:
                raise
            seconds = retry_limits.compute_wait(error, attempt, seconds_left=draft.stopwatch.seconds_left())
            reason = f"{error.status} from {endpoint.host}" if error.status else error.message
            yield RetryScheduled(reason, seconds, attempt, retry_limits.retries)
        else:
            return
        time.sleep(seconds)


def _request_with_fallbacks(draft: Draft, endpoint: Endpoint) -> Iterator[Item]:
    """Ask; and once more without what the endpoint refused, where that can be left out."""
    while True:
        try:
            yield from _exchange(draft, endpoint)
        except EndpointError as error:
            way_out = None if draft.has_begun else drop_refused_field(draft.request, error)
            if way_out is None:
                raise
            draft.request, warning = way_out
            draft.warnings.append(warning)
        else:
            return


def _exchange(draft: Draft, endpoint: Endpoint) -> Iterator[Item]:
    body = build_body(draft.request)
    sent = threading.Event()
    yield Sending(str(endpoint.url), len(body), sent)
    draft.start_attempt()
    try:
        with endpoint.request_completion(body, sent=sent, within=draft.stopwatch.seconds_left()) as answer:
            yield Receiving(answer.status, answer.request_id, answer.seconds)
            if not answer.is_success:
                raise endpoint.read_error(answer)
            yield from _read_events(draft, endpoint, answer)
    except EndpointError:
        if draft.finish is None:  # behind the end, only late metrics were still awaited
            raise


def _read_events(draft: Draft, endpoint: Endpoint, answer: Response) -> Iterator[Item]:
    for event in events.read_answer(answer.iter_chunks(), redact=endpoint.redact):
        match event:
            case TextDelta():
                draft.stopwatch.mark_text()
                draft.append_text(event.text)
                yield event
            case ReasoningDelta():
                draft.stopwatch.mark_text()
                draft.reasoning_parts.append(event.text)
                yield event
            case events.ChunkInfo():
                draft.update_chunk_info(endpoint.redact_json(event.to_dict()))
            case events.Finish():
                draft.record_finish(events.Finish(endpoint.redact_json(event.reason)))
                answer.limit_wait(is_announced=event.reason is None)
            case events.ErrorEvent():
                raise endpoint.interpret_error(event.payload, answer)
