"""The images of a run: found one after the other while the run is on its way, so that a million of them start at once."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, assert_never

from . import folders, lists, sources
from .errors import ImageError, UsageError
from .frozen import frozen
from .shards import Shard

if TYPE_CHECKING:  # it loads pathspec, which is needed only where there are patterns
    from .ignoring import Patterns

#: What may be a URL; ``sources.classify`` has the exact rule.
_LIKE_A_URL = re.compile("(https?|file|data):", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
_ENDING = re.compile(r"\.[^.*?\[\]\\/]+\Z")
#: A glob that does not name images, such as ``2024-*/``; it is one only where it matches something.
_GLOB_OF_FOLDERS = re.compile(r"(?=.*[*?\[])(?=.*[\\/])\S+")


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
    id: lists.Label = None


@frozen
class Missed:
    """Something that was named, has its place in the list, and leads to no image: its task fails with this error."""

    task: Task
    error: ImageError


@frozen
class Choice:
    """Which of what is found is wanted.

    Attributes:
        patterns: relative to the folder named; in a list, for the path as it stands. No matter for a file named alone.
        hidden: in folders also what begins with a dot.
        limit: at most so many of the whole list.
        shard: of these, only a share.
        spare: files that are never images, such as the results file.
    """

    patterns: "Patterns | None" = None
    hidden: bool = False
    limit: int | None = None
    shard: Shard | None = None
    spare: tuple[Path, ...] = ()


@frozen
class _Place:
    """Something found: a source, what its share is told by, and what else is known of it."""

    source: str
    within: str
    prompt: str | None = None
    id: lists.Label = None
    error: ImageError | None = None


Found = Task | Missed


def split(arguments: Sequence[str], *, prompt_given: bool) -> tuple[tuple[str, ...], str | None]:
    """Tell what stands for images from the prompt: as ``sources.classify`` does, and folders are images too.

    Raises:
        UsageError: two prompts.
    """
    images = tuple(argument for argument in arguments if _stands_for_images(argument, prompt_given=prompt_given))
    texts = [argument for argument in arguments if argument not in images]
    found = sources.classify(("-", *texts), prompt_given=prompt_given, stdin=BytesIO())
    return images, found.prompt


def _stands_for_images(argument: str, *, prompt_given: bool) -> bool:
    if argument and os.path.isdir(_expanded(argument)):
        return True
    if _GLOB_OF_FOLDERS.fullmatch(argument) and next(_matches(argument, hidden=False), None):
        return True
    found = sources.classify(("-", argument), prompt_given=prompt_given, stdin=BytesIO())
    return found.prompt is None


def check(arguments: Sequence[str]) -> None:
    """Refuse what was named on the command line and is not there, before anything is asked: it is misspelt.

    Raises:
        ImageError: a path that nothing is called, a glob that nothing matches, or a URL that is none.
    """
    for argument in arguments:
        source = source_of(Task(1, argument), BytesIO())
        if not isinstance(source, sources.File) or not _is_missing(source.path):
            continue
        if not _GLOB.search(argument):
            raise sources.no_such_image(argument)
        if next(_matches(argument, hidden=True), None) is None:
            raise _unmatched(argument)


def _is_missing(path: Path) -> bool:
    """Whether nothing is called so, not even a link to nothing; what a closed folder hides may be there."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError | ValueError)
    return False


def find(
    arguments: Sequence[str], *, listed: Iterable[lists.Listed] = (), choose: Choice | None = None
) -> Iterator[Found]:
    """Everything that is named, in order: first by the arguments, then by a list.

    A folder among the arguments stands for the images below it; so does one in a JSONL list. In a list of lines it
    is passed over, because ``find`` names folders beside all that is in them.
    """
    choose = choose or Choice()
    places = chain(
        chain.from_iterable(_named(argument, choose) for argument in arguments),
        chain.from_iterable(_of_list(item, choose) for item in listed),
    )
    wanted = (place for place in places if not _is_one_of(place.source, choose.spare))
    for index, place in enumerate(islice(wanted, choose.limit), 1):
        if choose.shard is None or choose.shard.has(place.within):
            task = Task(index, place.source, place.prompt, place.id)
            yield task if place.error is None else Missed(task, place.error)


