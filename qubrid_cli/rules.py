"""How a run of many images goes, as its user wants it."""

from .frozen import frozen


@frozen
class Rules:
    """How a run goes.

    Attributes:
        retries: further tries of an image whose request fails while others do not.
        patience: seconds that an endpoint which is away, or takes nothing, is waited for; and an image at most.
        is_ordered: outcomes come in the order of the images.
        is_forced: what the results file has is asked for again.
    """

    retries: int = 4
    patience: float = 600.0
    is_ordered: bool = False
    is_forced: bool = False
