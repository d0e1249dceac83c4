"""The data for the script of the gallery: results by image, with texts and figures that are ready to be shown. Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..frozen import frozen
from ..metrics import Cost
from ..text import escape_control_characters, format_count, format_size, shorten, strip_control_characters
from .charts import format_number
from .pictures import LoadedPicture
from .results import ResultItem
from .safe_html import extract_text, render_markdown

#: Maximum characters of a caption, and of a prompt in the heading of an answer.
_CAPTION_LENGTH, _LABEL_LENGTH = 1200, 60
#: Fields of data that describe an image, the best description first.
_CAPTION_FIELDS = ("caption", "description", "summary", "alt", "alt_text", "title", "text", "answer", "reason")
#: Parameters of a request that are shown.
_PARAMETERS = ("max_tokens", "temperature", "top_p", "detail", "schema")
#: Maximum number of boxes, and maximum depth at which they are searched.
_MAX_BOXES, _MAX_DEPTH = 500, 6

#: A label, and the left, top, right and bottom edge as fractions of the image.
Box = tuple[str, float, float, float, float]


@frozen
class ImageGroup:
    """An image and the answers about it, each with its position among all results."""

    items: tuple[ResultItem, ...]
    positions: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the image in the results."""
        return ", ".join(self.items[0].sources)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts about the image in the record; empty for some records of other programs."""
        match self.items[0].record.get("images"):
            case [dict() as image, *_]:
                return image
        return {}

    @property
    def sha256(self) -> str | None:
        """The digest of the file; ``None`` if the record lacks it."""
        digest = self.facts.get("sha256")
        return digest if isinstance(digest, str) else None

    def label_answers(self) -> list[str]:
        """Label the answers with what differs between them: model, prompt, size; or else with their number."""
        columns = [
            [item.model or "unknown model" for item in self.items],
            [shorten(" ".join((item.prompt or "").split()), _LABEL_LENGTH) for item in self.items],
            [_get_sent_size(item) or "" for item in self.items],
        ]
        differing = [column for column in columns if len(set(column)) > 1]
        labels = [" · ".join(filter(None, texts)) for texts in zip(*differing, strict=True)]
        if len(set(labels)) < len(self.items):
            labels = [
                f"{label} · {number}" if label else f"Answer {number}"
                for number, label in enumerate(labels or [""] * len(self.items), 1)
            ]
        return labels


def group_items(items: Iterable[ResultItem]) -> list[ImageGroup]:
    """Group results by image, in the order of the first answer about each."""
    groups: dict[str, list[tuple[ResultItem, int]]] = {}
    for position, item in enumerate(items):
        groups.setdefault(item.image_id, []).append((item, position))
    return [ImageGroup(*zip(*group, strict=True)) for group in groups.values()]


def _get_sent(item: ResultItem) -> Mapping[str, Any]:
    match item.record.get("images"):
        case [{"sent": dict() as sent}, *_]:
            return sent
    return {}


def _get_sent_size(item: ResultItem) -> str | None:
    match _get_sent(item):
        case {"width": int(width), "height": int(height)}:
            return f"{width:,} × {height:,}"
    return None


def describe_image(group: ImageGroup, picture: LoadedPicture) -> dict[str, Any]:
    """Build the data that the page shows about an image."""
    facts, item = group.facts, group.items[0]
    width, height = picture.size or (_get_int(facts, "width"), _get_int(facts, "height"))
    texts = [facts.get("format"), f"{width:,} × {height:,}" if width and height else None]
    texts.append(format_size(size) if (size := _get_int(facts, "bytes")) else None)
    texts.append(picture.note)
    link = item.source if item.source.lower().startswith(("http://", "https://")) else None
    return {
        "name": escape_control_characters(group.name),
        "width": width or None,
        "height": height or None,
        "facts": [text for text in texts if isinstance(text, str)],
        "note": picture.note,
        "link": link,
    }


def _get_int(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53 else 0


def build_answer(item: ResultItem, size: tuple[int | None, int | None]) -> dict[str, Any]:
    """Build the data that the page shows about an answer, and by which its script searches, filters and sorts.

    Args:
        size: width and height of the upright image in pixels, to which boxes in its data refer; ``None`` if unknown.
    """
    width, height = size
    verdict = _get_verdict(item.data)
    record, correction = item.record, item.correction
    model_text = record["correction"].get("model_text") if isinstance(record.get("correction"), dict) else None
    is_corrected = correction is not None and correction.text is not None
    boxes = find_boxes(item.data, width, height) if width and height and item.data is not None else []
    labels = list(dict.fromkeys(label for label, *_ in boxes if label))
    text = strip_control_characters(item.text)
    html = None if item.data is not None else render_markdown(text)
    caption = summarize_answer(item) if html is None else extract_text(html)
    return {
        "state": str(item.state),
        "model": item.model,
        "text": text,
        "caption": shorten(strip_control_characters(caption).strip(), _CAPTION_LENGTH),
        "html": html,
        "data": item.data,
        "boxes": boxes,
        "tags": list(dict.fromkeys([*item.tags, *labels])),
        "verdict": verdict,
        "probability": _get_probability(item.data) if verdict else None,
        "ttft": item.figures.ttft,
        "rate": item.figures.rate,
        "total": item.figures.total,
        "tokens": item.completion_tokens,
        "cost": item.cost,
        "created": item.created,
        "bad": item.is_bad,
        "corrected": is_corrected,
        "original": model_text if is_corrected and isinstance(model_text, str) else None,
        "error": _build_error(item),
        "warnings": [str(warning) for warning in item.warnings],
        "reasoning": reasoning if isinstance(reasoning := record.get("reasoning"), str) else None,
        "metrics": metrics if isinstance(metrics := record.get("x_metrics"), dict) and metrics else None,
        "facts": list(list_facts(item).items()),
    }


def _build_error(item: ResultItem) -> dict[str, Any] | None:
    if item.error is None:
        return None
    values = {name: item.error.get(name) for name in ("message", "hint", "status")}
    return {name: None if value is None else str(value) for name, value in values.items()}


def _get_verdict(data: Any) -> str | None:
    """Return the answer in a verdict, as ``qvision test`` writes it; ``None`` for other data."""
    match data:
        case {"answer": "yes" | "no" | "unsure" as answer, "probability": _}:
            return str(answer)
    return None


def _get_probability(data: Mapping[str, Any]) -> float | None:
    value = data.get("probability")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def summarize_answer(item: ResultItem) -> str:
    """Summarize an answer: its text, or the best description in its data."""
    data = item.data
    if isinstance(data, list):
        return _summarize_list(data) or item.text
    if not isinstance(data, dict):
        return item.text
    if (verdict := _get_verdict(data)) is not None:
        reason = data.get("reason")
        return f"{verdict}: {reason}" if isinstance(reason, str) and reason else verdict
    values = {name.casefold(): value for name, value in data.items()}
    for name in _CAPTION_FIELDS:
        if isinstance(text := values.get(name), str) and text.strip():
            return text
    parts = [f"{name}: {text}" for name, value in data.items() if (text := _summarize_value(value))]
    return "\n".join(parts[:6]) or item.text


def _summarize_value(value: Any) -> str:
    if isinstance(value, list):
        return _summarize_list(value)
    return "" if value is None or isinstance(value, dict) else str(value)


def _summarize_list(values: Sequence[Any]) -> str:
    """Summarize a list by its texts, or by the number of objects with each label."""
    texts = [value for value in values if isinstance(value, str)]
    labels = [value["label"] for value in values if isinstance(value, dict) and isinstance(value.get("label"), str)]
    if labels:
        counts = {label: labels.count(label) for label in dict.fromkeys(labels[:200])}
        return ", ".join(label if count == 1 else f"{count} × {label}" for label, count in counts.items())
    return ", ".join(texts) or format_count(len(values), "item") if values else ""


def list_facts(item: ResultItem) -> dict[str, str]:
    """List the facts about an answer by name, formatted for people."""
    source = "measured here" if item.is_measured_here else "by the server"
    facts: dict[str, str | None] = {
        "Model": item.model,
        "Time to first token": None
        if item.figures.ttft is None
        else f"{format_number(item.figures.ttft)} s ({source})",
        "Speed": None if item.figures.rate is None else f"{format_number(item.figures.rate)} tokens/s",
        "Total": None if item.figures.total is None else f"{format_number(item.figures.total)} s",
        "Tokens": _format_tokens(item),
        "Cost": None if item.cost is None else str(Cost(item.cost)),
        "Image sent": _describe_sent(item),
        "Parameters": _describe_parameters(item.record.get("request")),
        "Created": None if item.created is None else item.created.replace("T", " ").replace("Z", " UTC"),
        "Ended by": reason
        if isinstance(reason := item.record.get("finish_reason"), str) and reason != "stop"
        else None,
    }
    return {name: text for name, text in facts.items() if text}


def _format_tokens(item: ResultItem) -> str | None:
    if item.prompt_tokens is None and item.completion_tokens is None:
        return None
    counts = ["?" if count is None else f"{count:,}" for count in (item.prompt_tokens, item.completion_tokens)]
    return " → ".join(counts)


def _describe_sent(item: ResultItem) -> str | None:
    sent, size = _get_sent(item), _get_sent_size(item)
    if size is None:
        return None
    parts = [size, format_size(count) if (count := _get_int(sent, "bytes")) else None]
    tiles = sent.get("tiles")
    parts.append(f"{len(tiles)} tiles" if isinstance(tiles, list) else None)
    return ", ".join(part for part in parts if part)


def _describe_parameters(request: Any) -> str | None:
    if not isinstance(request, dict):
        return None
    params = request.get("params")
    values = {name: request.get(name) for name in _PARAMETERS} | (params if isinstance(params, dict) else {})
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def find_boxes(data: Any, width: int, height: int) -> list[Box]:
    """Find every object with a ``box`` of four numbers in pixels of the upright image; boxes are clipped to the image.

    A ``point`` of two numbers becomes a box without extent.
    """
    boxes: list[Box] = []
    for item in _iterate_objects(data, _MAX_DEPTH):
        if (box := _read_box(item, width, height)) is not None:
            boxes.append(box)
            if len(boxes) == _MAX_BOXES:
                break
    return boxes


def _iterate_objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if depth and isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _iterate_objects(inner, depth - 1)


def _read_box(item: dict[str, Any], width: int, height: int) -> Box | None:
    match item:
        case {"box": [left, top, right, bottom]}:
            is_point = False
        case {"point": [left, top]}:
            right, bottom, is_point = left, top, True
        case _:
            return None
    across, down = _get_shares((left, right), width), _get_shares((top, bottom), height)
    if across is None or down is None or not (is_point or (across[0] < across[1] and down[0] < down[1])):
        return None
    label = item.get("label")
    return (label if isinstance(label, str) else "", across[0], down[0], across[1], down[1])


def _get_shares(values: tuple[Any, Any], side: int) -> tuple[float, float] | None:
    """Convert two positions on a side of an image to fractions of the side; ``None`` if they are not numbers."""
    if any(not isinstance(value, int | float) for value in values):
        return None
    first, last = (round(min(max(value, 0), side) / side, 5) for value in values)
    return None if math.isnan(first + last) else (first, last)
