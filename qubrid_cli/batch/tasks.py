"""How an image of a run ends: with an answer, without one, or as known before; and what is written of that."""

# MERGED DOCSTRING of qubrid_cli.work: The work on one image of a run, step by step: read it, prepare it, ask about it, and what came of that. Every step takes and returns plain data that can go to another process or machine; only the endpoint stays where it is.

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, field, replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..client.endpoint import Endpoint
from ..client.request import Request
from ..client.retry import RetryLimits
from ..describe import run
from ..describe.prompt import expand_placeholders, placeholder_values
from ..describe.result import Description, UnpreparedImage
from ..errors import EndpointError, ImageError, QvisionError, UsageError
from ..frozen import frozen
from ..images import encode, prepare, sources, urls
from ..images.sources import Source
from ..images.tokens import estimate_prompt
from ..metrics import Price
from ..output.record import json_error, json_object
from . import entries, inputs
from .entries import Record
from .inputs import Task
from .sidecars import Sidecars

if TYPE_CHECKING:
    from ..describe.structured import Session

#: Whoever leads the run decides when to ask again.
_NO_RETRIES = RetryLimits(retries=0)
#: What does not shape the answer: how it travels, and what is put in for each image.
_FIELDS_NOT_IN_KEY = {"images", "stream", "dropped"}
#: A guess at the tokens of an image whose model has an arithmetic that is not known: those of Qwen3-VL at its largest.
_DEFAULT_IMAGE_TOKENS = 2_562


@frozen
class BatchRequest:
    """What is asked of every image of a run, and how the images are sent.

    Attributes:
        extra_key_fields: what shapes the answers beside the request and the limits.
        prices: by the model's name.
    """

    request: Request
    limits: encode.ImageLimits
    extra_key_fields: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)

    def build_request(self, task: Task) -> Request:
        """The request for one image, whose prompt may be its own, with what stands for the image put in."""
        request = self.request
        prompt, system = request.prompt if task.prompt is None else task.prompt, request.system
        if "{" not in prompt + (system or "") and "}" not in prompt + (system or ""):
            return replace(request, prompt=prompt)
        known = placeholder_values(_resolve_source_or_name(task), task.index)
        expanded = None if system is None else expand_placeholders(system, known)
        return replace(request, prompt=expand_placeholders(prompt, known), system=expanded)

    def compute_key(self, task: Task, image_id: str) -> str:
        """The name of an answer: of all that shapes it, so that what is known need not be asked again.

        Args:
            image_id: the SHA-256 of its bytes, or its URL.
        """
        request = asdict(self.build_request(task))
        told = {name: value for name, value in request.items() if name not in _FIELDS_NOT_IN_KEY}
        return entries.compute_key(image_id, {**told, "limits": asdict(self.limits), **self.extra_key_fields})


@frozen
class LoadedImage:
    """An image whose bytes are at hand, or a link; ``warnings`` tell how they came."""

    task: Task
    source: sources.Bytes | sources.Link
    key: str
    warnings: tuple[str, ...] = ()


