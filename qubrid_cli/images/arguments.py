"""Decide which arguments of a command are images, and which one is the prompt.

An argument that could be either is an image: a mistyped file name is then an error, instead of a prompt that costs money.
Users can always state the prompt with ``-p``.
"""

import glob
import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from .. import urls
from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..operating_system import IS_WINDOWS
from ..text import natural_key, quote_name
from . import sources, suffixes
from .sources import DocumentPage, File, Source, Stdin

_PATH_START = re.compile(r"\.{0,2}[\\/]|~[\\/]|[A-Za-z]:[\\/]")
#: A name with a suffix like ``.jgp``: no spaces, and letters or digits after the last dot.
_FILE_NAME = re.compile(r"\S*[^\s.]\.[A-Za-z][A-Za-z0-9]{1,4}")
#: Words with a slash that are not paths.
_WORDS_WITH_SLASH = frozenset({"yes/no", "no/yes", "true/false", "and/or", "either/or", "n/a", "w/o", "km/h"})
#: A web address without its scheme.
_HOST_AND_PATH = r"([wW]{3}\.\S+|[\w-]+(\.[\w-]+)*\.[a-zA-Z]{2,24})(:\d+)?/\S*"
#: Words that begin questions and instructions about images, but hardly any file name.
_FIRST_WORDS = frozenset(
    """
    what what's which who whose where when why how is are was were does do did can could has have should would
    will describe caption compare read list count extract transcribe translate write explain find give tell show
    name identify summarize summarise ocr detect classify rate check convert return answer analyze analyse guess
    locate estimate generate create make look please say draw label tag score verify format output
    """.split()  # noqa: SIM905  # easier to read than 80 words in quotes
)
#: Words that are a prompt on their own, even beside a folder.
_ONE_WORD_PROMPTS = _FIRST_WORDS | {"alt", "captions", "description", "text", "tags", "title", "keywords", "colors"}
# Scripts that are written without spaces: Thai, Lao, Khmer, Burmese, Chinese, Japanese. Compiled when needed, because
# that takes 5 ms.
_WITHOUT_BLANKS = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff66-\uff9f]"
_LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".lst", ".list")

#: Example prompts in hints, by command.
_EXAMPLE_PROMPTS = {"test": "is it a cat?", "locate": "the dogs"}
#: Characters; a longer text is not treated as a path.
_MAX_NAME_LENGTH = 255
#: How many entries of a folder are compared with a mistyped name, and how many similar ones are suggested.
_MAX_ENTRIES, _MAX_SUGGESTIONS = 20_000, 3
#: How many missing images an error names.
_MAX_MISSING = 3


@frozen
class Arguments:
    """A classified command line.

    Attributes:
        names: of all images, including those that do not exist.
        prompt: ``None`` if no argument is the prompt.
        error: names the images that do not exist; ``None`` if all exist.
    """

    images: tuple[Source, ...]
    names: tuple[str, ...]
    prompt: str | None
    error: ImageError | None = None


def classify(
    arguments: Sequence[str],
    *,
    has_prompt_option: bool,
    stdin: BinaryIO,
    is_windows: bool = IS_WINDOWS,
    command: str = "describe",
    needs_image: bool = True,
) -> Arguments:
    """Separate the images of a command from its prompt.

    Args:
        has_prompt_option: the prompt comes from an option, so every argument is an image.
        command: for hints.
        needs_image: whether a command line without an image is an error.

    Raises:
        UsageError: an argument is a second prompt, a folder or an invalid URL, or none is an image.
    """
    images: list[Source] = []
    names: list[str] = []
    prompts: list[str] = []
    errors: list[ImageError] = []
    for argument in arguments:
        try:
            resolved = _resolve(argument, stdin, command, is_windows=is_windows)
        except ImageError as error:
            names.append(urls.redact(argument))
            errors.append(error)
            continue
        if resolved is None:
            prompts.append(argument)
        else:
            images += resolved
            names += [image.name for image in resolved]
    prompt = choose_prompt(prompts, has_prompt_option=has_prompt_option)
    if not names and needs_image:
        raise _no_image_error(prompt, command)
    return Arguments(tuple(images), tuple(names), prompt, _join_errors(errors))


