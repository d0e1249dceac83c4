"""Conversations in files: as a session, which is JSON with the images, or as Markdown. Neither contains a key."""

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..client.request import ImagePart
from ..describe.record import json_original
from ..errors import OutputError, UsageError
from ..files import try_file_lock, write_atomic
from ..frozen import frozen
from ..images.encode import Upload
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..images.sources import Link
from ..text import escape_control_characters, quote_name, strip_control_characters
from .conversation import Conversation, Spending, Turn

#: The value of ``kind``, which distinguishes a session from other JSON.
_KIND = "qvision chat"
_SCHEMA_VERSION = 1
#: The start of a code block; and the start of a tag, with the escaped backslashes before it.
_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_TAG = re.compile(r"(?<!\\)((?:\\\\)*)<(?=[A-Za-z/!?])")
_DATA_URL = re.compile(r"data:(image/(?:jpeg|png));base64,")


@frozen
class SavedChat:
    """The content of a session file.

    Attributes:
        profile: the profile that was in use, to which ``model`` belongs.
    """

    conversation: Conversation
    model: str
    profile: str


@frozen
class SessionFile:
    """A session file that no other chat uses."""

    path: Path

    def load(self) -> SavedChat | None:
        """Load the file; ``None`` if it does not exist.

        Raises:
            UsageError: it cannot be read, or is not a session.
        """
        name = quote_name(self.path)
        try:
            data = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"cannot read --session {name}: {error.strerror}", hint="Name another file.") from error
        except (ValueError, RecursionError) as error:
            raise _not_a_session_error(name, "it is damaged, or another kind of file") from error
        if not isinstance(data, dict) or data.get("kind") != _KIND:
            raise _not_a_session_error(name, "it is another kind of file")
        if data.get("schema_version") != _SCHEMA_VERSION:
            raise _not_a_session_error(name, f"its schema_version is {str(data.get('schema_version'))[:20]}")
        try:
            return _parse_chat(data)
        except (ValueError, TypeError, LookupError) as error:
            raise _not_a_session_error(name, "it is damaged") from error

    def save(self, conversation: Conversation, model: str, profile: str) -> None:
        """Replace the file atomically; only its owner can read it.

        Raises:
            OutputError: it cannot be written; its old content is unchanged.
        """
        save_json(self.path, conversation, model, profile)


def save_json(path: Path, conversation: Conversation, model: str, profile: str, *, overwrite: bool = True) -> None:
    """Write a session file.

    Raises:
        FileExistsError: ``overwrite`` is false, and the file exists.
        OutputError: the file cannot be written.
    """
    chat = {
        "kind": _KIND,
        "schema_version": _SCHEMA_VERSION,
        "model": model,
        "profile": profile,
        "system": conversation.system,
        "context_size": conversation.context_size,
        "spending": asdict(conversation.spending),
        "turns": [_json_turn(turn) for turn in conversation.turns],
        "next": {
            "prompt": conversation.prompt,
            "images": [_json_image(image, iter(())) for image in conversation.images],
        },
    }
    data = json.dumps(chat, indent=1).encode() + b"\n"  # ASCII, because UTF-8 cannot encode lone surrogates
    try:
        write_atomic(path, data, mode=0o600, overwrite=overwrite)
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {quote_name(path)}: {error.strerror}", hint="Check the folder and the disk."
        ) from error


@contextmanager
def open_session(name: str) -> Iterator[SessionFile]:
    """Open a session file, which need not exist, and lock it against other chats.

    Raises:
        UsageError: its folder does not exist or is not writable, it is a folder itself, or another chat uses it.
    """
    path = Path(os.path.realpath(os.path.expanduser(name)))
    if path.is_dir():
        raise UsageError(f"--session {quote_name(name)} is a folder", hint="Name a file in it.")
    with ExitStack() as stack:
        try:
            is_ours = stack.enter_context(try_file_lock(path))
        except OSError as error:
            raise UsageError(
                f"--session {quote_name(name)} cannot be written: {error.strerror}",
                hint="Name a file in another folder.",
            ) from error
        if not is_ours:
            raise UsageError(f"another chat uses {quote_name(name)}", hint="End it first, or name another file.")
        yield SessionFile(path)


def _not_a_session_error(name: str, reason: str) -> UsageError:
    return UsageError(
        f"{name} is not a session of this version of qvision: {reason}",
        hint="It was not changed. Name another file for --session.",
    )


def _json_turn(turn: Turn) -> dict[str, Any]:
    labels = iter(part.label for part in turn.parts)
    return {
        "prompt": turn.prompt,
        "images": [_json_image(image, labels) for image in turn.images],
        "answer": turn.answer,
        "complete": turn.is_complete,
        "model": turn.model,
        "prompt_tokens": turn.prompt_tokens,
        "answer_tokens": turn.answer_tokens,
        "left_out": turn.is_left_out,
    }


def _json_image(image: PreparedImageOrLink, labels: Iterator[str | None]) -> dict[str, Any]:
    if isinstance(image, Link):
        return {"source": image.name, "parts": [{"label": next(labels, None), "url": image.url}]}
    parts = [
        {
            "label": next(labels, None),
            "width": upload.width,
            "height": upload.height,
            "box": upload.box,
            "url": str(upload.url),
        }
        for upload in image.uploads
    ]
    return {**json_original(image), "parts": parts}


