"""What a client needs for its requests: its options, the environment and the config file, resolved; and connections."""

import os
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..frozen import frozen
from . import connection, image_options, question
from .options import check_options

if TYPE_CHECKING:
    from ..client.endpoint import Endpoint
    from ..client.request import Request
    from ..client.retry import RetryLimits
    from ..describe.run import DescribeFunction
    from ..describe.structured import Session
    from ..images.documents.pages import Documents
    from ..images.encode import ImageLimits
    from ..images.sources import Source
    from ..metrics import Price
    from ..settings.fields import Settings
    from ..settings.presets import Preset

#: More pages than this in one request are more likely a mistake than intended.
_MAX_PAGES_PER_REQUEST = 8


@frozen
class ClientPlan:
    """What the options, the environment and the config file mean, and the connections.

    Attributes:
        process: the id of the process that the connections belong to.
        endpoint: makes further ones for other threads.
        idle: connections that no thread uses.
    """

    process: int
    settings: "Settings"
    preset: "Preset | None"
    options: Mapping[str, Any]
    system: str | None
    limits: "ImageLimits"
    prices: Mapping[str, "Price"]
    describe: "DescribeFunction"
    retry_limits: "RetryLimits"
    endpoint: "Endpoint"
    idle: "deque[Endpoint]"

    def build_request(self, prompt: str | None) -> "Request":
        """The request without its images."""
        if prompt is not None:
            question.validate_prompt(prompt, "the prompt")
        text = question.compose_prompt(prompt, None, self.preset, self.settings)
        extra = dict(self.options.get("params") or {})
        return question.build_request(self.settings, text, self.system, extra, stream=True)

    def find_sources(self, images: Sequence[object], number: int) -> "tuple[list[Source], Documents | None]":
        """The images, and the pages of documents among them; and the open documents.

        Raises:
            ImageError: an invalid ``data:`` URL, or a document that cannot be opened.
            UsageError: there is no image, something else than an image, or a document has too many pages.
        """
        from ..images.documents import expansion
        from ..images.objects import make_source

        if not images:
            raise UsageError("no image was given", hint='For example: describe("photo.jpg", "what is this?")')
        sources = [make_source(image, f"image {index}") for index, image in enumerate(images, number)]
        sources = list(image_options.resolve_images(sources, self.settings, fetch=self.options.get("fetch")))
        choice = None
        if pages := self.options.get("pages"):
            from ..images.documents.pages import parse_pages

            choice = parse_pages(pages)
        expanded, documents = expansion.expand_pages(sources, choice, self.options.get("password"), each=False)
        if len(expanded) > max(len(images), _MAX_PAGES_PER_REQUEST):
            raise UsageError(
                f"{len(expanded):,} pages for one request",
                hint=f'Choose some: pages="1-{_MAX_PAGES_PER_REQUEST}". A page alone: "scan.pdf#page=1".',
            )
        return expanded, documents

    @contextmanager
    def borrow_endpoint(self) -> Iterator["Endpoint"]:
        """An endpoint that no other thread uses meanwhile."""
        try:
            endpoint = self.idle.pop()
        except IndexError:
            endpoint = self.endpoint.clone()
        try:
            yield endpoint
        finally:
            self.idle.append(endpoint)


def build_plan(options: Mapping[str, Any]) -> ClientPlan:
    """Resolve the options of a client."""
    from ..client.retry import RetryLimits
    from ..settings import config_file
    from ..settings.fields import OPTIONS
    from ..settings.resolve import resolve_with_preset

    options = check_options(options)
    config = config_file.load_config(os.environ)
    chosen = {name: options[name] for name in OPTIONS if name in options}
    preset, settings = resolve_with_preset(chosen, os.environ, config, options.get("preset"))
    extra = options.get("params", {})
    schema = options.get("schema")
    schema = f"@{os.fspath(schema)}" if isinstance(schema, os.PathLike) else schema
    answer_schema = question.load_schema(schema, preset, extra)
    tiles = options.get("tiles")
    parts = image_options.read_part_options(
        None if tiles is None else str(tiles), options.get("crop"), preset, has_schema=answer_schema is not None
    )
    question.build_request(settings, "", None, dict(extra), stream=True)  # refuses options that exclude each other
    key, notes = connection.require_key(settings)
    for note in notes:
        warnings.warn(note, stacklevel=4)
    endpoint = connection.open_endpoint(settings, key, connects_early=False)
    return ClientPlan(
        os.getpid(),
        settings,
        preset,
        options,
        options.get("system") or (preset.system if preset else None) or settings.system,
        image_options.build_image_limits(settings, parts, original=bool(options.get("original"))),
        config.prices,
        _choose_describe(question.open_schema_session(answer_schema), reads_tiles=parts.reads_tiles),
        RetryLimits(settings.retries, settings.retry_max_wait, settings.max_time),
        endpoint,
        deque([endpoint]),
    )


def _choose_describe(session: "Session | None", *, reads_tiles: bool) -> "DescribeFunction":
    """The function that makes a request."""
    if session is not None:
        return session.describe
    if reads_tiles:
        from ..describe.tiles import describe_tiles

        return describe_tiles
    from ..describe import run

    return run.describe
