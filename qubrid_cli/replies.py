"""What came back: a stream of events, one JSON document, or neither. The first byte tells.

Content-Type does not: it is missing or wrong often enough.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from . import events
from .errors import EndpointError
from .sse import batches

_BOM_AND_BLANKS = b"\xef\xbb\xbf \t\r\n"


def read(chunks: Iterable[bytes], *, clean: Callable[[str], str] = str) -> Iterator[events.Event]:
    """What the body of an answer means.

    Args:
        clean: takes out of what is repeated in a message what must not stand there.

    Raises:
        EndpointError: it is no answer of a chat endpoint.
    """
    chunks = iter(chunks)
    start = b""
    for chunk in chunks:
        start += chunk
        if start.strip(_BOM_AND_BLANKS):
            break
    found = start.lstrip(_BOM_AND_BLANKS)
    if found.startswith(b"{"):
        yield from _document(b"".join(chain([found], chunks)), clean)
    elif found.startswith(b"<"):
        raise _no_answer("a web page")
    else:
        yield from _stream(chain([start], chunks), found, clean)


def _stream(chunks: Iterable[bytes], start: bytes, clean: Callable[[str], str]) -> Iterator[events.Event]:
    found = batches(chunks)
    first = next(found, None)
    if first is None:
        raise _no_answer(_shortened(start, clean) or "nothing")
    yield from events.parse(chain([first], found))


def _document(data: bytes, clean: Callable[[str], str]) -> Iterator[events.Event]:
    try:
        chunk = events.parsed(data)
    except ValueError as error:
        raise EndpointError("the endpoint's JSON is broken or cut off", hint="Try again.", code="not_json") from error
    is_error = chunk.get("error") or chunk.get("object") == "error"
    if not is_error and not {"choices", "content"} & chunk.keys():
        raise _no_answer(_shortened(data, clean))
    yield from events.document(chunk)


def _shortened(data: bytes, clean: Callable[[str], str]) -> str:
    text = clean(data.decode(errors="replace")).strip()
    return text[:79] + "…" if len(text) > 80 else text


def _no_answer(found: str) -> EndpointError:
    return EndpointError(
        f"the endpoint answered with {found} instead of a chat completion",
        hint="Check --base-url, which usually ends in /v1, and the model.",
        code="no_answer",
    )
