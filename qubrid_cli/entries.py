"""A line of the results file: what is in it, what it stands for, and when a later one takes its place. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .errors import harmless
from .frozen import frozen
from .records import SCHEMA_VERSION, json_text

#: How every line begins.
BEGINNING = f'{{"schema_version":{SCHEMA_VERSION},"ok":'.encode()
#: Bytes of the longest line, 64 MiB.
MAX_LINE = 64 << 20

#: Part of every key: another way to make keys gets another name, so that no old line is taken for an answer to it.
_MAKING = "qvision 1"

Record = dict[str, Any]


def key(image: str, facets: Mapping[str, Any]) -> str:
    """What an answer hangs on, as 64 hexadecimal digits: equal keys, equal questions.

    Args:
        image: the SHA-256 of its bytes; of an image on the web, whose bytes we do not see, the URL.
        facets: all else that shapes the answer: prompt, model, parameters, limits. The name of the file and the
            endpoint's address are not among it.
    """
    text = json.dumps([_MAKING, image, _plain(facets)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """JSON in which 1 and 1.0 are the same."""
    match value:
        case Mapping():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case float() if value.is_integer():
            return int(value)
    return value


def line(
    record: Record,
    *,
    index: int,
    key: str | None,
    attempts: int,
    source_id: str | float | None = None,
    duplicate_of: str | None = None,
) -> bytes:
    """A line of the results file: the object that ``--json`` prints, and what only a run of many images has.

    Args:
        key: ``None`` where the image could not be read.
        attempts: how often it was asked.
        source_id: the ``id`` that the list gives the image.
        duplicate_of: the image whose answer it is, being the same.
    """
    added = {
        "index": index,
        "key": key,
        "attempts": attempts,
        "source_id": source_id,
        "duplicate_of": duplicate_of,
    }
    return json_text(record | added).encode() + b"\n"


def duplicate(of: Record, *, source: str) -> Record:
    """The record of an image that is the same as another one, by a name of its own: same answer, no cost.

    What the answer took in tokens and seconds stands with the first image only, so that sums come out right.
    """
    (image,) = of["images"]
    nothing = {"usage": None, "x_metrics": None, "cost": None, "timing": dict.fromkeys(of["timing"])}
    return of | nothing | {"images": [image | {"source": source}]}


def caption(record: Record) -> str:
    """An answer as people read it: the text without anything that acts on a terminal; mere tags as one line."""
    return ", ".join(tags(record)) or harmless(str(record.get("text", ""))).strip()


def tags(record: Record) -> tuple[str, ...]:
    """The tags of an answer that is nothing but tags."""
    match record.get("data"):
        case {"tags": [*found], **rest} if not rest and all(isinstance(tag, str) for tag in found):
            return tuple(clean for tag in found if (clean := " ".join(harmless(tag).split())))
    return ()


@frozen
class Place:
    """Which line it is.

    Attributes:
        key: ``None`` where the image could not be read, or the line is not of a run of many.
        is_ok: an answer, and all of it.
        is_copy: the answer of another line.
        sources: what was asked about.
        record: all of it.
    """

    key: str | None
    is_ok: bool
    is_copy: bool
    sources: tuple[str, ...]
    prompt: str | None
    record: Record

    @property
    def question(self) -> bytes:
        """What it answers or fails to answer, as people see it: these images and this prompt.

        Standard input and ``data:`` URLs are all called the same, so they are told apart by what was in them.
        """
        is_vague = any(source == "-" or source.startswith("data:") for source in self.sources)
        return digest(*self.sources, "\0", self.prompt or "", (self.key or "") if is_vague else "")

    @property
    def subject(self) -> bytes:
        """What is asked of which model about which images, as they are called; ``content`` tells what was in them."""
        return digest(self.question.hex(), str(self.record.get("model")))

    @property
    def content(self) -> bytes:
        """What was in the images; of one on the web that is not known, so it never changes."""
        return digest(*(str(image.get("sha256")) for image in self.record["images"]))

    @property
    def answer(self) -> bytes:
        """Whose answer it is: that of this key for these images."""
        return digest(self.key or "", *self.sources)


def place(data: bytes) -> Place | None:
    """Which line of a results file this is; ``None`` where it is none, or damaged."""
    try:
        match json.loads(data):
            case {"schema_version": int(), "ok": bool(ok), "complete": bool(complete), "images": list(images)} as found:
                name, prompt = found.get("key"), found.get("prompt")
                return Place(
                    key=name if isinstance(name, str) else None,
                    is_ok=ok and complete,
                    is_copy=found.get("duplicate_of") is not None,
                    sources=tuple(str(image["source"]) for image in images),
                    prompt=prompt if isinstance(prompt, str) else None,
                    record=found,
                )
    except (ValueError, RecursionError, KeyError, TypeError):
        pass
    return None


def is_torn(tail: bytes) -> bool:
    """Whether it is the beginning of a line of ours, and no more than that: nothing of a whole object is ever torn off."""
    if not (tail.startswith(BEGINNING) or BEGINNING.startswith(tail)):
        return False
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        return True
    return False


def said(source: str, text: str) -> bytes:
    """What was said about an image, whatever blanks are in it."""
    return digest(source, "".join(text.split()))


def digest(*texts: str) -> bytes:
    """Twelve bytes for some texts: among a thousand million lines, two are mixed up with a chance of 1 to 10¹¹."""
    return hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=12).digest()
