"""From the command line to what a request needs: settings, key, prompts, images, endpoint."""

import io
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from ...errors import ConfigError, UsageError
from ...output.streams import echo_err
from ...settings.fields import OPTIONS

if TYPE_CHECKING:
    from ...client.endpoint import Endpoint
    from ...client.request import Request
    from ...describe.structured import Session
    from ...images.encode import ImageLimits
    from ...images.sources import Link, Source
    from ...schema.json_schema import Schema
    from ...settings.config_file import Config
    from ...settings.fields import Settings
    from ...settings.keys import Key
    from ...settings.presets import Preset
    from .tile_options import PartOptions

#: The settings that a preset can set, between the options and the environment.
_PRESET_SETTINGS = ("max_tokens", "temperature", "top_p")
_DEFAULT_PROMPT = "Describe this image."


def options_from(context: typer.Context) -> dict[str, Any]:
    """The settings that are options on this command line, by name.

    Raises:
        UsageError: ``--profile`` differs before and after the command.
    """
    sources = {name: context.get_parameter_source(name) for name in OPTIONS}
    options = {
        name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"
    }
    before, after = context.find_root().params["profile"], options.get("profile")
    if before and after and before != after:
        raise UsageError(f"two profiles, {before} and {after}", hint="Name one, before or after the command.")
    return {**options, "profile": after or before}


def load_config() -> "Config":
    """The content of the config file."""
    from ...settings import config_file

    return config_file.load_config(os.environ)


def resolve_settings(
    context: typer.Context, config: "Config | None" = None, preset: "Preset | None" = None
) -> "Settings":
    """The settings of this run, with those of the config file unless ``config`` replaces them."""
    from ...settings.resolve import resolve

    return resolve(apply_preset(options_from(context), preset), os.environ, config or load_config())


def resolve_preset_and_settings(
    context: typer.Context, config: "Config", preset_name: str | None
) -> tuple["Preset | None", "Settings"]:
    """The preset that ``--preset`` or the settings name, if any; and the settings with the preset's values."""
    settings = resolve_settings(context, config)
    if (preset_name := preset_name or settings.preset) is None:
        return None, settings
    preset = find_preset(preset_name, config)
    return preset, resolve_settings(context, config, preset)


def apply_preset(options: Mapping[str, Any], preset: "Preset | None") -> dict[str, Any]:
    """The options by the setting's name, and the preset's values for those that were not used."""
    values = {name: getattr(preset, name) for name in _PRESET_SETTINGS} if preset else {}
    return {**values, **options}


def find_preset(name: str, config: "Config") -> "Preset":
    """The preset of a name."""
    from ...settings import presets

    return presets.find(name, config.presets, config.path)


def check_preset(name: str, config: "Config") -> None:
    """Refuse invalid values of a user's preset; its prompt may still be missing.

    Raises:
        ConfigError: what is wrong with it.
    """
    from ...settings import presets

    load_schema(None, presets.merge_with_built_in(name, config.presets[name], config.path), {})


def locate_key_file() -> Path:
    """The key file. It is not beside the file that ``QVISION_CONFIG`` names, which may be shared."""
    from ...settings import config_file

    return config_file.get_config_folder() / "keys.toml"


def find_key(settings: "Settings") -> "Key | None":
    """The key of the profile, from any source."""
    from ...settings import keys

    return keys.find_key(settings, os.environ, locate_key_file(), keys.Keychain())


def require_key(settings: "Settings", *, quiet: bool = False) -> str | None:
    """The key to send; notes say where requests go instead of the profile's URL, and why a key is not sent."""
    if settings.offline:
        return None
    from ...settings import keys

    key = find_key(settings)
    text = keys.require_key(key, settings)
    if not settings.is_base_url_trusted and not quiet:
        echo_err(f"note: QUBRID_BASE_URL overrides the URL of profile {settings.profile}")
    if key is not None and key.withheld_reason is not None and not quiet:
        echo_err(f"note: the key from {key.location} is not sent: {key.withheld_reason}")
    return text


