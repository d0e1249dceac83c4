"""Requests for boxes, in the form that the model knows best; the answers become pixels of the upright original."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ...client.endpoint import Endpoint
from ...client.request import Request, ResponseFormat
from ...errors import ImageError, QvisionError, SchemaMismatchError, UsageError
from ...images.prepare import PendingImage, PreparedImage, PreparedImageOrLink
from ..json_text import Invalid, Valid
from ..result import Description, Preparing
from ..run import Items, RequestOptions
from ..structured import Session
from .coordinates import build_picture, convert
from .families import DEFAULT, Coordinates, build_instruction, build_schema, find_coordinate_family
from .parsing import read_mentions

if TYPE_CHECKING:
    from ...schema.json_schema import Schema

#: Warnings about single boxes that were left out; further ones are only counted.
_MAX_NAMED_PROBLEMS = 3


class LocatingSession(Session):
    """The requests of a run whose answers are boxes; the ``data`` of a ``Description`` lists ``Detection`` as dicts."""

    def __init__(self, schema: "Schema") -> None:
        super().__init__(schema)
        self._coordinates = parse_coordinates(schema.boxes)

    def describe(
        self,
        endpoint: Endpoint,
        request: Request,
        images: Sequence[PendingImage],
        options: RequestOptions,
    ) -> Items:
        """Make a request as ``Session.describe`` does.

        If no box can be used, the ``Description`` has a ``SchemaMismatchError`` and the text. Several images, an image whose
        size is unknown, and one that is divided into tiles are rejected before anything is sent.
        """
        yield Preparing(images[0].name)
        image, error = _wait(images)
        if error is not None:
            prepared = () if image is None else (image,)
            yield Description(request.prompt, request.model, request.model, prepared, request=request, error=error)
            return
        with closing(super().describe(endpoint, request, images, options)) as items:
            for item in items:
                yield self._locate(item, request.model, endpoint) if isinstance(item, Description) else item

    def prepare_request(self, request: Request) -> Request:
        """Add the schema and the instruction for boxes to a request."""
        return ask_for_boxes(request, self._coordinates)

    def _parse(self, answer: Description) -> Valid | Invalid:
        try:
            return Valid(read_mentions(answer.text))
        except ValueError as error:
            return Invalid((str(error),))

    def _locate(self, answer: Description, model: str, endpoint: Endpoint) -> Description:
        """The answer with the mentions in its ``data`` replaced by detections."""
        image = answer.images[0] if answer.images else None
        if answer.error is not None or not isinstance(image, PreparedImage):
            return answer
        reading = convert(answer.data, build_picture(image, model), find_coordinate_family(model), self._coordinates)
        problems = list(map(endpoint.redact, reading.problems))
        if problems and not reading.detections:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            advice = f"Try --coordinates {reading.suggestion}; " if reading.suggestion else ""
            hint = f"{advice}--json keeps the answer's text."
            error = SchemaMismatchError(f"the answer cannot be used: {problems[0]}{more}", hint=hint)
            return replace(answer, data=None, error=error)
        dropped = [f"left out: {problem}" for problem in problems[:_MAX_NAMED_PROBLEMS]]
        if len(problems) > _MAX_NAMED_PROBLEMS:
            dropped.append(f"left out: {len(problems) - _MAX_NAMED_PROBLEMS} more")
        data = [detection.to_dict() for detection in reading.detections]
        return replace(answer, data=data, warnings=(*answer.warnings, *dropped, *reading.notes))


def parse_coordinates(text: str | None) -> Coordinates | None:
    """The form that a schema names; ``None`` for ``auto``.

    Raises:
        UsageError: the text is neither a form nor ``auto``.
    """
    if text in {"auto", None}:
        return None
    try:
        return Coordinates(text)
    except ValueError:
        raise UsageError(
            f"x-boxes in the schema is not a form of coordinates: {text}",
            hint=f"Available: auto, {', '.join(Coordinates)}",
        ) from None


def ask_for_boxes(request: Request, coordinates: Coordinates | None) -> Request:
    """The request with the schema and the instruction for boxes."""
    family = find_coordinate_family(request.model)
    form = coordinates or family.coordinates or DEFAULT
    response_format = ResponseFormat(build_schema(family, form), build_instruction(family, form), "boxes")
    # Models that give points were not trained to do so in JSON.
    dropped = request.dropped | {"json_schema", "json_object"} if family.points else request.dropped
    return replace(request, response_format=response_format, dropped=dropped)


def _wait(images: Sequence[PendingImage]) -> tuple[PreparedImageOrLink | None, QvisionError | None]:
    """Wait for the only image; return it, and the error if boxes cannot be placed in it.

    An image that cannot be prepared is reported by the request.
    """
    if len(images) != 1:
        return None, UsageError(
            f"boxes cannot be requested for {len(images)} images at once",
            hint="Add --each, to send one request per image.",
        )
    try:
        image = images[0].wait()
    except QvisionError:
        return None, None
    if not isinstance(image, PreparedImage):
        return image, ImageError(
            f"{image.name} is a link to an image of unknown size, so boxes cannot be placed",
            hint="Add --fetch, to download the image here.",
        )
    if image.upload.tiles:
        return image, UsageError(
            f"{image.name} is sent in {len(image.upload.tiles)} parts, so boxes cannot be placed",
            hint="Leave out --tiles; --crop shows the model one part.",
        )
    return image, None
