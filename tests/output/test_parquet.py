"""Records as Parquet: the same columns in every file, and nothing is lost."""

import io
import json
from typing import Any

import pytest
from pyarrow import parquet

from qubrid_cli.errors import StorageError
from qubrid_cli.output.formatting import SCHEMA_FILE
from qubrid_cli.output.parquet import build_arrow_schema, read_records, write_records

PROPERTIES = json.loads(SCHEMA_FILE.read_text())["properties"]
KEYS = list(PROPERTIES)
TILE = {
    "mime": "image/png",
    "width": 640,
    "height": 480,
    "bytes": 4321,
    "tokens_estimate": 300,
    "box": [0, 0, 640, 480],
}
RECORD: dict[str, Any] = {name: None for name in KEYS if "null" in PROPERTIES[name].get("type", ["null"])} | {
    "schema_version": 1,
    "ok": True,
    "images": [
        {"source": "ä.jpg", "sha256": None, "format": "JPEG", "width": 1280, "height": 960, "bytes": 99, "page": None}
        | {"sent": {**TILE, "tiles": [TILE, TILE]}}
    ],
    "text": "line\nline",
    "data": {"total": 12.5, "items": [None, True, {"b": 1, "a": 2}]},
    "usage": {"prompt_tokens": 10, "completion_tokens": 2},
    "timing": {"prepare_seconds": 0.1, "ttft_seconds": None, "total_seconds": 2.0}
    | {"tokens_per_second": None, "elapsed_seconds": None},
    "cost": {"amount": 1e-05, "currency": "USD", "source": "prices"},
    "warnings": ["a", "b"],
    "index": 3,
    "source_id": "017",
    "row": {"label": "sky", "article": 17},
}
FAILURE = RECORD | {
    "ok": False,
    "images": [],
    "error": {"code": "http", "message": "no", "hint": None, "status": 500, "request_id": None},
    "timing": None,
    "data": None,
}


class Pipe:
    """Can be written, and neither positioned nor closed."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        pass


def convert(*records: dict[str, Any]) -> bytes:
    pipe = Pipe()
    assert write_records(iter(records), pipe) == len(records)
    return pipe.data


def test_the_columns_are_the_keys_of_a_record_with_their_types() -> None:
    schema = build_arrow_schema()
    assert schema.names == [*KEYS, "other"]
    types = {name: str(schema.field(name).type) for name in ("ok", "index", "text", "cost", "warnings", "usage", "row")}
    assert types == {
        "ok": "bool",
        "index": "int64",
        "text": "string",
        "cost": "struct<amount: double, currency: string, source: string>",
        "warnings": "list<item: string>",
        "usage": "string",
        "row": "string",
    }


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        FAILURE,
        RECORD | {"source_id": 17},
        RECORD | {"path": "caf\udce9.jpg", "images": [RECORD["images"][0] | {"source": "caf\udce9.jpg"}]},
        RECORD | {"index": 1 << 70, "attempts": True, "model": ["m"], "cost": {"amount": 10**400, "currency": "USD"}},
        RECORD | {"boxes": [[1, 2, 3, 4]], "error": {"code": "http", "detail": "unknown key"}, "images": "none"},
        RECORD | {"incomplete_attempts": None, "cost": {"amount": 1.0, "currency": "USD", "source": None}},
        RECORD | {"cost": {"amount": 1.0, "currency": "USD"}},
        RECORD | {"text": "\0\x1b[31m\x85 </script> \U0001f5bc"},
    ],
    ids=[
        "answer",
        "failure",
        "number as id",
        "name that is not UTF-8",
        "other types",
        "other keys",
        "null",
        "no key",
        "signs",
    ],
)
def test_a_record_is_read_as_it_was_written(record: dict[str, Any]) -> None:
    (read,) = read_records(io.BytesIO(convert(record)), "a.parquet")
    assert read == record


def test_what_a_column_cannot_hold_exactly_is_there_as_well_as_it_can_be() -> None:
    odd = {"source_id": 17, "path": "caf\udce9.jpg", "error": {"code": "http", "detail": "x"}}
    (row,) = parquet.read_table(io.BytesIO(convert(RECORD | odd))).to_pylist()
    assert (row["source_id"], row["path"], row["error"]["code"]) == ("17", "caf\\udce9.jpg", "http")
    assert json.loads(row["other"]) == odd
    assert parquet.read_table(io.BytesIO(convert(RECORD)))["other"].to_pylist() == [None]


def test_all_files_have_the_same_columns_whatever_is_in_them() -> None:
    files = [convert(), convert({}), convert(FAILURE), convert(RECORD, FAILURE)]
    assert len({parquet.read_schema(io.BytesIO(file)) for file in files}) == 1
    assert convert(RECORD) == convert(RECORD)


def test_a_damaged_file_is_named() -> None:
    data = convert(*[RECORD] * 100)
    for damaged in (b"", data[:-9], data[:50] + b"\xff" * 400 + data[450:]):
        with pytest.raises(StorageError, match=r"results/a\.parquet is damaged"):
            list(read_records(io.BytesIO(damaged), "results/a.parquet"))
