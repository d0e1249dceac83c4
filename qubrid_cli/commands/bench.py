"""``qvision bench``: compare models and settings on the same images."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from ..errors import InterruptedByUserError, QvisionError, UsageError
from ..library import connection, image_options
from ..output import show
from ..output.streams import Output, echo_note, echo_prose
from ..text import quote_name
from .shared import completions, help_layout, options, runs, setup, verdict_options

if TYPE_CHECKING:
    from ..bench.forecast import BenchForecast
    from ..bench.labels import Label
    from ..bench.measure import ImageStore
    from ..bench.outcome import BenchResult
    from ..bench.plan import BenchPlan
    from ..images.sources import Source
    from ..settings.config_file import Config
    from ..settings.fields import Settings
    from ..settings.presets import Preset

app = typer.Typer()

_EXAMPLES = """\
qvision bench photo.jpg --models Qwen/Qwen3-VL-Flash,Qwen/Qwen3-VL-Plus
qvision bench *.jpg "how many people?" --max-pixels 262144,1048576 -n 5
qvision bench --labels labels.jsonl "is it blurred?" --json"""
_MAX_RUNS, _MAX_JOBS = 1000, 256
#: The settings whose options take lists of values in this command.
_VARIED = {"max_pixels", "image_order", "think"}
_SETTINGS = (*options.REQUEST_SETTINGS, *options.RETRY_SETTINGS, *options.IMAGE_SETTINGS)


@app.command(cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{options.EPILOG}")
@options.with_settings(*(name for name in _SETTINGS if name not in _VARIED))
def bench(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE...] [PROMPT]",
            autocompletion=completions.complete_images,
            help="Files, URLs, quoted globs, - for standard input; and the prompt.",
        ),
    ] = None,
    *,
    run_count: Annotated[
        int,
        typer.Option(
            "--runs",
            "-n",
            min=1,
            max=_MAX_RUNS,
            metavar="N",
            help="Requests for each image and variant. [3]",
            show_default=False,
        ),
    ] = 3,
    job_count: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=1, max=_MAX_JOBS, metavar="N", help="Requests at once. [1]", show_default=False
        ),
    ] = 1,
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            metavar="LIST",
            help="Models to compare, separated by commas.",
            autocompletion=completions.complete_models,
        ),
    ] = None,
    pixel_counts: Annotated[
        str | None,
        typer.Option("--max-pixels", metavar="LIST", help="Sizes of images to compare, such as 262144,1048576."),
    ] = None,
    image_orders: Annotated[
        str | None,
        typer.Option("--image-order", metavar="LIST", help="Image before or after the text: first,last."),
    ] = None,
    think_levels: Annotated[
        str | None, typer.Option("--think", metavar="LIST", help="How much the model thinks: off,on,low,medium,high.")
    ] = None,
    label_file: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Images with expected answers, in JSONL or CSV, to score the answers; - reads standard input.",
            autocompletion=completions.complete_files,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0.001,
            max=0.999,
            metavar="P",
            help="Minimum probability for yes. [0.5]",
            show_default=False,
        ),
    ] = None,
    by: verdict_options.By = None,
    prompt: options.Prompt = None,
    preset: options.Preset = None,
    system: options.System = None,
    schema: options.Schema = None,
    param: options.Param = None,
    original: options.Original = False,
    crop: options.Crop = None,
    fetch: options.Fetch = None,
    as_json: options.JsonObject = False,
    page: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Also write a page with charts and with the answers side by side: an .html file.",
            autocompletion=completions.complete_files,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare models and settings: speed, cost, accuracy."""
    from ..bench import export, forecast, measure
    from ..images.documents import expansion

    with _reporting_failures(as_json=as_json):
        target = _open_page(page)
        config = setup.load_config()
        plan, settings = _build_plan(context, config, arguments or [])
        target.refuse_overwriting(expansion.list_files([sample.image for sample in plan.samples]))
        key = None if dry_run else setup.require_key(settings, quiet=quiet)
        images = measure.ImageStore(plan)
        with show.open_status(quiet=quiet) as show_status:
            for name in images.prepare_all():
                show_status(f"preparing {name}")
        expected = forecast.forecast(plan, images)
        if dry_run:
            _show_forecast(expected, as_json=as_json)
            return
        for line in () if quiet else (*expected.list_notes(), expected.format_summary()):
            echo_prose(line)
        result = _measure(plan, images, settings, key, quiet=quiet)
    if as_json:
        show.print_json(export.json_result(result))
    elif result.has_answers:
        _show_result(result, quiet=quiet)
    if target.is_file and result.has_answers:
        from ..bench.html_page import render_result

        target.write(render_result(result, images).decode())
        target.save()
    if result.error is not None:
        raise result.error


def _open_page(name: str | None) -> Output:
    """Open the file of the page.

    Raises:
        UsageError: its suffix is not that of HTML, or it cannot be written.
    """
    if name is not None and not name.lower().endswith((".html", ".htm")):
        hint = "Name a file such as bench.html. For other formats: qvision bench … --json > bench.json"
        raise UsageError(f"-o {quote_name(name)} is not the name of an HTML file", hint=hint)
    return Output(name)


@contextmanager
def _reporting_failures(*, as_json: bool) -> Iterator[None]:
    """With ``--json``, print an object for an error that ends the benchmark before it measures anything."""
    try:
        yield
    except (QvisionError, KeyboardInterrupt) as error:
        failure = error if isinstance(error, QvisionError) else InterruptedByUserError()
        if as_json:
            from ..bench import export

            show.print_json(export.json_failure(failure))
        raise failure from None


