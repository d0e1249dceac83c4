"""The models that an endpoint lists.

Source: OpenAI API reference, "List models"; only ``data[].id`` is used.
"""

import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

from ..errors import EndpointError
from ..metrics import Stopwatch
from .endpoint import Endpoint, Response
from .events import parse_json
from .request import RequestBody
from .retry import RetryLimits, RetryScheduled, with_retries

#: Bytes; the longest known list, OpenRouter's, has about half a million.
MAX_MODEL_LIST_SIZE = 16_000_000
#: Statuses that mean that there is no list; Qubrid's documentation does not mention a list.
_NO_LIST_STATUSES = frozenset({404, 405, 501})
#: Bytes that are read of the response which shows whether there are chat completions.
_MAX_PROBE_BYTES = 4096


class NoModelListError(EndpointError):
    """The endpoint does not list its models."""

    default_code = "no_models"


def parse_model_ids(data: Any, host: str) -> tuple[str, ...]:
    """The ids in a list of models, each once, in the server's order; entries without an id are skipped.

    Args:
        data: OpenAI's object with ``data``, which is null if there are no models, or the array alone (Together).

    Raises:
        EndpointError: ``data`` is not a list of models.
    """
    models = data.get("data") if isinstance(data, dict) and "data" in data else data
    if models is None and isinstance(data, dict):
        return ()
    if not isinstance(models, list):
        raise EndpointError(
            f"{host} answered with something other than a list of models",
            hint="Check --base-url: it usually ends in /v1.",
            code="no_list",
        )
    ids = [model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]
    return tuple(dict.fromkeys(model_id for model_id in ids if model_id.strip()))


def list_models(
    endpoint: Endpoint, retry_limits: RetryLimits
) -> Generator[RetryScheduled | tuple[str, ...], None, None]:
    """Request the ids of the models, with retries: yields each scheduled retry, and the ids last.

    Raises:
        EndpointError: the request failed, or the answer is not a list.
        NoModelListError: the endpoint has no list.
    """
    stopwatch = Stopwatch(time.perf_counter, retry_limits.max_time)
    stopwatch.mark_sent()

    def send() -> Iterator[tuple[str, ...]]:
        yield list_models_once(endpoint, stopwatch.seconds_left())

    yield from with_retries(send, retry_limits, stopwatch, endpoint.host)


def list_models_once(endpoint: Endpoint, within: float | None) -> tuple[str, ...]:
    """Request the ids of the models once, in at most ``within`` seconds; errors as in ``list_models``."""
    with endpoint.request_models(within=within) as response:
        return _read_models(endpoint, response)


def check_address(endpoint: Endpoint, error: NoModelListError, within: float | None) -> None:
    """Check that an endpoint without a list has chat completions, by an empty request, which costs nothing.

    Args:
        error: the error for the missing list.
        within: seconds for the whole exchange.

    Raises:
        EndpointError: it has none, so the address is wrong.
    """
    try:
        with endpoint.request_completion(RequestBody((b"{}",)), sent=threading.Event(), within=within) as response:
            start = response.read_beginning(_MAX_PROBE_BYTES).lstrip()
    except EndpointError:
        return  # this shows nothing about the address
    is_missing = response.status in _NO_LIST_STATUSES and b"model" not in start
    if is_missing or start.startswith(b"<"):
        raise EndpointError(
            f"{error.message}, and has no chat completions at this address either",
            hint="Check --base-url: it usually ends in /v1.",
            code="wrong_address",
            status=response.status,
        ) from error


def _read_models(endpoint: Endpoint, response: Response) -> tuple[str, ...]:
    if response.status in _NO_LIST_STATUSES:
        raise _no_list_error(endpoint, f" (HTTP {response.status})", response.status)
    if not response.is_success:
        raise endpoint.read_error(response)
    data = _read_body(endpoint, response)
    try:
        body = parse_json(data)
    except ValueError as error:
        if data.lstrip().startswith(b"<"):  # websites answer every path
            raise _no_list_error(endpoint, " and sends a web page instead", response.status) from error
        raise EndpointError(
            f"the list of models from {endpoint.host} is not valid JSON", hint="Try again.", code="not_json"
        ) from error
    if isinstance(body, dict) and body.get("error"):
        raise endpoint.interpret_error(body, response)
    return tuple(map(endpoint.redact, parse_model_ids(body, endpoint.host)))


def _read_body(endpoint: Endpoint, response: Response) -> bytes:
    data = bytearray()
    for chunk in response.iter_chunks():
        data += chunk
        if len(data) > MAX_MODEL_LIST_SIZE:
            raise EndpointError(
                f"the list of models from {endpoint.host} is larger than {MAX_MODEL_LIST_SIZE // 1_000_000} MB",
                hint="Check --base-url.",
                code="too_long",
            )
    return bytes(data)


def _no_list_error(endpoint: Endpoint, detail: str, status: int) -> NoModelListError:
    return NoModelListError(
        f"{endpoint.host} does not list its models{detail}",
        hint="The address may still be right: see the endpoint's documentation for its models.",
        status=status,
    )
