"""``qvision locate``: find boxes around objects, in pixels of the upright original, and draw them or cut them out."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import QvisionError, SomeRequestsFailedError, UsageError
from ..frozen import frozen
from ..library import connection, image_options, request_builder
from ..output.show import OutputOptions, RequestInfo, announce_image, show_answer, show_dry_run, show_notes
from ..output.streams import Output, echo_err, echo_error
from ..text import quote_name
from .shared import completions, help_layout, options, setup

if TYPE_CHECKING:
    from ..client.request import Request
    from ..describe.result import Description
    from ..images.documents.pages import Documents
    from ..images.encode import ImageLimits
    from ..images.sources import Source
    from ..metrics import Price
    from ..schema.json_schema import Schema
    from ..settings.fields import Settings

app = typer.Typer()

_EXAMPLES = """\
qvision locate photo.jpg "the dogs"
qvision locate photo.jpg "faces" | jq -c '.[].box'
qvision locate plan.png "doors" --draw doors.png --crop-to doors/"""
#: The preset whose prompt comes before the objects to look for.
_PRESET = "boxes"


@frozen
class _Pictures:
    """The pictures to write.

    Attributes:
        drawing: gets the original with the boxes drawn on it; ``None`` to draw nothing.
        suffix: of the drawing, such as ``.png``, which sets its format.
        crop_folder: gets the content of each box as a picture; ``None`` to cut out nothing.
    """

    drawing: Output | None
    suffix: str
    crop_folder: Path | None

    @property
    def are_requested(self) -> bool:
        """Whether there are any pictures to write."""
        return self.drawing is not None or self.crop_folder is not None

    @property
    def use_stdout(self) -> bool:
        """Whether the drawing goes to standard output, in place of the boxes."""
        return self.drawing is not None and not self.drawing.is_file


@frozen
class _Search:
    """One request, to be sent about each image."""

    request: "Request"
    images: Sequence["Source"]
    limits: "ImageLimits"
    documents: "Documents | None"
    schema: "Schema"
    pictures: _Pictures
    settings: "Settings"
    prices: Mapping[str, "Price"]


@app.command(cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{options.EPILOG}")
@options.with_settings(
    *options.REQUEST_SETTINGS, *options.RETRY_SETTINGS, *options.IMAGE_SETTINGS, "loop_check", "coordinates"
)
def locate(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE... WHAT",
            autocompletion=completions.complete_images,
            help="Files, URLs, quoted globs, - for standard input; and what to look for.",
        ),
    ] = None,
    *,
    prompt: options.Prompt = None,
    draw: Annotated[
        str | None,
        typer.Option(
            "--draw",
            metavar="FILE",
            help="Draw the boxes on the original: a PNG or JPEG, or - for a PNG on standard output.",
            autocompletion=completions.complete_files,
        ),
    ] = None,
    crop_to: Annotated[
        str | None,
        typer.Option("--crop-to", metavar="DIR", help="Save what is in each box as a PNG in this folder."),
    ] = None,
    param: options.Param = None,
    no_stream: options.NoStream = False,
    original: options.Original = False,
    crop: options.Crop = None,
    pages: options.Pages = None,
    frame: options.Frame = None,
    password_file: options.PasswordFile = None,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
    stats: options.Stats = None,
    thinking: options.Thinking = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find objects in images: boxes in pixels of the original."""
    from ..images.arguments import classify
    from ..images.documents import expansion
    from ..images.sources import keep_bytes

    show = OutputOptions(as_json, None, stats, thinking, quiet, verbose)
    info = RequestInfo()
    with setup.recording_failures(info, show):
        config = setup.load_config()
        preset, settings = setup.resolve_preset_and_settings(context, config, _PRESET)
        info.model = settings.model
        words = arguments or []
        stdin = setup.open_stdin([*words, prompt, password_file])
        what = setup.read_prompt("-p", prompt, stdin)
        page_options = setup.read_page_options(pages, frame, password_file, stdin)
        classified = classify(words, has_prompt_option=prompt is not None, stdin=stdin, command="locate")
        info.images = classified.names
        if classified.error is not None:
            raise classified.error
        if (what := what or classified.prompt) is None:
            example = f'qvision locate {quote_name(classified.names[0])} "the dogs"'
            raise UsageError("no object was named", hint=f"For example: {example}")
        info.prompt = request_builder.compose_prompt(
            request_builder.validate_prompt(what, "what to look for"), None, preset, settings
        )
        extra = setup.parse_params(param)
        schema = request_builder.require_boxes(request_builder.load_schema(None, preset, extra, settings))
        tile_options = image_options.read_tile_options("off", crop, preset, has_schema=True)
        # Links are always downloaded here, because the size of an image must be known.
        images = image_options.choose_downloads(classified.images, settings, fetch=True)
        images, documents = expansion.expand_pages(images, page_options.choice, page_options.password, each=True)
        pictures = _open_pictures(draw, crop_to, images, show)
        search = _Search(
            request=request_builder.build_request(
                settings, info.prompt, preset.system if preset else None, extra, stream=not no_stream
            ),
            images=list(map(keep_bytes, images)) if pictures.are_requested else images,
            limits=image_options.build_image_limits(settings, tile_options, original=original, schema=schema),
            documents=documents,
            schema=schema,
            pictures=pictures,
            settings=settings,
            prices=config.prices,
        )
        request_builder.check_placeholders(search.request, images=1)
        if dry_run:
            _show_dry_runs(search, show, info.target)
            return
        failures = _search_images(
            search, setup.require_key(settings, quiet=quiet), replace(show, schema=schema), info.target
        )
        if failures:
            raise SomeRequestsFailedError(f"{len(failures)} of {len(images)} requests failed", first=failures[0])


