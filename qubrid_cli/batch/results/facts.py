"""What the line of an answer says of its image: of most lines without decoding their JSON, which takes three times as long."""

import re
from typing import NamedTuple

from .. import entries
from .lines import Question, quote, quote_id

#: Lines that are decoded before the first one is read by the pattern, because compiling it takes as long.
_DECODED_FIRST = 300


class AnswerFacts(NamedTuple):
    """What the line of an answer says of its image; texts are as in ``lines.Question``.

    Attributes:
        version: what the file was when it was read; see ``inputs.Task``.
    """

    source: bytes
    sha256: bytes
    key: bytes
    source_id: bytes
    path: bytes
    version: bytes

    def is_about(self, question: Question) -> bool:
        """Whether a line with the tag of a question is about its image."""
        return (self.path, self.source_id) == (question.path, question.source_id) and (
            self.path != b"null" or self.source == question.source
        )


def build_pattern() -> bytes:
    """A pattern of the lines that ``entries.encode_line`` writes. All that it matches is valid JSON."""
    name = rb'"[^"\\\x00-\x1f]*+"'  # without escapes; a line that has others than these is decoded
    text = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
    number = rb"-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][-+]?\d++)?+"
    value = rb"(?:%b|%b|null|true|false)" % (name, number)

    def build_object(inner: bytes) -> bytes:
        return rb"\{(?:%b:%b(?:,%b:%b)*+)?+\}" % (name, inner, name, inner)

    flat = build_object(value)
    nested = build_object(rb"(?:%b|%b)" % (value, flat))
    flat_list = rb"\[(?:%b(?:,%b)*+)?+\]" % (value, value)
    patterns = {
        "schema_version": rb"1", "ok": rb"true", "complete": rb"true",
        "finish_reason": value, "id": value, "model": value, "prompt": rb"(?:%b|null)" % text,
        "source": rb"(%b)" % name, "sha256": rb"(%b)" % name,
        "format": value, "width": value, "height": value, "bytes": value, "page": value,
        "sent": rb"(?:null|\{%b:%b(?:,%b:(?:%b|%b))*+\})" % (name, value, name, value, flat_list),
        "text": text, "data": rb"(?:null|%b)" % nested, "reasoning": rb"(?:null|%b)" % text,
        "usage": rb"(?:null|%b)" % nested, "x_metrics": rb"(?:null|%b)" % flat, "timing": flat,
        "cost": rb"(?:null|%b)" % flat, "warnings": flat_list, "error": rb"null", "request": rb"(?:null|%b)" % nested,
        "created": name, "index": number, "key": rb"(%b)" % name, "attempts": number,
        "source_id": rb"(%b|null|0|-?[1-9]\d*+)" % name, "duplicate_of": value,
        "path": rb"(%b|null)" % name, "version": rb"(%b|null)" % name, "incomplete_attempts": number,
        "row": rb"(?:null|%b)" % flat,
    }  # fmt: skip
    members = {key: rb'"%b":%b' % (key.encode(), pattern) for key, pattern in patterns.items()}
    image = ("source", "sha256", "format", "width", "height", "bytes", "page", "sent")
    before, after = (list(members)[:7], list(members)[15:])
    return rb'\{%b,"images":\[\{%b\}\],%b\}\r?' % tuple(
        b",".join(members[key] for key in keys) for keys in (before, image, after)
    )


class FactsReader:
    """Reads what lines say.

    Args:
        decoded_first: lines that are decoded before the pattern is compiled.
    """

    def __init__(self, decoded_first: int = _DECODED_FIRST) -> None:
        self._decoded_first = decoded_first
        self._count = 0
        self._pattern: re.Pattern[bytes] | None = None

    def read(self, line: bytes) -> AnswerFacts | None:
        """Read what an answer about one image says; ``None`` if the line is something else, or damaged."""
        self._count += 1
        if self._count <= self._decoded_first:
            return decode(line)
        self._pattern = self._pattern or re.compile(build_pattern())
        match = self._pattern.fullmatch(line)
        return AnswerFacts(*match.groups()) if match and _is_utf8(line) else decode(line)


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode(line: bytes) -> AnswerFacts | None:
    """Read the same by decoding the line."""
    record = entries.parse_answer(line)
    if record is None:
        return None
    texts = (record["images"][0].get("sha256"), record["key"], record.get("path"), record.get("version"))
    sha256, key, path, version = (quote(text if isinstance(text, str) else None) for text in texts)
    return AnswerFacts(
        quote(record["images"][0]["source"]), sha256, key, quote_id(record.get("source_id")), path, version
    )
