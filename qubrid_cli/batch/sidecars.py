"""Files beside the images that say what is in them: never the images themselves, and no one else's files.

The order matters: ``claim``, ask, add the line to the results, and only then ``write``. A run that is killed before
``write`` makes up for it with ``complete``; one that were killed before the line was there would find a file that
nobody knows as its own, and refuse it.
"""

import os
import re
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from ..errors import ImageError, OutputError, UsageError
from ..files import write_atomic
from ..images.sources import File, Source
from ..output.record import json_text
from . import entries, xmp

#: 16 MiB: no file of this kind is as large.
_MAX_BYTES = 16 << 20


class SidecarFormat(StrEnum):
    """What lies beside ``photo.jpg``: ``photo.txt`` with the text, ``photo.json`` with the record, ``photo.jpg.xmp``."""

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


class Sidecars:
    """The files of a run; any thread may use it. Of each image that has one, it remembers the name, in 150 bytes.

    Args:
        force: write over files that are not ours as well, as long as they are text.
        has_said: whether we are known to have described this source with this text; so a text file is known as ours.
        is_alt: the texts are meant to stand in for the images, so XMP has them as alt text too.
    """

    def __init__(
        self, kind: SidecarFormat, *, force: bool, has_text: Callable[[str, str], bool], is_alt_text: bool = False
    ) -> None:
        self._kind = kind
        self._force = force
        self._has_text = has_text
        self._is_alt_text = is_alt_text
        self._lock = threading.Lock()
        self._owner_by_path: dict[bytes, bytes] = {}

    def claim(self, source: Source) -> None:
        """See that the file of an image can be written, before the image is asked about.

        Raises:
            ImageError: the image is no file, something else is there, or two images would share the file.
        """
        path = _derive_path(source, self._kind)
        name, owner = entries.digest(os.path.abspath(path)), entries.digest(source.name)
        with self._lock:
            if self._owner_by_path.setdefault(name, owner) != owner:
                raise _make_sidecar_error(source, path, "is that of another image of this run", "Give it another name.")
        self._read_replaceable(source, path)

    def write(self, source: Source, record: entries.Record) -> None:
        """Write the file of an image that was claimed.

        Raises:
            ImageError: something else has come there meanwhile.
            OutputError: it could not be written.
        """
        path = _derive_path(source, self._kind)
        try:
            try:
                self._write_if_allowed(source, path, record)
            except FileExistsError:  # another run has written it in this moment, or somebody else has
                self._write_if_allowed(source, path, record)
        except FileExistsError as error:
            raise _error_for_existing_file(source, path) from error
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}", hint="Is the disk full?") from error

    def _write_if_allowed(self, source: Source, path: Path, record: entries.Record) -> None:
        existing = self._read_replaceable(source, path)
        data = self._encode(source, path, existing, record)
        mode = None if existing is None else stat.S_IMODE(path.stat().st_mode)
        # Not synced to the disk: it can be written again from the results file.
        write_atomic(path, data, mode=mode, sync=False, overwrite=existing is not None)

    def write_missing(self, source: Source, record: entries.Record) -> None:
        """Write the file of an image that was described before, where there is none. Raises what ``write`` does."""
        if not os.path.lexists(_derive_path(source, self._kind)):
            self.write(source, record)

    def _read_replaceable(self, source: Source, path: Path) -> bytes | None:
        """What is there; an error where it must not be written over."""
        try:
            existing = _read_existing(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise _make_sidecar_error(source, path, f"cannot be replaced: {reason}", "Put it elsewhere.") from error
        if existing is None:
            if not os.access(path.parent, os.W_OK):
                raise _make_sidecar_error(source, path, "cannot be written", "Check the permissions of the folder.")
        elif self._kind is SidecarFormat.XMP:
            self._merge_xmp(source, path, existing, xmp.XmpMetadata("", alt_text="" if self._is_alt_text else None))
        elif not (self._force or self._is_ours(source, existing)):
            raise _error_for_existing_file(source, path)
        return existing

    def _is_ours(self, source: Source, existing: bytes) -> bool:
        if self._kind is SidecarFormat.TXT:
            return self._has_text(source.name, existing.decode())
        place = entries.parse_line(existing)
        return place is not None and [*map(os.path.basename, place.sources)] == [os.path.basename(source.name)]

    def _encode(self, source: Source, path: Path, existing: bytes | None, record: entries.Record) -> bytes:
        caption = entries.format_caption(record)
        match self._kind:
            case SidecarFormat.TXT:
                return caption.encode(errors="replace") + b"\n"
            case SidecarFormat.JSON:
                return json_text(record).encode() + b"\n"
            case SidecarFormat.XMP:
                alt = caption if self._is_alt_text else None
                said = xmp.XmpMetadata(caption, alt_text=alt, tags=entries.extract_tags(record))
                return self._merge_xmp(source, path, existing, said)
            case _:
                assert_never(self._kind)

    def _merge_xmp(self, source: Source, path: Path, existing: bytes | None, metadata: xmp.XmpMetadata) -> bytes:
        try:
            return xmp.merge(existing, metadata, force=self._force)
        except xmp.PropertyExistsError as error:
            if error.is_tags:  # the user's own keywords stay
                return self._merge_xmp(source, path, existing, replace(metadata, tags=()))
            reason = f"has a {error} already, which was not written here"
            raise _make_sidecar_error(source, path, reason, "With --force it is replaced.") from error
        except xmp.NotXmpError as error:
            raise _make_sidecar_error(source, path, str(error), "Put it elsewhere.") from error


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse, before anything is asked, images beside which nothing can lie.

    Raises:
        UsageError: standard input, or an image on the web or in the argument itself.
    """
    for argument in arguments:
        if argument == "-" or re.match("(https?|data):", argument, re.IGNORECASE):
            raise UsageError(
                f"--sidecar has no place for a file beside {'standard input' if argument == '-' else argument[:200]}",
                hint="Leave out --sidecar, or save the image to a file first.",
            )


def _derive_path(source: Source, kind: SidecarFormat) -> Path:
    if not isinstance(source, File):
        raise ImageError(
            f"{source.name} is no file that a sidecar could lie beside", hint="Leave out --sidecar.", code="sidecar"
        )
    name = os.fspath(source.path)
    path = Path(f"{name}.xmp" if kind is SidecarFormat.XMP else f"{os.path.splitext(name)[0]}.{kind}")
    with suppress(OSError):
        if os.path.samefile(path, source.path):
            raise _make_sidecar_error(source, path, "is the image itself", "Give the image another name.")
    return path


def _read_existing(path: Path) -> bytes | None:
    """The text that is there, if anything is.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else than a file of text, such as an image of that name.
    """
    if not os.path.lexists(path):
        return None
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES or b"\0" in data:
        raise ValueError("it is no text")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ValueError("it is no text in UTF-8") from error
    return data


def _error_for_existing_file(source: Source, path: Path) -> ImageError:
    return _make_sidecar_error(
        source, path, "is there already, and was not written here", "With --force it is replaced."
    )


def _make_sidecar_error(source: Source, path: Path, reason: str, hint: str) -> ImageError:
    return ImageError(f"{source.name} has no place for its sidecar: {path} {reason}", hint=hint, code="sidecar")