def _build_plan(context: typer.Context, config: "Config", words: Sequence[str]) -> "tuple[BenchPlan, Settings]":
    """Build the plan of the benchmark from the command line; return it with the settings of the endpoint.

    Raises:
        QvisionError: an argument, an option or a setting cannot be used.
    """
    from ..bench import labels, plan
    from ..images.arguments import classify
    from ..images.documents import expansion
    from ..settings import resolve as resolving

    params = context.params
    label_file = params["label_file"]
    stdin = setup.open_stdin([*words, params["prompt"], params["system"], label_file])
    prompt = setup.read_prompt("-p", params["prompt"], stdin)
    classified = classify(
        words, has_prompt_option=prompt is not None, stdin=stdin, command="bench", needs_image=label_file is None
    )
    if classified.error is not None:
        raise classified.error

    image_labels = _read_labels(label_file, stdin, classified.images, setup.resolve_settings(context, config))
    is_judged = bool(image_labels) and params["schema"] is None and labels.are_yes_or_no(image_labels)
    question = plan.QuestionOptions(
        option_prompt=prompt,
        argument_prompt=classified.prompt,
        has_own_prompts=all(label.prompt for label in image_labels) and bool(image_labels),
        system=setup.read_prompt("-s", params["system"], stdin),
        extra=setup.parse_params(params["param"]),
        has_objects=any(isinstance(label.expected, dict) for label in image_labels),
        has_preset=params["preset"] is not None,
        is_judged=is_judged,
        **{name: params[name] for name in ("schema", "crop", "original", "by", "threshold")},
    )
    preset, choices = params["preset"], _list_choices(params)

    def resolve(choice: Mapping[str, Any]) -> "tuple[Preset | None, Settings]":
        variant_options = {**setup.options_from(context), **choice}
        if is_judged:
            return None, resolving.resolve(variant_options, os.environ, config)
        return resolving.resolve_with_preset(variant_options, os.environ, config, preset)

    variants, settings = plan.build_variants(choices, resolve, question)
    images: Sequence[Source] = [label.image for label in image_labels] or classified.images
    images = image_options.choose_downloads(images, settings, fetch=params["fetch"])
    images, documents = expansion.expand_pages(images, None, None, each=True)
    return plan.BenchPlan(
        variants=variants,
        samples=labels.join_images(images, image_labels),
        runs=params["run_count"],
        jobs=params["job_count"],
        request_options=connection.build_request_options(settings, config.prices),
        is_judged=is_judged,
        threshold=params["threshold"] or 0.5,
        documents=documents,
    ), settings


def _read_labels(
    name: str | None, stdin: BinaryIO, images: "Sequence[Source]", settings: "Settings"
) -> "Sequence[Label]":
    """Read the labels of the images, or all labels if no images are named; none without ``--labels``."""
    if name is None:
        return []
    from ..bench import labels

    list_file = runs.resolve_list(name, stdin, settings, nul=False, option="--labels")
    assert list_file is not None
    return labels.choose_labels(labels.read_labels(list_file, name), images, name)


def _list_choices(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the values of the varied settings for each variant."""
    from ..bench import plan

    if params["models"] is not None and params["model"] is not None:
        raise UsageError(
            "--models and --model exclude each other", hint="Put all models into --models, separated by commas."
        )
    names = {"model": "models", "max_pixels": "pixel_counts", "image_order": "image_orders", "think": "think_levels"}
    return plan.list_choices({name: params[parameter] for name, parameter in names.items()})


def _measure(
    plan: "BenchPlan", images: "ImageStore", settings: "Settings", key: str | None, *, quiet: bool
) -> "BenchResult":
    """Make all requests. After Ctrl-C, the result has the measurements so far."""
    from ..bench import measure, outcome

    measured: list[measure.Measurement] = []
    stop: QvisionError | None = None
    # Without the model of the settings, for which errors would suggest a similar one: each variant has its own.
    endpoint = connection.open_endpoint(replace(settings, model=None), key, connects_early=False)
    measuring = measure.Measuring(plan, images, endpoint)
    try:
        with show.open_status(quiet=quiet) as show_status:
            show_status("warming up")
            for number, _ in enumerate(measuring.warm_up(), 1):
                show_status(f"warming up: {number} of {plan.warm_up_count} requests")
            for measurement in measuring.measure():
                measured.append(measurement)
                show_status(f"measuring: {len(measured)} of {plan.request_count} requests")
    except KeyboardInterrupt:
        stop = InterruptedByUserError(f"stopped by Ctrl-C after {len(measured)} of {plan.request_count} requests")
    return outcome.build_result(plan, measured, measuring, stop)


def _show_result(result: "BenchResult", *, quiet: bool) -> None:
    """Draw tables on a terminal. Elsewhere, print a table with tabs on stdout, and the notes on stderr."""
    from ..bench import export, tables

    if sys.stdout is not None and sys.stdout.isatty():
        tables.show_result(result)
        return
    for line in export.format_lines(result):
        show.print_line(line)
    for note in () if quiet else tables.format_notes(result):
        echo_note(note)


def _show_forecast(expected: "BenchForecast", *, as_json: bool) -> None:
    from ..bench import forecast

    if as_json:
        show.print_json(forecast.json_forecast(expected))
        return
    rows = list(forecast.format_rows(expected))
    show.show_rows(("variant", "prompt tokens", "cost without answers"), rows)
    show.print_line(f"{expected.format_summary()}; nothing was sent to the endpoint")