def _parse_chat(data: Mapping[str, Any]) -> SavedChat:
    """Parse the JSON object of a session.

    Raises:
        ValueError: a value has another type than it was written with.
        KeyError: one is missing.
    """
    following = _get(data, "next", dict)
    conversation = Conversation(
        system=_get(data, "system", str, None),
        turns=[_parse_turn(turn) for turn in _get(data, "turns", list)],
        images=[_parse_image(image)[0] for image in _get(following, "images", list)],
        prompt=_get(following, "prompt", str, None),
        spending=_parse_spending(_get(data, "spending", dict)),
        context_size=_get(data, "context_size", int, None),
    )
    return SavedChat(conversation, _get(data, "model", str), _get(data, "profile", str))


def _get(data: Any, name: str, *kinds: Any) -> Any:
    """Return a member that has one of some types; ``None`` among them permits null.

    Raises:
        ValueError: it has another type.
    """
    value = data[name]
    types = tuple(kind for kind in kinds if kind is not None)
    if (value is None and None in kinds) or (isinstance(value, types) and (bool in types or type(value) is not bool)):
        return value
    raise ValueError(name)


def _parse_spending(data: Mapping[str, Any]) -> Spending:
    return Spending(
        _get(data, "answers", int),
        _get(data, "prompt_tokens", int),
        _get(data, "answer_tokens", int),
        _get(data, "cost", float, int, None),
    )


def _parse_turn(data: Any) -> Turn:
    images = [_parse_image(image) for image in _get(data, "images", list)]
    return Turn(
        prompt=_get(data, "prompt", str),
        images=tuple(image for image, _ in images),
        parts=tuple(part for _, parts in images for part in parts),
        answer=_get(data, "answer", str),
        is_complete=_get(data, "complete", bool),
        model=_get(data, "model", str, None),
        prompt_tokens=_get(data, "prompt_tokens", int, None),
        answer_tokens=_get(data, "answer_tokens", int, None),
        is_left_out=_get(data, "left_out", bool),
    )


def _parse_image(data: Any) -> tuple[PreparedImageOrLink, Sequence[ImagePart]]:
    """Parse an image, and the parts in which it was sent."""
    name, parts = _get(data, "source", str), _get(data, "parts", list)
    labels = [_get(part, "label", str, None) for part in parts]
    if "sha256" not in data:
        link = Link(name, _get(parts[0], "url", str))
        return link, [ImagePart(link.url, labels[0])]
    uploads = tuple(_parse_upload(part) for part in parts)
    first = uploads[0]
    image = PreparedImage(
        name=name,
        sha256=_get(data, "sha256", str),
        format=_get(data, "format", str),
        width=_get(data, "width", int),
        height=_get(data, "height", int),
        size=_get(data, "bytes", int),
        upload=first if len(uploads) == 1 else Upload(first.mime, first.width, first.height, first.data, tiles=uploads),
        prepare_seconds=0.0,
        page=_get(data, "page", int, None),
    )
    return image, [ImagePart(upload.url, label) for upload, label in zip(uploads, labels, strict=True)]


def _parse_upload(data: Any) -> Upload:
    url, box = _get(data, "url", str), _get(data, "box", list, None)
    if (match := _DATA_URL.match(url)) is None or (box is not None and len(box) != 4):
        raise ValueError("url")
    return Upload(
        match[1],
        _get(data, "width", int),
        _get(data, "height", int),
        base64.b64decode(url[match.end() :], validate=True),
        box=None if box is None else (int(box[0]), int(box[1]), int(box[2]), int(box[3])),
    )


def format_markdown(conversation: Conversation) -> str:
    """Format the questions and answers as Markdown, with the names of the images and without control characters."""
    sections = list(_format_sections(conversation))
    return "\n\n".join(strip_control_characters(section).strip("\n") for section in sections) + "\n"


def _format_sections(conversation: Conversation) -> Iterator[str]:
    yield "# Chat"
    if conversation.system:
        yield _quote_lines(f"System prompt: {conversation.system}")
    for turn in conversation.turns:
        yield from _format_turn(turn)


def _format_turn(turn: Turn) -> Iterator[str]:
    names = ", ".join(_format_code(image.name) for image in turn.images)
    yield f"## Question{f' about {names}' if names else ''}"
    yield turn.prompt
    yield f"## Answer{f' of {_format_code(turn.model)}' if turn.model else ''}"
    yield _disarm(turn.answer)
    if not turn.is_complete:
        yield "*(incomplete)*"


def _disarm(answer: str) -> str:
    """Turn images and HTML in a model's Markdown into text, because a viewer would load or run them.

    Only fences at the start of a line count as code blocks: an indented one may end with the list item that contains it.
    """
    lines, fence = [], ""
    for line in answer.split("\n"):
        if fence:
            is_end = re.fullmatch(rf" {{0,3}}{re.escape(fence)}{fence[0]}*[ \t]*", line) is not None
            fence = "" if is_end else fence
            lines.append(line)
        elif opening := _FENCE.match(line):
            fence = opening[1] or opening[2]
            lines.append(line)
        else:
            lines.append(_TAG.sub(r"\1\\<", line.replace("![", "!\\[")))
    return "\n".join(lines)


def _quote_lines(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _format_code(name: str) -> str:
    """Format a name as code, in which Markdown and HTML have no effect, even if it contains backticks."""
    name = escape_control_characters(name)
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    return f"{fence} {name} {fence}" if "`" in name else f"{fence}{name}{fence}"
