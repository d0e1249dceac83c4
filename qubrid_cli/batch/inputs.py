"""The images of a run, found one at a time while the run goes on, so that a run over a million images starts at once."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..images import sources, urls
from ..images.arguments import (
    choose_prompt,
    expand_home,
    find_existing_path,
    is_path,
    is_path_beside_folder,
    is_unexpanded,
    no_match_error,
    no_such_image_error,
    prepare_glob,
    refuse_list,
    resolve_name,
)
from ..operating_system import IS_WINDOWS
from ..text import natural_key
from . import folders
from .left_out import LeftOut, is_in_preview_folder

if TYPE_CHECKING:  # loaded only by the runs that need them
    from ..storage.opening import StorageOptions
    from . import lists
    from .pages import PageFinder

_GLOB_CHARACTERS = re.compile(r"[*?\[]")
_LITERAL_SUFFIX = re.compile(r"\.[^.*?\[\]\\/]+\Z")
#: A glob whose suffix is not that of an image, such as ``2024-*/``; it is a prompt unless it matches something.
_PATH_GLOB = re.compile(r"(?=.*[*?\[])(?=.*[\\/])\S+")


@frozen
class Task:
    """An image of a run, as plain data that can be sent to another process or machine.

    Attributes:
        index: position in the list of all images, from 1 on, whichever shard of it this run processes.
        source: a path, a URL, or ``-``; bytes of a path that are not UTF-8 are surrogate escapes.
        prompt: the image's own prompt, if the list has one.
        id: the image's ``id`` in the list, if it has one.
        path: its file, relative to the folder of the results file, or its URL in a bucket; ``None`` without such a file.
        version: size and modification time of that file, or size and ETag of an object that was found in a folder of a
            bucket, by which a later run knows that it is unchanged.
    """

    index: int
    source: str
    prompt: str | None = None
    id: "lists.ImageId" = None
    path: str | None = None
    version: str | None = None


@frozen
class MissingImage:
    """An argument or an item of the list that leads to no image; its task fails with this error."""

    task: Task
    error: ImageError


InputItem = Task | MissingImage


@frozen
class Selection:
    """Which of the images to process.

    Attributes:
        patterns: for paths relative to a folder argument, and for paths in a list; not for files that are arguments.
        include_hidden: also search files and folders whose names begin with a dot.
        limit: the number of images to take from the start of the list.
        shard: the part of these to process.
        excluded_files: files that are never images, such as the results file.
        storage: returns how buckets are read.
        left_out: counts what folders and globs contain besides images.
    """

    patterns: folders.Patterns | None = None
    include_hidden: bool = False
    limit: int | None = None
    shard: folders.Shard | None = None
    excluded_files: tuple[Path, ...] = ()
    storage: "Callable[[], StorageOptions] | None" = None
    left_out: LeftOut = field(default_factory=LeftOut)


@frozen
class BatchInputs:
    """The images of a run, as its command line names them.

    Attributes:
        list_file: the list of ``--from``; a stream can be read only once, and a function opens a list in a bucket.
        is_nul_separated: the lines of the list end with a NUL byte.
    """

    arguments: tuple[str, ...]
    list_file: "lists.ListFile | None" = None
    is_nul_separated: bool = False
    selection: Selection = field(default_factory=Selection)
    page_finder: "PageFinder | None" = None

    def find_images(self, *, counts_left_out: bool = True) -> Iterator[InputItem]:
        """Yield the images, from the first one on at each call.

        Args:
            counts_left_out: only one of several calls should count.
        """
        selection = self.selection if counts_left_out else replace(self.selection, left_out=LeftOut())
        search = partial(find_images, self.arguments, selection=selection, page_finder=self.page_finder)
        if self.list_file is None:
            yield from search()
            return
        from . import lists

        with lists.open_list(self.list_file) as stream:
            yield from search(list_items=lists.read_items(stream, is_nul_separated=self.is_nul_separated))

    @property
    def can_be_found_twice(self) -> bool:
        """Whether there is no list that can be read only once, so that the images can also be counted."""
        is_file = isinstance(self.list_file, Path) and self.list_file.is_file()
        return self.list_file is None or is_file or callable(self.list_file)


@frozen
class _Candidate:
    """A possible task, with the path that decides its shard.

    Attributes:
        is_argument: the user named it; otherwise it is from a list, a folder or a glob.
        is_from_list: the user's list names it.
    """

    source: str
    shard_key: str
    prompt: str | None = None
    id: "lists.ImageId" = None
    error: ImageError | None = None
    is_argument: bool = False
    is_from_list: bool = False
    version: str | None = None


def split_arguments(
    words: Sequence[str], *, prompt_given: bool, is_preset: Callable[[str], bool], is_windows: bool = IS_WINDOWS
) -> tuple[tuple[str, ...], str | None]:
    """Separate images and prompt as ``describe`` does, but folders and globs that match are images too.

    Args:
        prompt_given: an option holds the prompt, so every word is an image.
        is_preset: whether a word is the name of a preset; then it is a prompt.

    Raises:
        UsageError: there are two prompts, or a list of images is named like an image.
    """
    paths: list[str] = []
    prompts: list[str] = []
    exists = partial(find_existing_path, is_windows=is_windows)
    has_folder = any(word and _is_folder(word) for word in words)
    for word in words:
        refuse_list(word)
        is_url = sources.is_url(word)
        if is_url:
            sources.resolve_url(word)  # refuses an invalid one
        page = sources.split_page(word)
        name = page[0] if page else word
        is_image = (
            word == "-"
            or is_url
            or _names_folder_or_match(word)
            or is_unexpanded(word, is_windows=is_windows)
            or (bool(word) and (exists(word) or exists(name)) is not None)
            or (
                is_path_beside_folder(name, is_preset, is_windows=is_windows)
                if has_folder
                else is_path(name, is_windows=is_windows)
            )
        )
        (paths if is_image else prompts).append(word)
    return tuple(paths), choose_prompt(prompts, prompt_given=prompt_given)


def _names_folder_or_match(argument: str) -> bool:
    if argument and _is_folder(argument):
        return True
    return bool(_PATH_GLOB.fullmatch(argument) and next(_iterate_glob(argument, include_hidden=False), None))


def _is_folder(argument: str) -> bool:
    """Whether an argument is a folder on a disk, or in a bucket, where only images have a suffix."""
    if urls.is_object_url(argument):
        return urls.is_object_folder(argument) or not sources.has_image_suffix(argument.partition("#page=")[0])
    return os.path.isdir(expand_home(argument))


def validate_arguments(words: Sequence[str], storage: "Callable[[], StorageOptions] | None" = None) -> None:
    """Refuse arguments that do not exist, which are probably misspelled, before any request is sent.

    Raises:
        ImageError: a path that does not exist, a glob that matches nothing, or an invalid URL.
        ConfigError | StorageError: a bucket cannot be read, or a folder in it is empty.
    """
    for word in words:
        if urls.is_object_url(word) and _is_folder(word):
            folders.require_objects(word, storage)
            continue
        source = None if word == "-" else resolve_source(Task(1, word))
        source = source.document if isinstance(source, sources.DocumentPage) else source
        if not isinstance(source, sources.File) or not _is_missing(source.path):
            _refuse_unreadable_document(source)
            continue
        if not _GLOB_CHARACTERS.search(word):
            raise no_such_image_error(word, is_batch=True)
        if next(_iterate_glob(word, include_hidden=True), None) is None:
            raise no_match_error(word)


def _refuse_unreadable_document(source: sources.Source | None) -> None:
    """Refuse a PDF if the library that reads it is not installed."""
    if not isinstance(source, sources.File) or not sources.may_be_document(source.name):
        return
    if sources.detect_document(source) is sources.DocumentKind.PDF:
        from ..images.documents import pdf

        if not pdf.is_supported():
            raise pdf.needs_pdf_error(source.name)


def _is_missing(path: Path) -> bool:
    """Whether a path does not exist. A broken link does, and so may a path in a folder that cannot be read."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError | ValueError)
    return False


