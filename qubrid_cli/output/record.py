"""Answers as data: the JSON object, one field of it, the statistics line."""

# MERGED DOCSTRING of qubrid_cli.paths: Where a path such as ``data.tags.0`` leads: in a value that is there, and in one that a JSON Schema only promises. Pure.

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..describe.dry_run import DryRunResult
from ..describe.result import Description, UnpreparedImage
from ..errors import QvisionError, UsageError
from ..images import tokens
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..metrics import Figures, get_number, parse_server_figures
from ..text import escape_control_characters, format_size


def json_dry_run(result: DryRunResult) -> dict[str, Any]:
    """The object that ``--dry-run --json`` prints."""
    images = [
        json_image(image, result.model)
        | {"stripped": list(image.metadata_names) if isinstance(image, PreparedImage) else []}
        for image in result.images
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": True,
        "url": result.url,
        "request": result.request,
        "request_bytes": result.request_size,
        "images": images,
        "tokens_estimate": result.tokens_estimate,
        "cost_estimate": asdict(result.cost_estimate) if result.cost_estimate else None,
        "warnings": list(result.warnings),
    }


def format_dry_run(result: DryRunResult) -> str:
    """The same for people: the request, a line for each image, and the sum."""
    counted = (
        f"about {result.tokens_estimate:,} prompt tokens" if result.tokens_estimate is not None else "tokens unknown"
    )
    counted += f", {result.cost_estimate} without the answer" if result.cost_estimate else ""
    return "\n".join(
        [
            f"POST {result.url}",
            json_text(result.request, indent=2),
            "",
            *(_format_dry_run_image(image, result.model) for image in result.images),
            f"{counted} · a body of {format_size(result.request_size)} · nothing was sent to the endpoint",
        ]
    )


def _format_dry_run_image(image: PreparedImageOrLink, model: str) -> str:
    if not isinstance(image, PreparedImage):
        return f"{escape_control_characters(image.name)}: a link, which the endpoint would fetch"
    sent = image.upload
    estimate = tokens.estimate(sent.width, sent.height, model)
    parts = [
        f"{escape_control_characters(image.name)}: {image.format}, {image.width} × {image.height}, {format_size(image.size)}",
        f" → {sent.mime}, {sent.width} × {sent.height}, {format_size(len(sent.data))}",
        f", about {estimate:,} tokens" if estimate is not None else "",
        f"; taken out: {', '.join(image.metadata_names)}" if image.metadata_names else "",
    ]
    return "".join(parts)


_INDEX = re.compile("0|[1-9][0-9]*")
_MAX_REFERENCES = 50


def check_path(path: str, schema: Any, *, root: Any, prefix: str = "") -> bool:
    """Refuse a path that no value can have; whether the schema names all of it, else it is a matter of the value.

    Args:
        root: what a ``$ref`` is looked up in.
        prefix: of the path, for messages.

    Raises:
        UsageError: no such field, with those that there are.
    """
    for name in path.split("."):
        schema = _resolve_reference(schema, root)
        if not isinstance(schema, Mapping):
            return False
        properties, items = schema.get("properties", {}), schema.get("items")
        if name in properties:
            schema = properties[name]
        elif isinstance(items, Mapping) and "prefixItems" not in schema and _INDEX.fullmatch(name):
            schema = items
        elif _may_contain(schema, name):
            return False
        else:
            raise error_for_unknown_field(name, prefix + path, list(properties), is_list=isinstance(items, Mapping))
    return True


def _may_contain(schema: Mapping[str, Any], name: str) -> bool:
    """Whether values may have more below them than the schema names."""
    kinds = schema.get("type", ("object", "array"))
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if (
        "array" in kinds
        and (not isinstance(schema.get("items"), Mapping) or "prefixItems" in schema)
        and _INDEX.fullmatch(name)
    ):
        return True
    return "object" in kinds and (schema.get("additionalProperties") is not False or "patternProperties" in schema)