def _no_image_error(prompt: str | None, command: str) -> UsageError:
    """The error for a command line without an image; if something is piped in, the hint shows how to read it."""
    question = _EXAMPLE_PROMPTS.get(command, "what is this?")
    hint = f'For example: qvision {command} photo.jpg "{question}"'
    if command != "chat" and _is_standard_input_piped():  # a chat reads its messages from there
        hint = f"To read the image from standard input: qvision {command} - {quote_name(prompt or question)}"
    return UsageError("no image was named", hint=hint)


def _is_standard_input_piped() -> bool:
    try:
        return sys.stdin is not None and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):  # closed
        return False


def choose_prompt(prompts: Sequence[str], *, has_prompt_option: bool) -> str | None:
    """Return the only prompt among the arguments, or ``None``.

    Raises:
        UsageError: there are two prompts, counting that of the option.
    """
    if has_prompt_option and prompts:
        raise UsageError(
            f"two prompts: -p and {urls.redact(prompts[0])!r}",
            hint="Leave out one of them. If the second is an image, there is no such file.",
        )
    if len(prompts) > 1:
        raise UsageError(
            f"two prompts: {urls.redact(prompts[0])!r} and {urls.redact(prompts[1])!r}",
            hint="One of them may be a misspelled file name. Put a prompt of several words in quotes.",
        )
    return prompts[0] if prompts else None


def _join_errors(errors: Sequence[ImageError]) -> ImageError | None:
    """Combine the errors of several images into one, with the messages of the first few."""
    if len(errors) < 2:
        return errors[0] if errors else None
    more = f"; and {len(errors) - _MAX_MISSING} more" if len(errors) > _MAX_MISSING else ""
    return errors[0].with_message(
        "; ".join(error.message for error in errors[:_MAX_MISSING]) + more, hint=errors[0].hint
    )


def _resolve(argument: str, stdin: BinaryIO, command: str, *, is_windows: bool) -> list[Source] | None:
    """The images that an argument of a command stands for, or ``None`` if it is the prompt."""
    if argument == "-":
        return [Stdin(stdin)]
    if not argument:  # as a path, it would be the current folder
        return None
    if urls.is_object_url(argument) and urls.is_object_folder(argument):
        raise sources.make_folder_error(argument, command)
    if sources.is_url(argument):
        return [sources.resolve_url(argument)]
    path = find_existing_path(argument, is_windows=is_windows)
    if path is not None:
        return [sources.make_file(argument, path, command)]
    page = sources.split_page(argument)
    if page and (documents := _resolve(page[0], stdin, command, is_windows=is_windows)):
        return [DocumentPage(document, page[1]) for document in documents if not isinstance(document, DocumentPage)]
    has_image_suffix = suffixes.has_image_suffix(argument)
    if (has_image_suffix and re.search(r"[*?\[]", argument)) or is_unexpanded(argument, is_windows=is_windows):
        names = filter(os.path.isfile, glob.iglob(prepare_glob(argument, is_windows=is_windows), recursive=True))
        images = sorted(
            (name for name in names if has_image_suffix or suffixes.has_readable_suffix(name)), key=natural_key
        )
        if not images:
            raise no_match_error(argument)
        return [File(name, Path(name)) for name in images]
    if is_path(argument, is_windows=is_windows):
        raise no_such_image_error(argument, is_windows=is_windows)
    return None


def resolve_images(words: Sequence[str]) -> list[Source]:
    """The images that words stand for, where neither a prompt nor standard input is allowed.

    Raises:
        ImageError: an image does not exist.
        UsageError: a word is a folder, an invalid URL or ``-``.
    """
    images: list[Source] = []
    for word in words:
        if word == "-":
            raise UsageError("standard input cannot be an image here", hint="Name a file.")
        try:
            resolved = _resolve(word, BytesIO(), "chat", is_windows=IS_WINDOWS)
            if resolved is None:
                raise no_such_image_error(word)
        except ImageError as error:
            is_missing = error.code == "no_such_image"
            hint = "Check the name; one with spaces needs quotes." if is_missing else error.hint
            raise error.with_message(error.message, hint=hint) from error.__cause__
        images += resolved
    return images


