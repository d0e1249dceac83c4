"""A run while it goes on: where its lines go, and how it ends."""

from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import OutputError, QvisionError, StoppedError, UnfinishedError
from ..output import Output, say
from . import asking, watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..batch import Run
    from ..budget import Budget
    from ..counting import Count
    from ..division import Division
    from ..journal import Journal
    from ..outcomes import Outcome
    from ..pace import Gate
    from ..tally import Tally
    from .plan import Plan


def foretell(plan: "Plan") -> None:
    """Print what a run would do, and do nothing."""
    from ..forecast import forecast
    from ..journal import Journal

    with ExitStack() as stack:
        settled = None
        if plan.results is not None and plan.results.exists() and not plan.rules.is_forced:
            settled = stack.enter_context(Journal(plan.results)).settled
        found = forecast(plan.inputs.find(), plan.question, settled, plan.opened)
    target = Output()
    price = plan.question.prices.get(plan.settings.asked_model)
    for line in found.lines(price, plan.settings.max_tokens):
        target.write(f"{line}\n")


def run(plan: "Plan") -> None:
    """Do it, and say how it went.

    Raises:
        QvisionError: what it ended with, if not all images are through and fine.
    """
    from ..budget import Budget
    from ..counting import Count
    from ..division import Division
    from ..failures import Failures
    from ..outcomes import Skipped
    from ..tally import Tally

    price = plan.question.prices.get(plan.settings.asked_model)
    budget = Budget(plan.limits, price=price, max_tokens=plan.settings.max_tokens)
    target, tally = Output(), Tally(budget.spent)
    is_watched = plan.results is None and target.is_screen
    count = Count(None if plan.is_quiet else plan.inputs.find_again())
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(plan, stack))
        failures = (
            None
            if plan.failures is None
            else stack.enter_context(Failures(plan.failures, plan.question.request.prompt))
        )
        division = stack.enter_context(closing(Division(journal)))
        begun = _begun(plan, journal, division, budget)

        def keep(outcome: "Outcome") -> None:
            if not isinstance(outcome, Skipped):
                journal.append(outcome.line)
                if plan.results is None:
                    target.write(outcome.line.decode())
            if failures is not None:
                failures.take(outcome)
            division.end(outcome)

        # Lines that go to a terminal, perhaps through jq, and a bar would stand in each other's way.
        is_shown, is_free = not is_watched, plan.results is not None or target.is_regular
        with (
            watching.heeding_signals(begun),
            watching.progress(tally, is_quiet=plan.is_quiet, is_shown=is_shown, as_bar=is_free) as watcher,
        ):
            try:
                _pull(begun, keep, tally, count=count, gate=plan.gate, watcher=watcher)
            except OutputError as error:  # what came before it is told all the same
                begun.stopped = error
    if tally.finished == 0 and begun.stopped is None:
        say("note: no image was found")
    elif not plan.is_quiet:
        for line in tally.summary(jobs=plan.gate.jobs.told):
            say(line)
    _end(begun.stopped, tally, count, can_go_on=plan.results is not None)


def _journal(plan: "Plan", stack: ExitStack) -> "Journal":
    """The results file; where lines go to stdout, a file for the time of the run, by which equal images are known."""
    from ..journal import Journal

    if plan.results is not None:
        return Journal(plan.results, keeps_texts=plan.sidecar is not None)
    return Journal(Path(stack.enter_context(TemporaryDirectory(prefix="qvision-"))) / "results.jsonl")


def _begun(plan: "Plan", journal: "Journal", division: "Division", budget: "Budget") -> "Run":
    from ..batch import Run
    from ..crew import Crew
    from ..outcomes import Clerk
    from ..sidecars import Sidecars

    sidecars = None
    if plan.sidecar is not None:
        sidecars = Sidecars(plan.sidecar, force=plan.rules.is_forced, has_said=journal.has_said, is_alt=plan.is_alt)
    endpoint = asking.endpoint(plan.settings, plan.key)
    return Run(
        Crew(
            division.found(plan.inputs.find()),
            plan.question,
            endpoint,
            opened=plan.opened,
            describe=asking.describing(plan.schema),
            sidecars=sidecars,
        ),
        plan.question,
        plan.gate,
        budget,
        settled=division.settled,
        has_failed=journal.has_failed,
        is_found=division.is_found,
        rules=plan.rules,
        clerk=Clerk(plan.question, sidecars),
    )


def _pull(
    begun: "Run",
    keep: "Callable[[Outcome], None]",
    tally: "Tally",
    *,
    count: "Count",
    gate: "Gate",
    watcher: "watching.Watcher",
) -> None:
    """Pull a run to its end; each outcome is kept before the next one is pulled."""
    from ..batch import GRACE
    from ..outcomes import Passed, Waiting

    is_told = False
    with closing(begun.outcomes()) as items:
        for item in items:
            if not isinstance(item, Waiting):
                keep(item)
                if not isinstance(item, Passed):
                    tally.take(item)
            tally.in_flight, tally.total = gate.in_flight, count.total
            watcher.show()
            if isinstance(begun.stopped, StoppedError) and gate.in_flight and not is_told:
                is_told = True
                waits = f"{_requests(gate.in_flight)} on the way, waited for {GRACE:g} s at most"
                watcher.say(f"{begun.stopped.message}: {waits}; a second Ctrl-C ends at once")


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _end(stopped: QvisionError | None, tally: "Tally", count: "Count", *, can_go_on: bool) -> None:
    """Raise what a run ended with, if that is not simply its end.

    Args:
        can_go_on: there is a results file, so that another run does only what is left.
    """
    if stopped is not None:
        left = "the rest is left"
        if count.total is not None:
            left = f"{count.total - tally.finished:,} of {count.total:,} images are left"
        again = "The same command goes on where it stopped." if can_go_on else None
        raise _with(stopped, f"{stopped.message}; {left}", stopped.hint or again)
    if tally.failed:
        again = "The same command does these again." if can_go_on else "--failures lists them for --from."
        raise UnfinishedError(f"{tally.failed:,} of {tally.finished:,} images failed", hint=again)


def _with(error: QvisionError, message: str, hint: str | None) -> QvisionError:
    said = type(error)(message, hint=hint, code=error.code, status=error.status, request_id=error.request_id)
    said.__cause__ = error
    return said