def find_images(
    arguments: Sequence[str],
    *,
    list_items: "Iterable[lists.ListItem]" = (),
    selection: Selection | None = None,
    page_finder: "PageFinder | None" = None,
) -> Iterator[InputItem]:
    """Find the images of a run in order: first those of the arguments, then those of a list.

    A document stands for its pages, if there is a page finder.

    A folder stands for the images below it, both as an argument and in a JSONL list. In a list of lines it is skipped,
    because ``find`` prints folders in addition to the files in them.
    """
    selection = selection or Selection()
    candidates = chain(
        chain.from_iterable(_expand_argument(argument, selection) for argument in arguments),
        chain.from_iterable(_expand_list_item(item, selection) for item in list_items),
    )
    excluded_files: dict[str, list[str]] = {}
    for path in selection.excluded_files:
        excluded_files.setdefault(path.name, []).append(os.path.realpath(path))
    allowed: Iterator[_Candidate] = (item for item in candidates if not _is_excluded_file(item.source, excluded_files))
    if page_finder is not None:
        allowed = chain.from_iterable(_expand_document(item, page_finder) for item in allowed)
    for index, item in enumerate(islice(allowed, selection.limit), 1):
        if selection.shard is None or selection.shard.contains(item.shard_key):
            task = Task(index, item.source, item.prompt, item.id, version=item.version)
            yield task if item.error is None else MissingImage(task, item.error)


def resolve_source(task: Task) -> sources.Source:
    """Resolve the source of a task, unless that is standard input.

    Raises:
        ImageError: an invalid URL.
    """
    try:
        return resolve_name(task.source)
    except UsageError as error:
        raise ImageError(error.message, hint=error.hint) from error