def resolve_name(name: str) -> Source:
    """The image that a path or a URL names; it need not exist.

    Raises:
        ImageError: an invalid ``data:`` URL, or the ``file:`` URL of another machine.
        UsageError: an invalid URL, or that of a folder.
    """
    if sources.is_url(name):
        return sources.resolve_url(name)
    name, page = split_name(name)
    file = File(name, Path(expand_home(name)))
    return file if page is None else DocumentPage(file, page)


def split_name(name: str) -> tuple[str, int | None]:
    """Split a name such as ``a.pdf#page=3`` into file and page; the page is ``None`` if a file has that very name."""
    page = sources.split_page(name)
    return (name, None) if page is None or os.path.lexists(expand_home(name)) else page


def expand_home(name: str) -> str:
    """Replace ``~`` by the home folder, unless a file or folder has that very name."""
    return os.path.expanduser(name) if name.startswith("~") and not os.path.lexists(name) else name


def is_unexpanded(word: str, *, is_windows: bool = IS_WINDOWS) -> bool:
    r"""Whether a word is a pattern such as ``*`` or ``photos\*``, which Windows shells do not expand.

    A prompt may contain ``*`` and ``?`` too, but it matches no file and does not look like a path.
    """
    if not is_windows or not re.search(r"[*?]", word) or len(word) > _MAX_NAME_LENGTH or sources.is_url(word):
        return False
    is_bare = "*" in word and re.fullmatch(r"\S*[\\/]\S*|[*?.]+", word) is not None
    return is_bare or next(glob.iglob(prepare_glob(word, is_windows=is_windows)), None) is not None


def prepare_glob(pattern: str, *, is_windows: bool = IS_WINDOWS) -> str:
    """Convert a pattern for the module ``glob``: with slashes, and with the home folder in place of ``~``."""
    return os.path.expanduser(_use_slashes(pattern, is_windows=is_windows))


def _use_slashes(path: str, *, is_windows: bool) -> str:
    return path.replace("\\", "/") if is_windows else path


def find_existing_path(argument: str, *, is_windows: bool = IS_WINDOWS) -> Path | None:
    """The file, folder or broken link that an argument names; ``None`` if nothing has that name."""
    try:
        path = Path(_use_slashes(argument, is_windows=is_windows)).expanduser()
        path.lstat()
    except PermissionError:  # it may exist; reading it reports the error
        return path
    except (OSError, ValueError, RuntimeError):  # too long for a name, contains a NUL, or the user has no home folder
        return None
    return path


def is_path(text: str, *, is_windows: bool = IS_WINDOWS) -> bool:
    """Whether an argument that names no existing file is a mistyped path rather than a prompt.

    A path ends with the suffix of an image or a document, begins like a path, or ends with a slash; it may contain
    spaces. A question, or a sentence that begins with a word such as "describe", is a prompt. Everything else is a
    prompt too, unless it differs from the name of an existing file only in case, spaces, Unicode form or a missing suffix.
    """
    if not text.strip() or "\n" in text or "\0" in text or len(text) > _MAX_NAME_LENGTH:
        return False
    if any(character.isspace() for character in text):
        return _is_path_with_blanks(text, is_windows=is_windows)
    if text.lower() in _WORDS_WITH_SLASH or text.lower() in _ONE_WORD_PROMPTS:
        return False
    return (
        _PATH_START.match(text) is not None
        or _FILE_NAME.fullmatch(text) is not None
        or (("/" in text or "\\" in text) and re.search(r"\w", text) is not None)
        or bool(find_similar(text, exact=True, is_windows=is_windows))
    )


def _is_path_with_blanks(text: str, *, is_windows: bool) -> bool:
    looks_like_path = (
        suffixes.has_image_suffix(text)
        or _PATH_START.match(text) is not None
        or text.endswith(("/", "\\"))
        or (is_windows and re.match(r"\S+\\", text) is not None)
    )
    is_sentence = text.rstrip().endswith("?") or "://" in text or text.split(maxsplit=1)[0].lower() in _FIRST_WORDS
    if looks_like_path != is_sentence:
        return looks_like_path
    return bool(find_similar(text, exact=not looks_like_path, is_windows=is_windows))  # it is both, or neither


