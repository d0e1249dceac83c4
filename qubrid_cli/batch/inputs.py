"""The images of a run: found one after the other while the run is on its way, so that a million of them start at once."""

# MERGED DOCSTRING of qubrid_cli.shards: A share of the images for each of several machines, so that they need not talk to each other.

# MERGED DOCSTRING of qubrid_cli.counting: How many images there are in all, counted ahead while the first ones are under way.

import glob
import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, assert_never

from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..images import sources
from ..text import natural_key
from . import folders, lists

if TYPE_CHECKING:
    from .folders import Patterns


@frozen
class Shard:
    """Share ``number`` of ``count``, from 1 on."""

    number: int
    count: int

    def contains(self, path: str) -> bool:
        """Whether an image is in this share: by a hash of its path, so the same on every machine, in every run.

        Args:
            path: relative to the folder that was named, with slashes; or what else was named, as it was.
        """
        digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """A share from ``I/N``.

    Raises:
        UsageError: it is no share.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text} is no share", hint="The second of four is 2/4.")
    return Shard(int(found[1]), int(found[2]))


class ImageCounter:
    """Counts in a thread of its own.

    Args:
        found: the images; pulled to the end, and dropped.

    Attributes:
        total: ``None`` until all are counted, or if that is not possible.
    """

    def __init__(self, images: Iterator[object] | None) -> None:
        self.total: int | None = None
        self._images = images
        if images is not None:
            threading.Thread(target=self._count, name="count", daemon=True).start()

    def _count(self) -> None:
        assert self._images is not None
        self.total = sum(1 for _ in self._images)


#: What may be a URL; ``sources.classify`` has the exact rule.
_URL_SCHEME = re.compile("(https?|file|data):", re.IGNORECASE)
_GLOB_CHARACTERS = re.compile(r"[*?\[]")
_LITERAL_SUFFIX = re.compile(r"\.[^.*?\[\]\\/]+\Z")
#: A glob that does not name images, such as ``2024-*/``; it is one only where it matches something.
_PATH_GLOB = re.compile(r"(?=.*[*?\[])(?=.*[\\/])\S+")


@frozen
class Task:
    """An image of a run. Plain data, which can go to another process or machine.

    Attributes:
        index: its place in the whole list, from 1 on, whatever share of the list this run does.
        source: a path, a URL, or ``-``; what in a path is no UTF-8 stands as Python's surrogate escapes.
        prompt: for this image alone, where the list has one.
        id: what the list calls it, if anything.
    """

    index: int
    source: str
    prompt: str | None = None
    id: lists.ImageId = None


@frozen
class MissingImage:
    """Something that was named, has its place in the list, and leads to no image: its task fails with this error."""

    task: Task
    error: ImageError


@frozen
class Selection:
    """Which of what is found is wanted.

    Attributes:
        patterns: relative to the folder named; in a list, for the path as it stands. No matter for a file named alone.
        include_hidden: in folders also what begins with a dot.
        limit: at most so many of the whole list.
        shard: of these, only a share.
        excluded_files: files that are never images, such as the results file.
    """

    patterns: "Patterns | None" = None
    include_hidden: bool = False
    limit: int | None = None
    shard: Shard | None = None
    excluded_files: tuple[Path, ...] = ()


@frozen
class _Candidate:
    """Something found: a source, what its share is told by, and what else is known of it."""

    source: str
    shard_key: str
    prompt: str | None = None
    id: lists.ImageId = None
    error: ImageError | None = None


InputItem = Task | MissingImage


def split_arguments(arguments: Sequence[str], *, prompt_given: bool) -> tuple[tuple[str, ...], str | None]:
    """Tell what stands for images from the prompt: as ``sources.classify`` does, and folders are images too.

    Raises:
        UsageError: two prompts.
    """
    images = tuple(argument for argument in arguments if _names_images(argument, prompt_given=prompt_given))
    texts = [argument for argument in arguments if argument not in images]
    found = sources.classify(texts, prompt_given=prompt_given, stdin=BytesIO(), allow_none=True)
    return images, found.prompt


def _names_images(argument: str, *, prompt_given: bool) -> bool:
    if argument and os.path.isdir(_expand_home(argument)):
        return True
    if _PATH_GLOB.fullmatch(argument) and next(_iterate_glob(argument, include_hidden=False), None):
        return True
    found = sources.classify([argument], prompt_given=prompt_given, stdin=BytesIO(), allow_none=True)
    return found.prompt is None


def validate_arguments(arguments: Sequence[str]) -> None:
    """Refuse what was named on the command line and is not there, before anything is asked: it is misspelt.

    Raises:
        ImageError: a path that nothing is called, a glob that nothing matches, or a URL that is none.
    """
    for argument in arguments:
        source = resolve_source(Task(1, argument), BytesIO())
        if not isinstance(source, sources.File) or not _is_missing(source.path):
            continue
        if not _GLOB_CHARACTERS.search(argument):
            raise sources.no_such_image_error(argument)
        if next(_iterate_glob(argument, include_hidden=True), None) is None:
            raise _build_no_match_error(argument)


def _is_missing(path: Path) -> bool:
    """Whether nothing is called so, not even a link to nothing; what a closed folder hides may be there."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError | ValueError)
    return False


