"""The work on one image of a run, step by step: read it, prepare it, ask about it, and what came of that.

Every step takes and returns plain data that can go to another process or machine; only the endpoint stays where it is.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, field, replace
from functools import partial
from io import BytesIO
from typing import Any

from . import (
    chat,
    description,
    entries,
    finding,
    images,
    links,
    payload,
    placeholders,
    reading,
    records,
    repairs,
    sources,
    tokens,
    urls,
)
from .costs import Price
from .description import Items
from .draft import Description, Unprepared
from .endpoint import Endpoint
from .errors import ImageError, QvisionError, UsageError
from .finding import Task
from .frozen import frozen
from .retries import Patience

#: Whoever leads the run decides when to ask again.
_ONCE = Patience(retries=0)
#: What does not shape the answer: how it travels, and what is put in for each image.
_NOT_IN_THE_KEY = {"pictures", "stream", "without"}
#: A guess at the tokens of an image whose model has an arithmetic that is not known: those of Qwen3-VL at its largest.
_IMAGE_TOKENS = 2_562
_CHARACTERS_PER_TOKEN = 4


@frozen
class Question:
    """What is asked of every image of a run, and how the images are sent.

    Attributes:
        facets: what shapes the answers beside the request and the limits.
        prices: by the model's name.
    """

    request: chat.Request
    limits: payload.Limits
    facets: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)

    def of(self, task: Task) -> chat.Request:
        """The request for one image, whose prompt may be its own, with what stands for the image put in."""
        request = self.request
        prompt, system = request.prompt if task.prompt is None else task.prompt, request.system
        if "{" not in prompt + (system or "") and "}" not in prompt + (system or ""):
            return replace(request, prompt=prompt)
        known = placeholders.values(_source(task), task.index)
        expanded = None if system is None else placeholders.expanded(system, known)
        return replace(request, prompt=placeholders.expanded(prompt, known), system=expanded)

    def key(self, task: Task, image: str) -> str:
        """The name of an answer: of all that shapes it, so that what is known need not be asked again.

        Args:
            image: the SHA-256 of its bytes, or its URL.
        """
        request = asdict(self.of(task))
        told = {name: value for name, value in request.items() if name not in _NOT_IN_THE_KEY}
        return entries.key(image, {**told, "limits": asdict(self.limits), **self.facets})


@frozen
class Read:
    """An image whose bytes are at hand, or a link; ``notes`` tell how they came."""

    task: Task
    source: sources.Bytes | sources.Link
    key: str
    notes: tuple[str, ...] = ()


@frozen
class Ready:
    """An image that can be sent.

    Attributes:
        tokens: what asking will take, less the answer, in all probability.
        first: an answer that there is already, and that only needs to be put right.
    """

    task: Task
    key: str
    image: images.Prepared
    tokens: int
    first: Description | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file, and of what is sent; of a link neither is known."""
        return (self.image.size, len(self.image.sent.data)) if isinstance(self.image, images.Encoded) else (0, 0)


@frozen
class Answer:
    """What came of asking once.

    Attributes:
        record: the object that ``--json`` prints.
        refused: fields of the request that the endpoint does not take.
        taken: the same without what was paid for by an earlier try; ``None`` where there was none.
        first: an answer that was not put right, so that only this need be tried again.
    """

    record: dict[str, Any]
    error: QvisionError | None = None
    refused: frozenset[str] = frozenset()
    taken: dict[str, Any] | None = None
    first: Description | None = None

    @property
    def cost(self) -> dict[str, Any]:
        """The record of what this try took."""
        return self.record if self.taken is None else self.taken


def read(task: Task, source: sources.Source, question: Question) -> Read:
    """The bytes of an image, and by them the name of its answer.

    Raises:
        ImageError: missing or unreadable.
    """
    if isinstance(source, sources.Link):
        return Read(task, source, question.key(task, source.url))
    data = reading.read(source)
    notes = (source.note,) if isinstance(source, sources.Remote) and source.note else ()
    key = question.key(task, hashlib.sha256(data).hexdigest())
    return Read(task, sources.Bytes(source.name, data), key, notes)


def prepare(found: Read, question: Question) -> Ready:
    """Make an image ready to be sent.

    Raises:
        ImageError: it is no image, damaged, or cannot be sent.
    """
    source = found.source
    if isinstance(source, sources.Link):
        return Ready(found.task, found.key, source, _tokens(source, question.of(found.task)))
    image = images.encode(source, question.limits)
    image = replace(image, warnings=found.notes + image.warnings)
    return Ready(found.task, found.key, image, _tokens(image, question.of(found.task)))


def _tokens(image: images.Prepared, request: chat.Request) -> int:
    looked_at = None
    if isinstance(image, images.Encoded):
        looked_at = tokens.estimate(image.sent.width, image.sent.height, request.model)
    text = len(request.prompt) + len(request.system or "")
    return (looked_at or _IMAGE_TOKENS) + text // _CHARACTERS_PER_TOKEN


def ask(ready: Ready, question: Question, endpoint: Endpoint, describe: Callable[..., Items]) -> Answer:
    """Ask about an image, once. What goes wrong is in the answer; nothing of ours is raised.

    Args:
        describe: ``description.describe``, or what takes its place where answers must fit a schema.
    """
    if isinstance(ready.image, sources.Link):
        endpoint.guard(links.secrets([ready.image]))
    future: Future[images.Prepared] = Future()
    future.set_result(ready.image)
    asked = describe if ready.first is None else partial(describe, first=ready.first)
    items = asked(
        endpoint,
        question.of(ready.task),
        (images.Preparation(ready.image.name, future),),
        labels=False,
        patience=_ONCE,
        prices=question.prices,
    )
    found = description.finished(items)
    if ready.first is None:
        return Answer(records.json_object(found), found.error, found.refused, first=found.first)
    record = records.json_object(repairs.both(ready.first, found))
    return Answer(record, found.error, found.refused, records.json_object(found), found.first)


def failed(answer: Answer, error: QvisionError) -> Answer:
    """An answer that came to nothing after all."""
    return replace(answer, record={**answer.record, "ok": False, "error": records.json_error(error)}, error=error)


def unanswered(task: Task, question: Question, error: QvisionError) -> Answer:
    """What there is to say of an image that was never sent."""
    request = question.request
    try:
        request = question.of(task)
    except UsageError:  # a slip in its own prompt, which is what the error is about
        request = replace(request, prompt=task.prompt or request.prompt)
    unprepared = Description(
        prompt=request.prompt,
        model=request.model,
        asked_model=request.model,
        images=(Unprepared(_source(task).name),),
        error=error,
    )
    return Answer(records.json_object(unprepared), error)


def _source(task: Task) -> sources.Source:
    """An image, as far as its name tells."""
    try:
        return finding.source_of(task, BytesIO())
    except ImageError:
        return sources.Bytes(urls.shown(task.source), b"")
