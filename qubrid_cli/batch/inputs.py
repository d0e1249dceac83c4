"""The images of a run, found one at a time during the run, so that a run over a million images starts at once."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import urls
from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..images import sources
from ..images.arguments import (
    choose_prompt,
    find_existing_path,
    is_path,
    is_path_beside_folder,
    is_unexpanded,
    no_match_error,
    no_such_image_error,
    refuse_list,
    resolve_name,
)
from ..operating_system import IS_WINDOWS
from ..text import natural_key
from . import folders
from .left_out import LeftOut
from .readers.candidates import (
    GLOB_CHARACTERS,
    Candidate,
    expand_archive,
    expand_argument,
    expand_document,
    expand_list_item,
    is_archive_name,
    is_excluded_file,
    is_folder,
    iterate_glob,
)

if TYPE_CHECKING:  # loaded only by the runs that need them
    from ..storage.folder import StorageOptions
    from .pages import PageFinder
    from .readers import lists
    from .readers.members import Place

__all__ = ["is_archive_name"]

#: One of these is in the name of every image in an archive.
_MEMBER_MARKS = (".tar/", ".gz/", ".tgz/", ".parquet/")
#: A glob whose suffix is not that of an image, such as ``2024-*/``; it is a prompt unless it matches something.
_PATH_GLOB = re.compile(r"(?=.*[*?\[])(?=.*[\\/])\S+")


@frozen
class Task:
    """An image of a run, as plain data that can be sent to another process or machine.

    Attributes:
        index: position among all images of the run, including those of other shards; from 1 on.
        source: a path, a URL, or ``-``; bytes of a path that are not UTF-8 are surrogate escapes.
        prompt: the image's own prompt, if the list has one.
        id: the image's ``id`` in the list, if it has one.
        path: its file, relative to the folder of the results file, or its URL in a bucket; ``None`` without such a file.
        version: by which a later run knows that the image is unchanged: size and modification time of the file; for an
            object that was found in a folder of a bucket, size and ETag; for a page of a downloaded document, how many
            pages that has.
        row: the values of the other columns of the list or the archive; ``None`` if it has none.
        place: where the image is in its archive.
    """

    index: int
    source: str
    prompt: str | None = None
    id: "lists.ImageId" = None
    path: str | None = None
    version: str | None = None
    row: Mapping[str, Any] | None = None
    place: "Place | None" = None


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
        ignores_prompts: the prompts of a list or an archive are not used.
        left_out: counts what folders and globs contain besides images.
    """

    patterns: folders.Patterns | None = None
    include_hidden: bool = False
    limit: int | None = None
    shard: folders.Shard | None = None
    excluded_files: tuple[Path, ...] = ()
    storage: "Callable[[], StorageOptions] | None" = None
    ignores_prompts: bool = False
    left_out: LeftOut = field(default_factory=LeftOut)