def source_of(task: Task, stdin: BinaryIO) -> sources.Source:
    """The image to read.

    Raises:
        ImageError: a URL that is none.
    """
    if _LIKE_A_URL.match(task.source):
        try:
            found = sources.classify(("-", task.source), prompt_given=False, stdin=stdin)
        except UsageError as error:
            raise ImageError(error.message, hint=error.hint) from error
        if found.error:
            raise found.error
        if found.prompt is None:
            return found.images[1]
    if task.source == "-":
        return sources.Piped(stdin)
    return sources.File(task.source, Path(_expanded(task.source)))


def _is_one_of(source: str, spare: Sequence[Path]) -> bool:
    name = os.path.basename(source)
    return any(path.name == name and os.path.realpath(path) == os.path.realpath(source) for path in spare)


def _named(argument: str, choose: Choice) -> Iterator[_Place]:
    path = _expanded(argument)
    if os.path.isdir(path):
        yield from _below(path, choose)
    elif _GLOB.search(argument) and not _LIKE_A_URL.match(argument) and not os.path.lexists(path):
        yield from _matched(argument, choose)
    else:
        yield _Place(argument, argument)


def _below(folder: str, choose: Choice) -> Iterator[_Place]:
    for found in folders.images(folder, hidden=choose.hidden, patterns=choose.patterns):
        source = _as_path(found.path)
        match found:
            case folders.Image():
                yield _Place(source, found.within)
            case folders.Closed():
                error = ImageError(f"cannot read the folder {source}: {found.reason}", hint="Check its permissions.")
                yield _Place(source, source, error=error)
            case _:
                assert_never(found)


def _matched(pattern: str, choose: Choice) -> Iterator[_Place]:
    """What a quoted glob stands for: folders, images, and other files where it spells out their ending."""
    matches = sources.natural(_matches(pattern, hidden=choose.hidden))
    if not matches:
        yield _Place(pattern, pattern, error=_unmatched(pattern))
    for match in matches:
        if os.path.isdir(match):
            yield from _below(match, choose)
        elif _is_wanted(match, choose) and (_ENDING.search(pattern) or folders.is_image(match)):
            yield _Place(_as_path(match), match)


def _unmatched(pattern: str) -> ImageError:
    return ImageError(f"no image matches {pattern}", hint="Check the name.", code="no_such_image")


def _matches(pattern: str, *, hidden: bool) -> Iterator[str]:
    """The files and folders that a glob matches; with ``**`` in it, which goes down into folders itself, only files."""
    found = glob.iglob(os.path.expanduser(pattern), recursive=True, include_hidden=hidden)
    return (match for match in found if "**" not in pattern or not os.path.isdir(match))


def _of_list(item: lists.Listed, choose: Choice) -> Iterator[_Place]:
    match item:
        case lists.Damaged():
            name = f"line {item.number} of the list"
            error = ImageError(f"{name} {item.reason}", hint='Such as {"image": "a.jpg", "prompt": "…"}', code="list")
            yield _Place(name, name, error=error)
        case lists.Entry() if os.path.isdir(item.image):
            yield from (replace(place, prompt=item.prompt, id=item.id) for place in _below(item.image, choose))
        case lists.Entry() if _is_wanted(item.image, choose):
            yield _Place(_as_listed(item.image), item.image, item.prompt, item.id)
        case lists.Line() if _is_wanted(item.image, choose) and not os.path.isdir(item.image):
            yield _Place(_as_listed(item.image), item.image)


def _is_wanted(path: str, choose: Choice) -> bool:
    return choose.patterns is None or choose.patterns.wants_file(path.replace(os.sep, "/"))


def _expanded(name: str) -> str:
    """A path with ``~`` for the home folder, unless there is something of that very name."""
    return os.path.expanduser(name) if name.startswith("~") and not os.path.lexists(name) else name


def _as_listed(name: str) -> str:
    """A name in a list is a URL or a path; nothing in it stands for standard input."""
    return name if _LIKE_A_URL.match(name) else _as_path(name)


def _as_path(path: str) -> str:
    """A path that nobody takes for a URL or for standard input."""
    return os.path.join(os.curdir, path) if path == "-" or _LIKE_A_URL.match(path) else path
