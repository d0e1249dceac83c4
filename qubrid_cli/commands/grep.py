"""``qvision grep``: print the names of images that match a description, as they are found."""

import enum
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from ..errors import BatchIncompleteError, ImageError, InterruptedByUserError, UsageError
from ..library import connection, image_options, judging, request_builder
from ..text import quote_name
from .shared import batch_options, completions, help_layout, options, runs, setup, verdict_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..batch.inputs import BatchInputs
    from ..batch.matches import MatchOptions
    from ..batch.tasks import BatchPlan
    from ..client.request import Request
    from ..describe.verdicts import Method
    from ..settings.fields import Settings

app = typer.Typer()


class SortKey(enum.StrEnum):
    """The order of the matches."""

    PROBABILITY = "probability"


_EXAMPLES = """\
qvision grep "contains a bar chart" slides/
qvision grep -0 "is it blurred?" photos/ | xargs -0 mv -t blurred/
qvision grep "is there a dog?" photos/ -o dogs.jsonl --sort probability --why"""
_EPILOG = (
    "Exit codes: 0 an image matches, 1 none does, 7 some images failed, 2 usage, 3 configuration or key, "
    "4 image, 5 endpoint or network, 130 interrupted. With -q, a match is 0 even if images failed."
)
_EXAMPLE = 'qvision grep "is there a dog?" photos/'


@app.command("grep", cls=help_layout.Command, epilog=f"{_EXAMPLES}\n\n{_EPILOG}")
@options.with_settings(*options.REQUEST_SETTINGS, *options.IMAGE_SETTINGS, long_only=("model",))
@options.with_options(batch_options.SELECTION_OPTIONS, batch_options.RUN_OPTIONS)
def grep(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUESTION] [PATH...]",
            autocompletion=completions.complete_images,
            help="The question; and folders, files, URLs, quoted globs, - for standard input.",
        ),
    ] = None,
    *,
    question_option: Annotated[
        str | None,
        typer.Option(
            "--question",
            "-e",
            metavar="TEXT",
            help="The question, if it begins with a dash; @FILE reads a file. Then all arguments are paths.",
        ),
    ] = None,
    threshold: verdict_options.Threshold = None,
    votes: verdict_options.Votes = None,
    by: verdict_options.By = None,
    invert: Annotated[bool, typer.Option("--invert-match", "-v", help="Print the images that do not match.")] = False,
    with_match: Annotated[
        bool, typer.Option("--files-with-matches", "-l", help="Print the names, which is the default.")
    ] = False,
    without_match: Annotated[bool, typer.Option("--files-without-match", "-L", help="The same as -v.")] = False,
    count: Annotated[bool, typer.Option("--count", "-c", help="Print only how many images match.")] = False,
    silent: Annotated[
        bool,
        typer.Option("--silent", "-q", help="Print nothing: the exit code is the answer. Stop at the first match."),
    ] = False,
    max_count: Annotated[
        int | None, typer.Option("--max-count", "-m", min=1, metavar="N", help="Stop after N matches.")
    ] = None,
    null_names: Annotated[
        bool,
        typer.Option("--null", "-0", help="End names with NUL, for xargs -0; names in the list may end with it too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per match.")] = False,
    why: Annotated[
        bool, typer.Option("--why", help="After each name, print a tab and the probability or the reason.")
    ] = False,
    sort: Annotated[
        SortKey | None,
        typer.Option(
            "--sort",
            metavar="probability",
            help="Print the matches at the end, the most probable first.",
            show_default=False,
        ),
    ] = None,
    from_: batch_options.From = None,
    image_column: batch_options.ImageColumn = None,
    output: batch_options.SearchResults = None,
    failures: batch_options.Failures = None,
    dry_run: batch_options.BatchDryRun = False,
    param: options.Param = None,
    pages: options.Pages = None,
    frame: options.Frame = None,
    password_file: options.PasswordFile = None,
    original: options.Original = False,
    tiles: options.Tiles = None,
    crop: options.Crop = None,
    fetch: options.Fetch = None,
    quiet: batch_options.LongQuiet = False,
    verbose: batch_options.LongVerbose = False,
) -> None:
    """Print the names of images that match a description."""
    config = setup.load_config()
    settings = judging.vary_votes(setup.resolve_settings(context, config), votes)
    words, word = _split_question(arguments or [], question_option)
    if question_option is None and not word.strip():
        raise UsageError("the question is empty", hint=f"For example: {_EXAMPLE}")
    stdin = setup.open_stdin([*words, question_option, from_, password_file])
    text = setup.read_prompt("-e", question_option, stdin) or request_builder.validate_prompt(word, "the question")
    page_options = setup.read_page_options(pages, frame, password_file, stdin)
    match_options = _build_match_options(context.params)
    extra = setup.parse_params(param)
    request = request_builder.build_request(settings, text, None, extra, stream=False)
    methods = judging.choose_methods(settings, by=by, threshold=threshold, votes=votes)
    files = {"-o": output, "--failures": failures}
    images = _build_inputs(context.params, files, words, word, settings=settings, stdin=stdin)
    request_builder.check_placeholders(request, images=1, columns=images.find_columns(from_))
    from ..batch.tasks import BatchRequest  # loads httpx, so only for a valid command line

    tile_options = image_options.read_tile_options(tiles, crop, None, has_schema=False)
    limits = image_options.build_image_limits(settings, tile_options, original=original)
    is_quiet = quiet or silent
    setup.note_useless_pixels(settings, extra, quiet=is_quiet or original)
    key = None if dry_run else setup.require_key(settings, quiet=is_quiet)
    verdict_fields = {"by": by, "votes": votes or 1}  # the threshold does not shape the answers
    facets = {**request_builder.list_key_facets(settings), "verdict": verdict_fields, **tile_options.facets}
    plan = runs.build_plan(
        context.params,
        settings,
        key,
        stdin,
        images=images,
        page_options=page_options,
        batch_request=BatchRequest(request, limits, facets, config.prices),
        describe=judging.open_judge(settings, extra, by=by, votes=votes).describe,
        request_lines=_format_request(request, settings, methods),
    )
    _run(replace(plan, results=output, failures=failures, is_quiet=is_quiet), match_options, is_dry_run=dry_run)


