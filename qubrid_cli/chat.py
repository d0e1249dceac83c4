"""The OpenAI dialect of chat completions, outwards: the body of a request. Pure: no network, no clock.

Source: OpenAI API reference, "Create chat completion".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Literal

from .content import Content, DataUrl
from .errors import AuthError, EndpointError, NetworkError
from .frozen import frozen

#: What an endpoint may refuse, and a request can do without.
_LEFT_OUT = frozenset({"stream_options", "max_tokens", "temperature", "top_p"})
# The patterns of this module are compiled when a refusal comes, for doing so takes as long as loading all the rest of it.
_UNSUPPORTED = "support|unknown|unrecogni|unexpected|permitted|extra|deprecated|cannot both"
_OUT_OF_RANGE = "between|range|at most|at least|less than|greater than|too (large|small|long)"
#: How servers and their clients call what asks for JSON, in messages that refuse it.
_ABOUT_JSON = (
    r"response[_ ]?(format|schema)|json[_ ]?(schema|object|mode)|structured[_ ]?outputs?|guided|grammar"
    r"|constrained decoding"
)
#: Messages that say no more than that something was not liked; by then the unusual thing is the form.
_SAYS_NOTHING = (
    r"(?s).*\(HTTP (400|422|501)\)(: (bad request|(invalid|unsupported)( request| parameter| field)?|unprocessable( entity)?"
    r"|unprocessable content|not (supported|implemented)|\{\}))?\.?"
)
#: Body fields that have an option of their own, or none because they are what the program makes.
RESERVED = frozenset({"model", "messages", "max_tokens", "temperature", "top_p", "stream"})


@frozen
class Picture:
    """An image of a request: a ``data:`` or web URL, and the text part that names it, if any."""

    url: str | DataUrl
    label: str | None = None


@frozen
class Form:
    """The form that an answer must have: its JSON Schema, and the words that ask for it behind the prompt.

    Servers that do not know ``response_format`` often ignore it without a word; then these words are all there is.
    """

    schema: Mapping[str, Any]
    words: str


@frozen
class Turn:
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
    pictures: tuple[Picture, ...]
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    system: str | None = None
    stream: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: Fields that this endpoint does not take, and kinds of ``response_format``; ``max_tokens`` goes under its newer
    #: name then.
    without: frozenset[str] = frozenset()
    form: Form | None = None
    turns: tuple[Turn, ...] = ()


def body(request: Request) -> Content:
    """The JSON body of a request.

    The data URLs are spliced in between the dumped pieces: they need no escaping, and ``json.dumps`` would take
    30 ms over the 1.5 MB that it takes 5 ms to copy.
    """
    before = b'{"model":' + _dumped(request.model) + b',"messages":['
    if request.system:
        before += _dumped({"role": "system", "content": request.system}) + b","
    before += b'{"role":"user","content":['
    before += _text_part(f"{request.prompt}\n\n{request.form.words}" if request.form else request.prompt)
    parts: list[bytes | DataUrl] = [before]
    for picture in request.pictures:
        label = b"," + _text_part(picture.label) if picture.label else b""
        parts += [label + b',{"type":"image_url","image_url":{"url":', *_quoted(picture.url), b"}}"]
    turns = [_dumped({"role": turn.role, "content": turn.text}) for turn in request.turns]
    rest = _dumped({**_parameters(request), **request.extra})
    return Content((*parts, b",".join([b"]}", *turns]) + b"]," + rest[1:]))


def _parameters(request: Request) -> dict[str, Any]:
    """What is sent by itself, less what the endpoint refused."""
    tokens = "max_completion_tokens" if "max_tokens" in request.without else "max_tokens"
    all_of_them: dict[str, Any] = {
        tokens: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": request.stream,
    }
    if request.stream and "stream_options" not in request.extra:
        all_of_them["stream_options"] = {"include_usage": True}
    if response_format := _response_format(request):
        all_of_them["response_format"] = response_format
    return {name: value for name, value in all_of_them.items() if value is not None and name not in request.without}


def _response_format(request: Request) -> dict[str, Any] | None:
    """The strictest kind that the endpoint takes, as far as is known."""
    if request.form is None:
        return None
    if "json_schema" not in request.without:
        named = {"name": "answer", "schema": request.form.schema, "strict": True}
        return {"type": "json_schema", "json_schema": named}
    may_be_object = request.form.schema.get("type", "object") == "object"
    return {"type": "json_object"} if may_be_object and "json_object" not in request.without else None


def _text_part(text: str) -> bytes:
    return _dumped({"type": "text", "text": text})


def _quoted(url: str | DataUrl) -> tuple[bytes | DataUrl, ...]:
    return (b'"', url, b'"') if isinstance(url, DataUrl) else (_dumped(url),)


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


def simpler(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request without what the server refused, and the warning that says so; ``None`` where that is no way out.

    Each thing is left out once; what the user set with ``-O`` stays.
    """
    if plainer := _plainer(request, error):
        return plainer
    if error.status not in {400, 422}:
        return None
    refused = {name for name in _LEFT_OUT if re.search(rf"\b{name}\b", error.message)} - request.without
    if not _is_unsupported(error.message):  # a value out of range is the user's to mend; stream_options is only ours
        refused &= {"stream_options"}
    if "max_tokens" in refused & _parameters(request).keys() and "max_completion_tokens" in error.message:
        said = "max_tokens, so max_completion_tokens was sent"
        return replace(request, without=request.without | {"max_tokens"}), f"the endpoint refused {said}"
    # Top_p before temperature: some models take either, and only one of them.
    for name in ("stream_options", "top_p", "temperature"):
        if name in refused and name in _parameters(request):
            warning = f"the endpoint refused {name}, so it was left out"
            return replace(request, without=request.without | {name}), warning
    return None


def _plainer(request: Request, error: EndpointError) -> tuple[Request, str] | None:
    """The request with the next kind of ``response_format``, or with none, where this one was refused.

    The status does not matter: llama.cpp answers 500 when it cannot make a grammar of a schema.
    """
    sent = _response_format(request)
    is_refused = _says(_ABOUT_JSON, error.message) or re.fullmatch(_SAYS_NOTHING, error.message, re.IGNORECASE)
    if sent is None or not is_refused or isinstance(error, AuthError | NetworkError) or error.status == 429:
        return None
    request = replace(request, without=request.without | {sent["type"]})
    left = _response_format(request)
    instead = left["type"] if left else "nothing but the prompt"
    return request, f"the endpoint refused {sent['type']}, so {instead} asks for JSON"


def _is_unsupported(message: str) -> bool:
    return _says(_UNSUPPORTED, message) and not _says(_OUT_OF_RANGE, message)


def _says(words: str, message: str) -> bool:
    return re.search(words, message, re.IGNORECASE) is not None
