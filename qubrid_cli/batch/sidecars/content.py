"""The content of sidecars: an answer, merged into the existing file if there is one. Pure."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable

from ...text import json_text
from .. import entries
from .captions import extract_texts, format_caption
from .choice import ExistingPolicy, SidecarFormat, SidecarOptions
from .xmp import PropertyExistsError, XmpFile
from .xmp_document import NotXmpError


class KeptError(Exception):
    """An existing file must stay as it is; the text is the end of a sentence."""

    def __init__(self, reason: str, hint: str = "Move that file elsewhere.") -> None:
        super().__init__(reason)
        self.hint = hint


class SidecarContent(ABC):
    """The content of the sidecars of one format."""

    def __init__(self, options: SidecarOptions) -> None:
        self._options = options

    def is_complete(self, existing: bytes) -> bool:
        """Whether an existing file has all that an answer can fill; any text and any JSON has.

        Raises:
            KeptError: it cannot be read.
        """
        del existing
        return True

    @abstractmethod
    def check(self, source_name: str, existing: bytes) -> None:
        """Check that an existing file may be changed.

        Raises:
            KeptError: it must stay as it is.
        """

    @abstractmethod
    def update(self, existing: bytes | None, record: entries.Record, policy: ExistingPolicy) -> bytes:
        """Return the new content.

        Args:
            existing: a file that was checked; ``None`` if there is none.

        Raises:
            KeptError: it must stay as it is.
        """


def build_contents(
    options: SidecarOptions, has_text: Callable[[str, str], bool]
) -> dict[SidecarFormat, SidecarContent]:
    """Build the contents of the formats that the options name.

    Args:
        has_text: whether an earlier answer about a source had a text; then a text file with it is ours.
    """
    builders: dict[SidecarFormat, Callable[[], SidecarContent]] = {
        SidecarFormat.TXT: lambda: _TextContent(options, has_text),
        SidecarFormat.JSON: lambda: _JsonContent(options),
        SidecarFormat.XMP: lambda: _XmpContent(options),
    }
    return {sidecar_format: builders[sidecar_format]() for sidecar_format in options.formats}


class _TextContent(SidecarContent):
    """The caption, in one or more lines."""

    def __init__(self, options: SidecarOptions, has_text: Callable[[str, str], bool]) -> None:
        super().__init__(options)
        self._prefix = options.prefix.encode(errors="replace").decode()
        self._has_text = has_text

    def check(self, source_name: str, existing: bytes) -> None:
        text = _decode_text(existing)
        if self._options.existing is ExistingPolicy.FAIL:
            caption = _squeeze(text).removeprefix(_squeeze(self._prefix))  # whitespace does not matter
            if not (self._has_text(source_name, text) or self._has_text(source_name, caption)):
                raise _build_exists_error()

    def update(self, existing: bytes | None, record: entries.Record, policy: ExistingPolicy) -> bytes:
        caption = self._format(record)
        if existing is None or policy is not ExistingPolicy.APPEND:
            return caption.encode(errors="replace") + b"\n"
        text = _decode_text(existing)
        if _squeeze(caption) in _squeeze(text):
            return existing
        if (correction := record.get("correction")) is not None:
            model_caption = self._format({"text": correction["model_text"]})
            if model_caption in text:
                return text.replace(model_caption, caption).encode(errors="replace")
        line_break = "\r\n" if "\r\n" in text else "\n"
        separator = ", " if self._options.one_line else line_break
        before = f"{text.rstrip()}{separator}" if text.strip() else ""
        return f"{before}{caption}{line_break}".encode(errors="replace")

    def _format(self, record: entries.Record) -> str:
        caption = self._prefix + format_caption(record)
        return " ".join(caption.split()) if self._options.one_line else caption


class _JsonContent(SidecarContent):
    """The record."""

    def check(self, source_name: str, existing: bytes) -> None:
        _decode_text(existing)
        if self._options.existing is ExistingPolicy.FAIL:
            line = entries.parse_line(existing)
            names = [] if line is None else [os.path.basename(name) for name in line.sources]
            if names != [os.path.basename(source_name)]:
                raise _build_exists_error()

    def update(self, existing: bytes | None, record: entries.Record, policy: ExistingPolicy) -> bytes:
        del existing, policy
        return json_text(record).encode() + b"\n"


class _XmpContent(SidecarContent):
    """The fields of photo managers."""

    def is_complete(self, existing: bytes) -> bool:
        return _read_xmp(existing).has_all(self._options.fields)

    def check(self, source_name: str, existing: bytes) -> None:
        del source_name
        xmp = _read_xmp(existing)
        if self._options.existing is ExistingPolicy.FAIL:
            try:
                xmp.check(self._options.fields)
            except PropertyExistsError as error:
                raise _build_property_error(error) from error

    def update(self, existing: bytes | None, record: entries.Record, policy: ExistingPolicy) -> bytes:
        texts = extract_texts(record, is_alt_text=self._options.is_alt_text)
        try:
            return _read_xmp(existing).merge(texts, fields=self._options.fields, existing=policy)
        except PropertyExistsError as error:
            raise _build_property_error(error) from error


def _read_xmp(data: bytes | None) -> XmpFile:
    try:
        return XmpFile(data)
    except NotXmpError as error:
        raise KeptError(str(error)) from error


def _decode_text(data: bytes) -> str:
    """Decode a text file; one that is not text may be an image of that name."""
    if b"\0" not in data:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    raise KeptError("cannot be replaced: it is not UTF-8 text")


def _squeeze(text: str) -> str:
    """Remove all whitespace."""
    return "".join(text.split())


def _build_exists_error() -> KeptError:
    return KeptError(
        "already exists, and qvision did not write it",
        "To keep it, add: --existing skip. To overwrite it, add: --existing replace.",
    )


def _build_property_error(error: PropertyExistsError) -> KeptError:
    return KeptError(
        f"already has a {error} that qvision did not write",
        "To keep it and add what is missing, add: --existing skip. To replace it, add: --existing replace.",
    )
