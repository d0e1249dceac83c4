"""Where something is in the upright original of an image."""

from collections.abc import Mapping
from typing import Any

from ...frozen import frozen


@frozen
class Detection:
    """A box or a point, in pixels of the upright original; for a page of a PDF, in its points.

    Attributes:
        label: the model's word for what is there; may be empty.
        box: the left, upper, right and lower edge; the last two are just outside, as in Pillow.
        point: x and y, from a model that points instead of drawing boxes.
        score: the model's own statement of its confidence.
    """

    label: str
    box: tuple[int, int, int, int] | None = None
    point: tuple[int, int] | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The detection as it is written to the ``data`` of a record."""
        place = {"box": list(self.box)} if self.box is not None else {"point": list(self.point or ())}
        return {"label": self.label, **place, **({} if self.score is None else {"score": self.score})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Detection":
        """The detection that ``to_dict`` wrote."""
        box, point = values.get("box"), values.get("point")
        return cls(values["label"], box and tuple(box), point and tuple(point), values.get("score"))
