"""The OpenAI dialect of chat completions, outwards: the body of a request. Pure: no network, no clock.

Source: OpenAI API reference, "Create chat completion".
"""

# MERGED DOCSTRING of qubrid_cli.content: What a request carries, in pieces: an image is written as text when its turn to be sent has come, and not before. So a request that waits for its answer holds the image once, and not three times: as it is, as a URL, and in the body.

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Any, Literal

from ..errors import AuthError, EndpointError, NetworkError
from ..frozen import frozen
from ..images.urls import DataUrl

#: Bytes handed over at once of what is written already.
_CHUNK_SIZE = 256 * 1024


@frozen
class RequestBody:
    """The body of a request."""

    parts: tuple[bytes | DataUrl, ...]

    def __len__(self) -> int:
        """Bytes."""
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        """All of it."""
        return b"".join(self.iter_chunks())

    def iter_chunks(self) -> Iterator[bytes]:
        """The body, a piece at a time."""
        for part in self.parts:
            if isinstance(part, DataUrl):
                yield from part.iter_chunks()
            else:
                yield from (part[start : start + _CHUNK_SIZE] for start in range(0, len(part), _CHUNK_SIZE))


#: What an endpoint may refuse, and a request can do without.
_DROPPABLE_FIELDS = frozenset({"stream_options", "max_tokens", "temperature", "top_p"})
# The patterns of this module are compiled when a refusal comes, for doing so takes as long as loading all the rest of it.
_UNSUPPORTED_PATTERN = "support|unknown|unrecogni|unexpected|permitted|extra|deprecated|cannot both"
_OUT_OF_RANGE_PATTERN = "between|range|at most|at least|less than|greater than|too (large|small|long)"
#: How servers and their clients call what asks for JSON, in messages that refuse it.
_JSON_FORMAT_PATTERN = (
    r"response[_ ]?(format|schema)|json[_ ]?(schema|object|mode)|structured[_ ]?outputs?|guided|grammar"
    r"|constrained decoding"
)
#: Messages that say no more than that something was not liked; by then the unusual thing is the form.
_UNSPECIFIC_PATTERN = (
    r"(?s).*\(HTTP (400|422|501)\)(: (bad request|(invalid|unsupported)( request| parameter| field)?|unprocessable( entity)?"
    r"|unprocessable content|not (supported|implemented)|\{\}))?\.?"
)
#: Body fields that have an option of their own, or none because they are what the program makes.
RESERVED_FIELDS = frozenset({"model", "messages", "max_tokens", "temperature", "top_p", "stream"})


@frozen
class ImagePart:
    """An image of a request: a ``data:`` or web URL, and the text part that names it, if any."""

    url: str | DataUrl
    label: str | None = None


@frozen
class ResponseFormat:
    """The form that an answer must have: its JSON Schema, and the words that ask for it behind the prompt.

    Servers that do not know ``response_format`` often ignore it without a word; then these words are all there is.
    """

    schema: Mapping[str, Any]
    instruction: str


@frozen
class Message:
    """What was said behind the question: by the model, as it answered it, or by us."""

    role: Literal["assistant", "user"]
    text: str


@frozen
class Request:
    """One question about some images.

    ``extra`` holds further body fields, which win over ours; what is ``None`` is left to the endpoint.
    """

    model: str
    prompt: str
    images: tuple[ImagePart, ...]
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    system: str | None = None
    stream: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: Fields that this endpoint does not take, and kinds of ``response_format``; ``max_tokens`` goes under its newer
    #: name then.
    dropped: frozenset[str] = frozenset()
    form: ResponseFormat | None = None
    turns: tuple[Message, ...] = ()


