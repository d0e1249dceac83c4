"""Lines of results files, as a batch writes them."""

from pathlib import Path
from typing import Any

from qubrid_cli.batch.entries import encode_line
from qubrid_cli.batch.inputs import Task
from qubrid_cli.describe.result import Description, UnpreparedImage
from qubrid_cli.errors import EndpointError


def line(source: str = "a.jpg", **changes: Any) -> bytes:
    """The line of an answer, or with ``error`` of a failure; ``changes`` are those of the record and of a batch's keys."""
    error = changes.pop("error", None)
    answer = Description(
        prompt="caption",
        model="m",
        requested_model="m",
        images=(UnpreparedImage(source),),
        text="" if error else f"text of {source}",
        finish_reason=None if error else "stop",
        error=EndpointError(error) if error else None,
    )
    record = {**answer.to_dict(), "complete": not error, "created": "2026-11-01T10:00:00Z", "request": {"model": "m"}}
    key = changes.pop("key", f"key of {source}")
    task = Task(
        changes.pop("index", 1),
        source,
        None,
        changes.pop("source_id", None),
        changes.pop("path", source),
        row=changes.pop("row", None),
    )
    return encode_line({**record, **changes}, task, key=key, attempts=1)


def write(path: Path, *lines: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path
