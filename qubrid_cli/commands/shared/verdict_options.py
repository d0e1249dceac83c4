"""The options of commands that ask yes-or-no questions."""

from typing import Annotated

import typer

from ...describe.verdicts import Method

_MAX_VOTES = 99

Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0.001,
        max=0.999,
        metavar="P",
        help="Minimum probability for yes; above 0.5, the maximum for no is 1-P. [0.5]",
        show_default=False,
    ),
]
Votes = Annotated[
    int | None,
    typer.Option(
        "--votes",
        min=1,
        max=_MAX_VOTES,
        metavar="N",
        help="Ask up to N times, an odd number; more than half must agree.",
        show_default=False,
    ),
]
By = Annotated[
    Method | None,
    typer.Option(
        "--by",
        metavar="METHOD",
        help="How to ask: decisions, logprobs or schema. [the first that the endpoint offers]",
        show_default=False,
    ),
]
