"""The body of a request for a chat completion. Pure.

An image is encoded as base64 only while it is being sent. So a request that waits for its answer holds the image once, as
a file, and not three times, as file, URL and body.

Source: OpenAI API reference, "Create chat completion".
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from ..frozen import frozen
from ..urls import DataUrl

if TYPE_CHECKING:
    from .thinking import Thinking

#: Where chat completions are requested, after the base URL.
COMPLETIONS_PATH = "/chat/completions"
#: Where decisions are requested, after the base URL.
DECISIONS_PATH = "/decisions"
#: The name of the question in a request for a decision; the answer repeats it.
_QUESTION_NAME = "answer"
#: In ``Request.dropped``, this means that the endpoint refused to answer without streaming.
UNSTREAMED = "unstreamed"
#: Bytes in a chunk.
_CHUNK_SIZE = 256 * 1024
#: A part of a message's content (an image or a text), in the pieces that a ``RequestBody`` joins.
_ContentPart = tuple[bytes | DataUrl, ...]


@frozen
class RequestBody:
    """The body of a request, in pieces that are joined while it is sent.

    Attributes:
        path: where it is sent, after the base URL.
    """

    pieces: tuple[bytes | DataUrl, ...]
    path: str = COMPLETIONS_PATH

    def __len__(self) -> int:
        """The length in bytes."""
        return sum(map(len, self.pieces))

    def __bytes__(self) -> bytes:
        """The whole body."""
        return b"".join(self.iter_chunks())

    def iter_chunks(self) -> Iterator[bytes]:
        """The body in chunks, as few as possible: httpx takes as long for a short one as for a long one."""
        chunk = bytearray()
        for data in self._iter_slices():
            if len(chunk) + len(data) > _CHUNK_SIZE:
                yield bytes(chunk)
                chunk.clear()
            chunk += data
        yield bytes(chunk)

    def _iter_slices(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, DataUrl):
                yield from piece.iter_chunks()
            else:
                yield from (piece[start : start + _CHUNK_SIZE] for start in range(0, len(piece), _CHUNK_SIZE))


@frozen
class ImagePart:
    """An image of a request: a ``data:`` or web URL, and the text part that labels it, if any."""

    url: str | DataUrl
    label: str | None = None


@frozen
class ResponseFormat:
    """The JSON Schema that an answer must fit, and the instruction for it that is appended to the prompt.

    Servers that do not know ``response_format`` often ignore it silently; then the instruction is all the model sees.
    """

    schema: Mapping[str, Any]
    instruction: str
    name: str | None = None


@frozen
class Message:
    """A message before or after the prompt, from the user, perhaps with images, or from the model."""

    role: Literal["assistant", "user"]
    text: str
    images: tuple[ImagePart, ...] = ()


@frozen
class Request:
    """A prompt about some images, with its parameters; a parameter that is ``None`` is left to the endpoint.

    Attributes:
        params: body fields from the profile, which override ours.
        extra: body fields from ``-O``, which override all others.
        dropped: body fields, kinds of ``response_format`` and spellings of ``thinking`` that the endpoint refused, and
            ``UNSTREAMED``. A refused ``max_tokens`` is sent under its newer name, ``max_completion_tokens``.
        history: the messages before the prompt, from earlier in a conversation.
        follow_ups: the messages after the prompt.
        thinking: how much the model may think.
        detail: how closely the model looks at the images.
        images_first: whether the images come before the prompt.
        frequency_penalty: makes a token less likely each time it was used.
        is_decision: ask a decision endpoint how likely it is that the prompt is true; of the body fields, only ``extra`` are sent.
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
    dropped: frozenset[str] = frozenset()
    response_format: ResponseFormat | None = None
    follow_ups: tuple[Message, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    thinking: "Thinking | None" = None
    detail: str | None = None
    images_first: bool = False
    frequency_penalty: float | None = None
    is_decision: bool = False
    history: tuple[Message, ...] = ()

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is requested as a stream."""
        return self.stream or UNSTREAMED in self.dropped

    @property
    def may_have_placeholders(self) -> bool:
        """Whether the prompt or the system prompt contains an opening brace."""
        return "{" in self.prompt or "{" in (self.system or "")


def build_body(request: Request) -> RequestBody:
    """Build the JSON body of a request.

    Data URLs are inserted between the encoded pieces. They need no escaping, and ``json.dumps`` would take 30 ms for
    1.5 MB; copying takes 5 ms.
    """
    if request.is_decision:
        return _build_decision_body(request)
    prompt = request.prompt
    if request.response_format:
        prompt = f"{prompt}\n\n{request.response_format.instruction}"
    before = b'{"model":' + encode_json(request.model) + b',"messages":['
    if request.system:
        before += encode_json({"role": "system", "content": request.system}) + b","
    pieces: list[bytes | DataUrl] = [before]
    for message in (*request.history, Message("user", prompt, request.images)):
        pieces += (*_encode_message(request, message), b",")
    follow_ups = [_encode_text_message(message) for message in request.follow_ups]
    pieces[-1] = b",".join([b"", *follow_ups]) + b"]," + encode_json(build_fields(request))[1:]
    return RequestBody(tuple(pieces))


def _encode_message(request: Request, message: Message) -> list[bytes | DataUrl]:
    """Encode a message of the history, or the one with the prompt: a user's as a list of parts, an answer as a string."""
    if message.role == "assistant":
        return [_encode_text_message(message)]
    pieces: list[bytes | DataUrl] = [b'{"role":"user","content":[']
    for number, part in enumerate(_encode_content(request, message)):
        pieces += [b",", *part] if number else part
    return [*pieces, b"]}"]


def _encode_text_message(message: Message) -> bytes:
    return encode_json({"role": message.role, "content": message.text})


def _encode_content(request: Request, message: Message) -> list[_ContentPart]:
    """Encode the parts of a user's message: its text, and each image after its label."""
    detail = request.detail if "detail" not in request.dropped else None
    end = b"}}" if detail is None else b',"detail":' + encode_json(detail) + b"}}"
    images: list[_ContentPart] = []
    for image in message.images:
        if image.label:
            images.append((_encode_text_part(image.label),))
        url = (b'"', image.url, b'"') if isinstance(image.url, DataUrl) else (encode_json(image.url),)
        images.append((b'{"type":"image_url","image_url":{"url":', *url, end))
    text = (_encode_text_part(message.text),)
    return [*images, text] if request.images_first else [text, *images]


def build_fields(request: Request) -> dict[str, Any]:
    """All body fields except the model and the messages; for a decision, all except the model, the input and the question."""
    if request.is_decision:
        return dict(request.extra)
    fields = {**build_parameters(request), **request.params}
    if response_format := choose_response_format(request):  # ``params`` must not replace it
        fields["response_format"] = response_format
    if request.thinking is None:
        return {**fields, **request.extra}
    from .thinking import add_thinking

    return add_thinking(fields, request)


def build_parameters(request: Request) -> dict[str, Any]:
    """The body fields that the program sets, without those that the endpoint refused."""
    max_tokens = "max_completion_tokens" if "max_tokens" in request.dropped else "max_tokens"
    parameters: dict[str, Any] = {
        max_tokens: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "frequency_penalty": request.frequency_penalty,
        "stream": request.is_streamed,
    }
    if request.is_streamed and "stream_options" not in {**request.params, **request.extra}:
        parameters["stream_options"] = {"include_usage": True}
    if response_format := choose_response_format(request):
        parameters["response_format"] = response_format
    return {name: value for name, value in parameters.items() if value is not None and name not in request.dropped}


def choose_response_format(request: Request) -> dict[str, Any] | None:
    """The strictest kind of ``response_format`` that the endpoint has not refused; ``None`` if it refused all."""
    if request.response_format is None:
        return None
    schema = request.response_format.schema
    if "json_schema" not in request.dropped:
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    may_be_object = schema.get("type", "object") == "object"
    return {"type": "json_object"} if may_be_object and "json_object" not in request.dropped else None


def _encode_text_part(text: str) -> bytes:
    return encode_json({"type": "text", "text": text})


#: Made once: ``json.dumps`` would make one for each call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode_json(value: object) -> bytes:
    """Encode compactly, in UTF-8; halves of surrogate pairs become question marks."""
    return _ENCODER.encode(value).encode(errors="replace")


def _build_decision_body(request: Request) -> RequestBody:
    """Build the body of a request for the probability that the prompt is true of the images."""
    content: list[bytes | DataUrl] = []  # each part after a comma
    for image in request.images:
        if image.label:
            content += [b",", encode_json({"type": "input_text", "text": image.label})]
        url = (b'"', image.url, b'"') if isinstance(image.url, DataUrl) else (encode_json(image.url),)
        content += [b",", b'{"type":"input_image","image_url":', *url, b"}"]
    start = b'{"model":' + encode_json(request.model) + b',"input":[{"role":"user","content":['
    question = {"type": "predicate", "name": _QUESTION_NAME, "instructions": request.prompt}
    end = b"]}]," + encode_json({"questions": [question], **request.extra})[1:]
    return RequestBody((start, *content[1:], end), DECISIONS_PATH)
