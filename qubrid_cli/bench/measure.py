"""Send the requests of a benchmark, with images that are prepared before, over connections that stay open."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ..describe.result import Description
from ..errors import EndpointError, ImageError, InterruptedByUserError, QvisionError, UnreachableError
from ..frozen import frozen
from ..images.prepare import PendingImage, PreparedImage, prepare_image_or_link, prepare_pending
from ..images.sources import Bytes, FetchedLink, Source, Stdin, find_link_secrets, read_bytes
from ..library.connection import EndpointPool
from ..library.threads import map_in_threads
from .plan import BenchPlan, Job, list_jobs, list_warm_ups

if TYPE_CHECKING:
    import threading

    from ..client.endpoint import Endpoint
    from ..images.encode import ImageLimits

#: Threads that prepare images before anything is measured.
_PREPARING_THREADS = 2
#: Bytes of prepared images to keep. Others are prepared again before each request, outside of the measured time.
_MAX_KEPT_BYTES = 256 << 20


@frozen
class Measurement:
    """A request that was counted, and its answer without the files that were sent."""

    job: Job
    answer: Description


class ImageStore:
    """The images, each prepared once for each size in which it is sent.

    Attributes:
        facts: each image in each size, without the file.
    """

    def __init__(self, plan: BenchPlan) -> None:
        self._plan = plan
        self._sources: dict[int, Source] = {}
        self._kept: dict[tuple[int, ImageLimits], PendingImage] = {}
        self._kept_bytes = 0
        self.facts: dict[tuple[int, ImageLimits], PreparedImage] = {}

    def prepare_all(self) -> Iterator[str]:
        """Prepare all images in all sizes; yield the name of each."""
        readable_sources: dict[Source, Source] = {}
        for number, sample in enumerate(self._plan.samples):
            if sample.image not in readable_sources:
                readable_sources[sample.image] = _read_once(sample.image)
            self._sources[number] = readable_sources[sample.image]
        limits = dict.fromkeys(variant.limits for variant in self._plan.variants)
        keys = [(number, size) for number in range(len(self._plan.samples)) for size in limits]

        def prepare(_: int, key: "tuple[int, ImageLimits]", __: "threading.Event") -> "tuple[int, ImageLimits]":
            self._keep(key, prepare_pending(self._sources[key[0]], key[1], self._plan.documents))
            return key

        for number, _ in map_in_threads(prepare, keys, threads=_PREPARING_THREADS, is_ordered=True):
            yield self._sources[number].name

    def _keep(self, key: "tuple[int, ImageLimits]", pending: PendingImage) -> None:
        if pending.future.exception() is not None:
            self._kept[key] = pending
            return
        image = pending.wait()
        if isinstance(image, PreparedImage):
            self.facts[key] = image.drop_data()
            if self._kept_bytes + image.upload_size > _MAX_KEPT_BYTES:
                return
            self._kept_bytes += image.upload_size
        self._kept[key] = pending

    def prepare_small(self, sample: int, limits: "ImageLimits") -> PreparedImage | None:
        """Prepare a thumbnail of an image; ``None`` if it cannot be read, or is a link that the endpoint fetches."""
        try:
            image = prepare_image_or_link(self._sources[sample], limits, self._plan.documents)
        except ImageError:
            return None
        return image if isinstance(image, PreparedImage) else None

    def is_unusable(self, sample: int, limits: "ImageLimits") -> bool:
        """Whether an image cannot be sent."""
        pending = self._kept.get((sample, limits))
        return pending is not None and pending.future.exception() is not None

    def get(self, sample: int, limits: "ImageLimits") -> PendingImage:
        """Return an image in the size of a variant; prepare it again if it is not kept."""
        pending = self._kept.get((sample, limits))
        return prepare_pending(self._sources[sample], limits, self._plan.documents) if pending is None else pending


def _read_once(source: Source) -> Source:
    """Return a source that can be read several times: standard input is read, and a link downloaded, only now.

    Raises:
        ImageError: standard input cannot be read.
    """
    if isinstance(source, Stdin):
        return Bytes(source.name, read_bytes(source))
    if isinstance(source, FetchedLink):
        try:
            return Bytes(source.name, read_bytes(source))
        except ImageError:  # raised again when the image is prepared
            return source
    return source


class Measuring:
    """The requests of a benchmark.

    Args:
        endpoint: has the first connection; others are opened for requests at the same time.

    Attributes:
        failed_models: the models whose requests all fail, each with the error.
        warnings: the warnings of the answers of each variant, by its position, without repetition; including the warm-up.
    """

    def __init__(self, plan: BenchPlan, images: ImageStore, endpoint: "Endpoint") -> None:
        self._plan = plan
        self._images = images
        self._endpoints = EndpointPool(endpoint)
        self._dropped: dict[int, frozenset[str]] = {}
        self.failed_models: dict[str, QvisionError] = {}
        self.warnings: dict[int, dict[str, None]] = {}

    def warm_up(self) -> Iterator[Description]:
        """Send the requests that are not counted; yield their answers."""
        for measurement in self._run(list_warm_ups(self._plan)):
            yield measurement.answer

    def measure(self) -> Iterator[Measurement]:
        """Send the other requests; yield their measurements as they arrive.

        The requests of a model end when an error shows that all of them would fail; all requests end when the endpoint
        cannot be reached.
        """
        return self._run(list_jobs(self._plan))

    def _run(self, jobs: Iterator[Job]) -> Iterator[Measurement]:
        possible = (job for job in jobs if self._plan.variants[job.variant].model not in self.failed_models)
        for measurement in map_in_threads(self._request, possible, threads=self._plan.jobs, is_ordered=False):
            error, number = measurement.answer.error, measurement.job.variant
            self.warnings.setdefault(number, {}).update(dict.fromkeys(measurement.answer.warnings))
            if isinstance(error, UnreachableError):
                self.failed_models.update(dict.fromkeys((variant.model for variant in self._plan.variants), error))
            elif isinstance(error, EndpointError) and error.is_fatal:
                self.failed_models.setdefault(self._plan.variants[number].model, error)
            yield measurement

    def _request(self, _: int, job: Job, stopped: "threading.Event") -> Measurement:
        variant, sample = self._plan.variants[job.variant], self._plan.samples[job.sample]
        image = self._images.get(job.sample, variant.limits)
        request = self._plan.get_request(variant, job.sample)
        request = replace(request, dropped=request.dropped | self._dropped.get(job.variant, frozenset()))
        with self._endpoints.borrow() as endpoint:
            endpoint.set_request_secrets(find_link_secrets([sample.image]))
            with closing(variant.describe(endpoint, request, [image], self._plan.request_options)) as items:
                for item in items:
                    if isinstance(item, Description):
                        return Measurement(job, self._finish(job, item))
                    if stopped.is_set():
                        break
        return Measurement(job, Description(error=InterruptedByUserError("the result is not needed any more")))

    def _finish(self, job: Job, answer: Description) -> Description:
        """Remember the parameters that the endpoint refused, and return the answer without the files that were sent."""
        if answer.has_answer and answer.refused_parameters:
            earlier = self._dropped.get(job.variant, frozenset())
            self._dropped[job.variant] = earlier | answer.refused_parameters
        return answer.drop_data()
