"""The results of a report: what it shows of each answer, whatever wrote it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..batch.results.corrections import Correction, identify_answer
from ..batch.results.opening import ResultsFiles
from ..batch.results.reading import RecordedResult, ResultsReader, find_path
from ..batch.sidecars.answers import PhotoField, extract_texts
from ..frozen import frozen
from ..images.sources import is_url, split_page
from ..metrics import Figures, get_number, parse_server_figures
from ..text import is_blank


class State(StrEnum):
    """Whether there is an answer: a whole one, only a part of one or one that does not fit its schema, or none."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@frozen
class ResultItem:
    """An answer, or why there is none. Whatever is of a wrong type in the record is ``None`` here.

    Attributes:
        record: all that is known, as in the results file.
        source: the name of the image, of the first one if there are several in ``sources``.
        page: of a document.
        text: the answer or the part of it that arrived; empty if there is none.
        model: that answered, else the one that was asked.
        created: when the request ended, in UTC.
        figures: the server's times and speed, else ours.
        is_measured_here: the figures are ours.
        location: where the image should be: an absolute path, a URL, or an archive and the name of a member; for a page
            that of the document. ``None`` for standard input.
        correction: what a person changed; it is applied already.
    """

    record: Mapping[str, Any]
    sources: tuple[str, ...]
    page: int | None
    state: State
    text: str
    data: Any
    prompt: str | None
    model: str | None
    created: str | None
    error: Mapping[str, Any] | None
    prompt_tokens: int | None
    completion_tokens: int | None
    figures: Figures
    is_measured_here: bool
    cost: float | None
    currency: str | None
    location: str | None
    warnings: tuple[str, ...] = field(default=())
    correction: Correction | None = None

    @property
    def source(self) -> str:
        """The name of the first image."""
        return self.sources[0]

    @property
    def is_bad(self) -> bool:
        """Whether a person has marked the answer as bad."""
        return self.correction is not None and self.correction.is_bad

    @property
    def tags(self) -> tuple[str, ...]:
        """The keywords in an answer that is JSON."""
        return extract_texts(self.record).get(PhotoField.KEYWORDS, ())

    @property
    def answer_id(self) -> str:
        """What corrections name the answer by."""
        return identify_answer(self.record)

    @property
    def image_id(self) -> str:
        """The same for all answers about the same images."""
        page = "" if self.page is None else f"#page={self.page}"
        return "\n".join([f"{self.location or self.answer_id}{page}", *self.sources[1:]])

    def find_file(self) -> Path | None:
        """The file of the image, or of its document, if it is on this machine."""
        return Path(self.location) if self.location is not None and os.path.isfile(self.location) else None


class Results:
    """The results of a report, each answer once, in order; see ``ResultsReader``. A context manager.

    Any number of iterations is possible; each reads the files again, so that only one record is in memory.

    Args:
        locations: files, folders and bucket URLs of runs in parts, URLs of objects, ``-`` for standard input.
        target: the file that will be written, which must not be one of a run in parts.
        in_list_order: as the images were in the list or the folders of the run; otherwise by their names.

    Attributes:
        notes: what the user should know about the files.
        paths: of the results files and their corrections, if they are on this machine.
        corrections_file: where corrections of these results belong; ``None`` if none of them is in a local file.

    Raises:
        UsageError: something else than results is named.
        ConfigError | StorageError: a file cannot be read.
    """

    def __init__(
        self,
        locations: Sequence[str],
        *,
        in_list_order: bool = False,
        stdin: BinaryIO | None = None,
        target: str | None = None,
    ) -> None:
        with ExitStack() as stack:
            files = stack.enter_context(ResultsFiles(locations, stdin, target))
            self._reader = ResultsReader(files, in_list_order=in_list_order)
            self._stack = stack.pop_all()
        self.notes = self._reader.notes
        self.paths = files.paths
        self.corrections_file = files.corrections_file

    def __enter__(self) -> Self:
        """The files stay open until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def __len__(self) -> int:
        """The number of results."""
        return len(self._reader)

    def __getitem__(self, position: int) -> ResultItem:
        """The result at a position, from 0."""
        return build_item(self._reader[position])

    def __iter__(self) -> Iterator[ResultItem]:
        """Read all results, one after the other."""
        return map(build_item, self._reader)

    def iterate_lines(self, folder: str) -> Iterator[bytes]:
        """Yield the line of each result for a results file in a folder."""
        return self._reader.iterate_lines(folder)


def build_item(result: RecordedResult) -> ResultItem:
    """Build the item of a result."""
    record = result.record
    sources = tuple(str(image["source"]) for image in record["images"])
    location, page = _locate(record, result.folder)
    text = record.get("text")
    text = text if isinstance(text, str) else ""
    server_figures = parse_server_figures(_as_mapping(record.get("x_metrics")))
    timing = _as_mapping(record.get("timing"))
    own_figures = Figures(
        *(get_number(timing, name) for name in ("ttft_seconds", "tokens_per_second", "total_seconds"))
    )
    usage, cost = _as_mapping(record.get("usage")), _as_mapping(record.get("cost"))
    warnings = record.get("warnings")
    return ResultItem(
        record=record,
        sources=sources,
        page=page,
        state=_find_state(record, text),
        text=text,
        data=record.get("data"),
        prompt=_get_text(record, "prompt"),
        model=_get_text(record, "model"),
        created=_get_text(record, "created"),
        error=_as_mapping(record.get("error")),
        prompt_tokens=_get_count(usage, "prompt_tokens"),
        completion_tokens=_get_count(usage, "completion_tokens"),
        figures=own_figures if server_figures is None else server_figures,
        is_measured_here=server_figures is None,
        cost=get_number(cost, "amount"),
        currency=None if cost is None else _get_text(cost, "currency"),
        location=location,
        warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
        correction=result.correction,
    )


def _find_state(record: Mapping[str, Any], text: str) -> State:
    has_content = record.get("data") is not None or not is_blank(text)
    if record["ok"] and record["complete"] and has_content:
        return State.OK
    return State.INCOMPLETE if has_content else State.FAILED


def _locate(record: Mapping[str, Any], folder: str) -> tuple[str | None, int | None]:
    """Return where the image of a record is, and its page.

    The path of a record is lost if the results file was moved without the images; then its name may still lead there.
    """
    image = record["images"][0]
    name = str(image["source"])
    path = find_path(record, folder) or (None if name == "-" or name.startswith("data:") else name)
    page = _get_count(image, "page")
    if path is not None and (parts := split_page(path)) is not None:  # a page that could not be read has only this
        path, page = parts
    if path is not None and not is_url(path) and not os.path.exists(path):
        stem = name if (parts := split_page(name)) is None else parts[0]
        candidates = [os.path.abspath(stem), os.path.join(folder, stem), os.path.abspath(path)]
        path = next(filter(os.path.exists, candidates), candidates[-1])
    return path, page


def _as_mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _get_text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _get_count(values: Mapping[str, Any] | None, name: str) -> int | None:
    number = get_number(values, name)
    return None if number is None else int(number)
