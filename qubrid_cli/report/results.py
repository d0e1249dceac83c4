"""The results that a report shows, in one form for records of any origin."""

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
from ..batch.sidecars.captions import PhotoField, extract_texts
from ..frozen import frozen
from ..images.sources import is_url, split_page
from ..metrics import Figures, get_number, parse_server_figures
from ..text import is_blank


class State(StrEnum):
    """The state of an answer: complete; incomplete, which includes a misfit with its schema; or missing."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@frozen
class ResultItem:
    """An answer, or why there is none. A value that has a wrong type in the record is ``None`` here.

    Attributes:
        record: the record, as in the results file.
        sources: the names of the images.
        page: the page of a document; ``None`` for an image.
        text: the answer or the part of it that arrived; empty if there is none.
        model: the model that answered, else the requested one.
        created: when the request ended, in UTC.
        figures: times and speed as reported by the server, else as measured here.
        is_measured_here: the figures were measured here.
        folder: the folder to which the paths of the record are relative.
        correction: a person's correction, which is already applied; ``None`` if there is none.
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
    folder: str
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
        """The key by which corrections identify the answer."""
        return identify_answer(self.record)

    @property
    def location(self) -> str | None:
        """The location of the image, or of the document of a page: an absolute path, a URL, or an archive and a name in it.

        If the results file was moved without the images, the path of a record is wrong, but the name of the image may still
        be right. ``None`` for standard input and ``data:`` URLs.
        """
        path = _find_name(self.record, self.folder)
        if path is None or is_url(path):
            return path
        path = _remove_page(path)
        if not os.path.exists(path):
            name = _remove_page(self.source)
            candidates = [os.path.abspath(name), os.path.join(self.folder, name)]
            path = next(filter(os.path.exists, candidates), os.path.abspath(path))
        return path

    @property
    def image_id(self) -> str:
        """A name that all answers about the same images share."""
        name = _find_name(self.record, self.folder) or self.answer_id
        return "\n".join([name if is_url(name) else os.path.abspath(name), *self.sources[1:]])

    def find_file(self) -> Path | None:
        """Find the file of the image, or of its document, if it is on this machine."""
        location = self.location
        return Path(location) if location is not None and os.path.isfile(location) else None


class Results:
    """The results of a report, each answer once, in order; see ``ResultsReader``. A context manager.

    They can be iterated over any number of times. Each iteration reads the files again, to keep one record in memory.

    Args:
        locations: files, folders and bucket URLs of runs in parts, URLs of objects, ``-`` for standard input.
        target: the file that will be written, which must not belong to a run in parts.
        in_list_order: keep the order of the list or the folders of the run, instead of sorting by name.

    Attributes:
        notes: notes about the files for the user.
        paths: the paths of the results files and their corrections, if they are on this machine.
        corrections_file: the file for corrections of the first results; other results have theirs beside them. ``None`` if no
            results are in a local file.

    Raises:
        UsageError: a location does not contain results.
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
        """Read all results, one after another."""
        return map(build_item, self._reader)

    def iterate_records(self, folder: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the records, with their paths made relative to a folder if one is named."""
        return self._reader.iterate_records(folder)

    def correct(self, position: int, *, text: str | None, is_bad: bool) -> ResultItem:
        """Save the correction of a result, and return the corrected result; see ``ResultsReader.correct``.

        Raises:
            ValueError: the text cannot replace the answer.
            OutputError: the file of corrections cannot be written.
        """
        assert self.corrections_file is not None
        return build_item(self._reader.correct(position, self.corrections_file, text=text, is_bad=is_bad))

    def iterate_lines(self, folder: str) -> Iterator[bytes]:
        """Yield the records as lines of a results file, with their paths relative to its folder."""
        return self._reader.iterate_lines(folder)


def build_item(result: RecordedResult) -> ResultItem:
    """Build the item of a result."""
    record = result.record
    sources = tuple(str(image["source"]) for image in record["images"])
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
        page=_find_page(record),
        state=find_state(record),
        text=_get_text(record, "text") or "",
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
        folder=result.folder,
        warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
        correction=result.correction,
    )


def find_state(record: Mapping[str, Any]) -> State:
    """Find the state of the answer of a record."""
    has_content = record.get("data") is not None or not is_blank(_get_text(record, "text") or "")
    if record["ok"] and record["complete"] and has_content:
        return State.OK
    return State.INCOMPLETE if has_content else State.FAILED


def _find_page(record: Mapping[str, Any]) -> int | None:
    """Find the page of a record. If the page could not be read, only its name contains the number."""
    image = record["images"][0]
    page = _get_count(image, "page")
    if page is None and (parts := split_page(str(image["source"]))) is not None:
        return parts[1]
    return page


def _find_name(record: Mapping[str, Any], folder: str) -> str | None:
    """Find the path or URL of the image of a record, with its page; ``None`` if it has none."""
    name = str(record["images"][0]["source"])
    return find_path(record, folder) or (None if name.startswith(("-", "data:")) else name)


def _remove_page(name: str) -> str:
    parts = split_page(name)
    return name if parts is None else parts[0]


def _as_mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _get_text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _get_count(values: Mapping[str, Any] | None, name: str) -> int | None:
    number = get_number(values, name)
    return None if number is None else int(number)
