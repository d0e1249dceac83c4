"""Make the judge of a run, which answers yes-or-no questions, from settings and options."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..describe.verdicts import DEFAULT_THRESHOLD, Method
from ..errors import UsageError
from . import request_builder

if TYPE_CHECKING:
    from ..describe.judge import Judge
    from ..settings.fields import Settings


def vary_votes(settings: "Settings", votes: int | None) -> "Settings":
    """Raise the temperature for several votes, so that the answers differ, unless the user has set it."""
    from ..settings.fields import OriginKind

    is_default = settings.temperature is not None and settings.origins["temperature"].kind is OriginKind.DEFAULT
    return replace(settings, temperature=1.0) if votes and votes > 1 and is_default else settings


def open_judge(
    settings: "Settings",
    extra: Mapping[str, object],
    *,
    by: Method | None = None,
    threshold: float | None = None,
    votes: int | None = None,
) -> "Judge":
    """Make the judge for the options.

    Args:
        extra: the fields that ``-O`` adds to the body.
        by: how the answer is obtained; ``None`` for the best that the endpoint offers.

    Raises:
        UsageError: the options exclude each other.
    """
    from ..describe.judge import Judge

    methods = choose_methods(settings, by=by, threshold=threshold, votes=votes)
    quiet_request = request_builder.build_request(replace(settings, think="off"), "", None, dict(extra), stream=False)
    thinking = quiet_request.thinking
    return Judge(
        methods,
        threshold=threshold or DEFAULT_THRESHOLD,
        votes=votes or 1,
        thinking_off=None if thinking is None else replace(thinking, is_implied=settings.think is None),
    )


def choose_methods(
    settings: "Settings", *, by: Method | None, threshold: float | None, votes: int | None
) -> list[Method]:
    """The methods by which the answer may be obtained, in the order in which they are tried.

    Raises:
        UsageError: the options exclude each other.
    """
    if votes is not None and votes % 2 == 0:
        raise UsageError(f"invalid value for --votes: {votes}", hint=f"Use an odd number, such as {votes + 1}.")
    if votes is not None and by not in {None, Method.SCHEMA}:
        raise UsageError(
            f"--votes and --by {by} exclude each other", hint="Leave --votes out: the answer is a probability."
        )
    by = Method.SCHEMA if votes is not None else by
    if by is Method.SCHEMA and threshold is not None:
        option = "--by schema" if votes is None else "--votes"
        raise UsageError(
            f"--threshold and {option} exclude each other",
            hint=f"Leave --threshold out: {option} gives no probability.",
        )
    thinks = settings.think not in {None, "off"}
    if by is Method.LOGPROBS and thinks:
        raise UsageError(
            f"--by logprobs and --think {settings.think} exclude each other", hint="Leave one of them out."
        )
    if by is not None:
        return [by]
    if settings.offline:
        return [Method.SCHEMA]
    methods = [Method.DECISIONS] if settings.decisions else []
    if not thinks:
        methods.append(Method.LOGPROBS)
    return [*methods, Method.SCHEMA]