def open_stdin(arguments: Sequence[str | None]) -> BinaryIO:
    """Standard input, for the argument that is ``-``; empty if none is.

    Args:
        arguments: everything that may be ``-``.

    Raises:
        UsageError: more than one is ``-``, or standard input is a terminal.
    """
    readers = arguments.count("-")
    if readers > 1:
        raise UsageError("two arguments read standard input: - is there twice", hint="Use a file for one of them.")
    if readers and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input, which is a terminal", hint="Pipe something in, or leave the - out.")
    if not readers:
        return io.BytesIO()
    # Not sys.stdin.buffer: Python cannot exit while a thread that waits for a pipe holds its lock.
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # not ours to close


def read_prompt(option: str, text: str | None, stdin: BinaryIO) -> str | None:
    """The text of ``-p`` or ``-s``, which may name a file or standard input; ``None`` if the option was not used.

    Raises:
        UsageError: the prompt cannot be read, is empty, or is not UTF-8.
    """
    if text is None:
        return None
    if text == "-" or text.startswith("@"):
        from ...describe import prompt

        text = prompt.read_prompt(text, option=option, stdin=stdin)
    return validate_prompt(text, option)


def validate_prompt(text: str, where: str) -> str:
    """The prompt unless it is empty, which is most often an empty variable of a script.

    Args:
        where: the option or argument, for messages.

    Raises:
        UsageError: the prompt is empty or not UTF-8.
    """
    if not text.strip():
        raise UsageError(f"{where} is empty", hint="Write a prompt in quotes, or leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # surrogates, which stand for the bytes of an argument that are not UTF-8
        raise UsageError(f"{where} is not UTF-8 text", hint="Check the terminal's encoding.") from error
    return text


def compose_prompt(option_text: str | None, argument: str | None, preset: "Preset | None", settings: "Settings") -> str:
    """The prompt of the preset, with the user's own appended; without either, the profile's or the default.

    Args:
        option_text: the text of ``-p``, which wins over the ``argument``.
    """
    prompt = option_text
    if prompt is None and argument is not None:
        prompt = validate_prompt(argument, "the prompt")
    if preset is not None:
        return f"{preset.prompt}\n\n{prompt}" if prompt else preset.prompt
    return prompt or settings.prompt or _DEFAULT_PROMPT


def read_system_prompt(
    option: str | None, stdin: BinaryIO, preset: "Preset | None", settings: "Settings"
) -> str | None:
    """The system prompt of ``-s``, of the preset, or of the settings."""
    return read_prompt("-s", option, stdin) or (preset.system if preset else None) or settings.system


def check_placeholders(request: "Request", *, images: int) -> None:
    """Refuse placeholders that could not be filled in, before any request is sent.

    Args:
        images: the number of images in the request.
    """
    if not request.may_have_placeholders:
        return
    from ...describe.prompt import check_placeholders

    for text in (request.prompt, request.system or ""):
        check_placeholders(text, images=images)


def fill_placeholders(request: "Request", group: Sequence["Source"], number: int) -> "Request":
    """The request for one group of images, with the placeholders filled in.

    Args:
        number: of the request, from 1.
    """
    if not request.may_have_placeholders:
        return request
    from ...describe import prompt

    return prompt.fill_placeholders(request, group[0], number)


def find_referenced_files(*texts: str | None) -> list[Path]:
    """The files that options such as ``-p @FILE`` read."""
    return [Path(text[1:]) for text in texts if text and re.match("@[^@]", text)]


def load_schema(option: str | None, preset: "Preset | None", extra: Mapping[str, Any]) -> "Schema | None":
    """The schema of the answer: that of ``--schema``, else the preset's.

    Args:
        extra: the fields that ``-O`` adds to the body.

    Raises:
        UsageError: the schema is invalid, or ``-O`` sets ``response_format`` too.
        ConfigError: the preset's schema is invalid.
    """
    if option is None and (preset is None or preset.schema is None):
        return None
    if "response_format" in extra:
        raise UsageError("a schema and -O response_format exclude each other", hint="Leave one of them out.")
    from ...schema.json_schema import load

    if option is not None:
        return load(option, where="--schema")
    assert preset is not None
    assert preset.schema is not None
    where = f"presets.{preset.name}.schema" if preset.path is None else f"{preset.path}: presets.{preset.name}.schema"
    folder = "" if preset.path is None else str(preset.path.parent)
    try:
        return load(preset.schema, where=where, folder=folder, name=preset.name)
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint) from error


