"""Images, folders and lists in buckets, of a real server."""

import json
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from qubrid_cli.batch.folders import parse_patterns
from qubrid_cli.batch.inputs import (
    MissingImage,
    Selection,
    Task,
    find_images,
    resolve_source,
    split_arguments,
    validate_arguments,
)
from qubrid_cli.errors import ConfigError, MissingObjectError, StorageError
from qubrid_cli.images.sources import FetchedLink
from qubrid_cli.storage.folder import Folder
from qubrid_cli.storage.opening import open_folder

from ..conftest import Qvision
from ..support.buckets import Bucket, environment_for
from ..support.server import Reply, Server

NAMES = (
    *("a.jpg", "2024/b 1#?%20.PNG", "2024/in/c.webp", "2024-x/d.jpg", "notes.txt", "movie.mp4"),
    *(".hidden/e.jpg", ".f.jpg", "2024/@eaDir/g.jpg", "2024/._h.jpg"),
)
IMAGES = ["2024-x/d.jpg", "2024/b 1#?%20.PNG", "2024/in/c.webp", "a.jpg"]


def draw(number: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (48, 32), (number, 0, 99)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def photos(bucket: Bucket) -> Folder:
    """A folder of a bucket with images and other objects."""
    folder = open_folder(f"{bucket.url}/photos/")
    for number, name in enumerate(NAMES):
        folder.put(name, draw(number))
    return folder


def names_in(folder: Folder, selection: Selection) -> list[str]:
    sources = [item.source for item in find_images([folder.url], selection=selection) if isinstance(item, Task)]
    return [source.removeprefix(folder.url) for source in sources]


def test_a_folder_stands_for_its_images(photos: Folder) -> None:
    selection = Selection()
    assert sorted(names_in(photos, selection)) == IMAGES
    assert selection.left_out.format_line() is not None
    assert "1 video; 1 folder of previews" in str(selection.left_out.format_line())


@pytest.mark.parametrize(
    ("include", "exclude", "is_hidden", "expected"),
    [
        (["*.jpg"], [], False, ["2024-x/d.jpg", "a.jpg"]),
        ([], ["2024/"], False, ["2024-x/d.jpg", "a.jpg"]),
        (["/2024/**"], ["in/"], False, ["2024/b 1#?%20.PNG"]),
        (["*.jpg"], [], True, [".f.jpg", ".hidden/e.jpg", "2024-x/d.jpg", "a.jpg"]),
    ],
)
def test_patterns_select_as_on_a_disk(
    include: list[str], exclude: list[str], is_hidden: object, expected: list[str], photos: Folder
) -> None:
    selection = Selection(parse_patterns(include, exclude), include_hidden=bool(is_hidden))
    assert sorted(names_in(photos, selection)) == expected


@pytest.mark.parametrize("word", ["s3://photos/", "s3://photos", "s3://photos/2024", "S3://photos/a b.jpg"])
def test_the_url_of_an_object_or_a_folder_is_an_image(word: str) -> None:
    assert split_arguments([word, "what is this?"], has_prompt_option=False, is_preset=lambda _: False) == (
        (word,),
        "what is this?",
    )


def test_a_misspelled_folder_or_bucket_is_refused_before_any_request(photos: Folder, bucket: Bucket) -> None:
    validate_arguments([photos.url, f"{bucket.url}/photos"])
    with pytest.raises(MissingObjectError, match=r"there is nothing in .*/fotos/"):
        validate_arguments([f"{bucket.url}/fotos/"])
    with pytest.raises(StorageError, match="there is no bucket s3://missing-bucket"):
        validate_arguments(["s3://missing-bucket/"])
    with pytest.raises(ConfigError, match="does not name a bucket"):
        validate_arguments(["s3:///"])


def test_a_batch_skips_objects_that_are_done_without_reading_them(
    photos: Folder, bucket: Bucket, qvision: Qvision, tmp_path: Path
) -> None:
    results = tmp_path / "results.jsonl"
    first = qvision("batch", "--offline", photos.url, "caption", "-o", results, env=bucket.env)
    assert first.exit_code == 0, first.stderr
    records = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted(record["images"][0]["source"].removeprefix(photos.url) for record in records) == IMAGES
    photos.put("a.jpg", draw(200))
    reads_before = len(bucket.requests)
    assert qvision("batch", "--offline", photos.url, "caption", "-o", results, env=bucket.env).exit_code == 0
    assert bucket.requests[reads_before:] == ["GET photos/a.jpg"]
    assert len(results.read_text().splitlines()) == len(IMAGES)


def test_a_list_in_a_bucket_is_read_as_a_stream(photos: Folder, bucket: Bucket, qvision: Qvision) -> None:
    lines = [{"image": f"{photos.url}a.jpg", "prompt": "{name} in {dir}"}, {"image": f"{photos.url}2024/"}]
    photos.put("list.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    done = qvision("batch", "--offline", "--from", f"{photos.url}list.jsonl", "caption", env=bucket.env)
    assert done.exit_code == 0, done.stderr
    prompts = {record["images"][0]["source"].rpartition("/")[2]: record["prompt"] for record in done.json_lines}
    assert prompts == {"a.jpg": "a.jpg in photos", "b 1#?%20.PNG": "caption", "c.webp": "caption"}
    assert qvision("batch", "--offline", "--from", f"{photos.url}no-list", "caption", env=bucket.env).exit_code == 4


def write_parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = BytesIO()
    parquet.write_table(pa.table(columns), file, compression="none", **options)
    return file.getvalue()


@pytest.mark.parametrize("output", ["results.jsonl", "out/"])
def test_the_images_of_a_parquet_object_are_read_without_its_other_columns(
    bucket: Bucket, qvision: Qvision, tmp_path: Path, output: str
) -> None:
    """The object has 9 MB; each row group is one of six."""
    columns = {
        "image": [{"bytes": draw(number), "path": f"{number}.png"} for number in range(6)],
        "label": list("abcdef"),
        "embedding": [bytes([number]) * 1_500_000 for number in range(6)],
    }
    data = write_parquet(columns, row_group_size=1, use_dictionary=False)
    open_folder(bucket.url).put("train.parquet", data)
    ranges_before = len(bucket.ranges)
    archive = f"{bucket.url}/train.parquet"
    done = qvision("batch", "--offline", "--from", archive, "A {label}?", "-o", output, "--limit", 4, env=bucket.env)
    assert done.exit_code == 0, done.stderr
    result = tmp_path / (output if output.endswith("l") else "out/part-00001.jsonl")
    records = sorted((json.loads(line) for line in result.read_text().splitlines()), key=itemgetter("index"))
    assert [(record["images"][0]["source"], record["prompt"], record["row"]) for record in records] == [
        (f"{archive}/{number}/{number}.png", f"A {label}?", {"label": label}) for number, label in enumerate("abcd")
    ]
    assert sum(map(len, bucket.ranges[ranges_before:])) < 1_000_000


def test_paths_in_a_parquet_object_are_objects_beside_it(bucket: Bucket) -> None:
    folder = open_folder(bucket.url)
    folder.put("in/b.png", draw(7))
    folder.put("in/a.parquet", write_parquet({"image": [{"bytes": None, "path": "b.png"}]}))
    (task,) = find_images([f"{bucket.url}/in/a.parquet"])
    assert isinstance(task, Task)
    source = resolve_source(task)
    assert isinstance(source, FetchedLink)
    assert source.fetch() == draw(7)


def test_why_a_parquet_object_cannot_be_read_is_said(bucket: Bucket) -> None:
    (missing,) = find_images([f"{bucket.url}/a.parquet"])
    (homeless,) = find_images(["s3://missing-bucket/a.parquet"])
    assert [item.error.message for item in (missing, homeless) if isinstance(item, MissingImage)] == [
        f"there is no object {bucket.url}/a.parquet",
        "there is no bucket s3://missing-bucket",
    ]


def test_a_parquet_object_that_is_replaced_while_it_is_read_is_an_error(bucket: Bucket) -> None:
    folder = open_folder(bucket.url)
    folder.put("a.parquet", write_parquet({"image": [draw(1), draw(2)], "n": [1, 2]}, row_group_size=1))
    tasks = find_images([f"{bucket.url}/a.parquet"])
    assert isinstance(next(tasks), Task)
    folder.put("a.parquet", write_parquet({"image": [draw(3), draw(4)], "n": [3, 4]}, row_group_size=1))
    (error,) = tasks
    assert isinstance(error, MissingImage)
    assert error.error.message == f"{bucket.url}/a.parquet has changed while it was read"
    assert [task.row for task in find_images([f"{bucket.url}/a.parquet"]) if isinstance(task, Task)] == [
        {"n": 3},
        {"n": 4},
    ]


def test_describe_reads_and_writes_objects(photos: Folder, bucket: Bucket, qvision: Qvision) -> None:
    done = qvision(
        *("describe", "--offline", f"{photos.url}2024/b 1#?%20.PNG", "-p", "{stem}", "--json"),
        *("-o", f"{photos.url}answers/1.json"),
        env=bucket.env,
    )
    assert done.exit_code == 0, done.stderr
    record = json.loads(photos.read("answers/1.json"))
    assert record["images"][0]["source"] == f"{photos.url}2024/b 1#?%20.PNG"
    assert record["prompt"] == "b 1#?%20"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["{folder}missing.jpg"], 4, "error: there is no object {folder}missing.jpg"),
        (["{folder}"], 2, "error: {folder} is a folder"),
        (["{folder}a.jpg", "-o", "s3://missing-bucket/a"], 4, "error: there is no bucket s3://missing-bucket"),
    ],
)
def test_describe_explains_what_cannot_be_read(
    arguments: list[str], exit_code: int, message: str, photos: Folder, bucket: Bucket, qvision: Qvision
) -> None:
    words = [word.format(folder=photos.url) for word in arguments]
    done = qvision("describe", "--offline", *words, env=bucket.env)
    assert (done.exit_code, done.stderr.splitlines()[0]) == (exit_code, message.format(folder=photos.url))


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "message"),
    [
        (400, "ExpiredToken", 3, "the credentials for s3://photos have expired; 2 of 2 images are left"),
        (503, "SlowDown", 4, "s3://photos limits requests (SlowDown); 2 of 2 images are left"),
        (403, "AccessDenied", 7, "2 of 2 images failed"),
    ],
)
def test_a_batch_stops_if_no_object_can_be_read(
    status: int, code: str, exit_code: int, message: str, server: Server, qvision: Qvision
) -> None:
    server.answer = Reply([f"<Error><Code>{code}</Code></Error>".encode()], status=status)
    done = qvision(
        *("batch", "--offline", "s3://photos/a.jpg", "s3://photos/b.jpg", "-o", "results.jsonl"),
        *("--retries", "0", "--patience", "0.1"),
        env=environment_for(server.url.removesuffix("/v1")),
    )
    assert (done.exit_code, done.stderr.splitlines()[-2]) == (exit_code, f"error: {message}")
