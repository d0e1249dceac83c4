"""``qvision describe``: one request about one or several images, or one for each."""

import gc
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AuthError, OutputError, QvisionError, SeveralError, StoppedError, UsageError
from ..frozen import frozen
from ..output import Output, say
from . import asking, given, options, questions, showing
from .showing import Known, Show

if TYPE_CHECKING:
    from ..ahead import Ahead
    from ..chat import Request
    from ..costs import Price
    from ..payload import Limits
    from ..schema import Schema
    from ..settings import Settings
    from ..sources import Source

#: More images than this in one request are more likely a mistake than a wish.
_MAX_TOGETHER = 8


@frozen
class _Plan:
    """What is going to be asked: a request for each group of images."""

    request: "Request"
    groups: Sequence[Sequence["Source"]]
    limits: "Limits"
    schema: "Schema | None"
    settings: "Settings"
    key: str | None
    ahead: "Ahead | None"
    prices: Mapping[str, "Price"]


def describe(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE... [PROMPT]", help="Files, URLs, quoted globs, - for standard input; and the prompt."
        ),
    ] = None,
    *,
    prompt: options.Prompt = None,
    preset: options.Preset = None,
    system: options.System = None,
    schema: options.Schema = None,
    each: Annotated[bool, typer.Option("--each", help="One request per image, in order.")] = False,
    together: Annotated[bool, typer.Option("--together", help="One request, however many images.")] = False,
    labels: options.Labels = None,
    profile: options.Profile = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    param: options.Param = None,
    timeout: options.Timeout = None,
    retries: options.Retries = None,
    retry_max_wait: options.RetryMaxWait = None,
    max_time: options.MaxTime = None,
    allow_http: options.AllowHttp = False,
    no_stream: options.NoStream = False,
    offline: options.Offline = False,
    max_pixels: options.MaxPixels = None,
    max_side: options.MaxSide = None,
    quality: options.Quality = None,
    original: options.Original = False,
    frame: options.Frame = 1,
    fetch: options.Fetch = None,
    as_json: options.Json = False,
    field: options.Field = None,
    output: options.OutputFile = None,
    dry_run: options.DryRun = False,
    stats: options.Stats = None,
    thinking: options.Thinking = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    color: options.ColorWhen = options.Color.AUTO,
) -> None:
    """Describe images, showing the answer as it is written.

    For example: qvision describe photo.jpg "what is this?"
    """
    from .. import configuration, sources

    show = Show(as_json, field, stats, thinking, quiet, verbose, color.forced)
    target, known, failure = Output(), Known(), None
    try:
        show.check(dry_run=dry_run)
        target = Output(output)
        values = {"model": model, "base_url": base_url, "max_tokens": max_tokens, "temperature": temperature}
        values |= {"top_p": top_p, "timeout": timeout, "offline": offline or None, "allow_http": allow_http or None}
        values |= {"retries": retries, "retry_max_wait": retry_max_wait, "max_time": max_time, "profile": profile}
        values |= {"max_pixels": max_pixels, "max_side": max_side, "quality": quality, "labels": labels}
        config = configuration.read(os.environ)
        chosen, settings = asking.settled_by_preset(context, config, values, preset)
        known.model = settings.model
        words = arguments or []
        stdin = given.stdin([*words, prompt, system])
        target.spare(given.files_of(prompt, system, schema and f"@{schema.removeprefix('@')}"))
        known.prompt = given.prompt(prompt, stdin)
        named = sources.classify(words, prompt_given=prompt is not None, stdin=stdin)
        known.images = named.names
        known.prompt = known.prompt or given.argument(named.prompt)
        known.prompt = questions.worded(chosen, known.prompt, settings)
        if named.error is not None:
            raise named.error
        target.spare(image.path for image in named.images if isinstance(image, sources.File))
        extra = given.params(param)
        form = questions.schema(schema, chosen, extra)
        show = show.expecting(form)
        system = given.system(system, stdin) or (chosen.system if chosen else None) or settings.system
        request = asking.request(settings, known.prompt, system, extra, stream=not no_stream)
        groups = _groups(asking.images(named.images, settings, fetch=fetch), each=each, together=together)
        questions.check(request, groups)
        plan = _Plan(
            request,
            groups,
            given.limits(settings, frame, original=original),
            form,
            settings,
            None if dry_run else asking.key(settings, quiet=quiet),
            context.obj.ahead,
            config.prices,
        )
        failure = _rehearse(plan, show, target) if dry_run else _ask(plan, show, target)
    except OutputError:
        raise
    except QvisionError as error:
        failure = error
    except KeyboardInterrupt:  # between two steps; while the endpoint is waited for, what came is kept
        failure = StoppedError("stopped by Ctrl-C")
    if failure is not None:
        showing.show_failure(failure, known, show, target)
    target.save()
    if failure is not None:
        raise failure


