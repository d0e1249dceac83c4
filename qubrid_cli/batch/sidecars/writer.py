"""Write sidecars. Images are never changed, and files of other origin only as ``ExistingPolicy`` says.

The order matters: ``claim``, request, append the line to the results file, and only then ``write``. If a run is killed
before ``write``, the next one calls ``write_missing``. If a sidecar was written before its line, the next run would take
it for a file of other origin, and refuse to change it.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ...errors import ImageError, OutputError
from ...files import write_atomic
from ...images.sources import DocumentPage, Source
from ...text import quote_name
from .. import entries
from ..results.corrections import Corrections, apply_correction
from .choice import ExistingPolicy, SidecarFormat, SidecarOptions, find_file
from .content import KeptError, SidecarContent, build_contents

#: 16 MiB; no sidecar is this large.
_MAX_BYTES = 16 << 20
#: Errors of a full disk, which affect the sidecars of all other images too.
_FULL_DISK_ERRNOS = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Sidecars:
    """The sidecars of a run; its methods may be called from any thread. Each claim takes about 150 bytes of memory.

    Args:
        has_text: whether an earlier answer about this source had this text; then a text file with it is ours.
        corrections: replace answers, or keep them from being written.
    """

    def __init__(
        self,
        options: SidecarOptions,
        *,
        has_text: Callable[[str, str], bool],
        corrections: Corrections | None = None,
    ) -> None:
        self._options = options
        self._corrections = corrections = corrections or Corrections()
        self._contents = build_contents(
            options, lambda name, text: has_text(name, text) or corrections.has_text(name, text)
        )
        self._lock = threading.Lock()
        self._owner_by_path: dict[bytes, bytes] = {}

    def may_skip_request(self, source: Source) -> bool:
        """Whether an image needs no answer, because existing sidecars are skipped and it has all of them."""
        if self._options.existing is not ExistingPolicy.SKIP or find_file(source) is None:
            return False
        paths, owner = self._derive_paths(source), entries.digest(source.name)
        return all(self._find_owner(path, owner) == owner for path in paths.values()) and self._are_complete(paths)

    def may_skip_recorded(self, source: Source) -> bool:
        """Whether an image whose answer is in the results file needs no ``write_missing``."""
        is_changing = self._options.existing in {ExistingPolicy.APPEND, ExistingPolicy.REPLACE}
        is_changing = is_changing or self._corrections.may_concern(source.name)
        return not is_changing and self._are_complete(self._derive_paths(source))

    @property
    def has_corrections(self) -> bool:
        """Whether records must have their keys, by which corrections are found."""
        return bool(self._corrections)

    def _are_complete(self, paths: Mapping[SidecarFormat, Path]) -> bool:
        return all(_is_complete(self._contents[kind], path) for kind, path in paths.items())

    def claim(self, source: Source) -> None:
        """Check that the sidecars of an image can be written, before the request is sent.

        Raises:
            ImageError: the image is not a file, a sidecar must not be changed, or another image has claimed it.
        """
        owner = entries.digest(source.name)
        for kind, path in self._derive_paths(source).items():
            with self._lock:
                if self._owner_by_path.setdefault(_digest_path(path), owner) != owner:
                    raise _build_shared_error(source, kind, path)
            try:
                self._check(source, kind, path)
            except (KeptError, OSError) as error:
                raise _build_error(source, path, error) from error

    def write(self, source: Source, record: entries.Record) -> None:
        """Write the sidecars of an image that was claimed. If one cannot be written, the others still are.

        Raises:
            ImageError: a sidecar could not be written, for example because a file was created there in the meantime.
            OutputError: the disk is full.
        """
        correction = self._corrections.find(record)
        if correction is None or not correction.is_bad:
            record = record if correction is None else apply_correction(record, correction)
            self._write_all(source, record, lambda _kind, _path: self._options.existing)

    def write_missing(self, source: Source, record: entries.Record) -> None:
        """Write the sidecars of an image that an earlier run described, unless they exist.

        If the policy is to append to existing files, or to replace them, this applies only to files that were last changed
        before the answer came: a newer file was written by this program, or corrected by a person. If the answer was
        corrected, the time of the correction counts instead, and files that this program wrote are replaced too.

        Raises:
            ImageError, OutputError: as ``write`` does.
        """
        correction = self._corrections.find_last(record)
        if correction is None:
            created = record.get("created")
            self._write_all(source, record, lambda _kind, path: self._choose_policy(path, created))
        elif not correction.is_bad:
            record = record if correction.is_empty else apply_correction(record, correction)
            name, created = source.name, correction.created
            self._write_all(
                source, record, lambda kind, path: self._choose_policy_for_correction(name, kind, path, created)
            )

    def _choose_policy(self, path: Path, created: object) -> ExistingPolicy:
        """Choose what happens to the sidecar of an answer that an earlier run received."""
        is_old = self._options.existing is not ExistingPolicy.FAIL and _is_older(path, created)
        return self._options.existing if is_old else ExistingPolicy.SKIP

    def _choose_policy_for_correction(
        self, name: str, kind: SidecarFormat, path: Path, created: object
    ) -> ExistingPolicy:
        """Choose what happens to the sidecar of an answer that a person has corrected since.

        Raises:
            KeptError: it is older than the correction, and must stay as it is.
        """
        if self._options.existing is not ExistingPolicy.FAIL or not os.path.lexists(path):
            return self._choose_policy(path, created)
        try:
            self._contents[kind].check(name, _read(path))
        except KeptError:
            if _is_older(path, created):
                raise
            return ExistingPolicy.SKIP
        return ExistingPolicy.FAIL

    def _derive_paths(self, source: Source) -> dict[SidecarFormat, Path]:
        if (image := find_file(source)) is None:
            message = f"{quote_name(source.name)} is not a file, so it cannot have a sidecar"
            raise ImageError(message, hint="Leave out --sidecar.", code="sidecar")
        page = source.number if isinstance(source, DocumentPage) else None
        paths = {kind: self._options.derive_path(kind, image, page) for kind in self._options.formats}
        for path in paths.values():
            with suppress(OSError):
                if os.path.samefile(path, image):
                    raise _build_error(source, path, KeptError("is the image itself", "Rename the image."))
        return paths

    def _find_owner(self, path: Path, default: bytes) -> bytes:
        """Return the image that has claimed a sidecar."""
        with self._lock:
            return self._owner_by_path.get(_digest_path(path), default)

    def _check(self, source: Source, kind: SidecarFormat, path: Path) -> None:
        is_skipped = self._options.existing is ExistingPolicy.SKIP
        if is_skipped and _is_complete(self._contents[kind], path):
            return
        if os.path.lexists(path) and not is_skipped:
            self._contents[kind].check(source.name, _read(path))
        if not os.access(path.parent, os.W_OK):
            raise KeptError("cannot be written", "Check the permissions of the folder.")

    def _write_all(
        self,
        source: Source,
        record: entries.Record,
        choose_policy: Callable[[SidecarFormat, Path], ExistingPolicy],
    ) -> None:
        errors: list[ImageError] = []
        for kind, path in self._derive_paths(source).items():
            try:
                with suppress(FileExistsError):  # another program has created it since the check
                    self._write(source, kind, path, record, choose_policy(kind, path))
                    continue
                self._write(source, kind, path, record, choose_policy(kind, path))
            except (KeptError, OSError) as error:
                if isinstance(error, OSError) and error.errno in _FULL_DISK_ERRNOS:
                    raise OutputError(
                        f"cannot write {quote_name(path)}: {error.strerror}", hint="Is the disk full?"
                    ) from error
                errors.append(_build_error(source, path, error))
        if errors:
            raise errors[0]

    def _write(
        self, source: Source, kind: SidecarFormat, path: Path, record: entries.Record, policy: ExistingPolicy
    ) -> None:
        content, existing = self._contents[kind], None
        if os.path.lexists(path):
            if policy is ExistingPolicy.SKIP and _is_complete(content, path):
                return
            existing = _read(path)
            if policy is not ExistingPolicy.SKIP:
                content.check(source.name, existing)
        data = content.update(existing, record, policy)
        if data != existing:
            mode = None if existing is None else stat.S_IMODE(path.stat().st_mode)
            # Not synced to the disk: it can be written again from the results file.
            write_atomic(path, data, mode=mode, sync=False, overwrite=existing is not None)


def _is_complete(content: SidecarContent, path: Path) -> bool:
    """Whether a sidecar exists and nothing can be added to it."""
    if not os.path.lexists(path):
        return False
    try:
        return content.is_complete(_read(path))
    except (KeptError, OSError):  # it cannot be changed, so it is left alone
        return True


def _is_older(path: Path, created: object) -> bool:
    """Whether a file was last changed before an answer came; false if that is not known."""
    try:
        return path.lstat().st_mtime < datetime.fromisoformat(str(created)).timestamp()
    except (OSError, ValueError, OverflowError):
        return False


def _read(path: Path) -> bytes:
    """Read an existing sidecar.

    Raises:
        KeptError: it is not a file that could be replaced.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise KeptError("cannot be replaced: it is not a regular file")
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise KeptError("cannot be replaced: it is too large for a sidecar")
    return data


def _digest_path(path: Path) -> bytes:
    return entries.digest(os.path.abspath(path))


def _build_shared_error(source: Source, kind: SidecarFormat, path: Path) -> ImageError:
    option = "--xmp-name {name}.xmp" if kind is SidecarFormat.XMP else "--append-suffix"
    error = KeptError("is the sidecar of another image of this run", f"Rename one of the images, or add: {option}")
    return _build_error(source, path, error)


def _build_error(source: Source, path: Path, error: KeptError | OSError) -> ImageError:
    if isinstance(error, OSError):
        error = KeptError(f"cannot be written: {error.strerror}", "Check the permissions of the folder.")
    message = f"cannot write the sidecar of {quote_name(source.name)}: {quote_name(path)} {error}"
    return ImageError(message, hint=error.hint, code="sidecar")
