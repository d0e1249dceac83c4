"""A part of a run, and what its worker reports about it. Plain data that can be sent to another machine."""

from math import inf

from ...errors import QvisionError
from ...frozen import frozen
from ...storage.folder import StorageOptions
from ..budget import FailureLimit
from ..pace.concurrency import ConcurrencyState
from ..progress.failures import FailureCount
from .connection import Credentials, EndpointAccess
from .lease import LeaseKey


@frozen
class Share:
    """What a part may use of the limits of the run.

    Attributes:
        jobs: requests at once; ``None`` for ``-j auto``.
        rpm: requests per minute, ``None`` for no limit.
        tpm: tokens per minute, likewise.
        cost: US dollars.
        tokens: in both directions.
        seconds: after which no request begins.
        failures: images that may fail.
        pause: seconds before the first request, because the endpoint has asked another part to wait.
        concurrency: what ``-j auto`` has learned in earlier parts.
    """

    jobs: int | None = None
    rpm: float | None = None
    tpm: float | None = None
    cost: float = inf
    tokens: float = inf
    seconds: float = inf
    failures: FailureLimit = FailureLimit()
    pause: float = 0.0
    concurrency: ConcurrencyState | None = None


@frozen
class Part:
    """A part of a run.

    Attributes:
        output: the folder of the run: an absolute path or a URL. Its ``run.json`` has the question, and ``plan/`` the
            images of each part.
        version: of the program that created the part; that of the worker must be the same.
        redo: request the failed images of a finished part again.
        credentials: ``None`` if the worker has its own.
        lock: of the driver; the part stops when the driver does. ``None`` for a part without a driver.
        storage: timeouts and retries of requests to the storage of the output.
        attempt: an id that the worker writes into its reports; ``None`` for no reports.
    """

    output: str
    number: int
    access: EndpointAccess
    version: str
    share: Share = Share()
    redo: bool = False
    credentials: Credentials | None = None
    lock: LeaseKey | None = None
    storage: StorageOptions = StorageOptions()
    attempt: str | None = None


@frozen
class PartSummary:
    """What a worker has done. The answers themselves are in the output.

    Attributes:
        was_finished: the output already had the result, so nothing was done.
        done: images with a new answer; ``duplicates`` of them needed no request.
        failed: images without a complete answer; ``failures`` counts them by kind.
        skipped: images whose answers the output already had.
        given_up: images that were not requested, because earlier answers about them were incomplete too often.
        cost: US dollars; ``None`` if it is unknown.
        is_estimated: tokens or cost are estimated.
        original_bytes: of the images before they were prepared; ``sent_bytes`` after.
        stop_reason: why the part is not finished; its answers so far are in the output.
        pause: seconds from the end of the part on that the endpoint has asked to wait.
        concurrency: what ``-j auto`` has learned.
        worker: the name of the machine, and the number of the process.
    """

    number: int
    was_finished: bool = False
    done: int = 0
    duplicates: int = 0
    failed: int = 0
    skipped: int = 0
    given_up: int = 0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    cost: float | None = None
    is_estimated: bool = False
    original_bytes: int = 0
    sent_bytes: int = 0
    failures: tuple[FailureCount, ...] = ()
    seconds: float = 0.0
    stop_reason: QvisionError | None = None
    pause: float = 0.0
    concurrency: ConcurrencyState | None = None
    worker: str = ""
