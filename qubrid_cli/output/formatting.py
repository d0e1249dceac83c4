"""A ``Description`` as text: the line of ``--json``, one field of it, and the statistics line; and a dry run as text."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..describe.record import SCHEMA_VERSION, json_image
from ..describe.result import Description
from ..errors import UsageError
from ..images import tokens
from ..images.encode import Upload
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..metrics import Figures, get_number, parse_server_figures
from ..text import escape_control_characters, format_size, json_text

if TYPE_CHECKING:
    from ..describe.dry_run import DryRunResult

#: The JSON Schema (draft 2020-12) of the object.
SCHEMA_FILE = Path(__file__).with_name("description.schema.json")
#: The keys of the counts of tokens, in ``usage`` and in the ``metrics`` of Qubrid's older address.
_TOKEN_KEYS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
_INDEX = re.compile("0|[1-9][0-9]*")
#: The most ``$ref`` steps that are followed, because references may be circular.
_MAX_REFERENCES = 50


def check_field(path: str, data_schema: Mapping[str, Any] | None = None) -> bool:
    """Check the path of ``--field`` before the first request; return whether every record has such a field.

    Args:
        data_schema: the schema of ``data``.

    Raises:
        UsageError: no record has such a field.
    """
    key, _, data_path = path.partition(".")
    if data_schema is not None and key == "data" and data_path:
        return check_path(data_path, data_schema, prefix="data.")
    return check_path(path, json.loads(SCHEMA_FILE.read_text("utf-8")))


def check_path(path: str, schema: Any, *, prefix: str = "") -> bool:
    """Check a path such as ``images.0.source`` against a JSON Schema; return whether the schema defines all of it.

    Args:
        prefix: the beginning of the whole path, for messages.

    Raises:
        UsageError: no value that fits the schema has this path.
    """
    root = schema
    for name in path.split("."):
        schema = _follow_references(schema, root)
        if not isinstance(schema, Mapping):
            return False
        properties, items = schema.get("properties", {}), schema.get("items")
        if name in properties:
            schema = properties[name]
        elif isinstance(items, Mapping) and "prefixItems" not in schema and _INDEX.fullmatch(name):
            schema = items
        elif _allows_unnamed(schema, name):
            return False
        else:
            raise _unknown_field_error(name, prefix + path, list(properties), is_list=isinstance(items, Mapping))
    return True


def _follow_references(schema: Any, root: Any) -> Any:
    """Return the schema that a ``$ref`` names; ``None`` if it cannot be resolved."""
    from ..schema.example import resolve_reference

    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        schema = resolve_reference(str(schema["$ref"]), root)
    return None


def _allows_unnamed(schema: Mapping[str, Any], name: str) -> bool:
    """Whether values may have an item or property that the schema does not name."""
    types = schema.get("type", ("object", "array"))
    types = (types,) if isinstance(types, str) else types
    has_open_items = not isinstance(schema.get("items"), Mapping) or "prefixItems" in schema
    if "array" in types and has_open_items and _INDEX.fullmatch(name):
        return True
    return "object" in types and (schema.get("additionalProperties") is not False or "patternProperties" in schema)


def format_field(record: Any, path: str) -> str:
    """Format one value of an object by its path: a string as it is, any other value as JSON.

    A missing value is ``null``, as in jq: servers may omit ``usage``, and the answer has already been paid for.
    """
    value = record
    for name in path.split("."):
        value = _get_child(value, name)
    return value if isinstance(value, str) else json_text(value)


def error_for_missing_value(value: Any, path: str) -> UsageError | None:
    """Return the error for a path that does not exist in a value, else ``None``."""
    for name in path.split("."):
        names = [str(index) for index in range(len(value))] if isinstance(value, list) else list(_as_dict(value))
        if name not in names:
            return _unknown_field_error(name, path, names[:50], is_list=False)
        value = _get_child(value, name)
    return None


def _get_child(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return value[int(name)] if _INDEX.fullmatch(name) and int(name) < len(value) else None
    return _as_dict(value).get(name)


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _unknown_field_error(name: str, path: str, names: Sequence[str], *, is_list: bool) -> UsageError:
    no_names = "Use a number to pick an item of this list." if is_list else "This value has no fields."
    return UsageError(
        f"no field {name!r} in --field {path}",
        hint=f"Available: {', '.join(names)}" if names else no_names,
        code="no_such_field",
    )


def format_statistics(description: Description, *, width: int | None = None) -> str:
    """Format the statistics line: the server's figures, else ours, marked as such.

    Args:
        width: the most characters of a line; ``None`` for a single line.
    """
    figures = parse_server_figures(description.metrics)
    is_local = figures is None
    if figures is None:
        timing = description.timing
        figures = Figures(timing.ttft_seconds, timing.tokens_per_second, timing.total_seconds)
    values = (("ttft {} s", figures.ttft), ("{} tok/s", figures.rate), ("total {} s", figures.total))
    parts = [text.format(_format_figure(value, is_local=is_local)) for text, value in values if value is not None]
    if is_local and parts:
        parts[-1] += " (measured here)"
    input_tokens, output_tokens = (_find_tokens(description, *names) for names in _TOKEN_KEYS)
    if input_tokens is not None and output_tokens is not None:
        parts.append(f"{input_tokens:.0f} → {output_tokens:.0f} tokens")
    if description.timing.elapsed_seconds is not None:
        parts.append(f"{description.timing.elapsed_seconds:.2f} s with earlier attempts")
    if cost := description.cost:
        parts.append(f"{cost} (reported)" if cost.source == "server" else str(cost))
    images = [image for image in description.images if isinstance(image, PreparedImage)]
    if images:
        # The pages of a document have its size, which counts once.
        documents = {image.sha256: image.size for image in images if image.page is not None}
        size = sum(documents.values()) + sum(image.size for image in images if image.page is None)
        upload_size = sum(image.upload_size for image in images)
        parts.append(f"{format_size(size)} → {format_size(upload_size)}")
    parts += [escape_control_characters(description.model)] if description.model else []
    return _join_parts(parts, width)


def _find_tokens(description: Description, usage_key: str, metrics_key: str) -> float | None:
    """Return a token count that the server reported."""
    tokens = get_number(description.usage, usage_key)
    return get_number(description.metrics, metrics_key) if tokens is None else tokens


def _join_parts(parts: Sequence[str], width: int | None) -> str:
    lines: list[str] = []
    for part in parts:
        if lines and (width is None or len(f"{lines[-1]} · {part}") <= width):
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def _format_figure(value: float, *, is_local: bool) -> str:
    """Format our figures with two decimals, and the server's with up to three."""
    return f"{value:.2f}" if is_local else f"{round(value, 3):.10g}"


