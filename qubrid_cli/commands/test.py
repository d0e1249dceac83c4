"""``qvision test``: ask a yes-or-no question about images; the exit code is the answer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import QvisionError, SomeRequestsFailedError, UsageError
from ..frozen import frozen
from ..library import connection, image_options, judging, request_builder
from ..output.show import OutputOptions, RequestInfo, show_dry_run, show_verdict
from ..output.streams import Output, echo_error
from ..text import quote_name
from .shared import completions, help_layout, options, setup, verdict_options

if TYPE_CHECKING:
    from ..client.request import Request
    from ..describe.judge import Judge
    from ..images.documents.pages import Documents
    from ..images.encode import ImageLimits
    from ..images.sources import Source
    from ..metrics import Price
    from ..settings.fields import Settings

app = typer.Typer()

_EXAMPLES = """\
if qvision test shot.png "is there an error dialog?"; then echo broken; fi
find photos -name '*.jpg' -exec qvision test {} "is it a portrait?" \\; -print
qvision test *.jpg "is it blurred?" --any --threshold 0.9"""
_EPILOG = (
    "Exit codes: 0 yes, 1 no, 8 unsure or not an answer, 2 usage, 3 configuration or key, 4 image, "
    "5 endpoint or network, 6 incomplete answer, 130 interrupted."
)


@frozen
class _Question:
    """One question, to be asked about each image.

    Attributes:
        is_any: one image suffices for a yes.
    """

    request: "Request"
    judge: "Judge"
    images: Sequence["Source"]
    limits: "ImageLimits"
    documents: "Documents | None"
    is_any: bool
    settings: "Settings"
    prices: Mapping[str, "Price"]


@app.command("test", cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{_EPILOG}")
@options.with_settings(*options.REQUEST_SETTINGS, *options.RETRY_SETTINGS, *options.IMAGE_SETTINGS)
def answer_question(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE... QUESTION",
            autocompletion=completions.complete_images,
            help="Files, URLs, quoted globs, - for standard input; and the question.",
        ),
    ] = None,
    *,
    prompt: options.Prompt = None,
    any_image: Annotated[
        bool, typer.Option("--any", help="Answer yes if it is true of one image; by default, of all.")
    ] = False,
    threshold: verdict_options.Threshold = None,
    votes: verdict_options.Votes = None,
    by: verdict_options.By = None,
    param: options.Param = None,
    original: options.Original = False,
    tiles: options.Tiles = None,
    crop: options.Crop = None,
    pages: options.Pages = None,
    frame: options.Frame = None,
    password_file: options.PasswordFile = None,
    fetch: options.Fetch = None,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
    stats: options.Stats = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Answer a yes-or-no question about images with the exit code."""
    from ..images.arguments import classify
    from ..images.documents import expansion

    show = OutputOptions(as_json, None, stats, thinking=False, quiet=quiet, verbose=verbose)
    info = RequestInfo()
    with setup.recording_failures(info, show):
        config = setup.load_config()
        settings = setup.resolve_settings(context, config)
        info.model = settings.model
        words = arguments or []
        stdin = setup.open_stdin([*words, prompt, password_file])
        info.prompt = setup.read_prompt("-p", prompt, stdin)
        page_options = setup.read_page_options(pages, frame, password_file, stdin)
        classified = classify(words, has_prompt_option=prompt is not None, stdin=stdin, command="test")
        info.images = classified.names
        info.prompt = info.prompt or classified.prompt
        if classified.error is not None:
            raise classified.error
        if not (info.prompt or "").strip():
            example = f'qvision test {quote_name(classified.names[0])} "is there an error dialog?"'
            raise UsageError("there is no question", hint=f"For example: {example}")
        extra = setup.parse_params(param)
        tile_options = image_options.read_tile_options(tiles, crop, None, has_schema=False)
        images = image_options.choose_downloads(classified.images, settings, fetch=fetch)
        images, documents = expansion.expand_pages(images, page_options.choice, page_options.password, each=True)
        settings = judging.vary_votes(settings, votes)
        plan = _Question(
            request=request_builder.build_request(
                settings, request_builder.validate_prompt(info.prompt or "", "the question"), None, extra, stream=False
            ),
            judge=judging.open_judge(settings, extra, by=by, threshold=threshold, votes=votes),
            images=images,
            limits=image_options.build_image_limits(settings, tile_options, original=original),
            documents=documents,
            is_any=any_image,
            settings=settings,
            prices=config.prices,
        )
        request_builder.check_placeholders(plan.request, images=1)
        if dry_run:
            _show_dry_runs(plan, show, info.target)
            return
        is_true = _judge_images(plan, setup.require_key(settings, quiet=quiet), show, info.target)
    if not is_true:
        raise typer.Exit(1)


def _judge_images(plan: _Question, key: str | None, show: OutputOptions, target: Output) -> bool:
    """Ask about one image after another until the answer to the whole question is certain, and return it.

    Raises:
        QvisionError: an image that failed could change the answer, or all further requests would fail in the same way.
    """
    from ..images.prepare import PreparationPool

    failures: list[QvisionError] = []
    has_several = len(plan.images) > 1
    pool = PreparationPool(plan.limits, plan.documents)
    groups = [[image] for image in plan.images]
    prepared_groups = pool.submit_in_turn(groups)
    with connection.open_endpoint(plan.settings, key, [plan.images]) as endpoint:
        request_options = connection.build_request_options(plan.settings, plan.prices)
        for number, (group, prepared) in enumerate(zip(groups, prepared_groups, strict=True), 1):
            (image,) = group
            filled = request_builder.fill_placeholders(plan.request, group, number)
            items = plan.judge.judge(endpoint, filled, prepared, request_options)
            answer = show_verdict(items, image.name if has_several else None, show, target)
            if (error := answer.error) is None:
                is_true: bool = answer.data["answer"] == "yes"
                if is_true is plan.is_any:
                    return is_true
                continue
            setup.raise_if_final(error, has_several=has_several)
            failures.append(error)
            echo_error(setup.name_image(error, image.name))
    if failures:
        raise SomeRequestsFailedError(f"{len(failures)} of {len(plan.images)} images have no answer", first=failures[0])
    return not plan.is_any


def _show_dry_runs(plan: _Question, show: OutputOptions, target: Output) -> None:
    """Show the first request about each image instead of sending it."""
    from ..client.request import COMPLETIONS_PATH, DECISIONS_PATH
    from ..describe.dry_run import dry_run
    from ..images.prepare import PreparationPool

    pool = PreparationPool(plan.limits, plan.documents)
    request = plan.judge.build_request(plan.request)
    url = connection.format_url(plan.settings, DECISIONS_PATH if request.is_decision else COMPLETIONS_PATH)
    for number, image in enumerate(plan.images, 1):
        filled = request_builder.fill_placeholders(request, [image], number)
        show_dry_run(dry_run(url, filled, pool.submit([image]), labels=True, prices=plan.prices), show, target)
