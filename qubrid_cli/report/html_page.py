"""HTML pages in one file: templates with escaped values, and inlined styles and scripts under a strict policy.

A page makes no request: its Content-Security-Policy permits only its own styles and script, by their hashes, and images
from ``data:`` URLs or from the folder beside it.
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

#: The depth to which lists and objects are kept if they are nested too deeply for the encoder.
_MAX_DEPTH = 100


@frozen
class PageSetup:
    """The parts and permissions of a page.

    Attributes:
        styles: files to inline after the common ``page.css``.
        scripts: files to inline.
        folders: folders to search for templates and these files before ``ASSETS``.
        has_files: some images are in a folder beside the page.
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
        data: a value for the script, which is put into the page as JSON; ``None`` for none.
        values: the values of the template, which are escaped.
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
    """Build the Content-Security-Policy of a page. ``file:`` is needed because ``'self'`` excludes files beside a file."""
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
    """Encode a value as JSON that is safe in a script element, whatever texts it contains."""
    encode = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        text = encode(data)
    except (ValueError, RecursionError):  # NaN or an infinity, which JSON does not have, or thousands of nested lists
        text = encode(_simplify(data, _MAX_DEPTH))
    # Without this character, nothing in the text can end the element (HTML Standard, 4.12.1.3).
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704  # safe, as the comment above says


def _simplify(value: Any, depth: int) -> Any:
    """Replace NaN, infinities, and whatever is nested more deeply by ``None``."""
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
