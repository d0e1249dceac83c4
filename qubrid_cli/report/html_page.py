"""Pages that are one file: templates with escaped values, and styles and scripts inlined under a strict policy.

A page makes no request: its Content-Security-Policy permits the styles and the script that are in it, by their hashes,
and images from ``data:`` URLs or from the folder beside it, and nothing else.
"""

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..frozen import frozen

#: Templates, styles and scripts.
ASSETS = Path(__file__).parent / "assets"

#: Of lists and objects in each other, if there are too many for the encoder.
_MAX_DEPTH = 100


@frozen
class PageSetup:
    """How a page is made.

    Attributes:
        styles: files whose contents are inlined, after the common ``page.css``; ``scripts`` likewise.
        folders: where templates and these files are looked for before ``ASSETS``.
        has_files: images are also in a folder beside the page.
        is_served: the page may send requests to the server that it comes from.
    """

    styles: Sequence[str] = ()
    scripts: Sequence[str] = ()
    folders: Sequence[Path] = ()
    has_files: bool = False
    is_served: bool = False


def render_page(template: str, setup: PageSetup, *, title: str, data: Any = None, **values: Any) -> bytes:
    """Render a template that extends ``base.html``.

    Args:
        data: is in the page as JSON, for its script; ``None`` for none.
        values: for the template. They are escaped.
    """
    folders = [*setup.folders, ASSETS]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "\n".join(_read_asset(name, folders) for name in ("page.css", *setup.styles))
    script = "\n".join(_read_asset(name, folders) for name in setup.scripts)
    html = environment.get_template(template).render(
        title=title,
        policy=build_policy(style, script, setup),
        style=Markup(style),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        data=None if data is None else encode_data(data),
        **values,
    )
    return html.encode(errors="replace")


def _read_asset(name: str, folders: Sequence[Path]) -> str:
    return next(path for folder in folders if (path := folder / name).is_file()).read_text("utf-8")


def build_policy(style: str, script: str, setup: PageSetup) -> str:
    """The Content-Security-Policy of a page; ``self`` alone does not permit files beside a page that is a file itself."""
    directives = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "data: 'self' file:" if setup.has_files else "data:",
        "style-src": _hash_source(style),
        "script-src": _hash_source(script) if script else "'none'",
        "connect-src": "'self'" if setup.is_served else "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def encode_data(data: Any) -> Markup:
    """Encode a value as JSON that can stand in a script element, whatever texts are in it."""
    encode = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text = encode(data)
    except (ValueError, RecursionError):  # a number that JSON does not have, or thousands of lists in each other
        text = encode(_simplify(data, _MAX_DEPTH))
    # Without this character, nothing in the text can end the element (HTML Standard, 4.12.1.3).
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704  # safe, as the comment above says


def _simplify(value: Any, depth: int) -> Any:
    """The same with ``None`` for infinities, for what is not a number, and for what is nested more deeply."""
    match value:
        case dict() if depth:
            return {name: _simplify(item, depth - 1) for name, item in value.items()}
        case list() | tuple() if depth:
            return [_simplify(item, depth - 1) for item in value]
        case dict() | list() | tuple():
            return None
        case float() if not math.isfinite(value):
            return None
    return value