@frozen
class ReadyImage:
    """An image that can be sent.

    Attributes:
        input_tokens: what asking will take, less the answer, in all probability.
        answer_to_repair: an answer that there is already, and that only needs to be put right.
    """

    task: Task
    key: str
    image: prepare.PreparedImageOrLink
    input_tokens: int
    answer_to_repair: Description | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file, and of what is sent; of a link neither is known."""
        return (
            (self.image.size, len(self.image.upload.data)) if isinstance(self.image, prepare.PreparedImage) else (0, 0)
        )


@frozen
class AttemptResult:
    """What came of asking once.

    Attributes:
        record: the object that ``--json`` prints.
        refused_fields: fields of the request that the endpoint does not take.
        attempt_record: the same without what was paid for by an earlier try; ``None`` where there was none.
        answer_to_repair: an answer that was not put right, so that only this need be tried again.
    """

    record: dict[str, Any]
    error: QvisionError | None = None
    refused_fields: frozenset[str] = frozenset()
    attempt_record: dict[str, Any] | None = None
    answer_to_repair: Description | None = None

    @property
    def billed_record(self) -> dict[str, Any]:
        """The record of what this try took."""
        return self.record if self.attempt_record is None else self.attempt_record


def load_image(task: Task, source: sources.Source, batch_request: BatchRequest) -> LoadedImage:
    """The bytes of an image, and by them the name of its answer.

    Raises:
        ImageError: missing or unreadable.
    """
    if isinstance(source, sources.Link):
        return LoadedImage(task, source, batch_request.compute_key(task, source.url))
    data = sources.read_bytes(source)
    notes = (source.note,) if isinstance(source, sources.FetchedLink) and source.note else ()
    key = batch_request.compute_key(task, hashlib.sha256(data).hexdigest())
    return LoadedImage(task, sources.Bytes(source.name, data), key, notes)


def prepare_image(loaded: LoadedImage, batch_request: BatchRequest) -> ReadyImage:
    """Make an image ready to be sent.

    Raises:
        ImageError: it is no image, damaged, or cannot be sent.
    """
    source = loaded.source
    if isinstance(source, sources.Link):
        return ReadyImage(
            loaded.task, loaded.key, source, _estimate_input_tokens(source, batch_request.build_request(loaded.task))
        )
    image = prepare.prepare_image(source, batch_request.limits)
    image = replace(image, warnings=loaded.warnings + image.warnings)
    return ReadyImage(
        loaded.task, loaded.key, image, _estimate_input_tokens(image, batch_request.build_request(loaded.task))
    )


def _estimate_input_tokens(image: prepare.PreparedImageOrLink, request: Request) -> int:
    size = (image.upload.width, image.upload.height) if isinstance(image, prepare.PreparedImage) else None
    tokens = estimate_prompt(
        request.model,
        [size],
        [request.prompt, request.system or ""],
        tokens_per_unknown_image=_DEFAULT_IMAGE_TOKENS,
    )
    assert tokens is not None
    return tokens


def request_answer(
    ready: ReadyImage, batch_request: BatchRequest, endpoint: Endpoint, schema_session: "Session | None" = None
) -> AttemptResult:
    """Ask about an image, once. What goes wrong is in the answer; nothing of ours is raised.

    Args:
        schema_session: makes the request if the answer must fit a schema.
    """
    if isinstance(ready.image, sources.Link):
        endpoint.redact_also(sources.find_link_secrets([ready.image]))
    future: Future[prepare.PreparedImageOrLink] = Future()
    future.set_result(ready.image)
    describe = (
        run.describe
        if schema_session is None
        else partial(schema_session.describe, first_answer=ready.answer_to_repair)
    )
    items = describe(
        endpoint,
        batch_request.build_request(ready.task),
        (prepare.PendingImage(ready.image.name, future),),
        labels=False,
        retry_limits=_NO_RETRIES,
        prices=batch_request.prices,
    )
    found = run.collect(items)
    if ready.answer_to_repair is None:
        return AttemptResult(
            json_object(found), found.error, found.refused_parameters, answer_to_repair=found.first_answer
        )
    from ..describe.structured import merge_with_repair  # needed only with a schema

    record = json_object(merge_with_repair(ready.answer_to_repair, found))
    return AttemptResult(record, found.error, found.refused_parameters, json_object(found), found.first_answer)


def mark_failed(result: AttemptResult, error: QvisionError) -> AttemptResult:
    """An answer that came to nothing after all."""
    return replace(result, record={**result.record, "ok": False, "error": json_error(error)}, error=error)


def build_unsent_result(task: Task, batch_request: BatchRequest, error: QvisionError) -> AttemptResult:
    """What there is to say of an image that was never sent."""
    request = batch_request.request
    try:
        request = batch_request.build_request(task)
    except UsageError:  # a slip in its own prompt, which is what the error is about
        request = replace(request, prompt=task.prompt or request.prompt)
    unprepared = Description(
        prompt=request.prompt,
        model=request.model,
        requested_model=request.model,
        images=(UnpreparedImage(_resolve_source_or_name(task).name),),
        error=error,
    )
    return AttemptResult(json_object(unprepared), error)


def _resolve_source_or_name(task: Task) -> sources.Source:
    """An image, as far as its name tells."""
    try:
        return inputs.resolve_source(task, BytesIO())
    except ImageError:
        return sources.Bytes(urls.redact(task.source), b"")


@frozen
class Done:
    """An image with its answer; ``line`` is the one of the results file.

    Attributes:
        is_duplicate: the answer is that of the same image under another name.
        key: what it was asked by, if it was asked about.
    """

    task: Task
    record: Record
    line: bytes
    is_duplicate: bool = False
    key: str | None = None


@frozen
class Failed:
    """An image that has no answer, or not the whole of it; otherwise like ``Done``."""

    task: Task
    record: Record
    line: bytes
    is_duplicate: bool = False
    key: str | None = None


@frozen
class Skipped:
    """An image whose answer stands in the results file already."""

    task: Task


@frozen
class ClaimedElsewhere(Skipped):
    """An image that another run is seeing to: it is found once more when that one is through with it."""

    key: str


@frozen
class Idle:
    """Nothing has happened for a moment."""


Outcome = Done | Failed | Skipped
OutcomeOrIdle = Outcome | Idle


def _drop_text(result: AttemptResult) -> AttemptResult:
    """An answer that nobody could keep."""
    longest = f"{entries.MAX_LINE_BYTES >> 20} MiB"
    error = EndpointError(f"the answer is longer than {longest}", hint="Lower --max-tokens.", code="too_long")
    wordless = result.record | {"complete": False, "text": "", "data": None, "reasoning": None, "warnings": []}
    return mark_failed(replace(result, record=wordless), error)


class OutcomeWriter:
    """Writes up how images end.

    Args:
        sidecars: the files beside the images, if there are to be any; one that has no place costs its image.
    """

    def __init__(self, batch_request: BatchRequest, sidecars: Sidecars | None = None) -> None:
        self._batch_request = batch_request
        self._sidecars = sidecars

    def build_outcome(self, task: Task, key: str | None, result: AttemptResult, *, attempts: int) -> Done | Failed:
        """An image was asked about so many times, and this is what came of it."""
        line = entries.encode_line(result.record, index=task.index, key=key, attempts=attempts, source_id=task.id)
        if len(line) > entries.MAX_LINE_BYTES:
            return self.build_outcome(task, key, _drop_text(result), attempts=attempts)
        return (Done if result.error is None else Failed)(task, result.record, line, key=key)

    def build_failure(self, task: Task, key: str | None, error: ImageError) -> Done | Failed:
        """An image cannot be asked about."""
        return self.build_outcome(task, key, build_unsent_result(task, self._batch_request, error), attempts=0)

    def build_duplicate(self, loaded: LoadedImage, record: Record) -> Done | Failed:
        """An image is the same as another one, whose record this is: not asked about, and not paid for, again."""
        task = loaded.task
        answer = AttemptResult(entries.copy_for_duplicate(record, source=loaded.source.name))
        if record["ok"]:
            answer = self._apply_to_sidecar(task, answer, lambda sidecars, source: sidecars.claim(source))
        first = record["images"][0]["source"]
        line = entries.encode_line(
            answer.record, index=task.index, key=loaded.key, attempts=0, source_id=task.id, duplicate_of=first
        )
        return (Done if answer.record["ok"] else Failed)(task, answer.record, line, is_duplicate=True)

    def build_skipped(self, loaded: LoadedImage, record: Record) -> Outcome:
        """An image was done before; only the file beside it may be missing.

        Args:
            record: empty where another run is seeing to it.
        """
        if not record:
            return ClaimedElsewhere(loaded.task, loaded.key)
        task, answer = loaded.task, AttemptResult(record)
        answer = self._apply_to_sidecar(task, answer, lambda sidecars, source: sidecars.write_missing(source, record))
        return Skipped(task) if answer.error is None else self.build_outcome(task, None, answer, attempts=0)

    def write_sidecar(self, outcome: Outcome) -> None:
        """The line of an image is written, so the file beside it may be.

        Raises:
            ImageError: something else has come there since that place was claimed.
            OutputError: it could not be written.
        """
        if self._sidecars is not None and isinstance(outcome, Done):
            self._sidecars.write(inputs.resolve_source(outcome.task, BytesIO()), outcome.record)

    def _apply_to_sidecar(
        self, task: Task, result: AttemptResult, action: Callable[[Sidecars, Source], None]
    ) -> AttemptResult:
        if self._sidecars is not None and result.error is None:
            try:
                action(self._sidecars, inputs.resolve_source(task, BytesIO()))
            except ImageError as error:
                return mark_failed(result, error)
        return result
