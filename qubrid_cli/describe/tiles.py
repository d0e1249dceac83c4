"""Read the tiles of an image one by one and join their texts, for text that must be complete."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..client.endpoint import Endpoint
from ..client.events import TextDelta
from ..client.request import Request
from ..errors import QvisionError
from ..images.prepare import PendingImage, PreparedImage, make_pending
from . import run
from .joining import join_tiles
from .result import Description, Preparing
from .run import Items, RequestOptions
from .totals import add_answers, forward_progress


def describe_tiles(
    endpoint: Endpoint, request: Request, images: Sequence[PendingImage], options: RequestOptions
) -> Items:
    """Make one request for each tile of an image, as ``run.describe`` does, and join the texts.

    Several images, and an image that is not divided, have one request as usual. If the request for a tile fails, the
    ``Description`` has the text of the tiles before it, and the error.

    Args:
        options: the tiles of a ``first_answer`` are not requested again.
    """
    tiles: tuple[PreparedImage, ...] = ()
    if len(images) == 1:
        yield Preparing(images[0].name)
        tiles = _split(images[0])
    if len(tiles) < 2:
        yield from run.describe(endpoint, request, images, options)
        return
    stopwatch, first_answer = options.start_stopwatch(), options.first_answer
    text = _Text(tiles, first_answer.tile_texts if first_answer else ())
    total: Description | None = None
    for tile in tiles[len(text.texts) :]:
        options = options.with_max_time(stopwatch.seconds_left())
        items = run.describe(endpoint, request, (make_pending(tile),), options)
        answer = yield from forward_progress(items, stopwatch)  # the text may be in the next tile too
        total = answer if total is None else add_answers(total, answer)
        if answer.error is not None:
            yield from text.finish(answer.text)
            break
        request = replace(request, dropped=request.dropped | answer.refused_parameters)
        yield from text.add(answer.text)
    assert total is not None
    yield _build_whole(total, images[0], text, first_answer)


def _split(pending: PendingImage) -> tuple[PreparedImage, ...]:
    """The tiles of an image; none for a link, or for an image that cannot be sent, which the usual request reports."""
    try:
        image = pending.wait()
    except QvisionError:
        return ()
    return image.split() if isinstance(image, PreparedImage) else ()


class _Text:
    """The text of the tiles so far, which is yielded as soon as the next tile cannot change it.

    Attributes:
        texts: the texts of the tiles.
        joined: the whole text, without repeated lines.
    """

    def __init__(self, tiles: Sequence[PreparedImage], texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self.joined = ""
        self._repeated = [tile.upload.repeated_lines for tile in tiles]
        self._yielded_length = 0

    def add(self, text: str) -> Iterator[TextDelta]:
        """Add the text of the next tile."""
        self.texts.append(text)
        self.joined = join_tiles(self.texts, self._repeated[: len(self.texts)])
        is_last = len(self.texts) == len(self._repeated)
        if is_last or not self._repeated[len(self.texts)]:  # the next tile repeats no lines of this one
            yield from self._yield_rest()

    def finish(self, text: str) -> Iterator[TextDelta]:
        """Add the text of a tile whose answer was cut off."""
        texts = [*self.texts, text]
        self.joined = join_tiles(texts, self._repeated[: len(texts)])
        yield from self._yield_rest()

    def _yield_rest(self) -> Iterator[TextDelta]:
        if len(self.joined) > self._yielded_length:
            yield TextDelta(self.joined[self._yielded_length :])
            self._yielded_length = len(self.joined)


def _build_whole(total: Description, image: PendingImage, text: _Text, first_answer: Description | None) -> Description:
    """Build the ``Description`` of all requests, without the server's metrics, which are those of a single request."""
    whole = replace(total, images=(image.wait(),), text=text.joined, metrics=None, tile_texts=tuple(text.texts))
    if whole.error is None or not text.texts:
        return whole
    completed = whole if first_answer is None else add_answers(first_answer, whole)
    return replace(whole, first_answer=replace(completed, tile_texts=whole.tile_texts))
