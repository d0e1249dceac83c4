"""The pauses between the tries of a request, once one has failed. The home of stamina."""

from collections.abc import Callable, Iterator

import stamina
import stamina.instrumentation

# By itself it writes a warning to stderr before each wait; what is to be said there, we say.
stamina.instrumentation.set_on_retry_hooks([])


def tries(error: BaseException, seconds: Callable[[], float], most: int) -> Iterator[stamina.Attempt]:
    """The tries behind the first one, each after a pause; a failed one is raised inside it.

    Args:
        error: how the first one ended.
        seconds: asked for the pause before each.
        most: tries in all.
    """
    for attempt in stamina.retry_context(lambda _: seconds(), attempts=most, timeout=None):
        if attempt.num > 1:
            yield attempt
        else:
            with attempt:
                raise error
