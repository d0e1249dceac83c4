"""Which models an endpoint has, asked of the endpoint itself.

Source: OpenAI API reference, "List models"; of what servers send, only ``data[].id`` is relied on.
"""

import time
from collections.abc import Generator

from . import catalogue
from .endpoint import Endpoint
from .errors import EndpointError
from .events import parsed
from .metrics import Clock
from .progress import Pausing
from .response import Response
from .retries import Patience, Pauses

#: What servers answer that have no list; Qubrid's documentation does not say that it has one.
_NONE = frozenset({404, 405, 501})


class NoListError(EndpointError):
    """The endpoint does not say which models it has."""

    default_code = "no_models"


def ask(
    endpoint: Endpoint, patience: Patience, *, clock: Clock = time.perf_counter
) -> Generator[Pausing | tuple[str, ...], None, None]:
    """Ask for the ids of the models, and again when what went wrong may pass: pauses, and the ids at the end.

    Raises:
        EndpointError: it refused, or what it sent is no list.
        NoListError: it has none.
    """
    pauses, started = Pauses(patience), clock()
    for attempt in pauses.attempts():
        left = None if patience.max_time is None else max(0.001, patience.max_time - (clock() - started))
        try:
            models = at_once(endpoint, left)
        except EndpointError as error:
            seconds = pauses.after(error, attempt.num, left=left)
            why = f"{error.status} from {endpoint.host}" if error.status else error.message
            yield Pausing(why, seconds, attempt.num, patience.retries)
            with attempt:  # which waits before it lets the next one begin
                raise
        else:
            yield models
            return


def at_once(endpoint: Endpoint, within: float | None) -> tuple[str, ...]:
    """The ids, asked for once.

    Raises:
        EndpointError: as ``ask`` does.
    """
    with endpoint.models(within=within) as answer:
        return _read(endpoint, answer)


def _read(endpoint: Endpoint, answer: Response) -> tuple[str, ...]:
    if answer.status in _NONE:
        raise _no_list(endpoint, f" (HTTP {answer.status})", answer.status)
    if not answer.is_success:
        raise endpoint.refusal(answer)
    data = _body(endpoint, answer)
    try:
        found = parsed(data)
    except ValueError as error:
        if data.lstrip().startswith(b"<"):  # what websites answer to every path
            raise _no_list(endpoint, ", and sends a web page instead", answer.status) from error
        raise EndpointError(
            f"the list of models from {endpoint.host} is no JSON", hint="Try again.", code="not_json"
        ) from error
    if isinstance(found, dict) and found.get("error"):
        raise endpoint.refused(found, answer)
    return tuple(endpoint.clean(name) for name in catalogue.ids(found, endpoint.host))


def _body(endpoint: Endpoint, answer: Response) -> bytes:
    data = bytearray()
    for chunk in answer.chunks():
        data += chunk
        if len(data) > catalogue.MAX_SIZE:
            raise EndpointError(
                f"the list of models from {endpoint.host} is longer than {catalogue.MAX_SIZE // 1_000_000} MB",
                hint="Check --base-url.",
                code="too_long",
            )
    return bytes(data)


def _no_list(endpoint: Endpoint, how: str, status: int) -> NoListError:
    return NoListError(
        f"{endpoint.host} does not say which models it has{how}",
        hint="Check --base-url: it usually ends in /v1. If it does, look for models in the endpoint's documentation.",
        status=status,
    )
