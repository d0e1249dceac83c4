"""The program as a Python library: ``describe`` for one request, ``Client`` for several.

Settings, profiles, presets and keys are those of the command line. Nothing is printed, and errors are those of ``errors``.
"""

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Unpack

from ..describe.result import Description, UnpreparedImage
from ..errors import EndpointError, ImageError, InterruptedByUserError, UsageError
from . import request_builder
from .setup import ClientOptions, resolve_options
from .threads import map_in_threads

if TYPE_CHECKING:
    from ..describe.judge import Judge
    from ..describe.run import Item, Items
    from ..images.objects import ImageInput
    from .setup import ClientPlan
    from .typed_results import Detections, Judgment

    ImageInputs: TypeAlias = ImageInput | Sequence[ImageInput]


class AnswerStream:
    """The text of an answer as it arrives: an iterator of strings. Close it to stop early."""

    def __init__(self, items: "Items") -> None:
        self._items = items
        self._description: Description | None = None

    def __iter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __next__(self) -> str:
        """The next piece of the text.

        Raises:
            QvisionError: the request failed; ``description`` has the part of the answer that arrived.
        """
        from ..client.events import TextDelta

        for item in self._items:
            match item:
                case TextDelta():
                    return item.text
                case Description():
                    self._description = item
                    raise_error(item)
        raise StopIteration

    @property
    def description(self) -> Description:
        """The whole answer, and the facts about it; the text that has not been read yet is read first.

        Raises:
            QvisionError: the request failed during that.
            UsageError: the stream was closed before its end.
        """
        if self._description is None:
            deque(self, maxlen=0)
        if self._description is None:
            raise UsageError("the answer has no description", hint="The stream was closed before its end.")
        return self._description

    def close(self) -> None:
        """End the request, if it is still running."""
        self._items.close()

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the stream."""
        self.close()


class Client:
    """Sends requests to the endpoint of a profile, and keeps its connections open.

    Several threads can use a client at once. After it was pickled, or after a fork, a client opens new connections, with
    the config file, the environment and the key of the machine and process where it is used.

    Args:
        profile: of the config file, or a built-in one such as ``ollama``.
        options: see ``ClientOptions``; other values come from the environment, the profile and the config file.

    Raises:
        AuthError: a key is needed, but missing.
        ConfigError: a setting of the config file or the environment is invalid.
        TypeError: there is no such option.
        UsageError: an option has an invalid value, or excludes another one.
    """

    def __init__(self, profile: str | None = None, **options: Unpack[ClientOptions]) -> None:
        self.__setstate__({"profile": profile, **options})
        self._get_plan()

    def __getstate__(self) -> dict[str, Any]:
        """Return the options, without the key and the connections."""
        return self._options

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the options; everything else is resolved when it is first needed."""
        self._options = state
        self._lock = threading.Lock()
        self._plan: ClientPlan | None = None
        self._dropped: frozenset[str] = frozenset()
        self._locator: Client | None = None

    def describe(self, images: "ImageInputs", prompt: str | None = None, *, check: bool = True) -> Description:
        """Make one request about an image, or about several in a list, and return the answer.

        Args:
            images: a path, a URL, bytes, a file object opened for reading bytes, a Pillow image; or a list of them.
            prompt: what to ask; it is appended to that of a preset. By default, that of the preset or the settings.
            check: raise the error of a request that failed; otherwise it is the ``error`` of the description, which also has
                the part of the answer that arrived.

        Raises:
            QvisionError: the request failed (with ``check``), or could not be made.
        """
        return _get_description(self._iterate_items(images, prompt), check=check)

    def stream(self, images: "ImageInputs", prompt: str | None = None) -> AnswerStream:
        """Make one request, and yield the text as it arrives. With a schema or tiles, all of it arrives at the end.

        Arguments and errors are those of ``describe``. The request is sent when the first piece of text is read.
        """
        return AnswerStream(self._iterate_items(images, prompt))

    def judge(
        self,
        images: "ImageInputs",
        question: str,
        *,
        threshold: float | None = None,
        votes: int | None = None,
        by: str | None = None,
        check: bool = True,
    ) -> "Judgment":
        """Ask a yes-or-no question, as ``qvision test`` does, about an image or about several in a list.

        The first question finds out what the endpoint offers; later ones with the same arguments rely on that.

        Args:
            threshold: the lowest probability that counts as yes, from 0 to 1, by default 0.5. Above 0.5, a probability
                between 1 - threshold and threshold is unsure.
            votes: ask up to this many times, an odd number; more than half of the answers must agree.
            by: ``decisions``, ``logprobs`` or ``schema``; by default the first that the endpoint offers.
            check: see ``describe``; an unsure answer is not an error.
        """
        from .typed_results import build_judgment

        judge = self._get_plan().get_judge(threshold, votes, by)
        return build_judgment(_get_description(self._iterate_items(images, question, judge=judge), check=check))

    def locate(self, image: "ImageInput", what: str, *, check: bool = True) -> "Detections":
        """Find something in an image, as ``qvision locate`` does: boxes in pixels of the upright original.

        The preset, the schema and the tiles of this client are not used. Links are downloaded here.

        Args:
            what: such as ``the dogs``.
            check: see ``describe``.
        """
        from .typed_results import build_detections

        with self._lock:
            if self._locator is None:
                changes = {"preset": "boxes", "schema": None, "tiles": None, "fetch": True}
                self._locator = Client(**{**self._options, **changes})
            locator = self._locator
        request_builder.require_boxes(locator._get_plan().schema)  # noqa: SLF001  # of the same class
        return build_detections(locator.describe(image, what, check=check))

    def map(
        self, images: "Iterable[ImageInputs]", prompt: str | None = None, *, jobs: int = 8, ordered: bool = True
    ) -> Iterator[Description]:
        """Make one request for each image, several at a time, and yield the descriptions.

        Images are read from the iterable as they are needed, so it may be endless. The description of a failed request has
        an ``error``; only an error that would affect every other request too is raised. Images in memory are named by their
        position: ``image 17``. In the prompt, ``{name}``, ``{stem}``, ``{dir}`` and ``{index}`` are filled in for each.

        Args:
            jobs: requests at a time.
            ordered: yield the descriptions in the order of the images; otherwise each as soon as it is complete.

        Raises:
            EndpointError: the key, the address or the model is wrong, or the credits are used up.
            UsageError: an object is not an image, or an argument is invalid.
        """
        if jobs < 1:
            raise UsageError(f"jobs is below 1: {jobs}", hint="For example: jobs=8")
        self._get_plan()

        def request(number: int, item: "ImageInputs", stopped: threading.Event) -> Description:
            with closing(self._iterate_items(item, prompt, number)) as items:
                for progress in items:
                    if isinstance(progress, Description):
                        return progress
                    if stopped.is_set():
                        break
            return Description(error=InterruptedByUserError("the result is no longer needed"))

        return _raise_fatal(map_in_threads(request, images, threads=jobs, is_ordered=ordered))

    def close(self) -> None:
        """Close the connections that no request uses; a later request opens new ones."""
        if self._plan is not None:
            self._plan.endpoints.close()
        if self._locator is not None:
            self._locator.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def _get_plan(self) -> "ClientPlan":
        with self._lock:
            if self._plan is None or self._plan.process != os.getpid():
                self._plan = resolve_options(self._options)
            return self._plan

    def _iterate_items(
        self, images: "ImageInputs", prompt: str | None, number: int = 1, judge: "Judge | None" = None
    ) -> "Generator[Item, None, None]":
        """Make one request; yield what ``describe.run.describe`` yields.

        Args:
            number: of the request, from 1.
            judge: asks the prompt as a yes-or-no question.
        """
        from ..images.documents.expansion import count_files
        from ..images.prepare import prepare_pending
        from ..images.sources import find_link_secrets
        from ..urls import redact

        plan = self._get_plan()
        request = plan.build_request(prompt, judge)
        objects = images if isinstance(images, list | tuple) else [images]
        try:
            sources, documents = plan.find_sources(objects, number)
        except ImageError as error:
            texts = (redact(image) if isinstance(image, str) else f"image {number}" for image in objects)
            names = tuple(map(UnpreparedImage, texts))
            yield Description(request.prompt, request.model, request.model, names, request=request, error=error)
            return
        request_builder.check_placeholders(request, images=count_files(sources))
        request = request_builder.fill_placeholders(request, sources, number)
        request = replace(request, dropped=request.dropped | self._dropped)
        pending = [prepare_pending(source, plan.limits, documents) for source in sources]
        with plan.endpoints.borrow() as endpoint:
            endpoint.set_request_secrets(find_link_secrets(sources))
            describe = plan.describe if judge is None else judge.describe
            with closing(describe(endpoint, request, pending, plan.request_options)) as items:
                for item in items:
                    yield self._finish(item) if isinstance(item, Description) else item

    def _finish(self, description: Description) -> Description:
        """Remember the parameters that the endpoint refused, and drop the files that were sent."""
        if description.has_answer:
            self._dropped |= description.refused_parameters
        return description.drop_data()


def describe(
    images: "ImageInputs",
    prompt: str | None = None,
    *,
    profile: str | None = None,
    check: bool = True,
    **options: Unpack[ClientOptions],
) -> Description:
    """Make one request about an image, or about several in a list, and return the answer.

    Arguments and errors are those of ``Client`` and ``Client.describe``. For several requests, a ``Client`` is faster.
    """
    with Client(profile, **options) as client:
        return client.describe(images, prompt, check=check)


def _get_description(items: "Items", *, check: bool) -> Description:
    """Run a request to its end, and return its description; with ``check``, raise its error."""
    (description,) = (item for item in items if isinstance(item, Description))
    if check or isinstance(description.error, InterruptedByUserError):
        raise_error(description)
    return description


def raise_error(description: Description) -> None:
    """Raise the error of a failed request; after Ctrl-C, that is ``KeyboardInterrupt``."""
    if isinstance(description.error, InterruptedByUserError):
        raise KeyboardInterrupt from description.error
    if description.error is not None:
        raise description.error


def _raise_fatal(descriptions: Iterator[Description]) -> Iterator[Description]:
    for description in descriptions:
        if isinstance(description.error, EndpointError) and description.error.is_fatal:
            raise description.error
        yield description
