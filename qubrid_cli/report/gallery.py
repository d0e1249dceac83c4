"""The gallery: results as an HTML page, with a card for each image and all answers about it side by side."""

import calendar
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from ..frozen import frozen
from ..images import sources
from ..metrics import Cost
from ..text import natural_key
from . import charts
from .gallery_data import ImageGroup, build_answer, describe_image, group_items
from .html_page import PageSetup, render_page
from .pictures import ImageOrigin, PictureStore, Size, load_pictures
from .results import ResultItem, Results, State


@frozen
class Figure:
    """A number in the header of the page."""

    name: str
    value: str
    is_bad: bool = False


class Gallery:
    """The content of the page, with the pictures of all images.

    Args:
        store: receives the pictures.
        fetch: as for ``load_pictures``.
        report_progress: called with the number of loaded images and the number of all images.

    Attributes:
        items: the results, in the order of the numbers that their answers have in the page.
        positions: the position of each item among all results.

    Raises:
        OutputError: a picture cannot be written.
    """

    def __init__(
        self,
        items: Iterable[ResultItem],
        store: PictureStore,
        *,
        title: str,
        fetch: Callable[[sources.Link], sources.Source] | None = None,
        report_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        groups = group_items(items)
        self.title = title
        self.items: list[ResultItem] = []
        self.positions: list[int] = []
        self._store = store
        self._prompts: dict[str, int] = {}
        self._answers: list[tuple[dict[str, Any], dict[str, Any]]] = []  # each with its image
        self._images: list[dict[str, Any]] = []
        names = sorted({group.name for group in groups}, key=natural_key)
        name_positions = {name: position for position, name in enumerate(names)}
        numbers: list[tuple[int, int] | None] = []
        pictures = load_pictures(map(_find_origin, groups), fetch)
        for done, (group, picture) in enumerate(zip(groups, pictures, strict=True), 1):
            numbers.append(None)
            if picture.thumbnail is not None and picture.preview is not None:
                numbers[-1] = store.add(picture.thumbnail, Size.THUMBNAIL), store.add(picture.preview, Size.PREVIEW)
            self._add_image(group, describe_image(group, picture) | {"order": name_positions[group.name]})
            report_progress(done, len(groups))
        for image, pair in zip(self._images, numbers, strict=True):
            image["thumbnail"], image["preview"] = map(store.get_url, pair) if pair else (None, None)

    def _add_image(self, group: ImageGroup, image: dict[str, Any]) -> None:
        size = image["width"], image["height"]
        answers: list[dict[str, Any]] = []
        for item, label in zip(group.items, group.label_answers(), strict=True):
            prompt = None if item.prompt is None else self._prompts.setdefault(item.prompt, len(self._prompts))
            identity = {"number": len(self.items) + len(answers), "label": label, "prompt": prompt}
            answers.append(build_answer(item, size) | identity)
        self.items += group.items
        self.positions += group.positions
        image["answers"] = answers
        self._answers += [(image, answer) for answer in answers]
        self._images.append(image)

    def correct(self, results: Results, number: int, text: str | None, *, is_bad: bool) -> dict[int, dict[str, Any]]:
        """Save a correction; return the new data of this answer, and of copies of it, by their numbers.

        Raises:
            ValueError: the answer does not exist, or the text cannot replace it; the message is a sentence for the user.
            OutputError: the correction cannot be saved.
        """
        if not 0 <= number < len(self.items):
            raise ValueError("there is no such answer")
        corrected = results.correct(self.positions[number], text=text, is_bad=is_bad)
        changes = {}
        for index, item in enumerate(self.items):
            if item.answer_id == corrected.answer_id:
                self.items[index] = results[self.positions[index]]
                image, answer = self._answers[index]
                changes[index] = build_answer(self.items[index], (image["width"], image["height"]))
                answer |= changes[index]
        return changes

    def render(self, *, is_served: bool = False) -> bytes:
        """Render the page as one HTML file."""
        setup = PageSetup(("gallery.css",), ("gallery.js",), has_files=self._store.has_files, is_served=is_served)
        return render_page(
            "gallery.html",
            setup,
            title=self.title,
            data={"prompts": list(self._prompts), "images": self._images, "editing": is_served},
            subtitle=describe_run(self.items),
            figures=list_figures(self.items, len(self._images)),
            charts=build_charts(self.items),
        )


def _find_origin(group: ImageGroup) -> ImageOrigin:
    item = group.items[0]
    return ImageOrigin(item.location, item.page, group.sha256)


def list_figures(items: Sequence[ResultItem], image_count: int) -> list[Figure]:
    """List the figures of the run for the header."""
    states = Counter(item.state for item in items)
    figures = [Figure("Images", f"{image_count:,}")]
    if len(items) != image_count:
        figures.append(Figure("Answers", f"{len(items):,}"))
    figures.append(Figure("OK", f"{states[State.OK]:,}"))
    figures += [
        Figure(name, f"{states[state]:,}", is_bad=True)
        for name, state in (("Failed", State.FAILED), ("Incomplete", State.INCOMPLETE))
        if states[state]
    ]
    if bad := sum(item.is_bad for item in items):
        figures.append(Figure("Marked as bad", f"{bad:,}", is_bad=True))
    for name, values, unit in (
        ("Median time to first token", [item.figures.ttft for item in items], " s"),
        ("Median speed", [item.figures.rate for item in items], " tok/s"),
        ("Median time", [item.figures.total for item in items], " s"),
    ):
        if numbers := [value for value in values if value is not None]:
            figures.append(Figure(name, charts.format_number(median(numbers)) + unit))
    for name, counts in (
        ("Prompt tokens", [item.prompt_tokens for item in items]),
        ("Answer tokens", [item.completion_tokens for item in items]),
    ):
        if numbers := [value for value in counts if value is not None]:
            figures.append(Figure(name, f"{sum(numbers):,.0f}"))
    costs = [item.cost for item in items if item.cost is not None]
    if costs:
        figures.append(Figure("Cost", str(Cost(sum(costs)))))
    return figures


def build_charts(items: Sequence[ResultItem]) -> list[charts.Chart]:
    """Build the charts of the run, except those with too few values."""
    figures = [item.figures for item in items]
    series = (
        ("Time to first token, s", [figure.ttft for figure in figures], "s"),
        ("Tokens per second", [figure.rate for figure in figures], "tokens/s"),
        ("Total time, s", [figure.total for figure in figures], "s"),
    )
    times = [(moment, item.state is State.OK) for item in items if (moment := parse_time(item.created)) is not None]
    all_charts = [
        *(
            charts.build_histogram(title, [value for value in values if value is not None], unit)
            for title, values, unit in series
        ),
        charts.build_timeline("Answers over time", times),
    ]
    return [chart for chart in all_charts if chart is not None]


def describe_run(items: Sequence[ResultItem]) -> str:
    """Describe the run in one line: the models, and the times of the answers."""
    models = Counter(item.model for item in items if item.model)
    parts = [", ".join(model for model, _ in models.most_common(5)) + (" and others" if len(models) > 5 else "")]
    times = [moment for item in items if (moment := parse_time(item.created)) is not None]
    if times:
        first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) for moment in (min(times), max(times)))
        parts.append(first if first == last else f"{first} to {last[11:] if first[:10] == last[:10] else last}")
    return " · ".join(filter(None, parts))


def parse_time(created: str | None) -> float | None:
    """Parse the time of a record into seconds since 1970; ``None`` if it is invalid."""
    with suppress(ValueError, OverflowError):
        return calendar.timegm(time.strptime(created or "", "%Y-%m-%dT%H:%M:%SZ"))
    return None
