"""``qvision describe``: one request for all images, or one for each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import QvisionError, SomeRequestsFailedError, UsageError
from ..frozen import frozen
from ..library import connection, image_options, request_builder
from ..output.show import (
    OutputOptions,
    RequestInfo,
    announce_image,
    show_answer,
    show_dry_run,
    show_failed_request,
    show_separator,
)
from ..output.streams import Output, echo_error
from .shared import completions, help_layout, options, setup

if TYPE_CHECKING:
    from ..client.request import Request
    from ..images.documents.pages import Documents
    from ..images.encode import ImageLimits
    from ..images.sources import Source
    from ..metrics import Price
    from ..schema.json_schema import Schema
    from ..settings.fields import Settings

app = typer.Typer()

_EXAMPLES = """\
qvision describe photo.jpg "what is this?"
qvision describe *.jpg "alt text, at most 120 characters" --each
qvision describe receipt.png --schema "shop, total number" | jq .total"""


@frozen
class _Plan:
    """One request, to be sent about each group of images.

    Attributes:
        reads_tiles: each tile of an image has a request of its own, and the texts are joined.
        documents: the open documents of the pages among the images.
        separator: the text between two answers; ``None`` for none.
    """

    request: "Request"
    groups: Sequence[Sequence["Source"]]
    limits: "ImageLimits"
    reads_tiles: bool
    documents: "Documents | None"
    separator: str | None
    schema: "Schema | None"
    settings: "Settings"
    prices: Mapping[str, "Price"]


@app.command(cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{options.EPILOG}")
@options.with_settings(
    *options.REQUEST_SETTINGS, *options.RETRY_SETTINGS, *options.IMAGE_SETTINGS, "labels", "loop_check", "coordinates"
)
def describe(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE... [PROMPT]",
            autocompletion=completions.complete_images,
            help="Files, URLs, quoted globs, - for standard input; and the prompt.",
        ),
    ] = None,
    *,
    prompt: options.Prompt = None,
    preset: options.Preset = None,
    system: options.System = None,
    schema: options.Schema = None,
    each: Annotated[bool, typer.Option("--each", help="One request per image, in order.")] = False,
    together: Annotated[bool, typer.Option("--together", help="One request for all images, even more than 8.")] = False,
    param: options.Param = None,
    no_stream: options.NoStream = False,
    original: options.Original = False,
    tiles: options.Tiles = None,
    crop: options.Crop = None,
    pages: options.Pages = None,
    frame: options.Frame = None,
    password_file: options.PasswordFile = None,
    page_separator: options.PageSeparator = None,
    fetch: options.Fetch = None,
    as_json: options.Json = False,
    field: options.Field = None,
    output: options.OutputFile = None,
    dry_run: options.DryRun = False,
    stats: options.Stats = None,
    thinking: options.Thinking = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    plain: options.Plain = None,
) -> None:
    """Describe images, showing the answer as it arrives."""
    from ..images.arguments import classify
    from ..images.documents import expansion

    show = OutputOptions(as_json, field, stats, thinking, quiet, verbose, plain)
    info = RequestInfo()
    with setup.recording_failures(info, show):
        show.validate(dry_run=dry_run)
        info.target = target = Output(output)
        config = setup.load_config()
        chosen_preset, settings = setup.resolve_preset_and_settings(context, config, preset)
        info.model = settings.model
        words = arguments or []
        stdin = setup.open_stdin([*words, prompt, system, password_file])
        schema_file = schema and f"@{schema.removeprefix('@')}"
        target.refuse_overwriting(setup.find_referenced_files(prompt, system, schema_file))
        info.prompt = setup.read_prompt("-p", prompt, stdin)
        page_options = setup.read_page_options(pages, frame, password_file, stdin)
        classified = classify(words, has_prompt_option=prompt is not None, stdin=stdin)
        info.images = classified.names
        info.prompt = request_builder.compose_prompt(info.prompt, classified.prompt, chosen_preset, settings)
        if classified.error is not None:
            raise classified.error
        target.refuse_overwriting(expansion.list_files(classified.images))
        extra = setup.parse_params(param)
        answer_schema = setup.load_schema(schema, chosen_preset, extra, settings)
        show = show.for_answers(answer_schema, chosen_preset)
        system = setup.read_system_prompt(system, stdin, chosen_preset, settings)
        tile_options = image_options.read_tile_options(tiles, crop, chosen_preset, has_schema=answer_schema is not None)
        images = image_options.choose_downloads(classified.images, settings, fetch=fetch)
        is_ocr = chosen_preset is not None and chosen_preset.name == "ocr" and not together
        images, documents = expansion.expand_pages(
            images, page_options.choice, page_options.password, each=each or is_ocr
        )
        reads_pages = is_ocr and documents is not None  # the text of a document, page by page
        plan = _Plan(
            request=request_builder.build_request(settings, info.prompt, system, extra, stream=not no_stream),
            groups=_group_images(images, each=each or reads_pages, together=together),
            limits=image_options.build_image_limits(settings, tile_options, original=original, schema=answer_schema),
            reads_tiles=tile_options.reads_tiles,
            documents=documents,
            separator=_format_separator(page_separator, reads_pages=reads_pages),
            schema=answer_schema,
            settings=settings,
            prices=config.prices,
        )
        setup.note_useless_pixels(settings, extra, quiet=quiet or original)
        request_builder.check_placeholders(plan.request, images=max(map(expansion.count_files, plan.groups)))
        if dry_run:
            failures = _show_dry_runs(plan, show, target)
        else:
            failures = _describe_groups(plan, setup.require_key(settings, quiet=quiet), show, target)
        if failures:
            raise SomeRequestsFailedError(f"{len(failures)} of {len(plan.groups)} requests failed", first=failures[0])


def _group_images(images: Sequence["Source"], *, each: bool, together: bool) -> list[Sequence["Source"]]:
    """Group the images into requests: each alone, or all together.

    Raises:
        UsageError: the options exclude each other, or there are too many images for one request.
    """
    from ..images.documents import expansion

    if each and together:
        raise UsageError("--each and --together exclude each other", hint="Choose one.")
    if len(images) > image_options.MAX_IMAGES_PER_REQUEST and not each and not together:
        hint = "--each sends a request for each image, --together one request for all of them."
        name = images[0].name.rpartition("#page=")[0]
        if name and expansion.count_files(images) == 1:  # a document
            hint = f"Choose some with --pages 1-{image_options.MAX_IMAGES_PER_REQUEST}. {hint.replace('each image', 'each page')}"
            raise UsageError(f"{name}: {len(images):,} pages for one request", hint=hint)
        raise UsageError(f"{len(images):,} images for one request", hint=hint)
    return [[image] for image in images] if each else [images]


def _format_separator(option: str | None, *, reads_pages: bool) -> str | None:
    """Return the text between two answers: the user's line, or a form feed between the texts of pages."""
    if option is None:
        return "\f" if reads_pages else None
    return option if option.endswith("\n") else f"{option}\n"


