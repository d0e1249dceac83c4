"""A folder on a disk, perhaps one that several machines share.

An object is created by giving its file a second name, which fails if the name exists, and replaced by renaming; both are
atomic on the file systems of one machine, over NFS and over SMB. A lock file keeps two writers from the same name.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import MissingObjectError, OutputError, StorageError
from ..files import file_lock, open_atomic, write_atomic
from .folder import StoredItem, StoredObject, Version, join_name, too_large_error


class LocalFolder:
    """A folder on a disk; see ``Folder``."""

    def __init__(self, path: str) -> None:
        self.url = os.path.join(path, "")

    def __reduce__(self) -> tuple[type["LocalFolder"], tuple[str]]:
        """Pickle the path."""
        return LocalFolder, (self.url,)

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """See ``Folder``."""
        with self.open(name) as file, self._translate_reading(name):
            data = file.read() if max_bytes is None else file.read(max_bytes + 1)
        if max_bytes is not None and len(data) > max_bytes:
            raise too_large_error(self.url + name, max_bytes)
        return data

    def read_versioned(self, name: str) -> StoredObject:
        """See ``Folder``."""
        data = self.read(name)
        return StoredObject(data, _compute_version(data))

    def open(self, name: str) -> BinaryIO:
        """See ``Folder``."""
        with self._translate_reading(name):
            return open(self._locate(name), "rb")

    def find_version(self, name: str) -> Version | None:
        """See ``Folder``."""
        with suppress(MissingObjectError):
            return self.read_versioned(name).version
        return None

    def exists(self, name: str) -> bool:
        """See ``Folder``."""
        return os.path.exists(self._locate(name))

    def put(self, name: str, data: bytes) -> Version:
        """See ``Folder``."""
        with self._lock(name) as path:
            write_atomic(path, data)
        return _compute_version(data)

    def upload(self, name: str, path: Path) -> None:
        """See ``Folder``."""
        with self._lock(name) as target, open(path, "rb") as source, open_atomic(target) as file:
            shutil.copyfileobj(source, file)

    def create(self, name: str, data: bytes) -> Version | None:
        """See ``Folder``."""
        version = _compute_version(data)
        try:
            with self._lock(name) as path:
                if not path.exists():
                    write_atomic(path, data, overwrite=False)
                    return version
        except FileExistsError:  # created by a writer that does not see the lock
            pass
        return version if self.find_version(name) == version else None

    def update(self, name: str, data: bytes, version: Version) -> Version | None:
        """See ``Folder``."""
        new_version = _compute_version(data)
        with self._lock(name) as path:
            current = self.find_version(name)
            if current == version:
                write_atomic(path, data)
            return new_version if current in (version, new_version) else None

    def delete(self, name: str) -> None:
        """See ``Folder``."""
        with suppress(FileNotFoundError), self._translate_writing(name):
            os.unlink(self._locate(name))

    def list(self, prefix: str = "") -> Iterator[StoredItem]:
        """See ``Folder``."""
        folders = [prefix]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(os.path.join(self.url, folder)) as scan:
                    for entry in scan:
                        if entry.name.startswith("."):  # a lock, or a file that is being written
                            continue
                        if entry.is_dir():
                            folders.append(f"{folder}{entry.name}/")
                        else:
                            with suppress(FileNotFoundError):  # deleted meanwhile
                                yield StoredItem(folder + entry.name, entry.stat().st_size)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _reading_error(os.path.join(self.url, folder), error) from error

    def _locate(self, name: str) -> Path:
        return Path(join_name(self.url, name))

    @contextmanager
    def _lock(self, name: str) -> Iterator[Path]:
        """Create the folder of a file, and lock the file for writing; exceptions are translated."""
        path = self._locate(name)
        with self._translate_writing(name):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError as error:
                raise OutputError(
                    f"cannot write {path}: {path.parent} is a file", hint="Name another folder."
                ) from error
            with file_lock(path):
                yield path

    @contextmanager
    def _translate_reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingObjectError(f"there is no file {self.url}{name}", hint="Check the name.") from error
        except OSError as error:
            raise _reading_error(self.url + name, error) from error

    @contextmanager
    def _translate_writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, FileNotFoundError):  # the caller handles them
            raise
        except OSError as error:
            hint = "Check the permissions of the folder, and the space on the disk."
            raise OutputError(f"cannot write {self.url}{name}: {error.strerror}", hint=hint) from error


def _reading_error(path: str, error: OSError) -> StorageError:
    return StorageError(f"cannot read {path}: {error.strerror}", hint="Check its permissions.")


def _compute_version(data: bytes) -> Version:
    return Version(hashlib.blake2b(data, digest_size=16).hexdigest())