def _is_excluded_file(source: str, excluded_files: Mapping[str, Sequence[str]]) -> bool:
    """Whether an image is one of the files, whose real paths are given by their names."""
    paths = excluded_files.get(os.path.basename(source))
    return paths is not None and os.path.realpath(source) in paths


def _expand_document(candidate: _Candidate, page_finder: "PageFinder") -> Iterator[_Candidate]:
    """Yield the pages of a document, or the candidate itself if it has no pages."""
    if candidate.error is not None:
        yield candidate
        return
    try:
        numbers = page_finder.find_pages(candidate.source, is_argument=candidate.is_argument)
    except ImageError as error:
        if error.code == "needs_pdf" and not (candidate.is_argument or candidate.is_from_list):
            page_finder.left_out.add(candidate.source)
        else:
            yield replace(candidate, error=error)
        return
    if not numbers:
        yield candidate
    for number in numbers:
        page_source, shard_key = (
            sources.DocumentPage.format_name(name, number) for name in (candidate.source, candidate.shard_key)
        )
        yield replace(candidate, source=page_source, shard_key=shard_key)


def _expand_argument(argument: str, selection: Selection) -> Iterator[_Candidate]:
    path = expand_home(argument)
    if _is_folder(argument):
        yield from _expand_folder(path, selection)
    elif _GLOB_CHARACTERS.search(argument) and not sources.is_url(argument) and not os.path.lexists(path):
        yield from _expand_glob(argument, selection)
    else:
        yield _Candidate(argument, argument, is_argument=True)


def _expand_folder(folder: str, selection: Selection) -> Iterator[_Candidate]:
    for item in folders.find_images(
        folder,
        include_hidden=selection.include_hidden,
        patterns=selection.patterns,
        left_out=selection.left_out,
        storage=selection.storage,
    ):
        source = item.path if urls.is_object_url(folder) else _make_path_unambiguous(item.path)
        if isinstance(item, folders.FolderImage):
            yield _Candidate(source, item.relative_path, version=item.version)
        else:
            message = f"cannot read the folder {source}: {item.reason}"
            error = ImageError(message, hint=item.hint, code=item.code)
            yield _Candidate(source, source, error=error)


def _expand_glob(pattern: str, selection: Selection) -> Iterator[_Candidate]:
    """Expand a quoted glob: to folders, images, and other files if it ends with their suffix."""
    matches = sorted(_iterate_glob(pattern, include_hidden=selection.include_hidden), key=natural_key)
    if not matches:
        yield _Candidate(pattern, pattern, error=no_match_error(pattern))
    for path in matches:
        if is_in_preview_folder(path, pattern):
            continue
        if os.path.isdir(path):
            yield from _expand_folder(path, selection)
        elif not _matches_patterns(path, selection):
            continue
        elif _LITERAL_SUFFIX.search(pattern) or sources.has_readable_suffix(path):
            yield _Candidate(_make_path_unambiguous(path), path)
        else:
            selection.left_out.add_file(path)


def _iterate_glob(pattern: str, *, include_hidden: bool) -> Iterator[str]:
    """Iterate over the files and folders that a glob matches; only files for ``**``, which searches the folders itself."""
    paths = glob.iglob(prepare_glob(pattern), recursive=True, include_hidden=include_hidden)
    return (path for path in paths if "**" not in pattern or not os.path.isdir(path))


def _expand_list_item(item: "lists.ListItem", selection: Selection) -> Iterator[_Candidate]:
    from . import lists

    if isinstance(item, lists.InvalidListEntry):
        name = f"line {item.line_number} of the list"
        hint = 'A line looks like this: {"image": "a.jpg", "prompt": "…"}'
        yield _Candidate(name, name, error=ImageError(f"{name} {item.reason}", hint=hint, code="list"))
        return
    candidates: Iterable[_Candidate] = ()
    is_object_folder = urls.is_object_url(item.image) and urls.is_object_folder(item.image)
    if is_object_folder or os.path.isdir(item.image):
        candidates = _expand_folder(item.image, selection) if isinstance(item, lists.ListEntry) else ()
    elif _matches_patterns(item.image, selection):  # a URL or a path, never standard input
        source = item.image if sources.is_url(item.image) else _make_path_unambiguous(item.image)
        candidates = [_Candidate(source, item.image, is_from_list=True)]
    for candidate in candidates:
        yield replace(candidate, prompt=item.prompt, id=item.id) if isinstance(item, lists.ListEntry) else candidate


def _matches_patterns(path: str, selection: Selection) -> bool:
    return selection.patterns is None or selection.patterns.accepts_file(path.replace(os.sep, "/"))


def _make_path_unambiguous(path: str) -> str:
    """Write a path so that it cannot be taken for a URL or for standard input."""
    is_ambiguous = path == "-" or path.startswith("-#page=") or sources.is_url(path)
    return os.path.join(os.curdir, path) if is_ambiguous else path