@frozen
class BatchInputs:
    """The images of a run, as its command line names them.

    Attributes:
        list_file: the list of ``--from``; a stream can be read only once, and a function opens a list in a bucket.
        is_nul_separated: the lines of the list end with a NUL byte; ``None`` to detect that.
        image_column: the column of the list that names the images; by default ``image``.
    """

    arguments: tuple[str, ...]
    list_file: "lists.ListFile | None" = None
    is_nul_separated: bool | None = False
    selection: Selection = field(default_factory=Selection)
    page_finder: "PageFinder | None" = None
    image_column: str | None = None

    def find_columns(self, name: str | None) -> Sequence[str] | None:
        """The columns of the first archive, or of the list, which are placeholders of the prompt.

        ``None`` if there are none, or if the list can be read only once.

        Args:
            name: of the list, for errors; ``None`` without a list.

        Raises:
            ImageError: the archive cannot be read.
            UsageError: there is no column of images.
        """
        archive = next((path for argument in self.arguments for path in _find_archives(argument)), None)
        if archive is not None:
            from .readers import archives

            storage = self.selection.storage() if self.selection.storage and urls.is_object_url(archive) else None
            return archives.find_columns(archive, self.image_column, storage)
        if name is None or not self.can_be_found_twice or self.list_file is None:
            return None
        from .readers import lists

        return lists.find_columns(
            self.list_file, name, is_nul_separated=self.is_nul_separated, image_column=self.image_column
        )

    def find_images(self, *, counts_left_out: bool = True) -> Iterator[InputItem]:
        """Yield the images, from the first one on at each call.

        Args:
            counts_left_out: only one of several calls should count.
        """
        selection = self.selection if counts_left_out else replace(self.selection, left_out=LeftOut())
        search = partial(
            find_images,
            self.arguments,
            selection=selection,
            page_finder=self.page_finder,
            image_column=self.image_column,
        )
        if self.list_file is None:
            yield from search()
            return
        from .readers import lists

        with lists.open_list(self.list_file) as stream:
            items = lists.read_items(stream, is_nul_separated=self.is_nul_separated, image_column=self.image_column)
            yield from search(list_items=items)

    @property
    def can_be_found_twice(self) -> bool:
        """Whether images can be counted in advance: no input can be read only once, or only as a whole."""
        if any(map(_is_read_whole, self.arguments)):
            return False
        is_file = isinstance(self.list_file, Path) and self.list_file.is_file()
        return self.list_file is None or is_file or callable(self.list_file)


def split_arguments(
    words: Sequence[str], *, has_prompt_option: bool, is_preset: Callable[[str], bool], is_windows: bool = IS_WINDOWS
) -> tuple[tuple[str, ...], str | None]:
    """Separate images and prompt as ``describe`` does, but folders and globs that match are images too.

    Args:
        has_prompt_option: an option holds the prompt, so every word is an image.
        is_preset: whether a word is the name of a preset; then it is a prompt.

    Raises:
        UsageError: there are two prompts, or a list of images is named like an image.
    """
    paths: list[str] = []
    prompts: list[str] = []
    has_folder = any(word and is_folder(word) for word in words)
    for word in words:
        refuse_list(word)
        if sources.is_url(word):
            sources.resolve_url(word)  # refuses an invalid one
        names_images = _names_images(word, is_preset, has_folder=has_folder, is_windows=is_windows)
        (paths if names_images else prompts).append(word)
    return tuple(paths), choose_prompt(prompts, has_prompt_option=has_prompt_option)


def _names_images(word: str, is_preset: Callable[[str], bool], *, has_folder: bool, is_windows: bool) -> bool:
    """Whether a word of the command line names images; otherwise it is a prompt."""
    if word == "-" or sources.is_url(word) or is_unexpanded(word, is_windows=is_windows):
        return True
    if word and is_folder(word):
        return True
    if _PATH_GLOB.fullmatch(word) and next(iterate_glob(word, include_hidden=False), None) is not None:
        return True
    page = sources.split_page(word)
    name = page[0] if page else word
    if word and any(find_existing_path(path, is_windows=is_windows) is not None for path in (word, name)):
        return True
    if has_folder:
        return is_path_beside_folder(name, is_preset, is_windows=is_windows)
    return is_path(name, is_windows=is_windows)


def validate_arguments(words: Sequence[str], storage: "Callable[[], StorageOptions] | None" = None) -> None:
    """Refuse arguments that do not exist, which are probably misspelled, before any request is sent.

    Raises:
        ImageError: a path that does not exist, a glob that matches nothing, or an invalid URL.
        ConfigError | StorageError: a bucket cannot be read, or a folder in it is empty.
    """
    for word in words:
        if urls.is_object_url(word) and is_folder(word):
            folders.require_objects(word, storage)
            continue
        source = None if word == "-" else resolve_source(Task(1, word))
        source = source.document if isinstance(source, sources.DocumentPage) else source
        if not isinstance(source, sources.File) or not _is_missing(source.path):
            _refuse_unreadable_document(source)
            continue
        if not GLOB_CHARACTERS.search(word):
            raise no_such_image_error(word, is_batch=True)
        if next(iterate_glob(word, include_hidden=True), None) is None:
            raise no_match_error(word)


