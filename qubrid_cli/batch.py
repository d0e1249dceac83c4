"""Many images, one request each: found, prepared, asked about and given out, a few at a time.

All that is decided is decided here, in the thread that pulls the outcomes, from the events that the crew reports: so
there is nothing to lock, and when nobody pulls any more, the rest comes to a halt by itself.
"""

import random
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from math import inf
from queue import Empty

from . import budget, entries, faults
from .budget import Budget
from .crew import Answered, Crashed, Crew, Event, Exhausted, Has, Prepared, Spoilt, Woken
from .errors import QvisionError, StoppedError, UnfinishedError
from .journal import Settled
from .metrics import Clock
from .outbox import Outbox
from .outcomes import Clerk, Failed, Item, Outcome, Skipped, Waiting
from .pace import Gate, Trouble
from .rules import Rules
from .supply import Supply
from .turns import Job, Turns
from .twins import Twins
from .work import Answer, Question, Read

#: Seconds without an event after which whoever watches gets a word.
_TICK = 0.5
#: Seconds that requests on their way are given after Ctrl-C.
GRACE = 5.0
#: Tokens of an answer, before there is one to go by.
_ANSWER_TOKENS = 256


class Run:
    """One run over many images.

    Args:
        settled: the answer to a question (its key) about an image (its name), if the results file has it.
        has_failed: whether that has it that there was none; takes the prompt, too.
        is_found: whether all has been found, but for what comes once more when other images are through.

    Attributes:
        stopped: why it ended before all images were through, which the program is to end with; ``None`` while it goes on.
    """

    def __init__(
        self,
        crew: Crew,
        question: Question,
        gate: Gate,
        budget: Budget,
        *,
        settled: Callable[[str, str], Settled | None],
        has_failed: Callable[[str, str, str], bool] = lambda *_: False,
        is_found: Callable[[], bool] = lambda: False,
        rules: Rules,
        clerk: Clerk,
        clock: Clock = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.stopped: QvisionError | None = None
        self._crew = crew
        self._question = question
        self._gate = gate
        self._budget = budget
        self._settled = settled
        self._has_failed = has_failed
        self._rules = rules
        self._clerk = clerk
        self._clock = clock
        self._began = clock()
        self._give_up_at = inf
        self._finished = 0
        self._supply = Supply(crew, can_wait=self._can_wait, is_found=is_found)
        self._has_answered = False
        self._turns = Turns(jitter)
        self._sent: dict[int, Job] = {}
        self._twins = Twins()
        self._anew: set[bytes] = set()  # asked by a forced run itself
        self._outbox = Outbox(is_ordered=rules.is_ordered)

    def interrupt(self, name: str) -> None:
        """Stop, on behalf of a signal; may be called by its handler."""
        self.stopped = StoppedError(f"stopped by {name}")
        self._give_up_at = self._clock() + GRACE
        self._crew.wake()

    def outcomes(self) -> Generator[Item, None, None]:
        """Do it. Each image comes out once, unless the run is stopped first, and is written before the next is pulled."""
        with self._crew:
            while not self._is_over():
                self._make_room()
                yield from self._news(self._send())
                yield from self._through()
        self._sent.clear()  # given up
        yield from self._through()

    def _news(self, seconds: float) -> Iterator[Waiting]:
        try:
            event = self._crew.events.get(timeout=max(0.0, min(seconds, _TICK)))
        except Empty:
            event = Woken()
        self._take(event)
        if isinstance(event, Woken):
            yield Waiting()

    def _is_over(self) -> bool:
        if self.stopped is None:
            return self._finished == self._supply.count
        return not self._sent or self._clock() >= self._give_up_at

    def _stop(self, why: QvisionError) -> None:
        self.stopped = self.stopped or why

    def _make_room(self) -> None:
        """Let the finder go on, for so many images that the requests hardly ever wait for one."""
        limit = self._gate.jobs.limit
        most = limit + max(2, limit // 4) + self._crew.threads
        if self.stopped is None:
            self._supply.fill(most, finished=self._finished, written=self._outbox.taken)

    def _send(self) -> float:
        """Send what may go; the seconds until more may."""
        while self.stopped is None:
            now = self._clock()
            if (limit := self._budget.is_over(now - self._began)) is not None:
                self._stop(UnfinishedError(f"stopped at {limit}"))
            elif (wait := max(self._turns.wait(now), self._gate.wait(now))) > 0:
                return wait
            elif (limit := self._budget.reached(asked := self._turns.first(now).ready.tokens)) is not None:
                self._stop(UnfinishedError(f"stopped at {limit}"))
            elif self._budget.is_taken_up(asked, self._gate.in_flight):
                return inf
            else:
                self._send_one(self._turns.take(now), now)
        return self._give_up_at - self._clock()

    def _send_one(self, job: Job, now: float) -> None:
        job.attempts += 1
        tokens = job.ready.tokens + (self._budget.answer_tokens or _ANSWER_TOKENS)
        job.ticket = self._gate.enter(now, job.number, tokens)
        self._sent[job.number] = job
        self._crew.ask(job.number, job.ready, self._question, at_once=self._gate.in_flight)

    def _take(self, event: Event) -> None:
        match event:
            case Has():
                self._has(event.number, event.read)
            case Prepared():
                self._turns.add(Job(event.number, event.ready))
            case Spoilt():
                self._finish(event.number, event.key, self._clerk.spoilt(event.task, event.key, event.error))
            case Answered():
                self._answered(self._sent.pop(event.number), event.answer)
            case Exhausted():
                self._supply.count = event.count
            case Crashed():
                raise event.error
            case Woken():
                pass

    def _has(self, number: int, read: Read) -> None:
        """An image was read: it is the same as one that is being seen to, or known, or to be prepared."""
        if self._twins.is_one(number, read):
            self._follow(read.key)
        elif (known := self._known(read)) is None:
            if not self._supply.puts_off(number, read):
                self._twins.begin(read.key)
                self._crew.prepare(number, read)
        elif known.is_named:
            self._put(number, None, self._clerk.known(read, known.record))
        else:
            self._put(number, None, self._clerk.copied(read, known.record))

    def _can_wait(self, read: Read) -> bool:
        """Whether it failed before, and no order is wished for."""
        prompt = self._question.of(read.task).prompt
        return not self._rules.is_ordered and self._has_failed(read.key, read.source.name, prompt)

    def _known(self, read: Read) -> Settled | None:
        if self._rules.is_forced and entries.digest(read.key) not in self._anew:
            return None
        return self._settled(read.key, read.source.name)

    def _answered(self, job: Job, answer: Answer) -> None:
        now, error = self._clock(), answer.error
        assert job.ticket is not None
        self._learn(job, answer)
        if error is None:
            self._has_answered = True
            self._gate.succeeded(job.ticket, now, budget.tokens(answer.cost["usage"]))
            self._end(job, answer)
            return
        trouble, retry_after = faults.trouble(error), faults.retry_after(error)
        # What is paid for each time, such as an answer that is cut, is not tried without end.
        is_its_own = self._gate.failed(job.ticket, now, trouble, retry_after) or budget.is_paid(answer.cost)
        job.failures += is_its_own
        job.since = now if job.since is None else job.since
        if faults.ends_all(error, has_answered=self._has_answered):
            self._stop(error)
        elif trouble is Trouble.NONE or job.failures > self._rules.retries:
            self._end(job, answer)
        elif retry_after is not None and retry_after > self._rules.patience:
            self._stop(faults.asks_too_long(error, retry_after, patience=self._rules.patience))
        elif self._is_away(now):
            self._stop(faults.away(error, self._rules.patience))
        elif now - job.since > self._rules.patience:  # others are answered, and this one is turned away
            self._end(job, answer)
        else:
            self._turns.again(job, now, at_once=not is_its_own)

    def _learn(self, job: Job, answer: Answer) -> None:
        """Count what it took; and do not ask all others for what the endpoint refused one of them."""
        self._budget.take(answer.cost, job.ready.tokens)
        job.ready = replace(job.ready, first=answer.first)
        request = self._question.request
        if not answer.refused <= request.without:
            self._question = replace(self._question, request=replace(request, without=request.without | answer.refused))

    def _is_away(self, now: float) -> bool:
        """Whether nothing but trouble has come back for too long: better to end than to fail all the rest."""
        return self._gate.away_since is not None and now - self._gate.away_since > self._rules.patience

    def _end(self, job: Job, answer: Answer) -> None:
        task, key = job.ready.task, job.ready.key
        self._finish(job.number, key, self._clerk.ended(task, key, answer, attempts=job.attempts))

    def _finish(self, number: int, key: str | None, outcome: Outcome) -> None:
        """An image is through, and with it those that are the same."""
        self._put(number, key, outcome)
        if key is not None and not isinstance(outcome, Skipped):
            self._twins.end(key, outcome.record)
            self._follow(key)

    def _follow(self, key: str) -> None:
        for number, read, record in self._twins.followers(key):
            is_twice = read.source.name == record["images"][0]["source"]  # the list has it twice
            self._put(number, None, Skipped(read.task) if is_twice else self._clerk.copied(read, record))

    def _put(self, number: int, key: str | None, outcome: Outcome) -> None:
        self._finished += 1
        self._outbox.put(number, key, outcome)
        # What was done before, or is the same as another image, says nothing of how this run fares.
        is_passed_over = isinstance(outcome, Skipped) or outcome.is_copy
        if not is_passed_over and self._budget.has_failed_too_often(is_failure=isinstance(outcome, Failed)):
            self._stop(UnfinishedError("stopped at --max-failures"))

    def _through(self) -> Iterator[Outcome]:
        """What can be written; when it is, the results file knows it, and nobody needs to wait for it."""
        while (found := self._outbox.take(is_over=self.stopped is not None and not self._sent)) is not None:
            key, outcome = found
            yield outcome
            self._clerk.written(outcome)
            if key is not None:
                self._twins.forget(key)
                if self._rules.is_forced:
                    self._anew.add(entries.digest(key))
