"""Build a request from settings, preset, prompt and schema, and list what the key of its answer depends on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, UsageError
from ..settings.fields import get_default_image_order

if TYPE_CHECKING:
    from ..client.request import Request
    from ..client.thinking import Thinking
    from ..describe.run import DescribeFunction
    from ..describe.structured import Session
    from ..images.sources import Source
    from ..schema.json_schema import Schema
    from ..settings.config_file import Config
    from ..settings.fields import Settings
    from ..settings.presets import Preset

_DEFAULT_PROMPT = "Describe this image."


def compose_prompt(option_text: str | None, argument: str | None, preset: "Preset | None", settings: "Settings") -> str:
    """The prompt of the preset, with the user's own appended; without either, that of the settings, or the default.

    Args:
        option_text: the text of ``-p``, which wins over the ``argument``.
    """
    prompt = option_text
    if prompt is None and argument is not None:
        prompt = validate_prompt(argument, "the prompt")
    if preset is not None:
        return f"{preset.prompt}\n\n{prompt}" if prompt else preset.prompt
    return prompt or settings.prompt or _DEFAULT_PROMPT


def choose_system(text: str | None, preset: "Preset | None", settings: "Settings") -> str | None:
    """The system prompt: that of the user, else of the preset, else of the settings."""
    return text or (preset.system if preset else None) or settings.system


def validate_prompt(text: str, where: str) -> str:
    """Return the prompt; refuse an empty one, which usually comes from an empty variable of a script.

    Args:
        where: the option or argument, for messages.

    Raises:
        UsageError: the prompt is empty or not UTF-8.
    """
    if not text.strip():
        raise UsageError(f"{where} is empty", hint="Write a prompt in quotes, or leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # surrogates, by which Python replaces bytes of an argument that are not UTF-8
        raise UsageError(f"{where} is not UTF-8 text", hint="Check the terminal's encoding.") from error
    return text


def load_schema(
    option: str | Mapping[str, Any] | None,
    preset: "Preset | None",
    extra: Mapping[str, Any],
    settings: "Settings | None" = None,
) -> "Schema | None":
    """The schema of the answer: that of ``--schema``, else the preset's.

    Args:
        extra: the fields that ``-O`` adds to the body.
        settings: may set the form of the coordinates, if the answer has boxes.

    Raises:
        UsageError: the schema is invalid, or ``-O`` sets ``response_format`` too.
        ConfigError: the preset's schema is invalid.
    """
    schema = _load_schema(option, preset, extra)
    if schema is None or schema.boxes is None or settings is None or settings.coordinates is None:
        return schema
    return schema.with_boxes(settings.coordinates)


def require_boxes(schema: "Schema | None") -> "Schema":
    """Return the schema of the preset ``boxes``, which the user may have replaced.

    Raises:
        ConfigError: it is not a schema of boxes.
    """
    if schema is None or schema.boxes is None:
        raise ConfigError(
            "presets.boxes has a schema without boxes", hint="Remove it: qvision config unset presets.boxes.schema"
        )
    return schema


def _load_schema(
    option: str | Mapping[str, Any] | None, preset: "Preset | None", extra: Mapping[str, Any]
) -> "Schema | None":
    if option is None and (preset is None or preset.schema is None):
        return None
    if "response_format" in extra:
        raise UsageError("a schema and -O response_format exclude each other", hint="Leave one of them out.")
    from ..schema.json_schema import load_schema

    if option is not None:
        return load_schema(option, where="--schema")
    assert preset is not None
    assert preset.schema is not None
    where = f"presets.{preset.name}.schema" if preset.path is None else f"{preset.path}: presets.{preset.name}.schema"
    folder = "" if preset.path is None else str(preset.path.parent)
    try:
        return load_schema(preset.schema, where=where, folder=folder, name=preset.name)
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint) from error


def check_preset(name: str, config: "Config") -> None:
    """Refuse invalid values of a user's preset; its prompt may still be missing.

    Raises:
        ConfigError: a value is invalid.
    """
    from ..settings import presets

    load_schema(None, presets.merge_with_built_in(name, config.presets[name], config.path), {})


def choose_describe(schema: "Schema | None", *, reads_tiles: bool) -> "DescribeFunction":
    """The function with which a run makes its requests.

    Args:
        schema: which the answers must fit.
        reads_tiles: each tile of an image has a request of its own.
    """
    if schema is not None:
        return _open_session(schema).describe
    if reads_tiles:
        from ..describe.tiles import describe_tiles

        return describe_tiles
    from ..describe import run

    return run.describe


def _open_session(schema: "Schema") -> "Session":
    """The session for requests whose answers must fit a schema."""
    if schema.boxes is not None:
        from ..describe.locating.requests import LocatingSession

        return LocatingSession(schema)
    from ..describe.structured import Session

    return Session(schema)


def build_request(
    settings: "Settings", prompt: str, system: str | None, extra: dict[str, object], *, stream: bool
) -> "Request":
    """Build a request without its images."""
    from ..client import request

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
    """How much the model may think; ``-O`` with a field for that wins over the settings.

    Raises:
        UsageError: ``--think`` is used together with such a field.
    """
    if settings.think is None:
        return None
    from ..client import thinking
    from ..settings.fields import OriginKind

    if field := next((name for name in thinking.THINKING_FIELDS if not isinstance(extra.get(name, {}), dict)), None):
        if settings.origins["think"].kind is OriginKind.OPTION:
            raise UsageError(f"--think and -O {field} exclude each other", hint="Leave one of them out.")
        return None
    return thinking.choose_thinking(
        settings.think, profile=settings.profile, base_url=settings.base_url, model=settings.required_model
    )


def list_key_facets(settings: "Settings") -> dict[str, object]:
    """The settings that the key of an answer in a batch includes only if the user has set them."""
    facets: dict[str, object] = {"think": settings.think, "detail": settings.detail, "params": dict(settings.params)}
    facets["offline"] = settings.offline
    if settings.image_order != get_default_image_order(settings.profile):
        facets["image_order"] = settings.image_order
    return {name: value for name, value in facets.items() if value}


def add_response_format(request: "Request", schema: "Schema | None") -> "Request":
    """Return a request as it is first sent for a schema; unchanged without one."""
    return request if schema is None else _open_session(schema).prepare_request(request)


def check_placeholders(request: "Request", *, images: int, columns: Sequence[str] | None = None) -> None:
    """Refuse placeholders that could not be filled in, before any request is sent.

    Args:
        images: the number of images in the request.
        columns: of the list of images; ``None`` if it has none.
    """
    if not request.may_have_placeholders:
        return
    from ..describe.prompt import check_placeholders

    for text in (request.prompt, request.system or ""):
        check_placeholders(text, images=images, columns=columns)


def fill_placeholders(request: "Request", group: Sequence["Source"], number: int) -> "Request":
    """Fill in the placeholders of the request for one group of images.

    Args:
        number: of the request, from 1.
    """
    if not request.may_have_placeholders:
        return request
    from ..describe import prompt

    return prompt.fill_placeholders(request, group[0], number)
