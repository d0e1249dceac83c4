"""A dry run: the request as it would be sent, with an estimate of its tokens and cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import urls
from ..client.request import Request, build_body
from ..frozen import frozen
from ..images import tokens
from ..images.prepare import PendingImage, PreparedImage, PreparedImageOrLink, make_pending
from ..metrics import Cost, Price, compute_cost
from .prompt import build_parts

#: Characters of a data URL that are shown.
_DATA_URL_PREFIX_LENGTH = 48


@frozen
class DryRunResult:
    """A request that was built but not sent.

    Attributes:
        detail: how closely the model looks at the images; ``None`` leaves it to the endpoint.
        request: the body, with shortened data URLs.
        request_size: bytes of the whole body.
        tokens_estimate: tokens of the whole prompt; ``None`` if it is unknown how the model counts images.
        cost_estimate: cost of the prompt without the answer.
    """

    url: str
    model: str
    detail: str | None
    request: dict[str, Any]
    request_size: int
    images: tuple[PreparedImageOrLink, ...]
    tokens_estimate: int | None
    cost_estimate: Cost | None
    warnings: tuple[str, ...]


def dry_run(
    url: str, request: Request, images: Sequence[PendingImage], *, labels: bool, prices: Mapping[str, Price]
) -> DryRunResult:
    """Build a request without sending it.

    Args:
        labels: as in ``RequestOptions``.
        prices: the user's prices by model.

    Raises:
        ImageError: an image cannot be sent.
    """
    prepared = tuple(image.wait() for image in images)
    whole = replace(request, images=build_parts(prepared, labels=labels))
    short = replace(whole, images=tuple(replace(part, url=_shorten_url(str(part.url))) for part in whole.images))
    uploads = [
        upload for image in prepared for upload in (image.uploads if isinstance(image, PreparedImage) else (None,))
    ]
    estimate = tokens.estimate_prompt(
        request.model,
        [(upload.width, upload.height) if upload else None for upload in uploads],
        [whole.prompt, whole.system or "", *(part.label or "" for part in whole.images)],
        detail=request.detail,
    )
    usage = None if estimate is None else {"prompt_tokens": estimate, "completion_tokens": 0}
    return DryRunResult(
        url=url,
        model=request.model,
        detail=request.detail,
        request=json.loads(bytes(build_body(short))),
        request_size=len(build_body(whole)),
        images=prepared,
        tokens_estimate=estimate,
        cost_estimate=compute_cost(prices, request.model, None, usage),
        warnings=tuple(warning for image in prepared if isinstance(image, PreparedImage) for warning in image.warnings),
    )


def split_tiles(images: Sequence[PendingImage]) -> list[Sequence[PendingImage]]:
    """Group images by request: each tile of a single image has its own request, and several images share one."""
    if len(images) > 1 or not isinstance(image := images[0].wait(), PreparedImage):
        return [images]
    return [(make_pending(tile),) for tile in image.split()]


def _shorten_url(url: str) -> str:
    """Return a URL without its image data or password."""
    if not url.startswith("data:"):
        return urls.strip_credentials(url)
    if len(url) <= 2 * _DATA_URL_PREFIX_LENGTH:
        return url
    return f"{url[:_DATA_URL_PREFIX_LENGTH]}… ({len(url):,} characters)"
