"""The answer while it grows, and the whole of it: what was asked, what came, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import chat, endings, events
from .costs import Cost, Price, cost
from .errors import EndpointError, QvisionError
from .frozen import frozen
from .images import Encoded, Prepared
from .metrics import Stopwatch, Timing, number

#: Characters; the longest context of any model, a few million tokens, is far below it.
_MAX_ANSWER = 64_000_000


@frozen
class Unprepared:
    """An image that could not be prepared, or was not needed any more."""

    name: str


@frozen
class Description:
    """A finished request: the answer or what there is of it, and what became of everything.

    Attributes:
        prompt: as it was sent; ``None`` where it did not come to that, as with ``model`` and ``asked_model``.
        model: what the server says it was, else what was asked for.
        images: all that were named, in order.
        complete: the model came to its end.
        usage: as the server sent it, as ``metrics``, which is ``x_metrics`` or what it has in place of it.
        cost: ``None`` without a price of the user's, or without a usage.
        error: why it is no success, else ``None``.
        data: the value in the text, where it had to fit a schema and does.
        refused: what the endpoint does not take, as ``chat.Request.without``.
        first: the answer that did not fit and that this one was to put right, where that came to nothing.
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
    cost: Cost | None = None
    warnings: tuple[str, ...] = ()
    error: QvisionError | None = None
    data: Any = None
    refused: frozenset[str] = frozenset()
    first: "Description | None" = None

    @property
    def has_answer(self) -> bool:
        """Whether anything of an answer came, so that there is something to count."""
        return bool(self.text or self.reasoning or self.complete)


@dataclass(slots=True)
class Draft:
    """The answer while it grows; only ``description`` sees it."""

    request: chat.Request
    watch: Stopwatch
    images: list[Prepared | Unprepared]
    prices: Mapping[str, Price] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    facts: events.Facts = field(default_factory=events.Facts)
    finish: events.Finish | None = None
    warnings: list[str] = field(default_factory=list)
    error: QvisionError | None = None
    size: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether anything of an answer has come, so that it must not be asked for again."""
        return bool(self.texts or self.thoughts)

    def begin(self) -> None:
        """The request goes out, for the first time or anew: what a failed try told does not count."""
        self.watch.send()
        self.facts, self.finish = events.Facts(), None

    def add(self, text: str) -> None:
        """Take a piece of the answer, as long as it is one: nothing else would end what a broken server sends."""
        self.texts.append(text)
        self.size += len(text)
        if self.size > _MAX_ANSWER:
            raise EndpointError("it grew over 64 million characters", hint="Lower --max-tokens.", code="too_long")

    def learn(self, told: dict[str, Any]) -> None:
        """Take over what a chunk tells; what it leaves out stays."""
        self.facts = replace(self.facts, **told)

    def end(self, finish: events.Finish) -> None:
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
        """All of it, finished."""
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
            cost=cost(self.prices, self.request.model, self.facts.model, self.facts.usage),
            warnings=tuple(self.warnings),
            error=self.error,
            refused=self.request.without,
        )
