"""What an answer cost: the user's prices and the server's count of tokens. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from .frozen import frozen
from .metrics import number


@frozen
class Price:
    """USD for a million tokens each way; ``None`` where the user gave none."""

    input: float | None = None
    output: float | None = None


@frozen
class Cost:
    """An amount of money."""

    amount: float
    currency: str = "USD"

    def __str__(self) -> str:
        """Fit to be read: cents where it is dollars, else four decimals, and more where these would be zeros."""
        if self.amount >= 1 or self.amount == 0:
            return f"${self.amount:.2f}"
        return f"${self.amount:.{max(4, 1 - math.floor(math.log10(self.amount)))}f}"


def cost(
    prices: Mapping[str, Price], asked_model: str | None, model: str | None, usage: Mapping[str, Any] | None
) -> Cost | None:
    """The cost of an answer; ``None`` without a price for the model, or without a usage that can be counted.

    Args:
        asked_model: whose price is taken where there is one; else that of ``model``, what the server says it was.
    """
    price = prices.get(asked_model or "") or prices.get(model or "")
    asked, said = number(usage, "prompt_tokens"), number(usage, "completion_tokens")
    if price is None or asked is None or said is None or asked < 0 or said < 0:
        return None
    amount = priced(price, asked, said)
    return None if amount is None else Cost(amount)


def priced(price: Price, asked: float, said: float) -> float | None:
    """US dollars for so many tokens each way; ``None`` where the price has only one way.

    To a millionth of a thousandth of a dollar: a token of a cheap model, and no digits of binary fractions.
    """
    if price.input is None or price.output is None:
        return None
    return round((asked * price.input + said * price.output) / 1e6, 9)
