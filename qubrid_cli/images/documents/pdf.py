"""Read PDFs, and draw their pages as images, with the process that runs ``pdf_process``."""

import json
import os
import struct
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from importlib.util import find_spec
from typing import IO, Any

from ...errors import ImageError
from ...installation import format_install_command

_SCRIPT = os.path.join(os.path.dirname(__file__), "pdf_process.py")
#: The exit code of the process if a request takes too long, the same as that of timeout(1).
_TIMEOUT_CODE = 124
_REPAIR_HINT = "Open it in a PDF viewer and print it to a new file."


def is_supported() -> bool:
    """Whether the library that reads PDFs is installed."""
    return find_spec("pypdfium2") is not None


class PdfReader:
    """Reads PDFs in a process, which starts with the first one. Its methods may be called from any thread.

    If a page crashes the process, only that page is lost: the next request starts another process.

    Args:
        password: for encrypted files.
        max_seconds: for one request; a page of a very large plan took a tenth of the default.
    """

    def __init__(self, password: str | None = None, *, max_seconds: float = 60.0) -> None:
        self.password = password
        self._max_seconds = max_seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._open_numbers: set[int] = set()
        self._discarded: list[int] = []
        self._last_number = 0

    def open(self, data: bytes, name: str) -> "PdfFile":
        """Open a file.

        Raises:
            ImageError: it is encrypted, damaged or has no pages, or the library is not installed.
        """
        if not is_supported():
            raise needs_pdf_error(name)
        with self._lock:
            self._last_number += 1
            file = PdfFile(self, self._last_number, data, name)
            weakref.finalize(file, self._discarded.append, file.number).atexit = False
            reply = self._open(file)
        file.page_count, file.stated_count = reply["pages"], reply["stated"]
        if not file.page_count:
            raise file.refused_error("empty", None)
        return file

    def request(self, file: "PdfFile", size: int = 0, **request: object) -> tuple[dict[str, Any], bytes]:
        """Send a request about an open file; return the reply and the ``size`` bytes after it.

        Raises:
            ImageError: it cannot be fulfilled.
        """
        with self._lock:
            if file.number not in self._open_numbers:
                self._open(file)
            return self._exchange(file, {"document": file.number, **request}, size=size)

    def _open(self, file: "PdfFile") -> dict[str, Any]:
        request = {"do": "open", "document": file.number, "password": self.password, "size": len(file.data)}
        reply, _ = self._exchange(file, request, file.data)
        self._open_numbers.add(file.number)
        return reply

    def _exchange(
        self, file: "PdfFile", request: dict[str, Any], data: bytes = b"", *, size: int = 0
    ) -> tuple[dict[str, Any], bytes]:
        process = self._process = self._process or self._start_process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            while self._discarded:
                if (number := self._discarded.pop()) in self._open_numbers:
                    self._open_numbers.discard(number)
                    _send(process.stdin, {"do": "close", "document": number})
                    process.stdout.readline()
            _send(process.stdin, request, data)
            reply = json.loads(process.stdout.readline())
            bitmap = b"" if "refused" in reply else process.stdout.read(size)
        except (OSError, ValueError) as error:  # its output has ended, or its input is closed
            raise self._process_ended_error(file, process, request) from error
        if "refused" in reply:
            raise file.refused_error(reply["refused"], request.get("page"))
        if len(bitmap) < size:
            raise self._process_ended_error(file, process, request)
        return reply, bitmap

    def _start_process(self) -> subprocess.Popen[bytes]:
        spec = find_spec("pypdfium2")
        folder = os.path.dirname(os.path.dirname(spec.origin)) if spec and spec.origin else ""
        # Without site, it starts in half of the time, but must be told where the library is.
        command = [sys.executable, "-I", "-S", _SCRIPT, folder, str(self._max_seconds)]
        process = subprocess.Popen(  # noqa: S603  # our own script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        weakref.finalize(self, _stop_process, process)
        return process

    def _process_ended_error(
        self, file: "PdfFile", process: subprocess.Popen[bytes], request: dict[str, Any]
    ) -> ImageError:
        _stop_process(process)
        self._process = None
        self._open_numbers.clear()
        is_slow = process.returncode == _TIMEOUT_CODE
        return file.refused_error("slow" if is_slow else "crash", request.get("page"))


class PdfFile:
    """An open PDF.

    Attributes:
        page_count: pages that can be read.
        stated_count: pages that the file claims to have.
    """

    def __init__(self, reader: PdfReader, number: int, data: bytes, name: str) -> None:
        self.number = number
        self.data = data
        self.page_count = self.stated_count = 0
        self._reader = reader
        self._name = name

    def measure_page(self, page: int) -> tuple[float, float]:
        """The width and height of a page, upright and cropped, in points of 1/72 inch."""
        reply, _ = self._reader.request(self, do="measure", page=page)
        return reply["width"], reply["height"]

    def draw_page(self, page: int, size: tuple[int, int]) -> bytes:
        """Draw a page on white, with its annotations and forms; return a BMP file of this size in pixels."""
        width, height = size
        row_bytes = (3 * width + 3) // 4 * 4
        bitmap_bytes = row_bytes * height
        _, pixels = self._reader.request(self, bitmap_bytes, do="draw", page=page, width=width, height=height)
        # A negative height: rows from top to bottom (Windows BITMAPFILEHEADER and BITMAPINFOHEADER).
        header = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54 + bitmap_bytes, 0, 54, 40, width, -height, 1, 24, *[0] * 6)
        return header + pixels

    def refused_error(self, reason: str, page: int | None) -> ImageError:
        """The error for a request that the process refuses, with the reason that it states."""
        name = self._name if page is None else f"page {page} of {self._name}"
        has_password = self._reader.password is not None
        hint, code = _REPAIR_HINT, "damaged_image"
        match reason:
            case "password" if not has_password:
                problem, code = "is encrypted", "encrypted"
                hint = "Write its password into a file, and add: --password-file FILE"
            case "password":
                problem, code = "is encrypted with another password", "encrypted"
                hint = "Check the file of --password-file: it contains the password and nothing else."
            case "security":
                problem, code = "is encrypted in a way that is not supported", "encrypted"
            case "image":
                problem, code = "contains an image with more pixels than can be decoded safely", "too_many_pixels"
            case "memory":
                problem, code = "needs more memory than is available", "image"
            case "slow":
                problem, code = "takes too long to draw", "too_complex"
            case "crash":
                problem = "needs too much memory, or is damaged in a way that ends the PDF reader"
            case "empty":
                problem, code = "has no pages that can be read", "no_pages"
            case "page":
                problem = "is damaged or missing"
            case _:
                problem = "is a damaged PDF document"
        return ImageError(f"{name} {problem}", hint=hint, code=code)


def needs_pdf_error(name: str) -> ImageError:
    """The error for a PDF if the library is not installed."""
    hint = f"Run: {format_install_command('pypdfium2')}"
    return ImageError(f"{name} is a PDF document, which needs an extra library", hint=hint, code="needs_pdf")


def _stop_process(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            if stream is not None:
                stream.close()
    try:
        process.wait(0.5)  # it may end by itself, with an exit code that says why
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _send(stream: IO[bytes], request: dict[str, Any], data: bytes = b"") -> None:
    stream.write(json.dumps(request).encode() + b"\n")
    stream.write(data)
    stream.flush()
