"""What a command asks: the preset's words and the user's, for each image; and the form that the answer must have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ..chat import Request
    from ..configuration import Config
    from ..presets import Preset
    from ..schema import Schema
    from ..settings import Settings
    from ..sources import Source


def preset(name: str, config: "Config") -> "Preset":
    """The preset of a name."""
    from .. import presets

    return presets.find(name, config.presets, config.path)


def check_preset(name: str, config: "Config") -> None:
    """Refuse values that a preset of the user's cannot have; what it lacks may come later.

    Raises:
        ConfigError: what is wrong with it.
    """
    from .. import presets

    schema(None, presets.draft(name, config.presets[name], config.path), {})


def laid_over(values: Mapping[str, Any], chosen: "Preset | None") -> dict[str, Any]:
    """Values of options by the setting's name, with the preset's where there is none."""
    names = ("max_tokens", "temperature", "top_p") if chosen else ()
    return {**values, **{name: getattr(chosen, name) for name in names if values.get(name) is None}}


def worded(chosen: "Preset | None", prompt: str | None, settings: "Settings") -> str:
    """What is asked: the preset's prompt, and the user's own behind it; else the profile's, or what everybody means."""
    from .. import prompts

    if chosen is not None:
        return f"{chosen.prompt}\n\n{prompt}" if prompt else chosen.prompt
    return prompt or settings.prompt or prompts.DEFAULT


def schema(option: str | None, chosen: "Preset | None", extra: Mapping[str, Any]) -> "Schema | None":
    """What the answer must fit: ``--schema``, else the preset's.

    Args:
        extra: further body fields.

    Raises:
        UsageError: no valid schema, or a form of the user's own beside it.
        ConfigError: the preset's is none.
    """
    if option is None and (chosen is None or chosen.schema is None):
        return None
    if "response_format" in extra:
        raise UsageError("a schema and -O response_format exclude each other", hint="Leave one of them out.")
    from ..schema import read

    if option is not None:
        return read(option, where="--schema")
    assert chosen is not None
    assert chosen.schema is not None
    where = f"presets.{chosen.name}.schema" if chosen.path is None else f"{chosen.path}: presets.{chosen.name}.schema"
    try:
        return read(chosen.schema, where=where, folder="" if chosen.path is None else str(chosen.path.parent))
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint) from error


def check(request: "Request", groups: Sequence[Sequence["Source"]]) -> None:
    """Refuse variables that could not be filled in, before anything is asked."""
    from .. import placeholders

    for text in (request.prompt, request.system or ""):
        placeholders.check(text, images=max(len(group) for group in groups))


def filled(request: "Request", group: Sequence["Source"], number: int) -> "Request":
    """The request about one group of images, with what stands for them put in.

    Args:
        number: of the request, from 1.
    """
    from .. import placeholders

    known = placeholders.values(group[0], number)
    system = None if request.system is None else placeholders.expanded(request.system, known)
    return replace(request, prompt=placeholders.expanded(request.prompt, known), system=system)