def _split_question(words: "Sequence[str]", option: str | None) -> "tuple[Sequence[str], str]":
    """Split the arguments into paths and question; with ``-e``, all of them are paths."""
    if option is not None:
        return words, ""
    if not words:
        raise UsageError("there is no question", hint=f"For example: {_EXAMPLE}")
    return words[1:], words[0]


def _build_inputs(
    params: "Mapping[str, Any]",
    files: "Mapping[str, Path | None]",
    words: "Sequence[str]",
    question_word: str,
    *,
    settings: "Settings",
    stdin: BinaryIO,
) -> "BatchInputs":
    """Find the images that the command line names.

    Args:
        params: the command line, by the names of the parameters.
        files: the files that the run writes, by option.
        question_word: the argument that is the question; empty with ``-e``.
    """
    from ..batch import inputs

    paths, list_name = _check_paths(words, params["from_"], question_word, settings)
    runs.check_sources(paths, list_name, null=False, example=_EXAMPLE)
    for option, path in files.items():
        if path is not None and (str(path) == "-" or ":/" in str(path)):
            raise UsageError(
                f"{option} {quote_name(path)} is not a file on this machine", hint="For standard output: --json"
            )
    run_files = runs.collect_run_files(files["-o"], files["--failures"], list_name)
    selection = runs.build_selection(params, settings, run_files)
    return inputs.BatchInputs(
        paths,
        runs.resolve_list(list_name, stdin, settings, nul=params["null_names"]),
        None if params["null_names"] else False,
        replace(selection, ignores_prompts=True),
        None,
        params["image_column"],
    )


