"""Expand arguments and items of lists to the images that they stand for."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ... import urls
from ...errors import ImageError, UsageError
from ...frozen import frozen
from ...images import sources, suffixes
from ...images.arguments import expand_home, no_match_error, prepare_glob
from ...text import natural_key
from .. import folders
from ..left_out import is_in_preview_folder

if TYPE_CHECKING:  # loaded only by the runs that need them
    from ..inputs import Selection
    from ..pages import PageFinder
    from . import lists
    from .members import Member, Place

GLOB_CHARACTERS = re.compile(r"[*?\[]")
_LITERAL_SUFFIX = re.compile(r"\.[^.*?\[\]\\/]+\Z")
#: Files that contain images: tar files, and Parquet files.
_ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".parquet")


def is_archive_name(name: str) -> bool:
    """Whether the name of a file or an object, or a glob, is that of an archive."""
    return name.lower().endswith(_ARCHIVE_SUFFIXES)


@frozen
class Candidate:
    """A possible task, with the path that decides its shard.

    Attributes:
        is_argument: it is an argument of the command; otherwise it is from a list, a folder or a glob.
        is_from_list: it is from a list or an archive.
    """

    source: str
    shard_key: str
    prompt: str | None = None
    id: "lists.ImageId" = None
    error: ImageError | None = None
    is_argument: bool = False
    is_from_list: bool = False
    version: str | None = None
    row: Mapping[str, Any] | None = None
    place: "Place | None" = None


def is_folder(argument: str) -> bool:
    """Whether an argument is a folder; in a bucket, any name that does not end like that of an image or an archive."""
    if urls.is_object_url(argument):
        is_file = suffixes.has_image_suffix(argument.partition("#page=")[0]) or is_archive_name(argument)
        return urls.is_object_folder(argument) or not is_file
    return os.path.isdir(expand_home(argument))


def is_excluded_file(source: str, excluded_files: Mapping[str, Sequence[str]]) -> bool:
    """Whether an image is one of some files.

    Args:
        excluded_files: the real paths of the files, by their names.
    """
    paths = excluded_files.get(os.path.basename(source))
    return paths is not None and os.path.realpath(source) in paths


def expand_archive(candidate: Candidate, selection: "Selection", image_column: str | None) -> Iterator[Candidate]:
    """Yield the images of an archive, or the candidate itself if it is not an archive."""
    if candidate.error is not None or not is_archive_name(candidate.source):
        yield candidate
        return
    from .archives import find_members

    storage = None if selection.storage is None or not urls.is_object_url(candidate.source) else selection.storage()
    is_empty = True
    try:
        for member in find_members(candidate.source, image_column, storage):
            is_empty = False
            if _matches_patterns(member.name, selection):
                yield _build_member_candidate(candidate, member)
    except (ImageError, UsageError) as error:
        yield replace(candidate, error=ImageError(error.message, hint=error.hint, code=error.code))
        return
    if is_empty:
        empty = ImageError(f"no image in {candidate.source}", hint="Check what it contains.", code="no_such_image")
        yield replace(candidate, error=empty)


def _build_member_candidate(archive: Candidate, member: "Member") -> Candidate:
    row = {**(archive.row or {}), **(member.row or {})}
    return Candidate(
        f"{archive.source}/{member.name}" if member.is_inside else _clean_source(member.name),
        f"{archive.shard_key}/{member.name}",
        member.prompt or archive.prompt,
        archive.id if member.id is None else member.id,
        is_from_list=True,
        row=row if row or member.row is not None else None,
        place=member.place,
    )


def expand_document(candidate: Candidate, page_finder: "PageFinder") -> Iterator[Candidate]:
    """Yield the pages of a document, or the candidate itself if it has no pages."""
    if candidate.error is not None:
        yield candidate
        return
    try:
        pages = page_finder.find_pages(
            candidate.source, is_argument=candidate.is_argument, prompt=candidate.prompt, image_id=candidate.id
        )
    except ImageError as error:
        if error.code == "needs_pdf" and not (candidate.is_argument or candidate.is_from_list):
            page_finder.left_out.add(candidate.source)
        else:
            yield replace(candidate, error=error)
        return
    if not pages.numbers:
        yield candidate
    for number in pages.numbers:
        page_source, shard_key = (
            sources.DocumentPage.format_name(name, number) for name in (candidate.source, candidate.shard_key)
        )
        version = candidate.version or pages.version
        yield replace(candidate, source=page_source, shard_key=shard_key, version=version)


def expand_argument(argument: str, selection: "Selection") -> Iterator[Candidate]:
    """Yield the candidates that an argument stands for."""
    path = expand_home(argument)
    if is_folder(argument):
        yield from _expand_folder(path, selection)
    elif GLOB_CHARACTERS.search(argument) and not sources.is_url(argument) and not os.path.lexists(path):
        yield from _expand_glob(argument, selection)
    else:
        yield Candidate(argument, argument, is_argument=True)


def _expand_folder(folder: str, selection: "Selection") -> Iterator[Candidate]:
    for item in folders.find_images_below(
        folder,
        include_hidden=selection.include_hidden,
        patterns=selection.patterns,
        left_out=selection.left_out,
        storage=selection.storage,
    ):
        source = item.path if urls.is_object_url(folder) else _make_path_unambiguous(item.path)
        if isinstance(item, folders.FolderImage):
            yield Candidate(source, item.relative_path, version=item.version)
        else:
            message = f"cannot read the folder {source}: {item.reason}"
            error = ImageError(message, hint=item.hint, code=item.code)
            yield Candidate(source, source, error=error)


def _expand_glob(pattern: str, selection: "Selection") -> Iterator[Candidate]:
    """Expand a quoted glob: to folders, images, and other files if it ends with their suffix."""
    matches = sorted(iterate_glob(pattern, include_hidden=selection.include_hidden), key=natural_key)
    if not matches:
        yield Candidate(pattern, pattern, error=no_match_error(pattern))
    for path in matches:
        if is_in_preview_folder(path, pattern):
            continue
        if os.path.isdir(path):
            yield from _expand_folder(path, selection)
        elif not _matches_patterns(path, selection):
            continue
        elif _LITERAL_SUFFIX.search(pattern) or suffixes.has_readable_suffix(path):
            yield Candidate(_make_path_unambiguous(path), path)
        else:
            selection.left_out.add_file(path)


def iterate_glob(pattern: str, *, include_hidden: bool) -> Iterator[str]:
    """Iterate over the files and folders that a glob matches; over files only if it has ``**``, which searches folders."""
    paths = glob.iglob(prepare_glob(pattern), recursive=True, include_hidden=include_hidden)
    return (path for path in paths if "**" not in pattern or not os.path.isdir(path))


def expand_list_item(item: "lists.ListItem", selection: "Selection") -> Iterator[Candidate]:
    """Yield the candidates that an item of a list stands for."""
    from . import lists

    if isinstance(item, lists.InvalidListEntry):
        name = f"line {item.line_number} of the list"
        hint = 'A line looks like this: {"image": "a.jpg", "prompt": "…"}; or name the columns in the first one: image,prompt'
        yield Candidate(name, name, error=ImageError(f"{name} {item.reason}", hint=hint, code="list"))
        return
    candidates: Iterable[Candidate] = ()
    is_object_folder = urls.is_object_url(item.image) and urls.is_object_folder(item.image)
    if is_object_folder or os.path.isdir(item.image):
        if isinstance(item, lists.ListEntry):  # not in a list of lines: ``find`` prints folders besides their files
            candidates = _expand_folder(item.image, selection)
    elif _matches_patterns(item.image, selection):
        candidates = [Candidate(_clean_source(item.image), item.image, is_from_list=True)]
    if isinstance(item, lists.ListEntry):
        candidates = (replace(candidate, prompt=item.prompt, id=item.id, row=item.row) for candidate in candidates)
    yield from candidates


def _matches_patterns(path: str, selection: "Selection") -> bool:
    return selection.patterns is None or selection.patterns.accepts_file(path.replace(os.sep, "/"))


def _clean_source(name: str) -> str:
    """Turn the name of an image in a list into a source: a path or a URL, never standard input."""
    return name if sources.is_url(name) else _make_path_unambiguous(name)


def _make_path_unambiguous(path: str) -> str:
    """Write a path so that it cannot be taken for a URL or for standard input."""
    is_ambiguous = path == "-" or path.startswith("-#page=") or sources.is_url(path)
    return os.path.join(os.curdir, path) if is_ambiguous else path
