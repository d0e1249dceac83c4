"""What a request would send and cost, without sending it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..client.request import Request, build_body
from ..frozen import frozen
from ..images import tokens, urls
from ..images.prepare import PendingImage, PreparedImage, PreparedImageOrLink
from ..metrics import Cost, Price, compute_cost
from .prompt import build_image_parts

#: Of a data URL, so that one sees what it is.
_DATA_URL_PREFIX_LENGTH = 48
#: Characters of English to a token, as vendors put it.
_CHARACTERS_PER_TOKEN = 4


@frozen
class DryRunResult:
    """A request that was made and not sent.

    ``request`` is its body with the data URLs shortened, ``request_size`` the bytes of it in full; ``tokens_estimate`` an estimate for
    all of the prompt, ``None`` where the model's way of counting images is not known; ``cost_estimate`` is that of the prompt.
    """

    url: str
    model: str
    request: dict[str, Any]
    request_size: int
    images: tuple[PreparedImageOrLink, ...]
    tokens_estimate: int | None
    cost_estimate: Cost | None
    warnings: tuple[str, ...]


def dry_run(
    url: str, request: Request, images: Sequence[PendingImage], *, labels: bool, prices: Mapping[str, Price]
) -> DryRunResult:
    """Make the request and keep it.

    Raises:
        ImageError: an image cannot be sent.
    """
    found = tuple(image.future.result() for image in images)
    whole = replace(request, images=build_image_parts(found, labels=labels))
    short = replace(whole, images=tuple(replace(one, url=_shorten_url(str(one.url))) for one in whole.images))
    encoded = [image for image in found if isinstance(image, PreparedImage)]
    estimate = _estimate_tokens(whole, found)
    usage = None if estimate is None else {"prompt_tokens": estimate, "completion_tokens": 0}
    return DryRunResult(
        url=url,
        model=request.model,
        request=json.loads(bytes(build_body(short))),
        request_size=len(build_body(whole)),
        images=found,
        tokens_estimate=estimate,
        cost_estimate=compute_cost(prices, request.model, None, usage),
        warnings=tuple(warning for image in encoded for warning in image.warnings),
    )


def _shorten_url(url: str) -> str:
    """A URL as it may be shown: no image in it, and no password."""
    if not url.startswith("data:"):
        return urls.strip_credentials(url)
    return (
        url
        if len(url) <= 2 * _DATA_URL_PREFIX_LENGTH
        else f"{url[:_DATA_URL_PREFIX_LENGTH]}… ({len(url):,} characters)"
    )


def _estimate_tokens(request: Request, images: Sequence[PreparedImageOrLink]) -> int | None:
    total = 0
    for image in images:
        sent = image.upload if isinstance(image, PreparedImage) else None
        each = tokens.estimate(sent.width, sent.height, request.model) if sent else None
        if each is None:
            return None
        total += each
    words = [request.prompt, request.system or "", *(picture.label or "" for picture in request.images)]
    return total + sum(-(-len(text) // _CHARACTERS_PER_TOKEN) for text in words)