def find_images(
    arguments: Sequence[str], *, list_items: Iterable[lists.ListItem] = (), selection: Selection | None = None
) -> Iterator[InputItem]:
    """Everything that is named, in order: first by the arguments, then by a list.

    A folder among the arguments stands for the images below it; so does one in a JSONL list. In a list of lines it
    is passed over, because ``find`` names folders beside all that is in them.
    """
    selection = selection or Selection()
    places = chain(
        chain.from_iterable(_expand_argument(argument, selection) for argument in arguments),
        chain.from_iterable(_expand_list_item(item, selection) for item in list_items),
    )
    wanted = (place for place in places if not _is_excluded_file(place.source, selection.excluded_files))
    for index, place in enumerate(islice(wanted, selection.limit), 1):
        if selection.shard is None or selection.shard.contains(place.shard_key):
            task = Task(index, place.source, place.prompt, place.id)
            yield task if place.error is None else MissingImage(task, place.error)


def resolve_source(task: Task, stdin: BinaryIO) -> sources.Source:
    """The image to read.

    Raises:
        ImageError: a URL that is none.
    """
    if _URL_SCHEME.match(task.source):
        try:
            found = sources.classify([task.source], prompt_given=False, stdin=stdin, allow_none=True)
        except UsageError as error:
            raise ImageError(error.message, hint=error.hint) from error
        if found.error:
            raise found.error
        if found.prompt is None:
            return found.images[0]
    if task.source == "-":
        return sources.Stdin(stdin)
    return sources.File(task.source, Path(_expand_home(task.source)))


def _is_excluded_file(source: str, excluded_files: Sequence[Path]) -> bool:
    name = os.path.basename(source)
    return any(path.name == name and os.path.realpath(path) == os.path.realpath(source) for path in excluded_files)


def _expand_argument(argument: str, selection: Selection) -> Iterator[_Candidate]:
    path = _expand_home(argument)
    if os.path.isdir(path):
        yield from _expand_folder(path, selection)
    elif _GLOB_CHARACTERS.search(argument) and not _URL_SCHEME.match(argument) and not os.path.lexists(path):
        yield from _expand_glob(argument, selection)
    else:
        yield _Candidate(argument, argument)


def _expand_folder(folder: str, selection: Selection) -> Iterator[_Candidate]:
    for found in folders.find_images(folder, include_hidden=selection.include_hidden, patterns=selection.patterns):
        source = _make_path_unambiguous(found.path)
        match found:
            case folders.FolderImage():
                yield _Candidate(source, found.relative_path)
            case folders.UnreadableFolder():
                error = ImageError(f"cannot read the folder {source}: {found.reason}", hint="Check its permissions.")
                yield _Candidate(source, source, error=error)
            case _:
                assert_never(found)


def _expand_glob(pattern: str, selection: Selection) -> Iterator[_Candidate]:
    """What a quoted glob stands for: folders, images, and other files where it spells out their ending."""
    matches = sorted(_iterate_glob(pattern, include_hidden=selection.include_hidden), key=natural_key)
    if not matches:
        yield _Candidate(pattern, pattern, error=_build_no_match_error(pattern))
    for match in matches:
        if os.path.isdir(match):
            yield from _expand_folder(match, selection)
        elif _matches_patterns(match, selection) and (
            _LITERAL_SUFFIX.search(pattern) or sources.has_readable_suffix(match)
        ):
            yield _Candidate(_make_path_unambiguous(match), match)


def _build_no_match_error(pattern: str) -> ImageError:
    return ImageError(f"no image matches {pattern}", hint="Check the name.", code="no_such_image")


def _iterate_glob(pattern: str, *, include_hidden: bool) -> Iterator[str]:
    """The files and folders that a glob matches; with ``**`` in it, which goes down into folders itself, only files."""
    found = glob.iglob(os.path.expanduser(pattern), recursive=True, include_hidden=include_hidden)
    return (match for match in found if "**" not in pattern or not os.path.isdir(match))


def _expand_list_item(item: lists.ListItem, selection: Selection) -> Iterator[_Candidate]:
    match item:
        case lists.InvalidListEntry():
            name = f"line {item.line_number} of the list"
            error = ImageError(f"{name} {item.reason}", hint='Such as {"image": "a.jpg", "prompt": "…"}', code="list")
            yield _Candidate(name, name, error=error)
        case lists.ListEntry() if os.path.isdir(item.image):
            yield from (
                replace(place, prompt=item.prompt, id=item.id) for place in _expand_folder(item.image, selection)
            )
        case lists.ListEntry() if _matches_patterns(item.image, selection):
            yield _Candidate(_make_listed_name_unambiguous(item.image), item.image, item.prompt, item.id)
        case lists.ListLine() if _matches_patterns(item.image, selection) and not os.path.isdir(item.image):
            yield _Candidate(_make_listed_name_unambiguous(item.image), item.image)


def _matches_patterns(path: str, selection: Selection) -> bool:
    return selection.patterns is None or selection.patterns.accepts_file(path.replace(os.sep, "/"))


def _expand_home(name: str) -> str:
    """A path with ``~`` for the home folder, unless there is something of that very name."""
    return os.path.expanduser(name) if name.startswith("~") and not os.path.lexists(name) else name


def _make_listed_name_unambiguous(name: str) -> str:
    """A name in a list is a URL or a path; nothing in it stands for standard input."""
    return name if _URL_SCHEME.match(name) else _make_path_unambiguous(name)


def _make_path_unambiguous(path: str) -> str:
    """A path that nobody takes for a URL or for standard input."""
    return os.path.join(os.curdir, path) if path == "-" or _URL_SCHEME.match(path) else path