def _open_pictures(draw: str | None, crop_to: str | None, images: Sequence["Source"], show: OutputOptions) -> _Pictures:
    """Check ``--draw`` and ``--crop-to`` before a request is paid for.

    Raises:
        UsageError: a file cannot be written, or the options exclude each other.
    """
    from ..images.detections.drawing import FORMATS
    from ..images.documents import expansion

    drawing, suffix = None, ".png"
    if draw is not None:
        if len(images) > 1:
            raise UsageError(
                f"--draw with {len(images)} images", hint="Name one image, or save the boxes with --crop-to."
            )
        if draw == "-":
            _check_stdout(show)
        elif (suffix := os.path.splitext(draw)[1].lower()) not in FORMATS:
            raise UsageError(f"--draw {quote_name(draw)} is not a PNG or JPEG", hint="For example: --draw boxes.png")
        drawing = Output(draw, "--draw")
        drawing.refuse_overwriting(expansion.list_files(images))
    if crop_to is not None and ("://" in crop_to or (os.path.lexists(crop_to) and not os.path.isdir(crop_to))):
        raise UsageError(
            f"--crop-to {quote_name(crop_to)} is not a folder on this machine",
            hint="Name a folder; it is created if necessary.",
        )
    return _Pictures(drawing, suffix, None if crop_to is None else Path(crop_to))


def _check_stdout(show: OutputOptions) -> None:
    if show.as_json:
        raise UsageError("--draw - and --json exclude each other", hint="Draw into a file: --draw boxes.png")
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("--draw - would write an image to the terminal", hint="Draw into a file: --draw boxes.png")


def _search_images(search: _Search, key: str | None, show: OutputOptions, target: Output) -> list[QvisionError]:
    """Send a request for each image in turn, show the boxes, and return the failures of single images.

    Raises:
        QvisionError: the only request failed, or all further ones would fail in the same way.
    """
    from ..images.prepare import PreparationPool

    failures: list[QvisionError] = []
    has_several = len(search.images) > 1
    pool = PreparationPool(search.limits, search.documents)
    groups = [[image] for image in search.images]
    prepared_groups = pool.submit_in_turn(groups)
    with connection.open_endpoint(search.settings, key, [search.images]) as endpoint:
        request_boxes = request_builder.choose_describe(search.schema, reads_tiles=False)
        request_options = connection.build_request_options(search.settings, search.prices)
        for number, (group, prepared) in enumerate(zip(groups, prepared_groups, strict=True), 1):
            (image,) = group
            if has_several:
                announce_image(image.name, show, target, has_heading=False)
            filled = request_builder.fill_placeholders(search.request, group, number)
            items = request_boxes(endpoint, filled, prepared, request_options)
            name = image.name if has_several else None
            if search.pictures.use_stdout:
                answer = show_notes(items, show, name=name)
            else:
                answer = show_answer(items, show, target, name=name)
            if (error := answer.error or _save_pictures(search, image, answer, show)) is None:
                continue
            setup.raise_if_final(error, has_several=has_several)
            failures.append(error)
            echo_error(setup.name_image(error, image.name))
    return failures


def _save_pictures(search: _Search, image: "Source", answer: "Description", show: OutputOptions) -> QvisionError | None:
    """Write the pictures of an answer; return the error if the image cannot be read or a picture not be written."""
    pictures = search.pictures
    if not pictures.are_requested:
        return None
    from ..images.detections import crops, drawing, upright
    from ..images.detections.detection import Detection
    from ..images.prepare import PreparedImage

    (prepared,) = answer.images
    assert isinstance(prepared, PreparedImage)
    detections = [Detection.from_dict(item) for item in answer.data]
    try:
        original = upright.load_upright(image, prepared, search.documents)
        scale = original.width / prepared.width
        if pictures.crop_folder is not None:
            paths = crops.save_crops(original, detections, pictures.crop_folder, image.name, scale=scale)
            if show.is_interactive:
                echo_err(f"{len(paths)} files in {quote_name(pictures.crop_folder)}")
        if pictures.drawing is not None:
            picture = drawing.draw_detections(original, detections, scale=scale)
            pictures.drawing.write_image(drawing.encode_drawing(picture, pictures.suffix))
    except QvisionError as error:
        return error
    return None


def _show_dry_runs(search: _Search, show: OutputOptions, target: Output) -> None:
    """Show each request instead of sending it."""
    from ..client.request import COMPLETIONS_PATH
    from ..describe.dry_run import dry_run
    from ..images.prepare import PreparationPool

    pool = PreparationPool(search.limits, search.documents)
    url = connection.format_url(search.settings, COMPLETIONS_PATH)
    request = request_builder.add_response_format(search.request, search.schema)
    for number, image in enumerate(search.images, 1):
        filled = request_builder.fill_placeholders(request, [image], number)
        show_dry_run(dry_run(url, filled, pool.submit([image]), labels=True, prices=search.prices), show, target)
