"""``qvision batch``: describe many images in a run that can be resumed, with a line of JSON for each."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InterruptedByUserError
from ..library import connection, image_options, request_builder
from .shared import batch_options, completions, help_layout, options, parts, runs, setup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..batch.sidecars.choice import SidecarOptions
    from ..batch.tasks import BatchPlan, BatchRequest
    from ..client.request import Request
    from ..images.encode import ImageLimits
    from ..schema.json_schema import Schema
    from ..settings.config_file import Config
    from ..settings.fields import Settings
    from ..settings.presets import Preset

app = typer.Typer()

_EXAMPLES = """\
qvision batch photos/ -P alt -o results.jsonl
qvision batch --from list.txt "caption" -o results.jsonl -j 16
qvision batch photos/ -P tags --sidecar xmp"""


@app.command(cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{options.EPILOG}")
@options.with_settings(*options.REQUEST_SETTINGS, *options.IMAGE_SETTINGS, "loop_check", "coordinates")
@options.with_options(batch_options.SELECTION_OPTIONS, batch_options.RUN_OPTIONS)
def batch(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...] [PROMPT]",
            autocompletion=completions.complete_images,
            help="Folders, files, URLs, quoted globs, - for standard input; and the prompt.",
        ),
    ] = None,
    *,
    prompt: options.Prompt = None,
    preset: options.Preset = None,
    system: options.System = None,
    schema: options.Schema = None,
    from_: batch_options.From = None,
    null: batch_options.Null = False,
    image_column: batch_options.ImageColumn = None,
    output: batch_options.Results = None,
    processes: parts.Processes = None,
    dask: parts.Dask = None,
    part_size: parts.PartSize = None,
    part_format: parts.PartFormatOption = None,
    plan_only: parts.PlanOnly = False,
    send_key: parts.SendKey = False,
    failures: batch_options.Failures = None,
    sidecar: batch_options.Sidecar = None,
    existing: batch_options.Existing = None,
    caption_suffix: batch_options.CaptionSuffix = None,
    append_suffix: batch_options.AppendSuffix = False,
    one_line: batch_options.OneLine = False,
    prefix: batch_options.Prefix = None,
    xmp_name: batch_options.XmpName = None,
    ordered: batch_options.Ordered = False,
    dry_run: batch_options.BatchDryRun = False,
    param: options.Param = None,
    stream: batch_options.Stream = False,
    pages: options.Pages = None,
    frame: options.Frame = None,
    password_file: options.PasswordFile = None,
    original: options.Original = False,
    tiles: options.Tiles = None,
    crop: options.Crop = None,
    fetch: options.Fetch = None,
    quiet: batch_options.BatchQuiet = False,
    verbose: batch_options.BatchVerbose = False,
) -> None:
    """Describe many images, with a line of JSON for each."""
    from ..batch import inputs

    config = setup.load_config()
    chosen_preset, settings = setup.resolve_preset_and_settings(context, config, preset)
    stdin = setup.open_stdin([*(arguments or []), prompt, system, from_, password_file])
    paths, argument, from_ = runs.split_arguments(
        arguments or [], from_, config, settings, has_prompt_option=prompt is not None
    )
    runs.check_sources(paths, from_, null=null)
    page_options = setup.read_page_options(pages, frame, password_file, stdin)
    extra = setup.parse_params(param)
    answer_schema = setup.load_schema(schema, chosen_preset, extra, settings)
    prompt = request_builder.compose_prompt(setup.read_prompt("-p", prompt, stdin), argument, chosen_preset, settings)
    system = setup.read_system_prompt(system, stdin, chosen_preset, settings)
    request = request_builder.build_request(settings, prompt, system, extra, stream=stream)
    location = parts.find_location(context.params)
    results = None if output is None or str(output) == "-" or location else output
    selection = runs.build_selection(context.params, settings, runs.collect_run_files(results, failures, from_))
    images = inputs.BatchInputs(
        paths, runs.resolve_list(from_, stdin, settings, nul=null), null, selection, None, image_column
    )
    request_builder.check_placeholders(request, images=1, columns=images.find_columns(from_))
    sidecars = _build_sidecar_options(context.params, paths, chosen_preset, answer_schema)
    tile_options = image_options.read_tile_options(tiles, crop, chosen_preset, has_schema=answer_schema is not None)
    limits = image_options.build_image_limits(settings, tile_options, original=original, schema=answer_schema)
    setup.note_useless_pixels(settings, extra, quiet=quiet or original)
    key = None if dry_run or parts.has_other_keys(context.params) else setup.require_key(settings, quiet=quiet)
    plan = runs.build_plan(
        context.params,
        settings,
        key,
        stdin,
        images=images,
        page_options=page_options,
        batch_request=_build_batch_request(
            request, limits, settings, config, schema=answer_schema, tile_options=tile_options
        ),
        describe=request_builder.choose_describe(answer_schema, reads_tiles=tile_options.reads_tiles),
        request_lines=_format_request(request, settings, chosen_preset),
    )
    plan = replace(
        plan, results=results, failures=failures, sidecars=sidecars, is_ordered=ordered, has_table=output is None
    )
    _run(plan, context.params, location=location, settings=settings, key=key, schema=answer_schema)


def _format_request(request: "Request", settings: "Settings", preset: "Preset | None") -> tuple[str, ...]:
    """Format the lines about every request that a dry run prints."""
    return runs.format_request(
        {
            "preset": None if preset is None else preset.name,
            "prompt": request.prompt,
            "system": request.system,
            "model": settings.model,
            "endpoint": connection.format_url(settings),
            "profile": settings.profile,
        }
    )


def _run(
    plan: "BatchPlan",
    params: "Mapping[str, Any]",
    *,
    location: str | None,
    settings: "Settings",
    key: str | None,
    schema: "Schema | None",
) -> None:
    from ..batch import session

    try:
        if params["dry_run"]:
            session.print_dry_run(plan)
        elif location is None:
            session.run_batch(plan)
        else:
            parts.run(plan, location=location, settings=settings, key=key, params=params, schema=schema)
    except KeyboardInterrupt as error:  # before the run handles signals, or after its end
        raise InterruptedByUserError from error


def _build_batch_request(
    request: "Request",
    limits: "ImageLimits",
    settings: "Settings",
    config: "Config",
    *,
    schema: "Schema | None",
    tile_options: image_options.TileOptions,
) -> "BatchRequest":
    from ..batch.tasks import BatchRequest

    schema_fields = {} if schema is None else {"schema": schema.document}
    facets = {**request_builder.list_key_facets(settings), **schema_fields, **tile_options.facets}
    return BatchRequest(
        request,
        limits,
        facets,
        config.prices,
        loop_check=settings.loop_check,
        reads_tiles=tile_options.reads_tiles,
    )


def _build_sidecar_options(
    params: "Mapping[str, Any]", paths: "Sequence[str]", preset: "Preset | None", schema: "Schema | None"
) -> "SidecarOptions | None":
    """Build the options of sidecars; ``None`` if none are written.

    Args:
        params: the command line, by the names of the parameters.
    """
    kinds = params["sidecar"] or ()
    names = ("existing", "caption_suffix", "append_suffix", "one_line", "prefix", "xmp_name")
    changes = {name: params[name] for name in names}
    if not kinds and not any(changes.values()):
        return None
    from ..batch.sidecars.choice import build_options, check_arguments

    options = build_options(
        kinds,
        changes=changes,
        force=params["force"],
        schema=None if schema is None else schema.document,
        is_alt_text=preset is not None and preset.name == "alt",
    )
    check_arguments(paths)
    return options