def build_body(request: Request) -> RequestBody:
    """The JSON body of a request.

    The data URLs are spliced in between the dumped pieces: they need no escaping, and ``json.dumps`` would take
    30 ms over the 1.5 MB that it takes 5 ms to copy.
    """
    before = b'{"model":' + _encode_json(request.model) + b',"messages":['
    if request.system:
        before += _encode_json({"role": "system", "content": request.system}) + b","
    before += b'{"role":"user","content":['
    before += _encode_text_part(f"{request.prompt}\n\n{request.form.instruction}" if request.form else request.prompt)
    parts: list[bytes | DataUrl] = [before]
    for picture in request.images:
        label = b"," + _encode_text_part(picture.label) if picture.label else b""
        parts += [label + b',{"type":"image_url","image_url":{"url":', *_quote_url(picture.url), b"}}"]
    turns = [_encode_json({"role": turn.role, "content": turn.text}) for turn in request.turns]
    rest = _encode_json({**_build_parameters(request), **request.extra})
    return RequestBody((*parts, b",".join([b"]}", *turns]) + b"]," + rest[1:]))


def _build_parameters(request: Request) -> dict[str, Any]:
    """What is sent by itself, less what the endpoint refused."""
    tokens = "max_completion_tokens" if "max_tokens" in request.dropped else "max_tokens"
    all_of_them: dict[str, Any] = {
        tokens: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": request.stream,
    }
    if request.stream and "stream_options" not in request.extra:
        all_of_them["stream_options"] = {"include_usage": True}
    if response_format := _build_response_format(request):
        all_of_them["response_format"] = response_format
    return {name: value for name, value in all_of_them.items() if value is not None and name not in request.dropped}


def _build_response_format(request: Request) -> dict[str, Any] | None:
    """The strictest kind that the endpoint takes, as far as is known."""
    if request.form is None:
        return None
    if "json_schema" not in request.dropped:
        named = {"name": "answer", "schema": request.form.schema, "strict": True}
        return {"type": "json_schema", "json_schema": named}
    may_be_object = request.form.schema.get("type", "object") == "object"
    return {"type": "json_object"} if may_be_object and "json_object" not in request.dropped else None


def _encode_text_part(text: str) -> bytes:
    return _encode_json({"type": "text", "text": text})


def _quote_url(url: str | DataUrl) -> tuple[bytes | DataUrl, ...]:
    return (b'"', url, b'"') if isinstance(url, DataUrl) else (_encode_json(url),)


def _encode_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


def drop_refused_field(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request without what the server refused, and the warning that says so; ``None`` where that is no way out.

    Each thing is left out once; what the user set with ``-O`` stays.
    """
    if plainer := _drop_refused_format(request, error):
        return plainer
    if error.status not in {400, 422}:
        return None
    refused = {name for name in _DROPPABLE_FIELDS if re.search(rf"\b{name}\b", error.message)} - request.dropped
    if not _is_unsupported(error.message):  # a value out of range is the user's to mend; stream_options is only ours
        refused &= {"stream_options"}
    if "max_tokens" in refused & _build_parameters(request).keys() and "max_completion_tokens" in error.message:
        said = "max_tokens, so max_completion_tokens was sent"
        return replace(request, dropped=request.dropped | {"max_tokens"}), f"the endpoint refused {said}"
    # Top_p before temperature: some models take either, and only one of them.
    for name in ("stream_options", "top_p", "temperature"):
        if name in refused and name in _build_parameters(request):
            warning = f"the endpoint refused {name}, so it was left out"
            return replace(request, dropped=request.dropped | {name}), warning
    return None


def _drop_refused_format(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request with the next kind of ``response_format``, or with none, where this one was refused.

    The status does not matter: llama.cpp answers 500 when it cannot make a grammar of a schema.
    """
    sent = _build_response_format(request)
    is_refused = _matches(_JSON_FORMAT_PATTERN, error.message) or re.fullmatch(
        _UNSPECIFIC_PATTERN, error.message, re.IGNORECASE
    )
    if sent is None or not is_refused or isinstance(error, AuthError | NetworkError) or error.status == 429:
        return None
    request = replace(request, dropped=request.dropped | {sent["type"]})
    left = _build_response_format(request)
    instead = left["type"] if left else "nothing but the prompt"
    return request, f"the endpoint refused {sent['type']}, so {instead} asks for JSON"


def _is_unsupported(message: str) -> bool:
    return _matches(_UNSUPPORTED_PATTERN, message) and not _matches(_OUT_OF_RANGE_PATTERN, message)


def _matches(pattern: str, message: str) -> bool:
    return re.search(pattern, message, re.IGNORECASE) is not None
