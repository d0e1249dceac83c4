"""The items that ``describe`` yields: progress, and last the ``Description``."""

import threading
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from ..errors import ContextOverflow, QvisionError
from ..frozen import frozen
from ..metrics import Cost, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..client.request import Request
    from ..images.prepare import PreparedImageOrLink
    from .verdicts import Verdict


@frozen
class Preparing:
    """An image is being prepared."""

    name: str


@frozen
class Sending:
    """A request of ``size`` bytes is being sent to ``url``; ``sent`` is set after the last byte.

    Attributes:
        request: the request as it is sent, with its images.
    """

    url: str
    size: int
    sent: threading.Event
    request: "Request"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the body, without the model and the messages."""
        from ..client.request import build_fields

        return build_fields(self.request)


@frozen
class Receiving:
    """The headers of the response have arrived, ``seconds`` after the request was sent."""

    status: int
    request_id: str | None
    seconds: float


@frozen
class Writing:
    """A piece of the answer has arrived; its text is not shown before the answer is complete."""


@frozen
class Repairing:
    """The answer does not fit the schema, so a second one is requested; ``problem`` is the first thing wrong with it."""

    problem: str


@frozen
class Refused:
    """The endpoint answered with an error; ``body`` is the whole response, without secrets."""

    body: str


@frozen
class UnpreparedImage:
    """An image that could not be prepared, or that was no longer needed."""

    name: str


@frozen
class Description:
    """The outcome of a request: the answer, or the part of it that arrived, and the facts about it.

    Attributes:
        prompt: the prompt as it was sent; ``None`` if the request failed before it was known, like ``model``.
        model: the model that the server names, else the requested one.
        images: all images of the request, in order.
        complete: whether the model finished its answer.
        usage: as the server sent it, without impossible figures.
        metrics: the server's ``x_metrics`` or its equivalent, unchanged.
        cost: ``None`` if the endpoint reports none, and the price of the model or the usage is unknown.
        error: why the request failed; ``None`` after a success.
        data: the value in the text, if the request has a schema and the answer fits it.
        refused_parameters: the parameters that the endpoint refused, as in ``Request.dropped``.
        overflow: why ``max_tokens`` was lowered or dropped; ``None`` if it was not.
        detail: how closely the model looked at the images; ``None`` if the endpoint decided.
        request: the parameters as they were sent; ``None`` if the request was never built.
        first_answer: what a retry can build on, if a later request failed: an answer that does not fit the schema, the texts of
            the first tiles, or the votes so far.
        token_probabilities: for each of the first tokens, its probability and those of some alternatives, if they were
            requested.
        probability: the probability that the prompt is true, from a decision endpoint.
        votes: the verdicts so far, if a yes-or-no question is asked several times.
        tile_texts: the texts of the tiles that were read, if each tile has its own request.
    """

    prompt: str | None = None
    model: str | None = None
    requested_model: str | None = None
    images: "tuple[PreparedImageOrLink | UnpreparedImage, ...]" = ()
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
    refused_parameters: frozenset[str] = frozenset()
    overflow: ContextOverflow | None = None
    detail: str | None = None
    request: "Request | None" = None
    first_answer: "Description | None" = None
    tile_texts: tuple[str, ...] = ()
    votes: "tuple[Verdict, ...]" = ()
    token_probabilities: "tuple[Mapping[str, float], ...]" = ()
    probability: float | None = None

    def __str__(self) -> str:
        """The text of the answer."""
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """The record: the object that ``qvision describe --json`` prints; it can be encoded as JSON."""
        from .record import json_object

        return json_object(self)

    def drop_data(self) -> "Description":
        """Return a copy without the files that were sent, which are large."""
        from ..images.prepare import PreparedImage

        images = tuple(image.drop_data() if isinstance(image, PreparedImage) else image for image in self.images)
        request = self.request and replace(self.request, images=())
        return replace(self, images=images, request=request, first_answer=None)

    @property
    def has_answer(self) -> bool:
        """Whether any part of an answer arrived, so that there are statistics to show."""
        return bool(self.text or self.reasoning or self.complete)
