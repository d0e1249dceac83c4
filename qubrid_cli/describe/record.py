"""A ``Description`` as a JSON object: the record that ``--json``, ``batch`` and ``Description.to_dict`` produce."""

import time
from dataclasses import fields
from typing import Any

from ..client.request import Request, build_fields
from ..errors import QvisionError
from ..images import tokens
from ..images.encode import Upload
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..metrics import Cost, Timing
from ..text import mask_fields
from .result import Description, UnpreparedImage

SCHEMA_VERSION = 1
#: The limits of images that a record contains.
_LIMIT_NAMES = ("max_pixels", "max_side", "quality", "background")
#: Fields of the body that do not affect the answer, or that the record has in another form.
_TRANSPORT_FIELDS = {"stream", "stream_options", "response_format"}


def json_object(description: Description) -> dict[str, Any]:
    """Return the object that ``--json`` prints; ``output/description.schema.json`` describes it."""
    error = description.error
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": error is None,
        "complete": description.complete,
        "finish_reason": description.finish_reason,
        "id": description.id,
        "model": description.model,
        "prompt": description.prompt,
        "images": [json_image(image, description.requested_model, description.detail) for image in description.images],
        "text": description.text,
        "data": description.data,
        "reasoning": description.reasoning,
        "usage": description.usage,
        "x_metrics": description.metrics,
        "timing": _json_fields(description.timing),
        "cost": None if description.cost is None else _json_fields(description.cost),
        "warnings": list(description.warnings),
        "error": None if error is None else json_error(error),
        "request": json_request(description),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _json_fields(value: Timing | Cost) -> dict[str, Any]:
    """Return the fields of an object that holds only numbers and texts; ``asdict`` would copy each of them."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def json_request(description: Description) -> dict[str, Any] | None:
    """Return the parameters of a request as they were sent, and the limits of its images; ``None`` if it was never built."""
    request = description.request
    if request is None:
        return None
    body = build_fields(request)
    limits = next((image.limits for image in description.images if isinstance(image, PreparedImage)), None)
    return {
        "model": request.model,
        "system": request.system,
        "max_tokens": body.pop("max_tokens", None) or body.pop("max_completion_tokens", None),
        "temperature": body.pop("temperature", None),
        "top_p": body.pop("top_p", None),
        "schema": _name_schema(request),
        "detail": description.detail,
        "images": None if limits is None else {name: getattr(limits, name) for name in _LIMIT_NAMES},
        "params": {name: mask_fields(value, name) for name, value in body.items() if name not in _TRANSPORT_FIELDS},
    }


def _name_schema(request: Request) -> str | None:
    """The name of the schema that the answer must fit; an unnamed one has the name that servers see."""
    return None if request.response_format is None else request.response_format.name or "answer"


def json_image(
    image: PreparedImageOrLink | UnpreparedImage, model: str | None, detail: str | None = None
) -> dict[str, Any]:
    """Return the facts about an image and about what was sent for it; for a link or an unprepared image they are ``None``."""
    if not isinstance(image, PreparedImage):
        return {"source": image.name} | dict.fromkeys(("sha256", "format", "width", "height", "bytes", "page", "sent"))
    return json_original(image) | {"sent": _json_sent(image, model or "", detail)}


def json_original(image: PreparedImage) -> dict[str, Any]:
    """Return the facts about an original image."""
    return {
        "source": image.name,
        "sha256": image.sha256,
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": image.size,
        "page": image.page,
    }


def _json_sent(image: PreparedImage, model: str, detail: str | None) -> dict[str, Any]:
    """Return the facts about what was sent; for tiles, those of the first one with the sums of bytes and tokens."""
    uploads = [_json_upload(upload, model, detail) for upload in image.uploads]
    if len(uploads) == 1:
        return {**uploads[0], "tiles": None}
    estimates = [upload["tokens_estimate"] for upload in uploads]
    return {
        **uploads[0],
        "bytes": sum(upload["bytes"] for upload in uploads),
        "tokens_estimate": None if None in estimates else sum(estimates),
        "tiles": uploads,
    }


def _json_upload(upload: Upload, model: str, detail: str | None) -> dict[str, Any]:
    return {
        "mime": upload.mime,
        "width": upload.width,
        "height": upload.height,
        "bytes": upload.size,
        "tokens_estimate": tokens.estimate(upload.width, upload.height, model, detail),
        "box": None if upload.box is None else list(upload.box),
    }


def json_error(error: QvisionError) -> dict[str, Any]:
    """Return an error as it appears in a record."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "status": error.status,
        "request_id": error.request_id,
    }
