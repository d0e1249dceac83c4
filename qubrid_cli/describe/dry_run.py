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
    estimate = tokens.estimate_prompt(
        request.model,
        [(image.upload.width, image.upload.height) if isinstance(image, PreparedImage) else None for image in found],
        [whole.prompt, whole.system or "", *(part.label or "" for part in whole.images)],
    )
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