def _refuse_unreadable_document(source: sources.Source | None) -> None:
    """Refuse a PDF if the library that reads it is not installed."""
    if not isinstance(source, sources.File) or not sources.may_be_document(source.name):
        return
    if sources.detect_document(source) is sources.DocumentKind.PDF:
        from ..images.documents import pdf

        if not pdf.is_supported():
            raise pdf.needs_pdf_error(source.name)


def _find_archives(argument: str) -> Iterator[str]:
    """Find the archives that an argument names."""
    if is_archive_name(argument):
        is_glob = GLOB_CHARACTERS.search(argument) and not urls.is_object_url(argument)
        yield from sorted(iterate_glob(argument, include_hidden=True), key=natural_key) if is_glob else [argument]


def _is_read_whole(name: str) -> bool:
    """Whether the images of an archive are found only by reading all of it."""
    name_lower = name.lower()
    if not is_archive_name(name) or name_lower.endswith(".parquet"):
        return False
    return urls.is_object_url(name) or name_lower.endswith("gz")


def _is_missing(path: Path) -> bool:
    """Whether a path does not exist. A broken link exists, and a path in a folder that cannot be read may exist."""
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
    image_column: str | None = None,
) -> Iterator[InputItem]:
    """Find the images of a run in order: first those of the arguments, then those of a list.

    A document stands for its pages, if there is a page finder, and an archive for the images in it.

    A folder stands for the images below it, both as an argument and in a JSONL list. In a list of lines it is skipped,
    because ``find`` prints folders in addition to the files in them.
    """
    selection = selection or Selection()
    candidates = chain(
        chain.from_iterable(expand_argument(argument, selection) for argument in arguments),
        chain.from_iterable(expand_list_item(item, selection) for item in list_items),
    )
    excluded_files: dict[str, list[str]] = {}
    for path in selection.excluded_files:
        excluded_files.setdefault(path.name, []).append(os.path.realpath(path))
    allowed: Iterator[Candidate] = (item for item in candidates if not is_excluded_file(item.source, excluded_files))
    allowed = chain.from_iterable(expand_archive(item, selection, image_column) for item in allowed)
    if page_finder is not None:
        allowed = chain.from_iterable(expand_document(item, page_finder) for item in allowed)
    for index, item in enumerate(islice(allowed, selection.limit), 1):
        if selection.shard is None or selection.shard.contains(item.shard_key):
            prompt = None if selection.ignores_prompts else item.prompt
            task = Task(index, item.source, prompt, item.id, version=item.version, row=item.row, place=item.place)
            yield task if item.error is None else MissingImage(task, item.error)


def split_member(source: str) -> tuple[str, str] | None:
    """The path or URL of the archive of an image, and its name in it; ``None`` for an image outside of archives."""
    source_lower = source.lower()
    if not any(mark in source_lower for mark in _MEMBER_MARKS):
        return None
    from .readers.archives import split_member

    return split_member(source)


def resolve_source(task: Task, storage: "Callable[[], StorageOptions] | None" = None) -> sources.Source:
    """Resolve the source of a task, which must not be standard input.

    Args:
        storage: returns how archives in buckets are read.

    Raises:
        ImageError: an invalid URL.
    """
    if (parts := split_member(task.source)) is not None:
        from .readers.archives import open_member

        page = sources.split_page(parts[1])
        name = page[0] if page else parts[1]
        options = storage() if storage is not None and urls.is_object_url(parts[0]) else None
        member = open_member(parts[0], name, task.place, options)
        return sources.DocumentPage(member, page[1]) if page else member
    try:
        return resolve_name(task.source)
    except UsageError as error:
        raise ImageError(error.message, hint=error.hint) from error
