"""What happens on the way to an answer, for whoever watches. Data only."""

import threading

from .frozen import frozen


@frozen
class Preparing:
    """An image is being prepared."""

    name: str


@frozen
class Sending:
    """The request goes out: ``size`` bytes to ``url``. ``sent`` is set once they are all on their way."""

    url: str
    size: int
    sent: threading.Event


@frozen
class Receiving:
    """The endpoint accepted the request; ``seconds`` from sending to its headers."""

    status: int
    request_id: str | None
    seconds: float


@frozen
class Writing:
    """The answer is being written, and not shown before it is whole."""


@frozen
class Repairing:
    """The answer did not fit the schema; it is asked for once more. ``problem`` is the first thing that is wrong with it."""

    problem: str


@frozen
class Pausing:
    """The endpoint is asked again, in ``seconds``, for the ``number``-th of ``retries`` times; ``why`` is the start of a sentence."""

    why: str
    seconds: float
    number: int
    retries: int
