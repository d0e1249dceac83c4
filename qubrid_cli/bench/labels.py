"""Images with expected answers: a list in JSONL or CSV with the columns ``image`` and ``expected``."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ..describe.prompt import check_placeholders
from ..describe.verdicts import Answer, read_word
from ..errors import UsageError
from ..frozen import frozen
from ..text import quote_name
from .plan import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from ..images.sources import Source

#: An expected answer: a text, a number, yes or no, or an object with values of a schema; ``None`` without labels.
Expected = str | float | bool | Mapping[str, Any] | Sequence[Any] | None

#: The columns that may hold an expected answer; the first one that has a value is used.
EXPECTED_COLUMNS = ("expected", "answer", "value", "label")
#: The values of an empty cell.
_NOTHING = (None, "")
_EXAMPLE = '{"image": "a.jpg", "expected": "yes"}'


@frozen
class Label:
    """A row of the list: the image, its own prompt if it has one, and the expected answer."""

    image: "Source"
    prompt: str | None
    expected: Expected


def read_labels(list_file: "Path | BinaryIO | Callable[[], BinaryIO]", name: str) -> list[Label]:
    """Read all labels.

    Args:
        name: the name of the list, for messages.

    Raises:
        UsageError: a row is invalid, or has no expected answer; or there are no rows.
    """
    from ..batch.inputs import BatchInputs, MissingImage, resolve_source

    labels: list[Label] = []
    for item in BatchInputs((), list_file).find_images():
        if isinstance(item, MissingImage):
            raise UsageError(f"{quote_name(name)}: {item.error.message}", hint=f"A line looks like this: {_EXAMPLE}")
        row = item.row or {}
        expected = next((row[column] for column in EXPECTED_COLUMNS if row.get(column) not in _NOTHING), None)
        if expected is None:
            raise UsageError(
                f"{quote_name(name)} has no expected answer for {quote_name(item.source)}",
                hint=f"A line looks like this: {_EXAMPLE}. In CSV, the columns are image,expected.",
            )
        labels.append(Label(resolve_source(item), item.prompt, expected))
    if not labels:
        raise UsageError(f"{quote_name(name)} has no labels", hint=f"A line looks like this: {_EXAMPLE}")
    return labels


def choose_labels(labels: Sequence[Label], images: "Sequence[Source]", name: str) -> list[Label]:
    """Choose the labels of the images on the command line, or all labels if it names no images.

    Raises:
        UsageError: an image has no label.
    """
    if not images:
        return list(labels)
    chosen = {_identify(image.name) for image in images}
    if missing := chosen - {_identify(label.image.name) for label in labels}:
        image = next(image.name for image in images if _identify(image.name) in missing)
        raise UsageError(
            f"{quote_name(image)} is not in {quote_name(name)}",
            hint=f"To use all images in {quote_name(name)}, name none.",
        )
    return [label for label in labels if _identify(label.image.name) in chosen]


def join_images(images: "Sequence[Source]", labels: Sequence[Label]) -> list[Sample]:
    """Join images with their labels, if there are labels.

    Args:
        images: the images of the labels, in the same order, with documents replaced by their pages.

    Raises:
        UsageError: a label belongs to a document with several pages, or its prompt has an unknown placeholder.
    """
    if not labels:
        return [Sample(image) for image in images]
    if len(images) > len(labels):
        name = next(
            label.image.name for label, image in zip(labels, images, strict=False) if label.image.name != image.name
        )
        raise UsageError(
            f"{quote_name(name)} has several pages but one label",
            hint=f"Label each page: {quote_name(f'{name}#page=1')}",
        )
    for label in labels:
        check_placeholders(label.prompt or "", images=1)
    return [Sample(image, label.prompt, label.expected) for image, label in zip(images, labels, strict=True)]


def _identify(name: str) -> str:
    return name if "://" in name else os.path.realpath(name)


def are_yes_or_no(labels: Sequence[Label]) -> bool:
    """Whether all expected answers are yes or no."""
    return all(read_yes_or_no(label.expected) is not None for label in labels)


def read_yes_or_no(expected: Expected) -> bool | None:
    """Read an expected answer that means yes or no; ``None`` for any other."""
    if isinstance(expected, bool):
        return expected
    word = read_word(expected) if isinstance(expected, str) else None
    return None if word in {None, Answer.UNSURE} else word is Answer.YES
