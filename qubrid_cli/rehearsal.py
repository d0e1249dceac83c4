"""What a request would send, without sending it: for whoever wants to see what leaves the machine, and what it costs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from . import chat, costs, records, tokens, urls
from .costs import Cost, Price
from .errors import printable
from .frozen import frozen
from .images import Encoded, Preparation, Prepared, pictures

#: Of a data URL, so that one sees what it is.
_SHOWN = 48
#: Characters of English to a token, as vendors put it.
_CHARACTERS = 4


@frozen
class Rehearsal:
    """A request that was made and not sent.

    ``request`` is its body with the data URLs shortened, ``size`` the bytes of it in full; ``tokens`` an estimate for
    all of the prompt, ``None`` where the model's way of counting images is not known; ``cost`` is that of the prompt.
    """

    url: str
    model: str
    request: dict[str, Any]
    size: int
    images: tuple[Prepared, ...]
    tokens: int | None
    cost: Cost | None
    warnings: tuple[str, ...]


def rehearse(
    url: str, request: chat.Request, images: Sequence[Preparation], *, labels: bool, prices: Mapping[str, Price]
) -> Rehearsal:
    """Make the request and keep it.

    Raises:
        ImageError: an image cannot be sent.
    """
    found = tuple(image.future.result() for image in images)
    whole = replace(request, pictures=pictures(found, labels=labels))
    short = replace(whole, pictures=tuple(replace(one, url=_shortened(str(one.url))) for one in whole.pictures))
    encoded = [image for image in found if isinstance(image, Encoded)]
    estimate = _tokens(whole, found)
    usage = None if estimate is None else {"prompt_tokens": estimate, "completion_tokens": 0}
    return Rehearsal(
        url=url,
        model=request.model,
        request=json.loads(bytes(chat.body(short))),
        size=len(chat.body(whole)),
        images=found,
        tokens=estimate,
        cost=costs.cost(prices, request.model, None, usage),
        warnings=tuple(warning for image in encoded for warning in image.warnings),
    )


def _shortened(url: str) -> str:
    """A URL as it may be shown: no image in it, and no password."""
    if not url.startswith("data:"):
        return urls.without_password(url)
    return url if len(url) <= 2 * _SHOWN else f"{url[:_SHOWN]}… ({len(url):,} characters)"


def _tokens(request: chat.Request, images: Sequence[Prepared]) -> int | None:
    total = 0
    for image in images:
        sent = image.sent if isinstance(image, Encoded) else None
        each = tokens.estimate(sent.width, sent.height, request.model) if sent else None
        if each is None:
            return None
        total += each
    words = [request.prompt, request.system or "", *(picture.label or "" for picture in request.pictures)]
    return total + sum(-(-len(text) // _CHARACTERS) for text in words)


def json_object(rehearsal: Rehearsal) -> dict[str, Any]:
    """The object that ``--dry-run --json`` prints."""
    images = [
        records.json_image(image, rehearsal.model)
        | {"stripped": list(image.carried) if isinstance(image, Encoded) else []}
        for image in rehearsal.images
    ]
    return {
        "schema_version": records.SCHEMA_VERSION,
        "dry_run": True,
        "url": rehearsal.url,
        "request": rehearsal.request,
        "request_bytes": rehearsal.size,
        "images": images,
        "tokens_estimate": rehearsal.tokens,
        "cost_estimate": asdict(rehearsal.cost) if rehearsal.cost else None,
        "warnings": list(rehearsal.warnings),
    }


def text(rehearsal: Rehearsal) -> str:
    """The same for people: the request, a line for each image, and the sum."""
    counted = f"about {rehearsal.tokens:,} prompt tokens" if rehearsal.tokens is not None else "tokens unknown"
    counted += f", {rehearsal.cost} without the answer" if rehearsal.cost else ""
    return "\n".join(
        [
            f"POST {rehearsal.url}",
            records.json_text(rehearsal.request, indent=2),
            "",
            *(_line(image, rehearsal.model) for image in rehearsal.images),
            f"{counted} · a body of {records.readable_size(rehearsal.size)} · nothing was sent to the endpoint",
        ]
    )


def _line(image: Prepared, model: str) -> str:
    if not isinstance(image, Encoded):
        return f"{printable(image.name)}: a link, which the endpoint would fetch"
    sent = image.sent
    estimate = tokens.estimate(sent.width, sent.height, model)
    parts = [
        f"{printable(image.name)}: {image.format}, {image.width} × {image.height}, {records.readable_size(image.size)}",
        f" → {sent.mime}, {sent.width} × {sent.height}, {records.readable_size(len(sent.data))}",
        f", about {estimate:,} tokens" if estimate is not None else "",
        f"; taken out: {', '.join(image.carried)}" if image.carried else "",
    ]
    return "".join(parts)
