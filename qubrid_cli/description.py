"""The heart: one request about some images becomes one answer, as an iterator whose last item is the whole of it.

Nothing calls back and nothing is half filled: whoever shows or records an answer pulls. Closing the iterator closes
the connection.
"""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from . import chat, events, replies
from .costs import Price
from .deltas import Reasoning, Text
from .draft import Description, Draft, Unprepared
from .endpoint import Endpoint
from .errors import EndpointError, QvisionError, StoppedError
from .images import Encoded, Preparation, pictures
from .metrics import Clock, Stopwatch
from .progress import Pausing, Preparing, Receiving, Repairing, Sending, Writing
from .response import Response
from .retries import Patience, Pauses

Item = Preparing | Sending | Receiving | Pausing | Writing | Repairing | Text | Reasoning | Description
Items = Generator[Item, None, None]


def finished(items: Iterable[Item]) -> Description:
    """Pull everything and keep the end."""
    (last,) = deque(items, maxlen=1)
    assert isinstance(last, Description)
    return last


def describe(
    endpoint: Endpoint,
    request: chat.Request,
    images: Sequence[Preparation],
    *,
    labels: bool,
    patience: Patience,
    prices: Mapping[str, Price] = {},
    clock: Clock = time.perf_counter,
) -> Items:
    """Prepare, ask, and give out what happens and what arrives; the last item is the ``Description``.

    Whatever goes wrong with the images, the network or the answer is in its ``error``; nothing of ours is raised.

    Args:
        request: what to ask; the pictures are put in here.
        images: prepared in threads meanwhile.
        labels: several images are named, each in a text part before it.
        prices: by the model's name.
    """
    draft = Draft(request, Stopwatch(clock, patience.max_time), [Unprepared(image.name) for image in images], prices)
    try:
        yield from _prepared(draft, images, labels=labels)
        yield from _asked(draft, endpoint, patience)
        draft.check_the_end()
    except QvisionError as error:
        draft.fail(error)
    except KeyboardInterrupt as error:
        stopped = StoppedError(
            "stopped by Ctrl-C" + ("; the answer is incomplete" if draft.has_begun and draft.finish is None else "")
        )
        stopped.__cause__ = error
        draft.error = stopped
    yield draft.description()


def _prepared(draft: Draft, images: Sequence[Preparation], *, labels: bool) -> Iterator[Item]:
    prepared = []
    for place, preparation in enumerate(images):
        yield Preparing(preparation.name)
        image = preparation.future.result()
        draft.images[place] = image
        prepared.append(image)
        if isinstance(image, Encoded):
            draft.warnings += image.warnings
    draft.request = replace(draft.request, pictures=pictures(prepared, labels=labels))


def _asked(draft: Draft, endpoint: Endpoint, patience: Patience) -> Iterator[Item]:
    """Ask, and again when what went wrong may pass; never once anything of an answer has come."""
    pauses = Pauses(patience)
    for attempt in pauses.attempts():
        try:
            yield from _adapted(draft, endpoint)
        except EndpointError as error:
            if draft.has_begun:
                raise
            seconds = pauses.after(error, attempt.num, left=draft.watch.left())
            why = f"{error.status} from {endpoint.host}" if error.status else error.message
            yield Pausing(why, seconds, attempt.num, patience.retries)
            with attempt:  # which waits before it lets the next one begin
                raise
        else:
            return


def _adapted(draft: Draft, endpoint: Endpoint) -> Iterator[Item]:
    """Ask; and once more without what the endpoint refused, where that can be left out."""
    while True:
        try:
            yield from _exchange(draft, endpoint)
        except EndpointError as error:
            way_out = None if draft.has_begun else chat.simpler(draft.request, error)
            if way_out is None:
                raise
            draft.request, warning = way_out
            draft.warnings.append(warning)
        else:
            return


def _exchange(draft: Draft, endpoint: Endpoint) -> Iterator[Item]:
    body = chat.body(draft.request)
    sent = threading.Event()
    yield Sending(str(endpoint.url), len(body), sent)
    draft.begin()
    try:
        with endpoint.ask(body, sent=sent, within=draft.watch.left()) as answer:
            yield Receiving(answer.status, answer.request_id, answer.seconds)
            if not answer.is_success:
                raise endpoint.refusal(answer)
            yield from _received(draft, endpoint, answer)
    except EndpointError:
        if draft.finish is None:  # behind the end, only late metrics were still awaited
            raise


def _received(draft: Draft, endpoint: Endpoint, answer: Response) -> Iterator[Item]:
    for event in replies.read(answer.chunks(), clean=endpoint.clean):
        match event:
            case Text():
                draft.watch.piece()
                draft.add(event.text)
                yield event
            case Reasoning():
                draft.watch.piece()
                draft.thoughts.append(event.text)
                yield event
            case events.Facts():
                draft.learn(endpoint.cleaned(event.told()))
            case events.Finish():
                draft.end(events.Finish(endpoint.cleaned(event.reason)))
                answer.end_soon(announced=event.reason is None)
            case events.Problem():
                raise endpoint.refused(event.payload, answer)
