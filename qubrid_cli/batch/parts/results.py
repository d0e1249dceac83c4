"""The lines of a finished part: in the order of its images, and the same whichever of equal images was answered first."""

import json
from typing import Any

from ...output.record import json_text

_Line = dict[str, Any]
#: What a line says about its image, besides the name; everything else of it is about the answer.
_IMAGE_FIELDS = ("index", "source_id", "path", "version")


def finish_lines(data: bytes) -> tuple[bytes, bool]:
    """Sort the lines of a results file by the positions of their images; whether any of them is a failure.

    Of images with the same answer, the first one is the original and the others are its duplicates.
    """
    parsed: list[tuple[_Line, bytes]] = [(json.loads(line), line + b"\n") for line in data.split(b"\n") if line.strip()]
    parsed.sort(key=lambda item: item[0]["index"])
    groups: dict[str, list[int]] = {}
    for position, (line, _) in enumerate(parsed):
        if line["key"] is not None:
            groups.setdefault(line["key"], []).append(position)
    for positions in groups.values():
        first, *others = positions
        if parsed[first][0]["duplicate_of"] is not None:
            original = next((other for other in others if parsed[other][0]["duplicate_of"] is None), first)
            lines = [parsed[position][0] for position in (first, original)]
            swapped = _exchange_images(*lines)
            name = swapped[0]["images"][0]["source"]
            answers = {first: swapped[0], original: swapped[1]}
            for position in others:
                answers[position] = {**answers.get(position, parsed[position][0]), "duplicate_of": name}
            for position, line in answers.items() if original != first else ():
                parsed[position] = line, json_text(line).encode() + b"\n"
    return b"".join(line for _, line in parsed), any(not line["ok"] for line, _ in parsed)


def _exchange_images(duplicate: _Line, original: _Line) -> tuple[_Line, _Line]:
    """The lines of an original and its duplicate as if the duplicate had been answered first: that one comes first."""
    return _rename(original, duplicate), _rename(duplicate, original)


def _rename(answer: _Line, image: _Line) -> _Line:
    """A line with what it says about the answer, about another image with the same content."""
    source = image["images"][0]["source"]
    images = [{**answer["images"][0], "source": source}, *answer["images"][1:]]
    return {**answer, "images": images, **{name: image[name] for name in _IMAGE_FIELDS}}
