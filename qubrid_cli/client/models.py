"""Which models an endpoint has, asked of the endpoint itself.

Source: OpenAI API reference, "List models"; of what servers send, only ``data[].id`` is relied on.
"""

import itertools
import time
from collections.abc import Generator
from typing import Any

from ..errors import EndpointError
from ..metrics import Clock, Stopwatch
from .endpoint import Endpoint, Response
from .events import parse_json
from .retry import RetryLimits, RetryScheduled

#: Bytes of a server's list; the longest known, OpenRouter's, has about half a million.
MAX_MODEL_LIST_SIZE = 16_000_000


def parse_model_ids(data: Any, host: str) -> tuple[str, ...]:
    """The ids in a list of models, in the server's order and each once; what has none is passed over.

    Args:
        data: OpenAI's object with ``data``, which is null where a server has none, or the bare array (Together).

    Raises:
        EndpointError: it is no list of models.
    """
    models = data.get("data") if isinstance(data, dict) and "data" in data else data
    if models is None and isinstance(data, dict):
        return ()
    if not isinstance(models, list):
        raise EndpointError(
            f"{host} answered with something else than a list of models",
            hint="Check --base-url: it usually ends in /v1.",
            code="no_list",
        )
    names = [model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]
    return tuple(dict.fromkeys(name for name in names if name.strip()))


#: What servers answer that have no list; Qubrid's documentation does not say that it has one.
_NO_LIST_STATUSES = frozenset({404, 405, 501})


class NoModelListError(EndpointError):
    """The endpoint does not say which models it has."""

    default_code = "no_models"


def list_models(
    endpoint: Endpoint, retry_limits: RetryLimits, *, clock: Clock = time.perf_counter
) -> Generator[RetryScheduled | tuple[str, ...], None, None]:
    """Ask for the ids of the models, and again when what went wrong may pass: pauses, and the ids at the end.

    Raises:
        EndpointError: it refused, or what it sent is no list.
        NoListError: it has none.
    """
    watch = Stopwatch(clock, retry_limits.max_time)
    watch.mark_sent()
    for attempt in itertools.count(1):
        try:
            models = list_models_once(endpoint, watch.seconds_left())
        except EndpointError as error:
            seconds = retry_limits.compute_wait(error, attempt, seconds_left=watch.seconds_left())
            reason = f"{error.status} from {endpoint.host}" if error.status else error.message
            yield RetryScheduled(reason, seconds, attempt, retry_limits.retries)
        else:
            yield models
            return
        time.sleep(seconds)


def list_models_once(endpoint: Endpoint, within: float | None) -> tuple[str, ...]:
    """The ids, asked for once.

    Raises:
        EndpointError: as ``ask`` does.
    """
    with endpoint.request_models(within=within) as answer:
        return _read_models(endpoint, answer)


def _read_models(endpoint: Endpoint, response: Response) -> tuple[str, ...]:
    if response.status in _NO_LIST_STATUSES:
        raise _no_list_error(endpoint, f" (HTTP {response.status})", response.status)
    if not response.is_success:
        raise endpoint.read_error(response)
    data = _read_body(endpoint, response)
    try:
        found = parse_json(data)
    except ValueError as error:
        if data.lstrip().startswith(b"<"):  # what websites answer to every path
            raise _no_list_error(endpoint, ", and sends a web page instead", response.status) from error
        raise EndpointError(
            f"the list of models from {endpoint.host} is no JSON", hint="Try again.", code="not_json"
        ) from error
    if isinstance(found, dict) and found.get("error"):
        raise endpoint.interpret_error(found, response)
    return tuple(endpoint.redact(name) for name in parse_model_ids(found, endpoint.host))


def _read_body(endpoint: Endpoint, response: Response) -> bytes:
    data = bytearray()
    for chunk in response.iter_chunks():
        data += chunk
        if len(data) > MAX_MODEL_LIST_SIZE:
            raise EndpointError(
                f"the list of models from {endpoint.host} is longer than {MAX_MODEL_LIST_SIZE // 1_000_000} MB",
                hint="Check --base-url.",
                code="too_long",
            )
    return bytes(data)


def _no_list_error(endpoint: Endpoint, detail: str, status: int) -> NoModelListError:
    return NoModelListError(
        f"{endpoint.host} does not say which models it has{detail}",
        hint="Check --base-url: it usually ends in /v1. If it does, look for models in the endpoint's documentation.",
        status=status,
    )
