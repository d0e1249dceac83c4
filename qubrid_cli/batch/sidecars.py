"""Sidecars: files next to the images that hold their answers. Images and files of other origin are never overwritten.

The order matters: ``claim``, request, append the line to the results file, and only then ``write``. If a run is killed
before ``write``, the next one makes up for it with ``write_missing``. A sidecar that was written before its line would
look like a file of other origin to the next run, and be refused.
"""

import os
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
from ..images.sources import DocumentPage, File, Source
from ..output.record import json_text
from . import entries, xmp
from .inputs import Task, resolve_source

#: 16 MiB; no sidecar is this large.
_MAX_BYTES = 16 << 20


class SidecarFormat(StrEnum):
    """The sidecar of ``photo.jpg``: ``photo.txt`` with the text, ``photo.json`` with the record, or ``photo.jpg.xmp``.

    Page 3 of ``scan.pdf`` has ``scan.pdf-3.txt``, ``scan.pdf-3.json`` or ``scan.pdf-3.xmp``.
    """

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


class Sidecars:
    """The sidecars of a run; its methods may be called from any thread. Each claim takes about 150 bytes of memory.

    Args:
        force: also overwrite files of other origin, if they are text.
        has_text: whether an earlier answer about this source had this text; then a text file with it is ours.
        is_alt_text: write the text to XMP as alt text too.
    """

    def __init__(
        self,
        sidecar_format: SidecarFormat,
        *,
        force: bool,
        has_text: Callable[[str, str], bool],
        is_alt_text: bool = False,
    ) -> None:
        self._format = sidecar_format
        self._force = force
        self._has_text = has_text
        self._is_alt_text = is_alt_text
        self._lock = threading.Lock()
        self._owner_by_path: dict[bytes, bytes] = {}

    def claim(self, source: Source) -> None:
        """Check that the sidecar of an image can be written, before the request is sent.

        Raises:
            ImageError: the image is not a file, the sidecar must not be overwritten, or another image claimed it.
        """
        path = self._derive_path(source)
        path_id, owner = entries.digest(os.path.abspath(path)), entries.digest(source.name)
        with self._lock:
            if self._owner_by_path.setdefault(path_id, owner) != owner:
                raise _build_error(source, path, "is the sidecar of another image of this run", "Rename one of them.")
        self._read_replaceable(source, path)

    def write(self, source: Source, record: entries.Record) -> None:
        """Write the sidecar of an image that was claimed.

        Raises:
            ImageError: a file of other origin has been created there meanwhile.
            OutputError: the sidecar could not be written.
        """
        path = self._derive_path(source)
        try:
            with suppress(FileExistsError):  # it was created this very moment: by another run, or not by us
                return self._write_if_allowed(source, path, record)
            self._write_if_allowed(source, path, record)
        except FileExistsError as error:
            raise _build_exists_error(source, path) from error
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}", hint="Is the disk full?") from error

    def write_missing(self, source: Source, record: entries.Record) -> None:
        """Write the sidecar of an image that an earlier run described, unless it exists.

        Raises:
            ImageError, OutputError: as ``write`` does.
        """
        if not os.path.lexists(self._derive_path(source)):
            self.write(source, record)

    def _derive_path(self, source: Source) -> Path:
        document = source.document if isinstance(source, DocumentPage) else source
        if not isinstance(document, File):
            message = f"{source.name} is not a file, so it cannot have a sidecar"
            raise ImageError(message, hint="Leave out --sidecar.", code="sidecar")
        image = os.fspath(document.path)
        stem = image if self._format is SidecarFormat.XMP else os.path.splitext(image)[0]
        if isinstance(source, DocumentPage):
            stem = f"{image}-{source.number}"
        path = Path(f"{stem}.{self._format}")
        with suppress(OSError):
            if os.path.samefile(path, image):
                raise _build_error(source, path, "is the image itself", "Rename the image.")
        return path

    def _write_if_allowed(self, source: Source, path: Path, record: entries.Record) -> None:
        existing = self._read_replaceable(source, path)
        data = self._encode(source, path, existing, record)
        mode = None if existing is None else stat.S_IMODE(path.stat().st_mode)
        # Not synced to the disk: it can be written again from the results file.
        write_atomic(path, data, mode=mode, sync=False, overwrite=existing is not None)

    def _read_replaceable(self, source: Source, path: Path) -> bytes | None:
        """Read an existing sidecar; ``None`` if there is none.

        Raises:
            ImageError: it must not be overwritten, or cannot be created.
        """
        try:
            existing = _read_text(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise _build_error(source, path, f"cannot be replaced: {reason}", "Move that file elsewhere.") from error
        if existing is None:
            if not os.access(path.parent, os.W_OK):
                raise _build_error(source, path, "cannot be written", "Check the permissions of the folder.")
        elif self._format is SidecarFormat.XMP:
            alt_text = "" if self._is_alt_text else None
            self._merge_xmp(source, path, existing, xmp.XmpMetadata("", alt_text=alt_text))
        elif not (self._force or self._is_ours(source, existing)):
            raise _build_exists_error(source, path)
        return existing

    def _is_ours(self, source: Source, existing: bytes) -> bool:
        if self._format is SidecarFormat.TXT:
            return self._has_text(source.name, existing.decode())
        line = entries.parse_line(existing)
        return line is not None and [*map(os.path.basename, line.sources)] == [os.path.basename(source.name)]

    def _encode(self, source: Source, path: Path, existing: bytes | None, record: entries.Record) -> bytes:
        caption = entries.format_caption(record)
        match self._format:
            case SidecarFormat.TXT:
                return caption.encode(errors="replace") + b"\n"
            case SidecarFormat.JSON:
                return json_text(record).encode() + b"\n"
            case SidecarFormat.XMP:
                alt_text = caption if self._is_alt_text else None
                metadata = xmp.XmpMetadata(caption, alt_text=alt_text, tags=entries.extract_tags(record))
                return self._merge_xmp(source, path, existing, metadata)
            case _:
                assert_never(self._format)

    def _merge_xmp(self, source: Source, path: Path, existing: bytes | None, metadata: xmp.XmpMetadata) -> bytes:
        try:
            return xmp.merge(existing, metadata, force=self._force)
        except xmp.PropertyExistsError as error:
            if error.is_tags:  # the user's own keywords stay
                return self._merge_xmp(source, path, existing, replace(metadata, tags=()))
            reason = f"already has a {error} that qvision did not write"
            raise _build_error(source, path, reason, "To replace it, use --force.") from error
        except xmp.NotXmpError as error:
            raise _build_error(source, path, str(error), "Move that file elsewhere.") from error


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse images that cannot have a sidecar, before any request is sent.

    Raises:
        UsageError: standard input, a link or a ``data:`` URL.
    """
    for argument in arguments:
        source = None if argument == "-" else resolve_source(Task(1, argument))
        if not isinstance(source.document if isinstance(source, DocumentPage) else source, File):
            name = "standard input" if source is None else source.name
            raise UsageError(
                f"--sidecar writes files next to image files, but {name} is not a file",
                hint="Leave out --sidecar, or save the image to a file first.",
            )


def _read_text(path: Path) -> bytes | None:
    """Read a text file; ``None`` if it does not exist.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a text file, but for example an image of that name.
    """
    if not os.path.lexists(path):
        return None
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES or b"\0" in data:
        raise ValueError("it is not text")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    return data


def _build_exists_error(source: Source, path: Path) -> ImageError:
    return _build_error(source, path, "already exists, and qvision did not write it", "To replace it, use --force.")


def _build_error(source: Source, path: Path, reason: str, hint: str) -> ImageError:
    return ImageError(f"cannot write the sidecar of {source.name}: {path} {reason}", hint=hint, code="sidecar")
