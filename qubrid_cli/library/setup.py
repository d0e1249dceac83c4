"""Resolve the options of a client, the environment and the config file, and open the endpoint."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..frozen import frozen
from ..settings.fields import SettingOptions
from ..text import suggest
from . import connection, image_options, request_builder

if TYPE_CHECKING:
    from ..client.request import Request
    from ..describe.judge import Judge
    from ..describe.run import DescribeFunction, RequestOptions
    from ..images.documents.pages import Documents
    from ..images.encode import ImageLimits
    from ..images.sources import Source
    from ..schema.json_schema import Schema
    from ..settings.fields import Settings
    from ..settings.presets import Preset


class ClientOptions(SettingOptions, total=False):
    """The options of a client, which are those of the command line; ``None`` is the same as leaving an option out.

    Attributes:
        schema: of the answer: a JSON Schema, the short form, or the path of a file.
        params: further fields of the request's body, like ``-O``.
        fetch: whether links are downloaded here; by default, those that the endpoint cannot reach.
        original: do not shrink images.
        tiles: a number, or ``auto``.
        pages: of documents, such as ``1-3``.
        password: of encrypted PDFs.
    """

    preset: str | None
    system: str | None
    schema: str | os.PathLike[str] | Mapping[str, Any] | None
    params: Mapping[str, Any] | None
    fetch: bool | None
    original: bool | None
    tiles: int | str | None
    crop: str | None
    pages: str | None
    password: str | None


@frozen
class ClientPlan:
    """The resolved options of a client, and its connections.

    Attributes:
        process: the id of the process that the connections belong to.
        endpoints: with open connections.
        judges: the judges used so far, by their arguments.
    """

    process: int
    settings: "Settings"
    preset: "Preset | None"
    options: Mapping[str, Any]
    system: str | None
    schema: "Schema | None"
    limits: "ImageLimits"
    describe: "DescribeFunction"
    request_options: "RequestOptions"
    endpoints: connection.EndpointPool
    judges: "dict[tuple[float | None, int | None, str | None], Judge]"

    def build_request(self, prompt: str | None, judge: "Judge | None" = None) -> "Request":
        """Build a request without its images.

        Args:
            judge: asks the prompt as a yes-or-no question.
        """
        if prompt is not None:
            request_builder.validate_prompt(prompt, "the prompt")
        extra = dict(self.options.get("params") or {})
        if judge is not None:
            from .judging import vary_votes

            return request_builder.build_request(
                vary_votes(self.settings, judge.votes), prompt or "", None, extra, stream=False
            )
        text = request_builder.compose_prompt(prompt, None, self.preset, self.settings)
        return request_builder.build_request(self.settings, text, self.system, extra, stream=True)

    def get_judge(self, threshold: float | None, votes: int | None, by: str | None) -> "Judge":
        """The judge for these options, which remembers what the endpoint offers.

        Raises:
            UsageError: an option is not valid, or excludes another one.
        """
        from ..describe.verdicts import Method
        from .judging import open_judge

        arguments = threshold, votes, by
        if arguments not in self.judges:
            if threshold is not None and not 0 < threshold < 1:
                raise UsageError(f"threshold is not between 0 and 1: {threshold}", hint="For example: threshold=0.8")
            if by is not None and by not in list(Method):
                raise UsageError(f"by is not a method: {by}", hint=f"Available: {', '.join(Method)}")
            method = None if by is None else Method(by)
            extra = self.options.get("params") or {}
            self.judges[arguments] = open_judge(self.settings, extra, by=method, threshold=threshold, votes=votes)
        return self.judges[arguments]

    def find_sources(self, images: Sequence[object], number: int) -> "tuple[list[Source], Documents | None]":
        """The images, with documents replaced by their pages; and the open documents.

        Args:
            number: of the first image, from 1.

        Raises:
            ImageError: an invalid ``data:`` URL, or a document that cannot be opened.
            UsageError: there is no image, an object is not an image, or there are too many pages.
        """
        from ..images.documents import expansion
        from ..images.objects import make_source

        if not images:
            raise UsageError("no image was given", hint='For example: describe("photo.jpg", "what is this?")')
        sources = [make_source(image, f"image {index}") for index, image in enumerate(images, number)]
        sources = list(image_options.choose_downloads(sources, self.settings, fetch=self.options.get("fetch")))
        choice = None
        if pages := self.options.get("pages"):
            from ..images.documents.pages import parse_pages

            choice = parse_pages(pages)
        expanded, documents = expansion.expand_pages(sources, choice, self.options.get("password"), each=False)
        if len(expanded) > max(len(images), image_options.MAX_IMAGES_PER_REQUEST):
            raise UsageError(
                f"{len(expanded):,} pages for one request",
                hint=f'Choose some: pages="1-{image_options.MAX_IMAGES_PER_REQUEST}". A page alone: "scan.pdf#page=1".',
            )
        return expanded, documents


def resolve_options(options: Mapping[str, Any]) -> ClientPlan:
    """Resolve the options of a client.

    Raises:
        AuthError: a key is needed, but missing.
        ConfigError: a setting of the config file or the environment is invalid.
        TypeError: there is no such option.
        UsageError: an option has an invalid value, or excludes another one.
    """
    from ..settings import config_file
    from ..settings.fields import OPTIONS
    from ..settings.resolve import resolve_with_preset

    options = _check_options(options)
    config = config_file.load_config(os.environ)
    setting_options = {name: options[name] for name in OPTIONS if name in options}
    preset, settings = resolve_with_preset(setting_options, os.environ, config, options.get("preset"))
    extra = options.get("params", {})
    schema = options.get("schema")
    schema = f"@{os.fspath(schema)}" if isinstance(schema, os.PathLike) else schema
    answer_schema = request_builder.load_schema(schema, preset, extra, settings)
    tiles = options.get("tiles")
    tile_options = image_options.read_tile_options(
        None if tiles is None else str(tiles), options.get("crop"), preset, has_schema=answer_schema is not None
    )
    # This refuses options that exclude each other.
    request_builder.build_request(settings, "", None, dict(extra), stream=True)
    key, notes = connection.require_key(settings)
    for note in notes:
        warnings.warn(note, stacklevel=4)
    endpoint = connection.open_endpoint(settings, key, connects_early=False)
    return ClientPlan(
        os.getpid(),
        settings,
        preset,
        options,
        request_builder.choose_system(options.get("system"), preset, settings),
        answer_schema,
        image_options.build_image_limits(
            settings, tile_options, original=bool(options.get("original")), schema=answer_schema
        ),
        request_builder.choose_describe(answer_schema, reads_tiles=tile_options.reads_tiles),
        connection.build_request_options(settings, config.prices),
        connection.EndpointPool(endpoint),
        {},
    )


def _check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options that are not ``None``, like the values of the config file.

    Raises:
        TypeError: there is no such option.
        UsageError: a value is invalid.
    """
    from ..settings.checks import check_body_fields
    from ..settings.fields import FIELDS

    names = [*ClientOptions.__annotations__, "profile"]
    for name in options.keys() - names:
        raise TypeError(f"there is no option {name!r}{suggest(name, names)}")
    checked = {name: value for name, value in options.items() if value is not None}
    for name, value in checked.items():
        field = FIELDS.get(name)
        try:
            checked[name] = check_body_fields(value) if name == "params" else field.check(value) if field else value
        except ValueError as error:
            example = field.example if field else '{"seed": 42}'
            raise UsageError(f"{name} {error}: {value!r}", hint=f"For example: {name}={example}") from error
    return checked
