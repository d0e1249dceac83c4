"""From the settings and ``-O`` to the body of a request, and what of it belongs to the key of an answer."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...settings.fields import format_flag, get_default_image_order

if TYPE_CHECKING:
    from ...client.request import Request
    from ...client.thinking import Thinking
    from ...schema.json_schema import Schema
    from ...settings.fields import Settings

#: A value of ``-O`` that needs no quotes, so that ``reasoning_effort=low`` can be typed.
_BARE_WORD = re.compile(r"[A-Za-z][\w.-]*")


def parse_params(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Body fields from ``KEY=JSON``; a value that is a plain word counts as a string.

    Raises:
        UsageError: no ``=``, invalid JSON, or a field that has its own option.
    """
    from ...settings.checks import RESERVED_BODY_FIELDS

    fields: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-O {pair} is not KEY=JSON", hint="For example: -O seed=42")
        if key in RESERVED_BODY_FIELDS:
            raise UsageError(f"-O cannot set {key}", hint=_hint_for_reserved(key))
        try:
            fields[key] = json.loads(text)
            json.dumps(fields[key], allow_nan=False)  # Python reads NaN and 1e999, which are not JSON
        except (ValueError, RecursionError) as error:
            if not _BARE_WORD.fullmatch(text):
                raise UsageError(
                    f"-O {pair}: {text!r} is not JSON", hint=f"Text goes in quotes: -O '{key}=\"text\"'"
                ) from error
            fields[key] = text
    return fields


def _hint_for_reserved(key: str) -> str:
    hints = {"messages": "They are made of the prompt, -s and the images.", "stream": "Use --no-stream."}
    return hints.get(key, f"Use {format_flag(key)}.")


def build_request(
    settings: "Settings", prompt: str, system: str | None, extra: dict[str, object], *, stream: bool
) -> "Request":
    """The request without its images."""
    from ...client import request

    return request.Request(
        model=settings.required_model,
        prompt=prompt,
        images=(),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        system=system,
        stream=stream,
        extra=extra,
        params=settings.params,
        thinking=_choose_thinking(settings, extra),
        detail=settings.detail,
        images_first=settings.image_order == "first",
    )


def _choose_thinking(settings: "Settings", extra: Mapping[str, object]) -> "Thinking | None":
    """How much the model may think; ``-O`` with a field that says so wins over the settings.

    Raises:
        UsageError: ``--think`` and such a field.
    """
    if settings.think is None:
        return None
    from ...client import thinking
    from ...settings.fields import OriginKind

    if field := next((name for name in thinking.THINKING_FIELDS if not isinstance(extra.get(name, {}), dict)), None):
        if settings.origins["think"].kind is OriginKind.OPTION:
            raise UsageError(f"--think and -O {field} exclude each other", hint="Leave one of them out.")
        return None
    return thinking.choose_thinking(
        settings.think, profile=settings.profile, base_url=settings.base_url, model=settings.required_model
    )


def list_key_facets(settings: "Settings") -> dict[str, object]:
    """What shapes an answer besides the request's older fields, for the key of a batch; only what the user has set."""
    facets: dict[str, object] = {"think": settings.think, "detail": settings.detail, "params": dict(settings.params)}
    if settings.image_order != get_default_image_order(settings.profile):
        facets["image_order"] = settings.image_order
    return {name: value for name, value in facets.items() if value}


def add_response_format(request: "Request", schema: "Schema | None") -> "Request":
    """The request as it is sent first if the answer must fit a schema."""
    if schema is None:
        return request
    from ...describe import structured

    return replace(request, response_format=structured.build_response_format(schema))
