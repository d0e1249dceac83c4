"""``qvision batch``: many images, one request each, a line of JSON each, resumable."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..describe.prompt import compose_prompt
from ..errors import ConfigError, InterruptedByUserError, UsageError
from . import _options, _request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..batch.budget import BudgetLimits
    from ..batch.inputs import Selection, Task
    from ..batch.sidecars import SidecarFormat
    from ..images.sources import Source
    from ..metrics import Price
    from ..settings.resolve import Settings


def batch(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...] [PROMPT]",
            help="Folders, files, URLs, quoted globs, - for standard input; and the prompt.",
        ),
    ] = None,
    *,
    prompt: _options.Prompt = None,
    preset: _options.Preset = None,
    system: _options.System = None,
    schema: _options.Schema = None,
    from_: _options.From = None,
    null: _options.Null = False,
    include: _options.Include = None,
    exclude: _options.Exclude = None,
    hidden: _options.Hidden = False,
    limit: _options.Limit = None,
    shard: _options.ShardOption = None,
    output: _options.Results = None,
    force: _options.Force = False,
    failures: _options.Failures = None,
    sidecar: _options.Sidecar = None,
    ordered: _options.Ordered = False,
    jobs: _options.Jobs = "auto",
    rpm: _options.Rpm = None,
    tpm: _options.Tpm = None,
    retries: _options.ImageRetries = None,
    patience: _options.PatienceOption = 600.0,
    max_failures: _options.MaxFailures = None,
    max_cost: _options.MaxCost = None,
    max_tokens_total: _options.MaxTokensTotal = None,
    max_time: _options.BatchMaxTime = None,
    dry_run: _options.BatchDryRun = False,
    profile: _options.Profile = None,
    model: _options.Model = None,
    base_url: _options.BaseUrl = None,
    max_tokens: _options.MaxTokens = None,
    temperature: _options.Temperature = None,
    top_p: _options.TopP = None,
    param: _options.Param = None,
    timeout: _options.Timeout = None,
    allow_http: _options.AllowHttp = False,
    stream: _options.Stream = False,
    offline: _options.Offline = False,
    max_pixels: _options.MaxPixels = None,
    max_side: _options.MaxSide = None,
    quality: _options.Quality = None,
    frame: _options.Frame = 1,
    original: _options.Original = False,
    fetch: _options.Fetch = None,
    quiet: _options.BatchQuiet = False,
) -> None:
    """Describe many images, one request each, with a line of JSON for each.

    For example: qvision batch photos/ "caption" -o results.jsonl
    """
    from ..batch import inputs
    from ..describe.prompt import check_placeholders
    from ..settings import config_file

    values = {"model": model, "base_url": base_url, "max_tokens": max_tokens, "temperature": temperature}
    values |= {"top_p": top_p, "timeout": timeout, "offline": offline or None, "allow_http": allow_http or None}
    values |= {"max_pixels": max_pixels, "max_side": max_side, "quality": quality, "retries": retries}
    config = config_file.load_config(os.environ)
    chosen, settings = _request.resolve_preset_and_settings(context, config, values | {"profile": profile}, preset)
    words = arguments or []
    stdin = _request.open_stdin([*words, prompt, system, from_])
    paths, text = inputs.split_arguments(words, prompt_given=prompt is not None)
    inputs.validate_arguments(paths)
    _check_sources(paths, from_, null=null)
    asked = compose_prompt(chosen, _request.read_prompt(prompt, stdin) or _request.validate_prompt(text), settings)
    spoken = _request.read_system_prompt(system, stdin) or (chosen.system if chosen else None) or settings.system
    for told in (asked, spoken or ""):
        check_placeholders(told, images=1)
    extra = _request.parse_params(param)
    form = _request.load_schema(schema, chosen, extra)
    price = config.prices.get(settings.required_model)
    _check_price(max_cost, price, settings.required_model)
    results = None if output is None or str(output) == "-" else output
    at_once = _options.parse_jobs(jobs)
    choice = _build_selection(
        include,
        exclude,
        hidden=hidden,
        limit=limit,
        shard=shard,
        run_files=_collect_run_files(results, failures, from_),
    )
    from ..batch import session
    from ..batch.rate import AdaptiveConcurrency, FixedConcurrency, RateLimiter
    from ..batch.tasks import BatchPlan, BatchRequest

    key = None if dry_run else _request.require_key(settings, quiet=quiet)
    plan = BatchPlan(
        inputs=inputs.BatchInputs(paths, _resolve_list(from_, stdin), null, choice),
        batch_request=BatchRequest(
            _request.build_request(settings, asked, spoken, extra, stream=stream),
            _request.build_image_limits(settings, frame, original=original),
            ({"offline": True} if settings.offline else {}) | ({"schema": form.document} if form else {}),
            config.prices,
        ),
        open_source=_build_source_opener(settings, stdin, fetch=fetch),
        open_endpoint=partial(_request.open_endpoint, settings, key),
        rate_limiter=RateLimiter(
            AdaptiveConcurrency() if at_once is None else FixedConcurrency(at_once), rpm=rpm, tpm=tpm
        ),
        schema_session=_request.open_schema_session(form),
        limits=_build_limits(max_cost, max_tokens_total, max_time, max_failures),
        retries=settings.retries,
        patience=patience,
        is_ordered=ordered,
        is_forced=force,
        results=results,
        failures=failures,
        sidecar=_parse_sidecar_kind(sidecar, paths),
        is_alt_text=chosen is not None and chosen.name == "alt",
        is_quiet=quiet,
    )
    if dry_run:
        session.print_dry_run(plan)
        return
    try:
        session.run_batch(plan)
    except KeyboardInterrupt as error:  # before the run handles signals, or after its end
        raise InterruptedByUserError("stopped by Ctrl-C") from error


def _build_source_opener(settings: "Settings", stdin: BinaryIO, *, fetch: bool | None) -> "Callable[[Task], Source]":
    """Build the function that resolves the image of a task; some links, or with ``fetch`` all, are fetched here."""
    from ..batch.inputs import resolve_source

    def open_source(task: "Task") -> "Source":
        (image,) = _request.resolve_images([resolve_source(task, stdin)], settings, fetch=fetch)
        return image

    return open_source


def _check_sources(paths: "Sequence[str]", list_name: str | None, *, null: bool) -> None:
    """Refuse a run over nothing, and a way to read a list where there is none."""
    if not paths and list_name is None:
        raise UsageError("no image was named", hint='For example: qvision batch photos/ "caption" -o results.jsonl')
    if null and list_name is None:
        raise UsageError(
            "-0 says how a list is to be read, and there is none", hint="find . -print0 | qvision batch --from - -0"
        )


def _check_price(max_cost: float | None, price: "Price | None", model: str) -> None:
    """Refuse a limit on what cannot be counted."""
    if max_cost is not None and (price is None or price.input is None or price.output is None):
        raise ConfigError(
            f"--max-cost needs a price for {model}",
            hint=f'In config.toml: [prices."{model}"] with input and output, USD per million tokens.',
        )


def _resolve_list(name: str | None, stdin: BinaryIO) -> Path | BinaryIO | None:
    if name is None or name == "-":
        return stdin if name else None
    path = Path(name).expanduser()
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the list {name}: {reason}", hint="Check the name behind --from.") from error
    return path


def _build_selection(
    include: "Sequence[str] | None",
    exclude: "Sequence[str] | None",
    *,
    hidden: bool,
    limit: int | None,
    shard: str | None,
    run_files: tuple[Path, ...],
) -> "Selection":
    """Which of the images that are found are meant."""
    from ..batch.inputs import Selection, parse_patterns, parse_shard

    return Selection(
        patterns=parse_patterns(include or (), exclude or ()),
        include_hidden=hidden,
        limit=limit,
        shard=None if shard is None else parse_shard(shard),
        excluded_files=run_files,
    )


def _parse_sidecar_kind(kind: _options.SidecarKind | None, paths: "Sequence[str]") -> "SidecarFormat | None":
    if kind is None:
        return None
    from ..batch.sidecars import SidecarFormat, check_arguments

    check_arguments(paths)
    return SidecarFormat(kind.value)


def _collect_run_files(results: Path | None, failures: Path | None, list_name: str | None) -> tuple[Path, ...]:
    """The files of the run, which are none of its images; two of them must not be the same."""
    named = {"-o": results, "--failures": failures, "--from": Path(list_name) if list_name not in {None, "-"} else None}
    found: dict[str, str] = {}
    for option, path in named.items():
        if path is not None:
            other = found.setdefault(os.path.realpath(path), option)
            if other != option:
                raise UsageError(
                    f"{other} and {option} name the same file, {path}", hint="Give each a file of its own."
                )
    return tuple(path for path in named.values() if path is not None)


def _build_limits(
    cost: float | None, tokens: int | None, seconds: float | None, failures: str | None
) -> "BudgetLimits":
    from ..batch.budget import BudgetLimits, FailureLimit, parse_failure_limit

    default = BudgetLimits()
    return BudgetLimits(
        cost=default.cost if cost is None else cost,
        tokens=default.tokens if tokens is None else tokens,
        seconds=default.seconds if seconds is None else seconds,
        failures=FailureLimit() if failures is None else parse_failure_limit(failures),
    )


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog=_options.EPILOG)(batch)
