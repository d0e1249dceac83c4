"""The plan of a run, the steps of the work on one image as functions of plain data, and the outcomes of an image."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import urls
from ..client.endpoint import Endpoint
from ..client.request import Request
from ..client.retry import RetryLimits
from ..describe import run
from ..describe.repetition import vary_sampling
from ..describe.result import Description, UnpreparedImage
from ..errors import ContextOverflow, ImageError, OutputError, QvisionError, UsageError
from ..frozen import frozen
from ..images import encode, prepare, sources
from ..images.tokens import estimate_prompt, estimate_texts
from ..metrics import Price
from . import entries, inputs
from .budget import AnswerRoom, BudgetLimits
from .entries import Record
from .inputs import BatchInputs, Task
from .pages import PageFinder
from .progress.exchanges import Exchange, collect_exchanges
from .rate import RateLimiter
from .results.lines import Question, make_question

if TYPE_CHECKING:  # loaded only by the runs that need them
    from .sidecars.choice import SidecarOptions

#: Assumed for an image whose tokens cannot be computed: those of the largest image of Qwen3-VL.
_DEFAULT_IMAGE_TOKENS = 2_562


@frozen
class BatchRequest:
    """What to ask about every image of a run, and how to send the images.

    Attributes:
        extra_facets: what shapes the answers besides the request and the limits, for their keys.
        answer_room: the tokens that an answer may have, if that may be less than ``max_tokens``.
        reads_tiles: each tile of an image has a request of its own, and the texts are joined.
    """

    request: Request
    limits: encode.ImageLimits
    extra_facets: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    loop_check: bool = True
    reads_tiles: bool = False
    answer_room: AnswerRoom = AnswerRoom()
    _common_facets: dict[int, str] = field(default_factory=dict, init=False, compare=False)  # by page

    @property
    def price(self) -> Price | None:
        """The price of the requested model."""
        return self.prices.get(self.request.model)

    def build_request(self, task: Task) -> Request:
        """Build the request for one image: its own prompt, if it has one, with the placeholders filled in."""
        request = self.request if task.prompt is None else replace(self.request, prompt=task.prompt)
        if not request.may_have_placeholders:
            return request
        from ..describe.prompt import fill_placeholders  # most prompts have none

        return fill_placeholders(request, _try_to_resolve(task), task.index, task.row)

    def adapt(self, result: "AttemptResult", input_tokens: int) -> "BatchRequest":
        """Return a copy for all later requests, without what the endpoint refused in one of them.

        Args:
            result: of that request.
            input_tokens: our estimate for it.
        """
        request = replace(self.request, dropped=self.request.dropped | result.refused_fields)
        usage = result.billed_record["usage"]
        return replace(self, request=request, answer_room=self.answer_room.adapt(result.overflow, usage, input_tokens))

    def compute_key(self, task: Task, image_id: str, *, page: int = 1) -> str:
        """Compute the key of the answer about one image; see ``entries.compute_key``.

        Args:
            page: of the document; 1 for an ordinary image.
        """
        return entries.compute_key(image_id, self.encode_key_facets(task, page=page))

    def encode_key_facets(self, task: Task, *, page: int = 1) -> str:
        """Encode what the keys of all images with the same prompt have in common."""
        if task.prompt is not None or self.request.may_have_placeholders:
            return self._encode_facets(self.build_request(task), page)
        if page not in self._common_facets:
            self._common_facets[page] = self._encode_facets(self.request, page)
        return self._common_facets[page]

    def _encode_facets(self, request: Request, page: int) -> str:
        # These names are part of the hash: with others, every results file would be outdated and paid for again.
        facets: dict[str, Any] = {
            "model": request.model,
            "prompt": request.prompt,
            "system": request.system,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "extra": request.extra,
            "form": None,
            "turns": (),
            "limits": {
                "max_pixels": self.limits.max_pixels,
                "max_side": self.limits.max_side,
                "quality": self.limits.quality,
                "frame": page,
                **({"background": self.limits.background} if self.limits.background else {}),
            },
        }
        return entries.encode_facets({**facets, **self.extra_facets})


@frozen
class BatchPlan:
    """What a run does, as its command line says.

    Attributes:
        page_finder: finds the pages of documents, and keeps the documents open.
        open_source: resolves the image of a task: a file, standard input, a link, or a link that is fetched here.
        open_endpoint: called once, and not for a dry run.
        describe: makes the requests about an image, and yields what ``run.describe`` does; called by several threads.
            If a ``Description`` has a ``first_answer``, the next attempt passes it on, and only the rest is requested.
        retries: further attempts for an image whose requests fail while those of other images succeed; and all attempts,
            over all runs, for an answer that is cut off or does not fit its schema.
        may_retry_incomplete: such an answer is requested again however often it has been.
        patience: seconds to wait for an endpoint that is unreachable or overloaded; also the most that one image waits.
        request_timeout: seconds for one request.
        is_ordered: outcomes come in the order of the images.
        is_forced: images are requested even if the results file has their answers.
        is_verifying: images are read even if size and time of their file are those of an image that is done.
        results: the results file; ``None`` for standard output.
        request_lines: what a dry run says about the requests: prompt, model, endpoint.
        has_table: on a terminal, standard output shows a table instead of lines of JSON.
        failures: the file for the list of failed images; ``None`` for no list.
    """

    inputs: BatchInputs
    batch_request: BatchRequest
    open_source: Callable[[Task], sources.Source]
    open_endpoint: Callable[[], Endpoint]
    rate_limiter: RateLimiter
    page_finder: PageFinder = field(default_factory=PageFinder)
    describe: run.DescribeFunction = run.describe
    limits: BudgetLimits = BudgetLimits()
    retries: int = 4
    patience: float = 600.0
    request_timeout: float | None = None
    is_ordered: bool = False
    is_forced: bool = False
    may_retry_incomplete: bool = False
    is_verifying: bool = False
    results: Path | None = None
    request_lines: tuple[str, ...] = ()
    has_table: bool = False
    failures: Path | None = None
    sidecars: "SidecarOptions | None" = None
    is_quiet: bool = False
    is_verbose: bool = False


@frozen
class LoadedImage:
    """An image whose bytes are read, a link, or a page; ``warnings`` are from reading it."""

    task: Task
    source: sources.Bytes | sources.Link | sources.DocumentPage
    key: str
    warnings: tuple[str, ...] = ()

    def is_same_image(self, other: "LoadedImage") -> bool:
        """Whether another image of the run is the same one, with the same ``id``."""
        return (self.source.name, self.task.path, self.task.id) == (other.source.name, other.task.path, other.task.id)

    def build_question(self, prompt: str) -> Question:
        """Build the question of the image; see ``build_question``."""
        return build_question(self.task, self.source.name, prompt, self.key)


def build_question(task: Task, name: str, prompt: str | None, key: str | None) -> Question:
    """Build the question of an image: its name and its prompt as in its line."""
    return make_question(name, prompt, path=task.path, source_id=task.id, key=key)


@frozen
class ReadyImage:
    """An image that can be sent.

    Attributes:
        tokens_estimate: tokens of the whole request; ``None`` if it is unknown how the model counts images.
        input_tokens: the same, with an assumption for an image whose tokens are unknown.
        answer_to_repair: an earlier answer that does not fit the schema, or that has only some tiles; only the missing part
            is requested.
        request_count: requests that are made one after another.
        repetitions: the number of answers that repeated themselves; the next one is requested with more variety.
    """

    task: Task
    key: str
    image: prepare.PreparedImageOrLink
    tokens_estimate: int | None
    input_tokens: int
    answer_to_repair: Description | None = None
    repetitions: int = 0
    request_count: int = 1


@frozen
class AttemptResult:
    """The result of one attempt.

    Attributes:
        record: the object that ``--json`` prints.
        overflow: why ``max_tokens`` was lowered.
        own_record: the same with the tokens and costs of this attempt alone; ``None`` if there was no earlier attempt.
        answer_to_repair: an answer whose repair failed, so that only the repair is retried.
        exchanges: the requests that the attempt needed.
    """

    record: dict[str, Any]
    error: QvisionError | None = None
    refused_fields: frozenset[str] = frozenset()
    overflow: ContextOverflow | None = None
    own_record: dict[str, Any] | None = None
    answer_to_repair: Description | None = None
    exchanges: tuple[Exchange, ...] = ()

    @property
    def billed_record(self) -> dict[str, Any]:
        """The record with the tokens and costs of this attempt alone."""
        return self.record if self.own_record is None else self.own_record


def load_image(task: Task, source: sources.Source, batch_request: BatchRequest, page_finder: PageFinder) -> LoadedImage:
    """Read the bytes of an image, or open the document of a page, and compute the key of the answer.

    Raises:
        ImageError: missing or unreadable.
    """
    if isinstance(source, sources.Link):
        return LoadedImage(task, source, batch_request.compute_key(task, source.url))
    if isinstance(source, sources.DocumentPage):
        sha256 = page_finder.documents.open(source.document).sha256
        return LoadedImage(task, source, batch_request.compute_key(task, sha256, page=source.number))
    data = page_finder.find_data(source) or sources.read_bytes(source)
    warnings = (source.note,) if isinstance(source, sources.FetchedLink) and source.note else ()
    key = batch_request.compute_key(task, hashlib.sha256(data).hexdigest())
    return LoadedImage(task, sources.Bytes(source.name, data), key, warnings)


def prepare_image(loaded: LoadedImage, batch_request: BatchRequest, page_finder: PageFinder) -> ReadyImage:
    """Prepare an image for sending.

    Raises:
        ImageError: not an image, damaged, or impossible to send.
    """
    documents = page_finder.documents if isinstance(loaded.source, sources.DocumentPage) else None
    image = prepare.prepare_image_or_link(loaded.source, batch_request.limits, documents)
    sizes: list[tuple[int, int] | None] = [None]
    if isinstance(image, prepare.PreparedImage):
        image = replace(image, warnings=loaded.warnings + image.warnings) if loaded.warnings else image
        sizes = [(upload.width, upload.height) for upload in image.uploads]
    request = batch_request.build_request(loaded.task)
    count = len(sizes) if batch_request.reads_tiles else 1
    texts = [request.prompt, request.system or ""] * count
    estimate = estimate_prompt(request.model, sizes, texts, detail=request.detail)
    input_tokens = _DEFAULT_IMAGE_TOKENS * len(sizes) + estimate_texts(texts) if estimate is None else estimate
    return ReadyImage(loaded.task, loaded.key, image, estimate, input_tokens, request_count=count)


def request_answer(
    ready: ReadyImage,
    batch_request: BatchRequest,
    endpoint: Endpoint,
    describe: run.DescribeFunction = run.describe,
    timeout: float | None = None,
) -> AttemptResult:
    """Request an answer once, within ``timeout`` seconds. Our errors are in the result, not raised.

    Args:
        describe: see ``BatchPlan``.
    """
    if isinstance(ready.image, sources.Link):
        endpoint.set_request_secrets(sources.find_link_secrets([ready.image]))
    request = batch_request.build_request(ready.task)
    request, warnings = batch_request.answer_room.limit_answer(request, ready.input_tokens // ready.request_count)
    request, notes = vary_sampling(request, ready.repetitions)
    options = run.RequestOptions(
        RetryLimits(retries=0, max_time=timeout),  # the run decides when to retry
        loop_check=batch_request.loop_check,
        prices=batch_request.prices,
        first_answer=ready.answer_to_repair,
    )
    images = (prepare.make_pending(ready.image),)
    answer, exchanges = collect_exchanges(describe(endpoint, request, images, options))
    if notes or warnings:
        answer = replace(answer, warnings=(*notes, *warnings, *answer.warnings))
    result = AttemptResult(answer.to_dict(), answer.error, answer_to_repair=answer.first_answer, exchanges=exchanges)
    # Without an answer, the image may be the cause instead of the parameters that were left out.
    if answer.has_answer and (answer.refused_parameters or answer.overflow):
        result = replace(result, refused_fields=answer.refused_parameters, overflow=answer.overflow)
    if ready.answer_to_repair is None:
        return result
    from ..describe.totals import add_answers  # rarely needed

    merged = add_answers(ready.answer_to_repair, answer).to_dict()
    return replace(result, record=merged, own_record=result.record)


def build_unsent_result(task: Task, batch_request: BatchRequest, error: QvisionError) -> AttemptResult:
    """Build the result of an image that was never sent."""
    request, source = batch_request.request, _try_to_resolve(task)
    try:
        request = batch_request.build_request(task)
    except UsageError:  # its own prompt has an invalid placeholder, which is what the error is about
        request = replace(request, prompt=task.prompt or request.prompt)
    description = Description(
        prompt=request.prompt,
        model=request.model,
        requested_model=request.model,
        images=(UnpreparedImage(urls.redact(task.source) if source is None else source.name),),
        request=request,
        error=error,
    )
    return AttemptResult(description.to_dict(), error)


def _try_to_resolve(task: Task) -> sources.Source | None:
    """Resolve the source of a task; ``None`` for standard input and for an invalid URL."""
    with suppress(ImageError):
        return None if task.source == "-" else inputs.resolve_source(task)
    return None


@frozen
class _Recorded:
    """An image with a new line for the results file.

    Attributes:
        is_duplicate: the line is a copy of that of the same image under another name.
        key: the key that the run has claimed; ``None`` for a duplicate, or if the image could not be read.
    """

    task: Task
    record: Record
    line: bytes
    is_duplicate: bool = False
    key: str | None = None


@frozen
class Done(_Recorded):
    """An image with an answer."""


@frozen
class Failed(_Recorded):
    """An image without a complete answer."""


@frozen
class Skipped:
    """An image that needs no request: its answer is in the results file, or it has all of its sidecars.

    Attributes:
        record: that answer, if it had to be looked for.
    """

    task: Task
    record: Record | None = None


@frozen
class SidecarFailed:
    """An image whose answer is in the results file, but which lacks a sidecar; ``record`` has the error."""

    task: Task
    record: Record
    error: ImageError | OutputError
    is_duplicate: bool = False


Outcome = Done | Failed | Skipped | SidecarFailed