def _describe_groups(plan: _Plan, key: str | None, show: OutputOptions, target: Output) -> list[QvisionError]:
    """Send a request for each group in turn, show the answers, and return the failures of single requests.

    Raises:
        QvisionError: the only request failed, or all further ones would fail in the same way.
    """
    from ..images.prepare import PreparationPool

    failures: list[QvisionError] = []
    has_several = len(plan.groups) > 1
    pool = PreparationPool(plan.limits, plan.documents)
    prepared_groups = pool.submit_in_turn(plan.groups)  # the first is prepared while the next lines load httpx
    with connection.open_endpoint(plan.settings, key, plan.groups) as endpoint:
        request_answer, request = (
            request_builder.choose_describe(plan.schema, reads_tiles=plan.reads_tiles),
            plan.request,
        )
        request_options = connection.build_request_options(plan.settings, plan.prices)
        for number, (group, images) in enumerate(zip(plan.groups, prepared_groups, strict=True), 1):
            if has_several:
                announce_image(group[0].name, show, target, has_heading=plan.separator is None)
            if number > 1 and plan.separator is not None:
                show_separator(plan.separator, show, target)
            filled = request_builder.fill_placeholders(request, group, number)
            items = request_answer(endpoint, filled, images, request_options)
            answer = show_answer(items, show, target, name=group[0].name if has_several else None)
            if answer.has_answer:
                request = replace(request, dropped=request.dropped | answer.refused_parameters)
            if (error := answer.error) is None:
                continue
            setup.raise_if_final(error, has_several=has_several)
            failures.append(error)
            echo_error(error if show.is_interactive else setup.name_image(error, group[0].name))
    return failures


def _show_dry_runs(plan: _Plan, show: OutputOptions, target: Output) -> list[QvisionError]:
    """Show each request instead of sending it; fail as ``_describe_groups`` does."""
    from ..client.request import COMPLETIONS_PATH
    from ..describe.dry_run import dry_run, split_tiles
    from ..images.prepare import PreparationPool

    failures: list[QvisionError] = []
    pool, url = PreparationPool(plan.limits, plan.documents), connection.format_url(plan.settings, COMPLETIONS_PATH)
    request_template = request_builder.add_response_format(plan.request, plan.schema)
    for number, group in enumerate(plan.groups, 1):
        request = request_builder.fill_placeholders(request_template, group, number)
        images = pool.submit(group)
        try:
            for request_images in split_tiles(images) if plan.reads_tiles else [images]:
                result = dry_run(url, request, request_images, labels=plan.settings.labels, prices=plan.prices)
                show_dry_run(result, show, target)
        except QvisionError as error:
            if len(plan.groups) == 1:
                raise
            failures.append(error)
            info = RequestInfo(target, request.model, request.prompt, tuple(image.name for image in group))
            show_failed_request(error, info, show)
            echo_error(error)
    return failures
