"""What a failed request of many means: for its image, for the next requests, for all. Pure."""

from .errors import EndpointError, IncompleteError, NetworkError, QvisionError, UnreachableError
from .pace import Trouble

#: Asked too often, or no room: by status, or told in the stream of a 200.
_CROWDED = {200, 429, 503, 529}


def trouble(error: QvisionError) -> Trouble:
    """What an error says about the requests that come next; ``Trouble.NONE`` where another try would end the same."""
    cause = error.__cause__ if isinstance(error, IncompleteError) and error.__cause__ else error
    match cause:
        case UnreachableError():
            return Trouble.CROWDED
        case EndpointError(passes=True, status=status) if status in _CROWDED:
            return Trouble.CROWDED
        case EndpointError(passes=True) | EndpointError(code="timeout" | "not_json"):
            return Trouble.BROKEN if isinstance(cause, NetworkError) else Trouble.FAILED
        case IncompleteError(code="cut_off"):
            return Trouble.FAILED
        case _:
            return Trouble.NONE


def retry_after(error: QvisionError) -> float | None:
    """Seconds that the server asks to wait."""
    return error.retry_after if isinstance(error, EndpointError) else None


def ends_all(error: QvisionError, *, has_answered: bool) -> bool:
    """Whether no other image would fare better.

    Args:
        has_answered: the endpoint has given an answer before, so that it is one.
    """
    return isinstance(error, EndpointError) and (error.ends_all or (error.code == "no_answer" and not has_answered))


def asks_too_long(error: QvisionError, seconds: float, *, patience: float) -> EndpointError:
    """The end of a run whose endpoint asks for a longer pause than the user has patience for."""
    return EndpointError(
        f"the endpoint asks to wait {seconds:g} s, longer than --patience {patience:g}: {error.message}",
        hint="Go on later, or with a longer --patience.",
        code=error.code,
        status=error.status,
    )


def away(error: QvisionError, seconds: float) -> EndpointError:
    """The end of a run whose endpoint has been away, or failed with everything, for so long; by the last error of many."""
    return EndpointError(
        f"the endpoint has given no whole answer for {seconds:g} s: {error.message}",
        hint="--patience sets how long to wait for it.",
        code=error.code,
        status=error.status,
    )