def _check_paths(
    words: "Sequence[str]", list_name: str | None, question_word: str, settings: "Settings"
) -> "tuple[tuple[str, ...], str | None]":
    """Check the paths and return them with the name of the list. An archive that is named as the list counts as a path.

    Raises:
        UsageError: the question comes after the paths, or a path is a list of images.
        ImageError: a path does not exist.
    """
    from ..batch import inputs
    from ..images.arguments import find_existing_path, is_path, refuse_list

    for word in words:
        if not word:
            raise UsageError("the name of an image is empty", hint=f"For example: {_EXAMPLE}")
        try:
            refuse_list(word)
        except UsageError as error:
            raise error.with_message(
                error.message, hint=f"To search the images in it: --from {quote_name(word)}"
            ) from error
    paths = tuple(words)
    if list_name is not None and inputs.is_archive_name(list_name):
        paths, list_name = (*paths, list_name), None
    try:
        inputs.validate_arguments(paths, partial(image_options.build_storage_options, settings))
    except ImageError as error:
        if error.code != "no_such_image":
            raise
        text = next((word for word in words if find_existing_path(word) is None and not is_path(word)), None)
        if question_word and text is not None and find_existing_path(question_word) is not None:
            raise UsageError(
                f"the question comes first, and {quote_name(question_word)} is a path",
                hint=f"For example: qvision grep {quote_name(text)} {quote_name(question_word)}",
            ) from error
        rule = (
            "The question is the first argument, in quotes." if question_word else "With -e, all arguments are images."
        )
        raise error.with_message(error.message, hint=f"Check the name. {rule}") from error
    return paths, list_name


def _build_match_options(params: "Mapping[str, Any]") -> "MatchOptions":
    """Build the options of matching and printing.

    Args:
        params: the command line, by the names of the parameters.

    Raises:
        UsageError: two options exclude each other.
    """
    from ..batch.matches import Form, MatchOptions

    forms = {"silent": Form.NOTHING, "count": Form.COUNT, "as_json": Form.LINES}
    flags = {"silent": "-q", "count": "-c", "as_json": "--json", "why": "--why", "sort": "--sort", "max_count": "-m"}
    flags |= {"with_match": "-l", "without_match": "-L", "null_names": "-0"}
    nameless_forms = [name for name in forms if params[name]]
    pairs = [("silent", "count"), ("silent", "as_json"), ("count", "as_json"), ("with_match", "without_match")]
    pairs += [(form, option) for form in nameless_forms for option in ("why", "with_match")]
    pairs += [] if params["from_"] else [(form, "null_names") for form in nameless_forms]  # -0 applies to a list too
    pairs += [("silent", "sort"), ("count", "sort"), ("max_count", "sort")]
    for first, second in pairs:
        if params[first] and params[second]:
            hint = "Leave one of them out."
            if first == "max_count":
                hint = f"For the most probable {params[first]}, append: | head -n {params[first]}"
            raise UsageError(f"{flags[first]} and {flags[second]} exclude each other", hint=hint)
    return MatchOptions(
        threshold=params["threshold"],
        is_inverted=params["invert"] or params["without_match"],
        limit=1 if params["silent"] else params["max_count"] or inf,
        form=next((forms[name] for name in nameless_forms), Form.NAMES),
        is_nul_separated=params["null_names"],
        has_reasons=params["why"],
        is_sorted=params["sort"] is not None,
    )


def _format_request(request: "Request", settings: "Settings", methods: "Sequence[Method]") -> tuple[str, ...]:
    """Format the lines about every request that a dry run prints."""
    return runs.format_request(
        {
            "question": request.prompt,
            "by": " or ".join(methods),
            "model": settings.model,
            "endpoint": connection.format_url(settings),
            "profile": settings.profile,
        }
    )


def _run(plan: "BatchPlan", match_options: "MatchOptions", *, is_dry_run: bool) -> None:
    from ..batch import session
    from ..batch.matches import Form, Matches

    matches = Matches(match_options, plan.open_source)
    try:
        if is_dry_run:
            session.print_dry_run(plan, is_search=True)
            return
        session.run_batch(plan, matches)
    except KeyboardInterrupt as error:  # before the run handles signals, or after its end
        raise InterruptedByUserError from error
    except BatchIncompleteError:
        if match_options.form is not Form.NOTHING or not matches.is_complete:
            raise
    if matches.count == 0:
        raise typer.Exit(1)
