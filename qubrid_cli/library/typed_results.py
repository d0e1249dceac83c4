"""The results of ``Client.judge`` and ``Client.locate``: the data of a ``Description`` as typed values."""

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
        answer: also unsure if the request failed.
        probability: of yes, from 0 to 1; ``None`` if the endpoint returned none.
        reason: in the words of the model; ``None`` if it gave none.
        by: how the answer was obtained; ``None`` if the request failed.
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
    """Build the judgment from the data of a description."""
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
        """Iterate over the detections."""
        return iter(self.items)

    def __len__(self) -> int:
        """The number of detections."""
        return len(self.items)

    def __getitem__(self, index: int) -> "Detection":
        """The detection at a position, from 0."""
        return self.items[index]


def build_detections(description: Description) -> Detections:
    """Build the detections from the data of a description."""
    from ..images.detections.detection import Detection

    return Detections(tuple(map(Detection.from_dict, description.data or ())), description)
