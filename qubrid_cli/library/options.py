"""The options of a client."""

import os
from collections.abc import Mapping
from typing import Any, TypedDict

from ..errors import UsageError
from ..text import suggest


class ClientOptions(TypedDict, total=False):
    """The options of a client; they mean what the options of the command line mean, and ``None`` is like no option.

    Attributes:
        schema: of the answer: a JSON Schema, the short form, or the path of a file.
        params: further fields of the request's body, as ``-O``.
        fetch: download all links here or none; by default those that the endpoint cannot reach.
        original: do not shrink images.
        tiles: a number, or ``auto``.
        pages: of documents, such as ``1-3``.
        password: of encrypted PDFs.
    """

    model: str | None
    base_url: str | None
    preset: str | None
    system: str | None
    schema: str | os.PathLike[str] | Mapping[str, Any] | None
    params: Mapping[str, Any] | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    think: str | bool | None
    timeout: float | None
    retries: int | None
    retry_max_wait: float | None
    max_time: float | None
    allow_http: bool | None
    offline: bool | None
    max_pixels: int | None
    max_side: int | None
    quality: int | None
    detail: str | None
    image_order: str | None
    background: str | None
    labels: bool | None
    loop_check: bool | None
    fetch: bool | None
    original: bool | None
    tiles: int | str | None
    crop: str | None
    pages: str | None
    password: str | None


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, checked like the values of the config file.

    Raises:
        TypeError: there is no such option.
        UsageError: a value cannot be used.
    """
    from ..settings.checks import check_body_fields
    from ..settings.fields import FIELDS

    names = [*ClientOptions.__annotations__, "profile"]
    for name in options.keys() - names:
        raise TypeError(f"there is no option {name!r}{suggest(name, names)}")
    checked = {name: value for name, value in options.items() if value is not None}
    for name, value in checked.items():
        field = FIELDS.get(name)
        try:
            checked[name] = check_body_fields(value) if name == "params" else field.check(value) if field else value
        except ValueError as error:
            example = field.example if field else '{"seed": 42}'
            raise UsageError(f"{name} {error}: {value!r}", hint=f"For example: {name}={example}") from error
    return checked