def is_path_beside_folder(text: str, is_preset: Callable[[str], bool], *, is_windows: bool = IS_WINDOWS) -> bool:
    """Like ``is_path``, for an argument beside a folder.

    A single word is then a mistyped path too, unless it is a common prompt or the name of a preset.
    """
    if is_path(text, is_windows=is_windows):
        return True
    is_word = bool(text) and not any(character.isspace() for character in text) and re.search(r"\w", text) is not None
    if not is_word or len(text) > _MAX_NAME_LENGTH or re.search(_WITHOUT_BLANKS, text):
        return False
    return text.lower() not in _ONE_WORD_PROMPTS | _WORDS_WITH_SLASH and not is_preset(text)


def find_similar(text: str, *, exact: bool = False, is_windows: bool = IS_WINDOWS) -> list[str]:
    """The names of up to three existing files or folders that the user may have meant, the most similar first.

    Args:
        exact: only names that differ in nothing but case, spaces, Unicode form or a missing suffix.
    """
    text = _use_slashes(text, is_windows=is_windows)
    folder, name = os.path.split(text.rstrip("/\\") if text.strip("/\\") else text)
    try:
        with os.scandir(os.path.expanduser(folder) or os.curdir) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False)]
    except (OSError, ValueError):
        return [] if exact or not folder else _correct_folder(folder, name)
    key = _normalize(name)
    similar = [entry for entry in names if _normalize(entry) == key]
    similar += [entry for entry in names if suffixes.has_readable_suffix(entry) and _normalize(Path(entry).stem) == key]
    if not similar and not exact:
        from difflib import get_close_matches

        names_by_key = {_normalize(entry): entry for entry in sorted(names, reverse=True)}
        close_keys = get_close_matches(key, names_by_key, _MAX_SUGGESTIONS, cutoff=0.7)
        similar = [names_by_key[close_key] for close_key in close_keys]
    return [
        os.path.join(folder or (os.curdir if entry.startswith("-") else ""), entry)
        for entry in similar[:_MAX_SUGGESTIONS]
    ]


def _correct_folder(folder: str, name: str) -> list[str]:
    """Suggestions for a path whose folder is mistyped: the file in similar folders, or else these folders."""
    folders = [similar for similar in find_similar(folder) if os.path.isdir(os.path.expanduser(similar))]
    paths = [os.path.join(similar, name) for similar in folders]
    return [path for path in paths if os.path.lexists(os.path.expanduser(path))] or [
        os.path.join(similar, "") for similar in folders
    ]


def _normalize(name: str) -> str:
    if name.isascii():
        return " ".join(name.lower().split())
    import unicodedata

    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def no_such_image_error(argument: str, *, is_batch: bool = False, is_windows: bool = IS_WINDOWS) -> ImageError:
    """The error for a path that does not exist; it suggests similar names."""
    message, hint = f"no such image: {quote_name(urls.redact(argument))}", "Check the name."
    if similar := find_similar(argument, is_windows=is_windows):
        message += f"; did you mean {' or '.join(map(quote_name, similar))}?"
    elif re.fullmatch(_HOST_AND_PATH, argument):
        hint = f"If it is a link, write {quote_name(f'https://{urls.redact(argument)}')}"
        return ImageError(message, hint=f"{hint}, and if it is the prompt, put it after -p.", code="no_such_image")
    example = f": -p {quote_name(argument)}" if is_batch and "/" not in argument else "."
    hint += f" If it is the prompt, put it after -p{example}"
    return ImageError(message, hint=hint, code="no_such_image")


def no_match_error(pattern: str) -> ImageError:
    """The error for a glob that matches nothing."""
    hint = "Check the name. If it is the prompt, put it after -p."
    return ImageError(f"no image matches {pattern}", hint=hint, code="no_such_image")


def refuse_list(argument: str) -> None:
    """Refuse a list of images where an image is expected.

    Raises:
        UsageError: the argument is a file with the suffix of a list.
    """
    if argument.lower().endswith(_LIST_SUFFIXES) and os.path.isfile(os.path.expanduser(argument)):
        raise UsageError(
            f"{quote_name(argument)} is a list, not an image",
            hint=f"To ask about each image in it: qvision batch --from {quote_name(argument)} -P describe",
        )
