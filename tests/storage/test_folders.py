"""Folders on a disk and in a bucket of a real server: the same tests for both."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pytest

from qubrid_cli.errors import MissingObjectError, OutputError, StorageError
from qubrid_cli.storage.folder import Folder
from qubrid_cli.storage.opening import open_folder
from qubrid_cli.urls import is_object_url
from tests.support.buckets import Bucket, environment_for
from tests.support.server import Asked, Reply, Server

NAMES = ["a.txt", "in/a/folder.jsonl", "ü %20 #1?*.txt", "same", "same-too/x"]


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "disk":
        yield open_folder(str(tmp_path / "new" / "run1"))
    else:
        bucket: Bucket = request.getfixturevalue("bucket")
        yield open_folder(f"{bucket.url}/new/run1")


def test_what_was_written_is_read_under_any_name(folder: Folder) -> None:
    for name in NAMES:
        folder.put(name, name.encode())
    assert [folder.read(name) for name in NAMES] == [name.encode() for name in NAMES]
    assert {item.name: item.size for item in folder.list()} == {name: len(name.encode()) for name in NAMES}


def test_a_file_becomes_an_object_in_place_of_another_one(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"new" * 1000)
    folder.put("in/a", b"old")
    folder.upload("in/a", tmp_path / "file")
    assert folder.read("in/a") == b"new" * 1000


def test_a_list_has_whole_folders_only(folder: Folder) -> None:
    for name in ("part/1", "part/in/2", "part-3", "4"):
        folder.put(name, b"")
    assert sorted(item.name for item in folder.list("part/")) == ["part/1", "part/in/2"]
    assert list(folder.list("missing/")) == []


def test_a_list_of_a_bucket_is_requested_a_page_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def send_page(_: Asked) -> Reply:
        page = len(server.asked)
        objects = "".join(
            f"<Contents><Key>run/{page}-{number}.jpg</Key><Size>9</Size><ETag>1</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for number in range(1000)
        )
        text = f"<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>{objects}"
        text += f"<NextContinuationToken>t{page}</NextContinuationToken></ListBucketResult>"
        return Reply([text.encode()], headers={"Content-Type": "application/xml"})

    with Server() as server:
        server.answer = send_page
        for name, value in environment_for(server.url.removesuffix("/v1")).items():
            monkeypatch.setenv(name, value)
        items = open_folder("s3://photos/run/").list()
        assert next(items).name == "1-0.jpg"
        assert len(server.asked) == 1
        assert [item.name for item in islice(items, 1500)][-1] == "2-500.jpg"
        assert len(server.asked) == 2


def test_a_folder_that_does_not_exist_is_empty(folder: Folder) -> None:
    assert list(folder.list()) == []
    assert not folder.exists("a")
    assert folder.find_version("a") is None
    folder.delete("a")
    for read in (folder.read, folder.read_versioned, folder.open):
        with pytest.raises(MissingObjectError, match=r"there is no \w+ .*run1/a"):
            read("a")


def test_a_deleted_object_is_gone(folder: Folder) -> None:
    folder.put("a", b"1")
    folder.delete("a")
    assert not folder.exists("a")


def test_a_large_object_is_read_as_a_stream(folder: Folder) -> None:
    lines = [b"%d\n" % number for number in range(500_000)]
    folder.put("list", b"".join(lines))
    with folder.open("list") as stream:
        assert list(stream) == lines


def test_an_object_that_is_too_large_is_refused(folder: Folder) -> None:
    folder.put("a.jpg", bytes(1_000_001))
    assert len(folder.read("a.jpg", max_bytes=1_000_001)) == 1_000_001
    with pytest.raises(StorageError, match=r"a\.jpg is larger than 1 MB"):
        folder.read("a.jpg", max_bytes=1_000_000)


def test_only_an_absent_object_is_created(folder: Folder) -> None:
    assert folder.create("a", b"1") == folder.find_version("a") != None  # noqa: E711
    assert folder.create("a", b"2") is None
    assert folder.read("a") == b"1"


def test_of_many_writers_one_creates_the_object(folder: Folder) -> None:
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda number: folder.create("a", b"%d" % number), range(8)))
    (winner,) = [number for number, version in enumerate(versions) if version is not None]
    assert folder.read("a") == b"%d" % winner


def test_only_the_version_that_was_read_is_updated(folder: Folder) -> None:
    first = folder.put("a", b"1")
    second = folder.update("a", b"2", first)
    assert second == folder.read_versioned("a").version != first
    assert folder.update("a", b"3", first) is None
    assert folder.update("missing", b"3", first) is None
    assert folder.read("a") == b"2"


def test_of_many_writers_one_updates_a_version(folder: Folder) -> None:
    first = folder.put("a", b"start")
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda number: folder.update("a", b"%d" % number, first), range(8)))
    (winner,) = [number for number, version in enumerate(versions) if version is not None]
    assert folder.read("a") == b"%d" % winner


def test_a_write_whose_response_was_lost_succeeds_when_it_is_repeated(folder: Folder) -> None:
    first = folder.create("a", b"1")
    assert first is not None
    assert folder.create("a", b"1") == first
    second = folder.update("a", b"2", first)
    assert folder.update("a", b"2", first) == second != None  # noqa: E711


def test_a_folder_can_be_pickled_without_credentials(folder: Folder) -> None:
    folder.put("a", b"1")
    pickled = pickle.dumps(folder)
    assert b"test-secret" not in pickled
    copy: Folder = pickle.loads(pickled)
    assert (copy.url, copy.read("a")) == (folder.url, b"1")


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/.", "a/"])
def test_a_name_cannot_lead_out_of_the_folder(folder: Folder, name: str) -> None:
    for use in (folder.read, folder.exists, folder.delete, lambda name: folder.put(name, b"")):
        with pytest.raises(StorageError, match="does not name an object"):
            use(name)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run1").write_bytes(b"")
    folder = open_folder(str(tmp_path / "run1"))
    for write in (folder.put, folder.create):
        with pytest.raises(OutputError, match=r"cannot write .*run1/a: .*run1 is a file"):
            write("a", b"")


def test_a_list_of_a_disk_leaves_out_locks_and_unfinished_files(tmp_path: Path) -> None:
    (tmp_path / ".a.lock").write_bytes(b"")
    (tmp_path / ".a.1234abcd.new").write_bytes(b"")
    assert list(open_folder(str(tmp_path)).list()) == []


@pytest.mark.parametrize("text", ["s3://b/a.jpg", "GS://b", "az://c/x y"])
def test_the_url_of_an_object_is_recognized(text: str) -> None:
    assert is_object_url(text)


@pytest.mark.parametrize("text", ["a.jpg", "s3:", "http://b/s3://", "what is s3://b?"])
def test_other_text_is_not_the_url_of_an_object(text: str) -> None:
    assert not is_object_url(text)