def _groups(images: Sequence["Source"], *, each: bool, together: bool) -> list[Sequence["Source"]]:
    """The images of each request."""
    if each and together:
        raise UsageError("--each and --together exclude each other", hint="Choose one.")
    if len(images) > _MAX_TOGETHER and not each and not together:
        raise UsageError(
            f"{len(images)} images for one request",
            hint="--each asks about each by itself, --together about all of them at once.",
        )
    return [[image] for image in images] if each else [images]


def _ask(plan: _Plan, show: Show, target: Output) -> QvisionError | None:
    """Ask for one group after the other and show each answer; what failed, if anything did."""
    from ..images import Workshop

    failures: list[QvisionError] = []
    several = len(plan.groups) > 1
    workshop = Workshop(plan.limits, ahead=plan.ahead)
    started = deque([workshop.start(plan.groups[0])])  # in threads, while the next lines load httpx
    with asking.endpoint(plan.settings, plan.key, plan.groups) as endpoint:
        gc.enable()  # all is loaded: see __main__
        endpoint.open()  # while the first image is being prepared
        from ..retries import Patience

        describe = asking.describing(plan.schema)
        patience = Patience(plan.settings.retries, plan.settings.retry_max_wait, plan.settings.max_time)
        for number, (group, following) in enumerate(zip(plan.groups, [*plan.groups[1:], ()], strict=True), 1):
            started.append(workshop.start(following))
            if several:
                showing.announce(group[0].name, show)
            request = questions.filled(plan.request, group, number)
            items = describe(
                endpoint,
                request,
                started.popleft(),
                labels=plan.settings.labels,
                patience=patience,
                prices=plan.prices,
            )
            error = showing.show_one(items, show, target).error
            if error is None:
                continue
            if not several or isinstance(error, AuthError | StoppedError):
                return error  # the next request would fare no better
            failures.append(error)
            say(error.report())
    return _several(plan, failures)


def _rehearse(plan: _Plan, show: Show, target: Output) -> QvisionError | None:
    """Make every request and show it in place of an answer; what failed, if anything did."""
    from .. import rehearsal
    from ..images import Workshop

    gc.enable()
    failures: list[QvisionError] = []
    workshop, url = Workshop(plan.limits, ahead=plan.ahead), asking.url(plan.settings)
    formed = asking.formed(plan.request, plan.schema)
    for number, group in enumerate(plan.groups, 1):
        request = questions.filled(formed, group, number)
        images = workshop.start(group)
        try:
            made = rehearsal.rehearse(url, request, images, labels=plan.settings.labels, prices=plan.prices)
        except QvisionError as error:
            if len(plan.groups) == 1:
                return error
            failures.append(error)
            known = Known(request.model, request.prompt, tuple(image.name for image in group))
            showing.show_failed(error, known, show, target)
            say(error.report())
        else:
            showing.show_rehearsal(made, show, target)
    return _several(plan, failures)


def _several(plan: _Plan, failures: Sequence[QvisionError]) -> SeveralError | None:
    if not failures:
        return None
    return SeveralError(f"{len(failures)} of {len(plan.groups)} requests failed", first=failures[0])


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(epilog=options.EPILOG)(describe)
