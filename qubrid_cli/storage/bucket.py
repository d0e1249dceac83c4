"""A folder in a bucket of S3, Google Cloud Storage, Azure or a compatible server, reached with obstore."""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from ..errors import MissingObjectError, QvisionError, StorageError
from ..operating_system import call_interruptibly
from .connection import open_store, parse_url
from .errors import translate_errors
from .folder import RangeFile, StorageOptions, StoredItem, StoredObject, Version, join_name, too_large_error

if TYPE_CHECKING:
    from obstore import GetOptions

#: Bytes that are read at once from a stream.
_CHUNK_SIZE = 1 << 20
#: Bytes of each request of an upload, which may have 10,000 of them.
_UPLOAD_CHUNK_SIZE = 16 << 20
#: Entries of a list that are yielded at once; a server sends a thousand at a time.
_LIST_CHUNK = 100

_Result = TypeVar("_Result")


class BucketFolder:
    """A folder in a bucket; see ``Folder``.

    Args:
        url: such as ``s3://bucket/run1/``.

    Raises:
        ConfigError: the URL is invalid, or the endpoint or the credentials cannot be used.
    """

    def __init__(self, url: str, options: StorageOptions) -> None:
        self._parsed_url = parse_url(url)
        self._options = options
        self.url = self._parsed_url.folder_url
        self._store, self._bucket = open_store(self._parsed_url, options)

    def __reduce__(self) -> tuple[type["BucketFolder"], tuple[str, StorageOptions]]:
        """Pickle the URL and the options, but no credentials."""
        return BucketFolder, (self.url, self._options)

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """See ``Folder``."""
        return self._read(name, max_bytes).data

    def read_versioned(self, name: str) -> StoredObject:
        """See ``Folder``."""
        return self._read(name)

    def _read(self, name: str, max_bytes: int | None = None) -> StoredObject:
        with translate_errors(self._bucket, join_name(self.url, name)):
            result = _call(obstore.get, self._store, self._get_key(name))
            if max_bytes is not None and result.meta["size"] > max_bytes:
                raise too_large_error(self.url + name, max_bytes)
            return StoredObject(bytes(_call(result.bytes)), _get_version(result.meta))

    def open(self, name: str) -> BinaryIO:
        """See ``Folder``."""
        with translate_errors(self._bucket, join_name(self.url, name)):
            chunks = iter(_call(obstore.get, self._store, self._get_key(name)).stream(_CHUNK_SIZE))
        return io.BufferedReader(_ChunkReader(self._translate_chunks(chunks, name)), _CHUNK_SIZE)

    def open_ranges(self, name: str) -> RangeFile:
        """Open an object as a file that requests only the parts that are read.

        Raises:
            MissingObjectError: there is no such object.
            StorageError: it cannot be read, or has changed since it was opened; also while it is read.
        """
        try:
            with translate_errors(self._bucket, join_name(self.url, name)):
                meta = _call(obstore.head, self._store, self._get_key(name))
        except QvisionError:
            self._read_range(name, None, 0, 1)  # its response says why; that to HEAD has no body
            raise
        return RangeFile(meta["size"], _get_version(meta), partial(self._read_range, name, meta["e_tag"]))

    def _read_range(self, name: str, etag: str | None, start: int, end: int) -> bytes:
        options: GetOptions = {"range": (start, end)}
        if etag is not None:
            options["if_match"] = etag
        with translate_errors(self._bucket, self.url + name):
            try:
                result = _call(obstore.get, self._store, self._get_key(name), options=options)
                return bytes(_call(result.bytes))
            except PreconditionError as error:
                raise StorageError(
                    f"{self.url}{name} has changed while it was read",
                    hint="Run the same command again.",
                    code="changed",
                ) from error

    def find_version(self, name: str) -> Version | None:
        """See ``Folder``."""
        with suppress(MissingObjectError), translate_errors(self._bucket, join_name(self.url, name)):
            return _get_version(_call(obstore.head, self._store, self._get_key(name)))
        return None

    def exists(self, name: str) -> bool:
        """See ``Folder``."""
        return self.find_version(name) is not None

    def put(self, name: str, data: bytes) -> Version:
        """See ``Folder``."""
        return self._put(name, data, "overwrite")

    def upload(self, name: str, path: Path) -> None:
        """See ``Folder``."""
        with translate_errors(self._bucket, join_name(self.url, name), is_writing=True):
            _call(obstore.put, self._store, self._get_key(name), path, chunk_size=_UPLOAD_CHUNK_SIZE)

    def create(self, name: str, data: bytes) -> Version | None:
        """See ``Folder``."""
        try:
            return self._put(name, data, "create")
        except (AlreadyExistsError, PreconditionError):
            return self._find_same(name, data)

    def update(self, name: str, data: bytes, version: Version) -> Version | None:
        """See ``Folder``."""
        parts = {"e_tag": version.etag, "version": version.number}  # obstore does not accept None
        try:
            return self._put(name, data, {key: value for key, value in parts.items() if value is not None})
        except (AlreadyExistsError, PreconditionError):
            return self._find_same(name, data)

    def delete(self, name: str) -> None:
        """See ``Folder``."""
        with suppress(MissingObjectError), translate_errors(self._bucket, join_name(self.url, name), is_writing=True):
            _call(obstore.delete, self._store, self._get_key(name))

    def list(self, prefix: str = "") -> Iterator[StoredItem]:
        """See ``Folder``."""
        root = self._parsed_url.key + prefix
        pages = iter(obstore.list(self._store, root or None, chunk_size=_LIST_CHUNK))
        while True:
            with translate_errors(self._bucket, self.url + prefix):
                page = _call(next, pages, None)
            if page is None:
                return
            for entry in page:
                if entry["path"].startswith(root):
                    yield StoredItem(
                        entry["path"].removeprefix(self._parsed_url.key), entry["size"], _get_version(entry)
                    )

    def _get_key(self, name: str) -> str:
        return self._parsed_url.key + name

    def _put(self, name: str, data: bytes, mode: Any) -> Version:
        key = self._get_key(name)
        with translate_errors(self._bucket, join_name(self.url, name), is_writing=True):
            try:  # in one request, because an upload in parts cannot be conditional
                return _get_version(_call(obstore.put, self._store, key, data, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError) as error:
                conflict = error
        raise conflict  # here, so that it is not translated

    def _find_same(self, name: str, data: bytes) -> Version | None:
        """The version of an object if it has these bytes; otherwise ``None``."""
        with suppress(MissingObjectError):
            stored = self.read_versioned(name)
            return stored.version if stored.data == data else None
        return None

    def _translate_chunks(self, chunks: Iterator[Any], name: str) -> Iterator[bytes]:
        while True:
            with translate_errors(self._bucket, self.url + name):
                chunk = _call(next, chunks, None)
            if chunk is None:
                return
            yield bytes(chunk)


class _ChunkReader(io.RawIOBase):
    """A file whose content comes in chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._unread = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unread:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._unread = memoryview(chunk)
        size = min(len(buffer), len(self._unread))
        buffer[:size] = self._unread[:size]
        self._unread = self._unread[size:]
        return size


def _get_version(meta: Any) -> Version:
    return Version(cast("str | None", meta["e_tag"]), cast("str | None", meta["version"]))


def _call(function: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
    """Call a function of obstore, so that Ctrl-C interrupts it: on every system it waits without noticing signals."""
    return call_interruptibly(partial(function, *arguments, **options), is_windows=True)