def json_dry_run(result: "DryRunResult") -> dict[str, Any]:
    """Return the object that ``--dry-run --json`` prints."""
    images = [
        json_image(image, result.model, result.detail)
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


def format_dry_run(result: "DryRunResult") -> str:
    """Format a dry run for people: the request, a line for each image, and the totals."""
    estimate = result.tokens_estimate
    totals = "unknown number of prompt tokens" if estimate is None else f"about {estimate:,} prompt tokens"
    totals += f", {result.cost_estimate} without the answer" if result.cost_estimate else ""
    images = [_format_dry_run_image(image, result) for image in result.images]
    totals += f" · request body of {format_size(result.request_size)} · nothing was sent to the endpoint"
    return "\n".join([f"POST {result.url}", json_text(result.request, indent=2), "", *images, totals])


def _format_dry_run_image(image: PreparedImageOrLink, result: "DryRunResult") -> str:
    name = escape_control_characters(image.name)
    if not isinstance(image, PreparedImage):
        return f"{name}: a link, which the endpoint would fetch"
    original = f"{name}: {image.format}, {image.width} × {image.height}, {format_size(image.size)}"
    removed = f"removed: {', '.join(image.metadata_names)}" if image.metadata_names else ""
    uploads = [_format_upload(upload, result) for upload in image.uploads]
    if len(uploads) == 1:
        return f"{original} → {uploads[0]}{removed and '; '}{removed}"
    parts = [f"  part {number}: {upload}" for number, upload in enumerate(uploads, 1)]
    return "\n".join([f"{original} → {len(uploads)} parts:", *parts, *([f"  {removed}"] if removed else [])])


def _format_upload(upload: Upload, result: "DryRunResult") -> str:
    estimate = tokens.estimate(upload.width, upload.height, result.model, result.detail)
    text = f"{upload.mime}, {upload.width} × {upload.height}, {format_size(upload.size)}"
    text += f", about {estimate:,} tokens" if estimate is not None else ""
    return text if upload.box is None else f"{text}, from {','.join(map(str, upload.box))}"
