"""The heart: one request about some images becomes one answer, as an iterator whose last item is the whole of it.

Nothing calls back and nothing is half filled: whoever shows or records an answer pulls. Closing the iterator closes
the connection.
"""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import chat, endings, prompts, replies
from .deltas import Reasoning, Text
from .endpoint import Endpoint
from .errors import EndpointError, QvisionError, StoppedError
from .images import Encoded, Preparation, Prepared
from .metrics import Clock, Stopwatch, Timing, number
from .progress import Preparing, Receiving, Sending
from .response import Response

#: Characters; the longest context of any model, a few million tokens, is far below it.
_MAX_ANSWER = 64_000_000


@dataclass(frozen=True, slots=True)
class Unprepared:
    """An image that could not be prepared, or was not needed any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Description:
    """A finished request: the answer or what there is of it, and what became of everything.

    Attributes:
        prompt: as it was sent; ``None`` where it did not come to that, as with ``model`` and ``asked_model``.
        model: what the server says it was, else what was asked for.
        images: all that were named, in order.
        complete: the model came to its end.
        usage: as the server sent it, as ``metrics``, which is ``x_metrics`` or what it has in place of it.
        error: why it is no success, else ``None``.
    """

    prompt: str | None = None
    model: str | None = None
    asked_model: str | None = None
    images: tuple[Prepared | Unprepared, ...] = ()
    text: str = ""
    reasoning: str | None = None
    complete: bool = False
    finish_reason: str | None = None
    id: str | None = None
    usage: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    timing: Timing = field(default_factory=Timing)
    warnings: tuple[str, ...] = ()
    error: QvisionError | None = None

    @property
    def has_answer(self) -> bool:
        """Whether anything of an answer came, so that there is something to count."""
        return bool(self.text or self.reasoning or self.complete)


Item = Preparing | Sending | Receiving | Text | Reasoning | Description
Items = Generator[Item, None, None]


def finished(items: Iterable[Item]) -> Description:
    """Pull everything and keep the end."""
    (last,) = deque(items, maxlen=1)
    assert isinstance(last, Description)
    return last


def describe(
    endpoint: Endpoint,
    request: chat.Request,
    images: Sequence[Preparation],
    *,
    labels: bool,
    clock: Clock = time.perf_counter,
) -> Items:
    """Prepare, ask, and give out what happens and what arrives; the last item is the ``Description``.

    Whatever goes wrong with the images, the network or the answer is in its ``error``; nothing of ours is raised.

    Args:
        request: what to ask; the pictures are put in here.
        images: prepared in threads meanwhile.
        labels: several images are named, each in a text part before it.
    """
    draft = _Draft(request, Stopwatch(clock), [Unprepared(image.name) for image in images])
    try:
        yield from _prepared(draft, images, labels=labels)
        yield from _asked(draft, endpoint)
        draft.check_the_end()
    except QvisionError as error:
        draft.fail(error)
    except KeyboardInterrupt as error:
        stopped = StoppedError("stopped by Ctrl-C" + ("; the answer is incomplete" if draft.has_begun else ""))
        stopped.__cause__ = error
        draft.error = stopped
    yield draft.description()


@dataclass(slots=True)
class _Draft:
    """The answer while it grows; nobody outside of this module sees it."""

    request: chat.Request
    watch: Stopwatch
    images: list[Prepared | Unprepared]
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    facts: chat.Facts = field(default_factory=chat.Facts)
    finish: chat.Finish | None = None
    warnings: list[str] = field(default_factory=list)
    error: QvisionError | None = None
    size: int = 0

    @property
    def has_begun(self) -> bool:
        return bool(self.texts or self.thoughts)

    def add(self, text: str) -> None:
        """Take a piece of the answer, as long as it is one: nothing else would end what a broken server sends."""
        self.texts.append(text)
        self.size += len(text)
        if self.size > _MAX_ANSWER:
            raise EndpointError("it grew over 64 million characters", hint="Lower --max-tokens.", code="too_long")

    def learn(self, facts: chat.Facts) -> None:
        """Take over what a chunk tells; what it leaves out stays."""
        told = {
            name: value for name in ("id", "model", "usage", "metrics") if (value := getattr(facts, name)) is not None
        }
        self.facts = replace(self.facts, **told)

    def end(self, finish: chat.Finish) -> None:
        """The answer has ended; the first reason given stays."""
        self.watch.end()
        if self.finish is None or self.finish.reason is None:
            self.finish = finish

    def check_the_end(self) -> None:
        """Raise where the answer was cut."""
        error = endings.cut(self.finish.reason if self.finish else None, announced=self.finish is not None)
        if error is not None:
            raise error
        if not self.texts:
            self.warnings.append("the model answered with no text at all")

    def fail(self, error: QvisionError) -> None:
        """An endpoint that fails when an answer had begun leaves an incomplete answer."""
        self.error = endings.broken(error) if self.has_begun and isinstance(error, EndpointError) else error

    def description(self) -> Description:
        encoded = [image for image in self.images if isinstance(image, Encoded)]
        return Description(
            prompt=self.request.prompt,
            model=self.facts.model or self.request.model,
            asked_model=self.request.model,
            images=tuple(self.images),
            text="".join(self.texts),
            reasoning="".join(self.thoughts) or None,
            complete=self.error is None,
            finish_reason=self.finish.reason if self.finish else None,
            id=self.facts.id,
            usage=self.facts.usage,
            metrics=self.facts.metrics,
            timing=self.watch.timing(
                prepare_seconds=sum(image.seconds for image in encoded) if encoded else None,
                completion_tokens=number(self.facts.usage, "completion_tokens"),
            ),
            warnings=tuple(self.warnings),
            error=self.error,
        )


def _prepared(draft: _Draft, images: Sequence[Preparation], *, labels: bool) -> Iterator[Item]:
    pictures = []
    for place, preparation in enumerate(images):
        yield Preparing(preparation.name)
        image = preparation.future.result()
        draft.images[place] = image
        if isinstance(image, Encoded):
            draft.warnings += image.warnings
        label = prompts.label(place + 1, image.name) if labels and len(images) > 1 else None
        pictures.append(chat.Picture(image.url, label))
    draft.request = replace(draft.request, pictures=tuple(pictures))


def _asked(draft: _Draft, endpoint: Endpoint) -> Iterator[Item]:
    """Ask; and once more without what the endpoint refused, where that can be left out."""
    while True:
        try:
            yield from _exchange(draft, endpoint)
        except EndpointError as error:
            way_out = None if draft.has_begun else chat.simpler(draft.request, error)
            if way_out is None:
                raise
            draft.request, warning = way_out
            draft.warnings.append(warning)
        else:
            return


def _exchange(draft: _Draft, endpoint: Endpoint) -> Iterator[Item]:
    body = chat.body(draft.request)
    sent = threading.Event()
    yield Sending(str(endpoint.url), len(body), sent)
    draft.watch.send()
    with endpoint.ask(body, sent=sent) as answer:
        yield Receiving(answer.status, answer.request_id, answer.seconds)
        try:
            yield from _received(draft, endpoint, answer)
        except EndpointError:
            if draft.finish is None:  # behind the end, only late metrics were still awaited
                raise


def _received(draft: _Draft, endpoint: Endpoint, answer: Response) -> Iterator[Item]:
    for event in replies.events(answer.chunks(), clean=endpoint.clean):
        match event:
            case Text():
                draft.watch.piece()
                draft.add(event.text)
                yield event
            case Reasoning():
                draft.watch.piece()
                draft.thoughts.append(event.text)
                yield event
            case chat.Facts():
                draft.learn(event)
            case chat.Finish():
                draft.end(event)
                answer.end_soon(announced=event.reason is None)
            case chat.Problem():
                raise endpoint.refused(event.payload, status=answer.status, request_id=answer.request_id)
