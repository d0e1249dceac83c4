"""The lines of a results file: writing, decoding and identifying them."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from ..describe.record import SCHEMA_VERSION
from ..frozen import frozen
from ..text import is_blank, json_text
from ..urls import is_object_url
from .results.lines import (
    DUPLICATE,
    HAS_PATH,
    MAX_COUNT,
    LineRow,
    Question,
    hash_digest,
    make_answer_row,
    make_question,
    quote,
)

if TYPE_CHECKING:
    from .inputs import Task

#: The beginning of every line.
LINE_START = f'{{"schema_version":{SCHEMA_VERSION},"ok":'.encode()
#: Part of every key. If keys are ever computed differently, it changes, so that no old answer has a new key.
_KEY_VERSION = "qvision 1"
#: The error of an answer that does not fit its schema.
_MISMATCH_CODE = "schema_mismatch"

Record = dict[str, Any]


def encode_facets(facets: Mapping[str, Any]) -> str:
    """Encode the facets of a key, which many images share.

    Args:
        facets: everything that shapes the answer besides the image: prompt, model, parameters, limits. The name of the file
            and the URL of the endpoint do not.
    """
    return json.dumps(_normalize_numbers(facets), sort_keys=True, separators=(",", ":"))


def compute_key(image_id: str, encoded_facets: str) -> str:
    """Compute the key of an answer, 64 hexadecimal digits: images and requests that are the same have the same key.

    Args:
        image_id: the SHA-256 of the image's bytes; for a link, whose bytes are not read here, its URL.
    """
    text = f'["{_KEY_VERSION}",{encode_basestring_ascii(image_id)},{encoded_facets}]'
    return hashlib.sha256(text.encode()).hexdigest()


def _normalize_numbers(value: Any) -> Any:
    """Make 1 and 1.0 the same in a JSON value."""
    match value:
        case Mapping():
            return {str(name): _normalize_numbers(item) for name, item in value.items()}
        case list() | tuple():
            return [_normalize_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value


def encode_line(
    record: Record,
    task: "Task",
    *,
    key: str | None,
    attempts: int,
    duplicate_of: str | None = None,
    incomplete_attempts: int = 0,
) -> bytes:
    """Encode a line of the results file: the object that ``--json`` prints, and the fields that only a batch has.

    Args:
        key: ``None`` if the image could not be read.
        attempts: requests sent.
        duplicate_of: the image that the answer is about, of which this one is a copy.
        incomplete_attempts: how often the answer was cut off or did not fit the schema, over all runs.
    """
    added = {
        "index": task.index,
        "key": key,
        "attempts": attempts,
        "source_id": task.id,
        "duplicate_of": duplicate_of,
        "path": task.path,
        "version": task.version,
        "incomplete_attempts": incomplete_attempts,
        "row": task.row,
    }
    return json_text(record | added).encode() + b"\n"


def is_incomplete(record: Record) -> bool:
    """Whether the answer was cut off by a limit or does not fit the schema: a new one costs as much, and may be incomplete too."""
    error = record.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    # The code of an answer that was cut off is its ``finish_reason``.
    return code is not None and code in {_MISMATCH_CODE, record.get("finish_reason")}


def copy_for_duplicate(original: Record, *, source: str) -> Record:
    """Copy the record of an image for another one with the same content: the same answer under another name.

    Tokens, cost and times stay with the first image only, so that sums are right.
    """
    (image,) = original["images"]
    cleared = {"usage": None, "x_metrics": None, "cost": None, "timing": dict.fromkeys(original["timing"])}
    return original | cleared | {"images": [image | {"source": source}]}


def move_record(record: dict[str, Any], source_folder: str, folder: str) -> dict[str, Any]:
    """A record with the path of its image relative to another folder."""
    path = record.get("path")
    if folder == source_folder or not isinstance(path, str) or is_object_url(path):
        return record
    path = os.path.normpath(os.path.join(source_folder, path))
    with suppress(ValueError):  # another drive
        path = os.path.relpath(path, folder).replace(os.sep, "/")
    return {**record, "path": path}


@frozen
class ResultLine:
    """A line of the results file, decoded.

    Attributes:
        key: ``None`` if the image could not be read, or if the line is not from a batch.
        is_ok: the answer is there and complete.
        is_duplicate: the answer was copied from another line.
        sources: the names of the images.
        record: the whole object.
    """

    key: str | None
    is_ok: bool
    is_duplicate: bool
    sources: tuple[str, ...]
    prompt: str | None
    record: Record

    @property
    def question(self) -> Question:
        """The image and the prompt."""
        return make_question(
            "\0".join(self.sources),
            self.prompt,
            path=_get_text(self.record, "path"),
            source_id=self.record.get("source_id"),
            key=self.key,
        )

    @property
    def row(self) -> LineRow | None:
        """What the index keeps of the line; ``None`` for an answer that is not from a batch."""
        question, record = self.question, self.record
        if not self.is_ok:
            attempts = record.get("incomplete_attempts")
            count = min(max(attempts, 0), MAX_COUNT) if isinstance(attempts, int) else int(is_incomplete(record))
            kind = (DUPLICATE if self.is_duplicate else 0) | (0 if question.path == b"null" else HAS_PATH)
            return LineRow(hash_digest(quote(self.key)), question, kind, count)
        if self.key is None:
            return None
        contents = {_get_text(image, "sha256") for image in record["images"]}
        sha256 = contents.pop() if len(contents) == 1 else None  # of several images
        return make_answer_row(
            question,
            quote(self.key),
            is_duplicate=self.is_duplicate,
            sha256=quote(sha256),
            model=quote(_get_text(record, "model")),
        )


def _get_text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def parse_line(data: bytes) -> ResultLine | None:
    """Parse a line of a results file; ``None`` if it is something else, or damaged."""
    try:
        match json.loads(data):
            case {
                "schema_version": int(),
                "ok": bool(ok),
                "complete": bool(complete),
                "images": list(images),
            } as record:
                key, prompt = record.get("key"), record.get("prompt")
                return ResultLine(
                    key=key if isinstance(key, str) else None,
                    is_ok=ok and complete and _has_content(record),
                    is_duplicate=record.get("duplicate_of") is not None,
                    sources=tuple(str(image["source"]) for image in images),
                    prompt=prompt if isinstance(prompt, str) else None,
                    record=record,
                )
    except (ValueError, RecursionError, KeyError, TypeError):
        pass
    return None


def parse_answer(data: bytes) -> Record | None:
    """Parse an answer about one image, in two thirds of the time of ``parse_line``; ``None`` if it is something else."""
    try:
        record = json.loads(data.decode(errors="surrogatepass"))
        if record["ok"] is record["complete"] is True and isinstance(record["images"][0]["source"], str):
            return record if isinstance(record["key"], str) and len(record["images"]) == 1 else None
    except (ValueError, RecursionError, LookupError, TypeError):
        pass
    return None


def _has_content(record: Record) -> bool:
    return record.get("data") is not None or not is_blank(str(record.get("text") or ""))


def is_torn(tail: bytes) -> bool:
    """Whether this is an incomplete line of a results file; a complete JSON object is never torn."""
    if not (tail.startswith(LINE_START) or LINE_START.startswith(tail)):
        return False
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        return True
    return False


def digest_text(source: str, text: str) -> bytes:
    """Digest a source and a text, ignoring whitespace in the text."""
    return digest(source, "".join(text.split()))


def digest(*texts: str) -> bytes:
    """Digest texts to twelve bytes: among 10⁹ lines, the chance that any two are confused is about 10⁻¹¹."""
    return hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=12).digest()
