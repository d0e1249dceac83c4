"""The program that draws the pages of PDFs, in a process of its own.

A file that crashes it, takes too long or needs too much memory ends only this process. ``pdf.PdfReader`` starts it as a
script, so it imports nothing of the package. Only this module uses pypdfium2. It reads requests from standard input, each
a line of JSON and perhaps a file, and replies to each with a line of JSON and perhaps a bitmap.
"""

import ctypes
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, BinaryIO

#: The exit code if a request takes too long; ``pdf`` has the same constant.
_TIMEOUT_CODE = 124
#: Bytes of address space in addition to the file: a page of many scans needs a few hundred megabytes.
_MAX_MEMORY = 3 << 30
#: The most pixels of an image on a page, as in ``decode``. A larger one would be missing from the page without an error.
_MAX_IMAGE_PIXELS = 178_956_970
#: The most objects of a page that are searched for such images, and levels of nested forms.
_MAX_OBJECTS, _MAX_LEVELS = 50_000, 5

Reply = dict[str, Any]


class _Refused(Exception):  # noqa: N818  # the reason is in the reply
    """A request cannot be fulfilled; the message is one word, which ``pdf.PdfFile.refused_error`` explains."""


def main() -> None:
    """Reply to requests until standard input ends; the arguments are the folder of the library and the seconds per request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of the terminal; the caller decides
    sys.path.append(sys.argv[1])
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    library = _Library()
    while line := requests.readline():
        request = json.loads(line)
        file = requests.read(request["size"]) if "size" in request else b""
        watchdog = threading.Timer(float(sys.argv[2]), os._exit, (_TIMEOUT_CODE,))
        watchdog.daemon = True
        watchdog.start()
        reply, bitmap = library.answer(request, file)
        watchdog.cancel()
        with suppress(BrokenPipeError):
            _send(replies, reply, bitmap)


def _send(stream: BinaryIO, reply: Reply, bitmap: "ctypes.Array[ctypes.c_ubyte] | None") -> None:
    stream.write(json.dumps(reply).encode() + b"\n")
    if bitmap is not None:
        stream.write(memoryview(bitmap))
    stream.flush()


class _Library:
    """The library pdfium, and the open documents, by the number that the caller assigns to each."""

    def __init__(self) -> None:
        import pypdfium2

        self._pdfium = pypdfium2
        self._raw = pypdfium2.raw
        self._documents: dict[int, Any] = {}
        self._file_bytes = 0

    def answer(self, request: Reply, file: bytes) -> tuple[Reply, "ctypes.Array[ctypes.c_ubyte] | None"]:
        """The reply to a request, and the bitmap of a page."""
        number, page = request["document"], request.get("page", 0)
        try:
            match request["do"]:
                case "open":
                    return self._open(number, file, request["password"]), None
                case "measure":
                    return dict(zip(("width", "height"), self._measure(number, page), strict=True)), None
                case "draw":
                    return {}, self._draw(number, page, request["width"], request["height"])
                case _:
                    self._documents.pop(number).close()
                    return {}, None
        except _Refused as reason:
            return {"refused": str(reason)}, None
        except MemoryError:
            return {"refused": "memory"}, None

    def _open(self, number: int, file: bytes, password: str | None) -> Reply:
        self._file_bytes = max(self._file_bytes, len(file))
        _limit_memory(_MAX_MEMORY + 4 * self._file_bytes)
        try:
            document = self._pdfium.PdfDocument(file, password)
        except self._pdfium.PdfiumError as error:
            raw = self._raw
            reasons = {
                raw.FPDF_ERR_PASSWORD: "password",
                raw.FPDF_ERR_SECURITY: "security",
                raw.FPDF_ERR_SUCCESS: "empty",
            }
            raise _Refused(reasons.get(error.err_code, "damaged")) from error
        with suppress(self._pdfium.PdfiumError):  # the pages may be readable even if their forms are not
            document.init_forms()
        self._documents[number] = document
        stated = len(document)
        return {"stated": stated, "pages": self._count_readable(number, stated)}

    def _count_readable(self, number: int, stated: int) -> int:
        """Count the pages up to the first missing one: a damaged or malicious file may state any number."""
        low, high = 0, stated  # the first ``low`` pages exist
        while low < high:
            middle = high if low == 0 and high == stated else (low + high + 1) // 2
            if self._has_page(number, middle):
                low = middle
            else:
                high = middle - 1
        return low

    def _has_page(self, number: int, page: int) -> bool:
        with suppress(_Refused):
            return bool(self._measure(number, page))
        return False

    def _measure(self, number: int, page: int) -> tuple[float, float]:
        """The width and height of the upright crop box, in points; the content is not read."""
        size = self._raw.FS_SIZEF()
        if not self._raw.FPDF_GetPageSizeByIndexF(self._documents[number], page - 1, size):
            raise _Refused("page")
        return size.width, size.height

    def _draw(self, number: int, page: int, width: int, height: int) -> "ctypes.Array[ctypes.c_ubyte]":
        """Draw a page on white, with its annotations and forms: rows from top to bottom, each pixel blue, green and red."""
        raw, document = self._raw, self._documents[number]
        try:
            opened = document[page - 1]
        except self._pdfium.PdfiumError as error:
            raise _Refused("page") from error
        try:
            self._refuse_large_images(opened)
            stride = (3 * width + 3) // 4 * 4
            pixels = (ctypes.c_ubyte * (stride * height))()
            bitmap = self._pdfium.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGR, buffer=pixels, stride=stride)
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
            raw.FPDF_RenderPageBitmap(bitmap, opened, 0, 0, width, height, 0, raw.FPDF_ANNOT)
            if document.formenv:
                raw.FPDF_FFLDraw(document.formenv, bitmap, opened, 0, 0, width, height, 0, raw.FPDF_ANNOT)
            return pixels
        finally:
            opened.close()

    def _refuse_large_images(self, page: Any) -> None:
        width, height = ctypes.c_uint(), ctypes.c_uint()
        images = page.get_objects(filter=[self._raw.FPDF_PAGEOBJ_IMAGE], max_depth=_MAX_LEVELS)
        for _, image in zip(range(_MAX_OBJECTS), images, strict=False):
            has_size = self._raw.FPDFImageObj_GetImagePixelSize(image, width, height)
            if has_size and width.value * height.value > _MAX_IMAGE_PIXELS:
                raise _Refused("image")


def _limit_memory(size: int) -> None:
    """Make allocations fail beyond this many bytes of address space, if the system supports that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):  # the system has a lower limit already
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()
