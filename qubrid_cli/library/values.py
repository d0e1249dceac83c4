"""What ``Client.judge`` and ``Client.locate`` return: the data of a ``Description`` as values with types."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..describe.result import Description
from ..describe.verdicts import Answer, Method
from ..frozen import frozen

if TYPE_CHECKING:
    from ..images.detections.detection import Detection


@frozen
class Judgment:
    """The answer to a yes-or-no question.

    Attributes:
        answer: unsure also if the request failed.
        probability: of yes, from 0 to 1; ``None`` if the endpoint returned none.
        reason: the model's; ``None`` if it gave none.
        by: how the answer was obtained; ``None`` if there is none.
        description: the facts about the requests.
    """

    answer: Answer
    probability: float | None
    reason: str | None
    by: Method | None
    description: Description

    @property
    def is_true(self) -> bool:
        """Whether the answer is yes."""
        return self.answer is Answer.YES


def build_judgment(description: Description) -> Judgment:
    """The judgment in the data of a description."""
    data = description.data
    if data is None:
        return Judgment(Answer.UNSURE, None, None, None, description)
    return Judgment(Answer(data["answer"]), data["probability"], data["reason"], Method(data["by"]), description)


@frozen
class Detections:
    """Where something is in an image: a sequence of ``Detection``, empty if it is not there.

    Attributes:
        description: the facts about the request.
    """

    items: "tuple[Detection, ...]"
    description: Description

    def __iter__(self) -> Iterator["Detection"]:
        """Each detection."""
        return iter(self.items)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.items)

    def __getitem__(self, index: int) -> "Detection":
        """One of them."""
        return self.items[index]


def build_detections(description: Description) -> Detections:
    """The detections in the data of a description."""
    from ..images.detections.detection import Detection

    return Detections(tuple(map(Detection.from_dict, description.data or ())), description)
