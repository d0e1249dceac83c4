"""The reports of workers about a part: counts in a small file, which the driver reads every few seconds.

Files work with any executor, on this machine and on others.
"""

import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from math import inf
from typing import Any, Self

from ...errors import QvisionError
from ...urls import is_object_url
from .output_folder import PartsOutput
from .part import PartSummary

#: Seconds between two reports of a worker: on a disk, and in a bucket, where each is a paid request.
_DISK_SECONDS, _BUCKET_SECONDS = 2.0, 10.0
#: The fields of a ``PartSummary`` that a report contains.
_INTEGERS = ("done", "duplicates", "failed", "skipped", "original_bytes", "sent_bytes")
_NUMBERS = ("input_tokens", "output_tokens", "cost")


def get_interval(output: PartsOutput) -> float:
    """Return the seconds between two reports."""
    return _BUCKET_SECONDS if is_object_url(output.folder.url) else _DISK_SECONDS


def encode_report(attempt: str, summary: PartSummary) -> bytes:
    """Encode the counts of a part that is not finished."""
    values = {name: getattr(summary, name) for name in (*_INTEGERS, *_NUMBERS, "is_estimated")}
    return json.dumps({"attempt": attempt, **values}).encode() + b"\n"


def decode_report(data: bytes, number: int, attempt: str) -> PartSummary | None:
    """Decode the counts of a part; ``None`` if they are from another attempt, or damaged."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        values: dict[str, Any] = json.loads(data)
        figures = [values[name] for name in _NUMBERS if values[name] is not None]
        are_valid = all(isinstance(values[name], int) for name in _INTEGERS) and all(
            0 <= value < inf for value in figures
        )
        if values.pop("attempt") == attempt and are_valid:
            return PartSummary(number, **values)
    return None


class ReportReader:
    """Reads the reports of the running parts, in a thread of its own. A context manager.

    Args:
        is_needed: whether workers make reports.
    """

    def __init__(self, output: PartsOutput, *, is_needed: bool = True) -> None:
        self._output = output
        self._is_needed = is_needed
        self._attempts: dict[int, str] = {}
        self._reports: dict[int, PartSummary] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        if self._is_needed:
            threading.Thread(target=self._keep_reading, name="reports", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def follow(self, number: int) -> str | None:
        """Start reading the reports of a part; return the id of the new attempt, or ``None`` if it makes no reports."""
        if not self._is_needed:
            return None
        with self._lock:
            self._attempts[number] = attempt = os.urandom(8).hex()
        return attempt

    def forget(self, number: int) -> None:
        """Stop reading the reports of a part."""
        with self._lock:
            self._attempts.pop(number, None)
            self._reports.pop(number, None)

    def take(self) -> Iterable[PartSummary]:
        """Remove and return the newest reports."""
        with self._lock:
            reports, self._reports = self._reports, {}
        return reports.values()

    def _keep_reading(self) -> None:
        while not self._is_over.wait(get_interval(self._output) / 2):
            with self._lock:
                attempts = dict(self._attempts)
            for number, attempt in attempts.items():
                with suppress(QvisionError):  # the next try may succeed, and the run does not depend on it
                    data = self._output.read_report(number)
                    report = None if data is None else decode_report(data, number, attempt)
                    with self._lock:
                        if report is not None and self._attempts.get(number) == attempt:
                            self._reports[number] = report
