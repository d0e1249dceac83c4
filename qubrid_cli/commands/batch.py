"""``qvision batch``: many images, one request each, a line of JSON each, resumable."""

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ..errors import ConfigError, StoppedError, UsageError
from . import asking, batch_options, given, options, questions, running
from .plan import Inputs, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..budget import Limits
    from ..costs import Price
    from ..finding import Choice
    from ..ignoring import Patterns
    from ..sidecars import Kind


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
    prompt: options.Prompt = None,
    preset: options.Preset = None,
    system: options.System = None,
    schema: options.Schema = None,
    from_: batch_options.From = None,
    null: batch_options.Null = False,
    include: batch_options.Include = None,
    exclude: batch_options.Exclude = None,
    hidden: batch_options.Hidden = False,
    limit: batch_options.Limit = None,
    shard: batch_options.ShardOption = None,
    output: batch_options.Results = None,
    force: batch_options.Force = False,
    failures: batch_options.Failures = None,
    sidecar: batch_options.Sidecar = None,
    ordered: batch_options.Ordered = False,
    jobs: batch_options.Jobs = "auto",
    rpm: batch_options.Rpm = None,
    tpm: batch_options.Tpm = None,
    retries: batch_options.RetriesOfOne = None,
    patience: batch_options.PatienceOption = 600.0,
    max_failures: batch_options.MaxFailures = None,
    max_cost: batch_options.MaxCost = None,
    max_tokens_total: batch_options.MaxTokensTotal = None,
    max_time: batch_options.MaxTimeOfAll = None,
    dry_run: batch_options.DryRun = False,
    profile: options.Profile = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    param: options.Param = None,
    timeout: options.Timeout = None,
    allow_http: options.AllowHttp = False,
    stream: batch_options.Streamed = False,
    offline: options.Offline = False,
    max_pixels: options.MaxPixels = None,
    max_side: options.MaxSide = None,
    quality: options.Quality = None,
    frame: options.Frame = 1,
    original: options.Original = False,
    fetch: options.Fetch = None,
    quiet: batch_options.Silent = False,
) -> None:
    """Describe many images, one request each, with a line of JSON for each.

    For example: qvision batch photos/ "caption" -o results.jsonl
    """
    from .. import configuration, finding, placeholders

    gc.enable()  # see __main__
    values = {"model": model, "base_url": base_url, "max_tokens": max_tokens, "temperature": temperature}
    values |= {"top_p": top_p, "timeout": timeout, "offline": offline or None, "allow_http": allow_http or None}
    values |= {"max_pixels": max_pixels, "max_side": max_side, "quality": quality, "retries": retries}
    config = configuration.read(os.environ)
    chosen, settings = asking.settled_by_preset(context, config, values | {"profile": profile}, preset)
    words = arguments or []
    stdin = given.stdin([*words, prompt, system, from_])
    paths, text = finding.split(words, prompt_given=prompt is not None)
    finding.check(paths)
    _check_sources(paths, from_, null=null)
    asked = questions.worded(chosen, given.prompt(prompt, stdin) or given.argument(text), settings)
    spoken = given.system(system, stdin) or (chosen.system if chosen else None) or settings.system
    for told in (asked, spoken or ""):
        placeholders.check(told, images=1)
    extra = given.params(param)
    form = questions.schema(schema, chosen, extra)
    price = config.prices.get(settings.asked_model)
    _check_price(max_cost, price, settings.asked_model)
    results = None if output is None or str(output) == "-" else output
    at_once = batch_options.jobs(jobs)
    choice = _choice(include, exclude, hidden=hidden, limit=limit, shard=shard, spare=_spare(results, failures, from_))
    from ..pace import Adaptive, Fixed, Gate
    from ..rules import Rules
    from ..work import Question

    facets = ({"offline": True} if settings.offline else {}) | ({"schema": form.document} if form else {})
    plan = Plan(
        inputs=Inputs(paths, _listed(from_, stdin), null, choice),
        question=Question(
            asking.request(settings, asked, spoken, extra, stream=stream),
            given.limits(settings, frame, original=original),
            facets,
            config.prices,
        ),
        settings=settings,
        key=None if dry_run else asking.key(settings, quiet=quiet),
        stdin=stdin,
        fetch=fetch,
        rules=Rules(settings.retries, patience, ordered, force),
        gate=Gate(Adaptive() if at_once is None else Fixed(at_once), rpm=rpm, tpm=tpm),
        limits=_limits(max_cost, max_tokens_total, max_time, max_failures),
        results=results,
        failures=failures,
        schema=form,
        sidecar=_sidecar(sidecar, paths),
        is_alt=chosen is not None and chosen.name == "alt",
        is_quiet=quiet,
    )
    if dry_run:
        running.foretell(plan)
        return
    try:
        running.run(plan)
    except KeyboardInterrupt as error:  # before the run heeds it, or behind its end
        raise StoppedError("stopped by Ctrl-C") from error


def _check_sources(paths: "Sequence[str]", listed: str | None, *, null: bool) -> None:
    """Refuse a run over nothing, and a way to read a list where there is none."""
    if not paths and listed is None:
        raise UsageError("no image was named", hint='For example: qvision batch photos/ "caption" -o results.jsonl')
    if null and listed is None:
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


def _listed(name: str | None, stdin: BinaryIO) -> Path | BinaryIO | None:
    if name is None or name == "-":
        return stdin if name else None
    path = Path(name).expanduser()
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the list {name}: {reason}", hint="Check the name behind --from.") from error
    return path


def _choice(
    include: "Sequence[str] | None",
    exclude: "Sequence[str] | None",
    *,
    hidden: bool,
    limit: int | None,
    shard: str | None,
    spare: tuple[Path, ...],
) -> "Choice":
    """Which of the images that are found are meant."""
    from ..finding import Choice
    from ..shards import shard as share_of

    return Choice(
        patterns=_patterns(include or (), exclude or ()),
        hidden=hidden,
        limit=limit,
        shard=None if shard is None else share_of(shard),
        spare=spare,
    )


def _patterns(include: "Sequence[str]", exclude: "Sequence[str]") -> "Patterns | None":
    if not include and not exclude:
        return None
    from .. import ignoring

    return ignoring.patterns(include, exclude)


def _sidecar(kind: batch_options.SidecarKind | None, paths: "Sequence[str]") -> "Kind | None":
    from ..sidecars import Kind, check_arguments

    if kind is None:
        return None
    check_arguments(paths)
    return Kind(kind.value)


def _spare(results: Path | None, failures: Path | None, listed: str | None) -> tuple[Path, ...]:
    """The files of the run, which are none of its images; two of them must not be the same."""
    named = {"-o": results, "--failures": failures, "--from": Path(listed) if listed not in {None, "-"} else None}
    found: dict[str, str] = {}
    for option, path in named.items():
        if path is not None:
            other = found.setdefault(os.path.realpath(path), option)
            if other != option:
                raise UsageError(
                    f"{other} and {option} name the same file, {path}", hint="Give each a file of its own."
                )
    return tuple(path for path in named.values() if path is not None)


def _limits(cost: float | None, tokens: int | None, seconds: float | None, failures: str | None) -> "Limits":
    from ..budget import Allowance, Limits, allowance

    default = Limits()
    return Limits(
        cost=default.cost if cost is None else cost,
        tokens=default.tokens if tokens is None else tokens,
        seconds=default.seconds if seconds is None else seconds,
        failures=Allowance() if failures is None else allowance(failures),
    )


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog=options.EPILOG)(batch)
