"""Answers as data: the JSON object, one field of it, the statistics line."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import paths, tokens
from .draft import Description, Unprepared
from .errors import QvisionError, UsageError, printable
from .images import Encoded, Prepared
from .metrics import Figures, number, server_figures

SCHEMA_VERSION = 1
#: The JSON Schema (draft 2020-12) of the object, for whoever reads it.
SCHEMA_FILE = Path(__file__).with_name("description.schema.json")

#: Legal inside JSON strings, and yet they act on a terminal: DEL and C1.
_ACTING = re.compile("[\x7f-\x9f]")


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
        "images": [json_image(image, description.asked_model) for image in description.images],
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


def json_image(image: Prepared | Unprepared, model: str | None) -> dict[str, Any]:
    """What there is to say of one image: the original's facts, and those of what is sent."""
    if not isinstance(image, Encoded):  # a link, which only the endpoint looks at, or what could not be prepared
        return {"source": image.name} | dict.fromkeys(("sha256", "format", "width", "height", "bytes", "sent"))
    sent = image.sent
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
    return _ACTING.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode(errors="backslashreplace").decode()


def picked(found: Any, path: str) -> str:
    """One value of an object by its path, such as ``images.0.sha256``: a string bare, all else as JSON.

    What is not there is ``null``, as in jq: a server need not send ``usage``, and an answer is paid for by now.
    """
    value = paths.value(found, path)
    return value if isinstance(value, str) else json_text(value)


def check_field(path: str, answer: Mapping[str, Any] | None = None) -> bool:
    """Refuse a path that no object can have, before anything is asked and paid for.

    Args:
        answer: the schema that ``data`` is going to fit.

    Returns:
        Whether it is certain that the path leads somewhere; else it is a matter of the answer.

    Raises:
        UsageError: no such field, with those that there are.
    """
    head, _, rest = path.partition(".")
    if answer is not None and head == "data" and rest:
        return paths.check(rest, answer, root=answer, prefix="data.")
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    return paths.check(path, schema, root=schema)


def lost(found: dict[str, Any], path: str, answer: Mapping[str, Any]) -> UsageError | None:
    """The error that an answer has no such field, where its schema did not say so before."""
    return None if check_field(path, answer) else paths.missing(found, path)


def statistics(description: Description, *, width: int | None = None) -> str:
    """What ends an answer: the server's figures, else ours, marked as such; on one line, or on more of some width."""
    figures, ours = server_figures(description.metrics), False
    if figures is None:
        timing = description.timing
        figures, ours = Figures(timing.ttft_seconds, timing.tokens_per_second, timing.total_seconds), True
    named = (("ttft ", figures.ttft, " s"), ("", figures.rate, " tok/s"), ("total ", figures.total, " s"))
    parts = [f"{name}{_plain(value, ours=ours)}{unit}" for name, value, unit in named if value is not None]
    if ours and parts:
        parts[-1] += " (measured here)"
    asked, said = number(description.usage, "prompt_tokens"), number(description.usage, "completion_tokens")
    if asked is not None and said is not None:
        parts.append(f"{asked:.0f} → {said:.0f} tokens")
    parts += [str(description.cost)] if description.cost else []
    encoded = [image for image in description.images if isinstance(image, Encoded)]
    if encoded:
        before, after = sum(image.size for image in encoded), sum(len(image.sent.data) for image in encoded)
        parts.append(f"{readable_size(before)} → {readable_size(after)}")
    parts += [printable(description.model)] if description.model else []
    return _joined(parts, width)


def _joined(parts: list[str], width: int | None) -> str:
    lines: list[str] = []
    for part in parts:
        if lines and (width is None or len(f"{lines[-1]} · {part}") <= width):
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def _plain(value: float, *, ours: bool) -> str:
    """The server's figure as it gave it, to a thousandth; ours to a hundredth of a second."""
    return f"{value:.2f}" if ours else f"{round(value, 3):.10g}"


def readable_size(size: int) -> str:
    """Bytes in powers of ten: ``214 KB``, ``4.1 MB``."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 999_500 else f"{size / 1e6:.1f} MB"