def _resolve_reference(schema: Any, root: Any) -> Any:
    """The schema that a ``$ref`` within the document means; ``None`` where it is another kind of ``$ref``."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        if not str(schema["$ref"]).startswith("#/"):
            return root if schema["$ref"] == "#" else None
        parts = [part.replace("~1", "/").replace("~0", "~") for part in schema["$ref"][2:].split("/")]
        schema = root
        for part in parts:
            schema = schema.get(part) if isinstance(schema, Mapping) else None
    return None


def get_value(value: Any, path: str) -> Any:
    """What is there, or ``None``."""
    for name in path.split("."):
        value = _get_child(value, name)
    return value


def error_for_missing_value(value: Any, path: str) -> UsageError | None:
    """The error that a path leads nowhere in a value, with the fields that there are where it ends; ``None`` if it does not."""
    for name in path.split("."):
        names = _list_names(value)
        if name not in names:
            return error_for_unknown_field(name, path, names[:50], is_list=False)
        value = _get_child(value, name)
    return None


def _list_names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(place) for place in range(len(value))]
    return list(value) if isinstance(value, dict) else []


def _get_child(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return value[int(name)] if _INDEX.fullmatch(name) and int(name) < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


def error_for_unknown_field(name: str, path: str, names: list[str], *, is_list: bool) -> UsageError:
    """The error for a path that leads nowhere.

    Args:
        names: of the fields that there are in its place.
    """
    nothing = "It is a list: a number picks from it." if is_list else "There is nothing below that value."
    return UsageError(
        f"no field {name!r} in --field {path}",
        hint=f"There is: {', '.join(names)}" if names else nothing,
        code="no_such_field",
    )


SCHEMA_VERSION = 1
#: The JSON Schema (draft 2020-12) of the object, for whoever reads it.
SCHEMA_FILE = Path(__file__).with_name("description.schema.json")

#: Legal inside JSON strings, and yet they act on a terminal: DEL and C1.
_CONTROL_CHARACTERS = re.compile("[\x7f-\x9f]")


def json_object(description: Description) -> dict[str, Any]:
    """The object that ``--json`` prints; ``SCHEMA_FILE`` describes it."""
    error = description.error
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": error is None,
        "complete": description.complete,
        "finish_reason": description.finish_reason,
        "id": description.id,
        "model": description.model,
        "prompt": description.prompt,
        "images": [json_image(image, description.requested_model) for image in description.images],
        "text": description.text,
        "data": description.data,
        "reasoning": description.reasoning,
        "usage": description.usage,
        "x_metrics": description.metrics,
        "timing": asdict(description.timing),
        "cost": None if description.cost is None else asdict(description.cost),
        "warnings": list(description.warnings),
        "error": None if error is None else json_error(error),
    }


def json_image(image: PreparedImageOrLink | UnpreparedImage, model: str | None) -> dict[str, Any]:
    """What there is to say of one image: the original's facts, and those of what is sent."""
    if not isinstance(image, PreparedImage):  # a link, which only the endpoint looks at, or what could not be prepared
        return {"source": image.name} | dict.fromkeys(("sha256", "format", "width", "height", "bytes", "sent"))
    sent = image.upload
    return {
        "source": image.name,
        "sha256": image.sha256,
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": image.size,
        "sent": {
            "mime": sent.mime,
            "width": sent.width,
            "height": sent.height,
            "bytes": len(sent.data),
            "tokens_estimate": tokens.estimate(sent.width, sent.height, model or ""),
        },
    }


def json_error(error: QvisionError) -> dict[str, Any]:
    """An error as it stands in that object."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "status": error.status,
        "request_id": error.request_id,
    }


def json_text(value: object, *, indent: int | None = None) -> str:
    r"""JSON, on one line unless it is indented, harmless on a terminal; a file name's bytes that are no UTF-8 become ``\udc80`` to ``\udcff``."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ": " if indent else ":"))
    return (
        _CONTROL_CHARACTERS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
        .encode(errors="backslashreplace")
        .decode()
    )


def format_field(record: Any, path: str) -> str:
    """One value of an object by its path, such as ``images.0.sha256``: a string bare, all else as JSON.

    What is not there is ``null``, as in jq: a server need not send ``usage``, and an answer is paid for by now.
    """
    value = get_value(record, path)
    return value if isinstance(value, str) else json_text(value)


def check_field(path: str, data_schema: Mapping[str, Any] | None = None) -> bool:
    """Refuse a path that no object can have, before anything is asked and paid for.

    Args:
        data_schema: the schema that ``data`` is going to fit.

    Returns:
        Whether it is certain that the path leads somewhere; else it is a matter of the answer.

    Raises:
        UsageError: no such field, with those that there are.
    """
    head, _, rest = path.partition(".")
    if data_schema is not None and head == "data" and rest:
        return check_path(rest, data_schema, root=data_schema, prefix="data.")
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    return check_path(path, schema, root=schema)


def error_for_missing_data(record: dict[str, Any], path: str, data_schema: Mapping[str, Any]) -> UsageError | None:
    """The error that an answer has no such field, where its schema did not say so before."""
    return None if check_field(path, data_schema) else error_for_missing_value(record, path)


def format_statistics(description: Description, *, width: int | None = None) -> str:
    """What ends an answer: the server's figures, else ours, marked as such; on one line, or on more of some width."""
    figures, ours = parse_server_figures(description.metrics), False
    if figures is None:
        timing = description.timing
        figures, ours = Figures(timing.ttft_seconds, timing.tokens_per_second, timing.total_seconds), True
    named = (("ttft ", figures.ttft, " s"), ("", figures.rate, " tok/s"), ("total ", figures.total, " s"))
    parts = [f"{name}{_format_figure(value, ours=ours)}{unit}" for name, value, unit in named if value is not None]
    if ours and parts:
        parts[-1] += " (measured here)"
    asked, said = get_number(description.usage, "prompt_tokens"), get_number(description.usage, "completion_tokens")
    if asked is not None and said is not None:
        parts.append(f"{asked:.0f} → {said:.0f} tokens")
    parts += [str(description.cost)] if description.cost else []
    encoded = [image for image in description.images if isinstance(image, PreparedImage)]
    if encoded:
        before, after = sum(image.size for image in encoded), sum(len(image.upload.data) for image in encoded)
        parts.append(f"{format_size(before)} → {format_size(after)}")
    parts += [escape_control_characters(description.model)] if description.model else []
    return _join_parts(parts, width)


def _join_parts(parts: list[str], width: int | None) -> str:
    lines: list[str] = []
    for part in parts:
        if lines and (width is None or len(f"{lines[-1]} · {part}") <= width):
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def _format_figure(value: float, *, ours: bool) -> str:
    """The server's figure as it gave it, to a thousandth; ours to a hundredth of a second."""
    return f"{value:.2f}" if ours else f"{round(value, 3):.10g}"