def build_image_limits(
    settings: "Settings", parts: "PartOptions", *, original: bool, note_for: Mapping[str, Any] | None
) -> "ImageLimits":
    """The limits of the images that are sent; ``--original`` overrides those of the config file.

    Args:
        note_for: the fields that ``-O`` adds to the body, for a note about useless pixels; ``None`` for no note.

    Raises:
        UsageError: ``--original`` together with an option that shrinks.
    """
    from ...images.encode import ImageLimits
    from ...settings.fields import OriginKind

    if original and any(settings.origins[name].kind is OriginKind.OPTION for name in ("max_pixels", "max_side")):
        raise UsageError("--original excludes --max-pixels and --max-side", hint="Leave one of them out.")
    if note_for is not None and not original:
        from .tile_options import note_useless_pixels

        note_useless_pixels(settings, note_for)
    max_pixels, max_side = (None, None) if original else (settings.max_pixels, settings.max_side)
    return ImageLimits(
        max_pixels,
        max_side,
        settings.quality,
        background=settings.background,
        crop=parts.crop,
        tiles=parts.build_tile_choice(settings.model),
    )


def resolve_images(sources: Iterable["Source"], settings: "Settings", *, fetch: bool | None) -> Sequence["Source"]:
    """The images with some links, or with ``fetch`` all, replaced by ones that are downloaded when they are read."""
    from ...images.sources import resolve_links

    def download(link: "Link") -> bytes:
        from ...images.download import download  # in the thread that needs it, because it loads httpx

        return download(link, timeout=settings.timeout, within=settings.max_time)

    endpoint = None if settings.offline else settings.base_url
    return resolve_links(sources, fetch=fetch, endpoint=endpoint, download=download)


def get_base_url(settings: "Settings") -> str:
    """The URL of the endpoint that receives the requests, without its query."""
    if not settings.offline:
        return settings.base_url
    from ...client.offline import OfflineTransport

    return OfflineTransport.URL


def format_url(settings: "Settings", path: str = "") -> str:
    """A URL of the endpoint as it is shown: with its query, but without the secrets in it."""
    from ...images.urls import add_query, mask_query

    query = {} if settings.offline else settings.query
    return mask_query(add_query(f"{get_base_url(settings)}{path}", query))


def open_endpoint(
    settings: "Settings",
    key: str | None,
    groups: Iterable[Iterable["Source"]] = (),
    *,
    time_option: str = "--max-time",
) -> "Endpoint":
    """The endpoint, not connected yet.

    Args:
        groups: the images, whose links may contain secrets to keep out of messages.
        time_option: the option that limits a whole request.
    """
    from ...client import preconnect

    if not settings.offline:
        preconnect.start(settings.base_url)  # while httpx is loaded
    from ...client.endpoint import Endpoint
    from ...images import sources
    from .hints import build_hint_commands

    if settings.offline:
        from ...client.offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(
        settings.base_url,
        key=key,
        key_header=settings.key_header,
        commands=build_hint_commands(settings, key, os.environ),
        secrets=sources.find_link_secrets(chain(*groups)),
        headers=settings.headers if settings.is_base_url_trusted else {},
        query=settings.query,
        timeout=settings.timeout,
        allow_http=settings.allow_http,
        time_option=time_option,
    )


def open_schema_session(schema: "Schema | None") -> "Session | None":
    """The session for requests whose answers must fit a schema; ``None`` without one."""
    if schema is None:
        return None
    from ...describe.structured import Session

    return Session(schema)
