"""How commands that ask come from settings to an endpoint and a request."""

# MERGED DOCSTRING of qubrid_cli.commands.given: What stands on the command line becomes values: body fields, the prompt, standard input, limits.

# MERGED DOCSTRING of qubrid_cli.commands.questions: What a command asks: the preset's words and the user's, for each image; and the form that the answer must have.

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from ..errors import ConfigError, UsageError
from ..output.streams import echo_err

if TYPE_CHECKING:
    from ..client.endpoint import Endpoint
    from ..client.request import Request
    from ..describe.run import DescribeFunction
    from ..describe.structured import Session
    from ..images.encode import ImageLimits
    from ..images.sources import Link, Source
    from ..schema.json_schema import Schema
    from ..settings.config_file import Config
    from ..settings.keys import Key, Keychain
    from ..settings.presets import Preset
    from ..settings.resolve import Settings

#: A word that needs no quotes, so that reasoning_effort=low can be typed.
_BARE_WORD = re.compile(r"[A-Za-z][\w.-]*")


def parse_params(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Body fields from ``KEY=JSON``; a value that is a plain word counts as a string.

    Raises:
        UsageError: no ``=``, no JSON, or a field that has an option of its own.
    """
    from ..client.request import RESERVED_FIELDS

    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-O {pair} is not KEY=JSON", hint="For example: -O seed=42")
        if key in RESERVED_FIELDS:
            raise UsageError(f"-O does not set {key}", hint=_hint_for_reserved(key))
        try:
            found[key] = json.loads(text)
            json.dumps(found[key], allow_nan=False)  # Python reads NaN and 1e999, which are no JSON
        except (ValueError, RecursionError) as error:
            if not _BARE_WORD.fullmatch(text):
                raise UsageError(
                    f"-O {pair}: {text!r} is not JSON", hint=f"Text goes in quotes: -O '{key}=\"text\"'"
                ) from error
            found[key] = text
    return found


def _hint_for_reserved(key: str) -> str:
    names = {"messages": "They are made of the prompt, -s and the images.", "stream": "Use --no-stream."}
    return names.get(key, f"Use --{key.replace('_', '-')}.")


def open_stdin(arguments: Sequence[str | None]) -> BinaryIO:
    """Standard input, for whatever reads ``-``.

    Args:
        arguments: everything that may be ``-``.

    Raises:
        UsageError: two of them read it, or it is a terminal.
    """
    readers = arguments.count("-")
    if readers > 1:
        raise UsageError("two things read standard input: - stands there twice", hint="Name a file for one of them.")
    if readers and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input, which is a terminal", hint="Pipe something in, or leave the - out.")
    if not readers:
        return io.BytesIO()
    # Not sys.stdin.buffer: Python cannot end while a thread that waits for a pipe holds that one's lock.
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # not ours to close


def read_prompt(option: str | None, standard_input: BinaryIO) -> str | None:
    """The prompt that ``-p`` gives, if it is given."""
    from ..describe import prompt

    return None if option is None else prompt.read_prompt(option, option="-p", stdin=standard_input)


def read_system_prompt(option: str | None, standard_input: BinaryIO) -> str | None:
    """The system prompt that ``-s`` gives, if it is given."""
    from ..describe import prompt

    return None if option is None else prompt.read_prompt(option, option="-s", stdin=standard_input)


def validate_prompt(text: str | None) -> str | None:
    """The prompt from the command line, if there is one."""
    from ..describe import prompt

    return None if text is None else prompt.validate_prompt(text, "the prompt")


def find_referenced_files(*texts: str | None) -> list[Path]:
    """The files that options such as ``-p @FILE`` read."""
    return [Path(text[1:]) for text in texts if text and re.match("@[^@]", text)]


def build_image_limits(settings: "Settings", frame: int, *, original: bool) -> "ImageLimits":
    """How images are to be sent; ``--original`` wins over what a file says.

    Raises:
        UsageError: unshrunk, and shrunk all the same.
    """
    from ..images.encode import ImageLimits
    from ..settings.resolve import OriginKind

    if original:
        if any(settings.origins[name].kind is OriginKind.OPTION for name in ("max_pixels", "max_side")):
            raise UsageError("--original excludes --max-pixels and --max-side", hint="Leave one of them out.")
        return ImageLimits(None, None, settings.quality, frame)
    return ImageLimits(settings.max_pixels, settings.max_side, settings.quality, frame)


def find_preset(name: str, config: "Config") -> "Preset":
    """The preset of a name."""
    from ..settings import presets

    return presets.find(name, config.presets, config.path)


def check_preset(name: str, config: "Config") -> None:
    """Refuse values that a preset of the user's cannot have; what it lacks may come later.

    Raises:
        ConfigError: what is wrong with it.
    """
    from ..settings import presets

    load_schema(None, presets.merge_with_built_in(name, config.presets[name], config.path), {})


def apply_preset(values: Mapping[str, Any], preset: "Preset | None") -> dict[str, Any]:
    """Values of options by the setting's name, with the preset's where there is none."""
    names = ("max_tokens", "temperature", "top_p") if preset else ()
    return {**values, **{name: getattr(preset, name) for name in names if values.get(name) is None}}


def load_schema(option: str | None, preset: "Preset | None", extra: Mapping[str, Any]) -> "Schema | None":
    """What the answer must fit: ``--schema``, else the preset's.

    Args:
        extra: further body fields.

    Raises:
        UsageError: no valid schema, or a form of the user's own beside it.
        ConfigError: the preset's is none.
    """
    if option is None and (preset is None or preset.schema is None):
        return None
    if "response_format" in extra:
        raise UsageError("a schema and -O response_format exclude each other", hint="Leave one of them out.")
    from ..schema.json_schema import load

    if option is not None:
        return load(option, where="--schema")
    assert preset is not None
    assert preset.schema is not None
    where = f"presets.{preset.name}.schema" if preset.path is None else f"{preset.path}: presets.{preset.name}.schema"
    try:
        return load(preset.schema, where=where, folder="" if preset.path is None else str(preset.path.parent))
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint) from error


def check_placeholders(request: "Request", groups: Sequence[Sequence["Source"]]) -> None:
    """Refuse variables that could not be filled in, before anything is asked."""
    from ..describe.prompt import check_placeholders

    for text in (request.prompt, request.system or ""):
        check_placeholders(text, images=max(len(group) for group in groups))


def fill_placeholders(request: "Request", group: Sequence["Source"], number: int) -> "Request":
    """The request about one group of images, with what stands for them put in.

    Args:
        number: of the request, from 1.
    """
    from ..describe.prompt import expand_placeholders, placeholder_values

    known = placeholder_values(group[0], number)
    system = None if request.system is None else expand_placeholders(request.system, known)
    return replace(request, prompt=expand_placeholders(request.prompt, known), system=system)


def resolve_settings(context: typer.Context, config: "Config", options: Mapping[str, Any]) -> "Settings":
    """The settings of this run.

    Args:
        context: has, in ``options.Before``, the ``--profile`` that was given before the command.
        options: the options by the setting's name; ``None``, or a switch that is off, where one was not given.
    """
    from ..settings.resolve import resolve

    before, behind = context.obj.profile, options.get("profile")
    if before and behind and before != behind:
        raise UsageError(f"two profiles, {before} and {behind}", hint="Name one, before the command or behind it.")
    return resolve({**options, "profile": behind or before}, os.environ, config)


def resolve_preset_and_settings(
    context: typer.Context, config: "Config", options: Mapping[str, Any], preset_name: str | None
) -> tuple["Preset | None", "Settings"]:
    """The preset that was asked for, here or by the settings; and the settings, with its own between options and profile."""
    settings = resolve_settings(context, config, options)
    if (preset_name := preset_name or settings.preset) is None:
        return None, settings
    chosen = find_preset(preset_name, config)
    return chosen, resolve_settings(context, config, apply_preset(options, chosen))


def find_key(settings: "Settings") -> "Key | None":
    """The key of this profile, wherever it is."""
    from ..settings import keys

    return keys.find_key(settings, os.environ, locate_key_file(), load_keychain)


def locate_key_file() -> Path:
    """Where keys are stored; beside no file that ``QVISION_CONFIG`` names, for that one may be shared."""
    from ..settings import config_file

    return config_file.get_config_folder() / "keys.toml"


def require_key(settings: "Settings", *, quiet: bool = False) -> str | None:
    """The key that goes along; notes say where it all goes instead, and why one does not."""
    from ..settings import keys

    if settings.offline:
        return None
    found = find_key(settings)
    needed = keys.require_key(found, settings)
    if not settings.is_base_url_trusted and not quiet:
        echo_err(f"note: QUBRID_BASE_URL wins over the address of profile {settings.profile}")
    if found is not None and found.withheld_reason is not None and not quiet:
        echo_err(f"note: the key from {found.location} is not sent: {found.withheld_reason}")
    return needed


def load_keychain() -> "Keychain | None":
    """The system's keyring; ``None`` where the extra is not installed."""
    try:
        from ..settings import keychain
    except ImportError:
        return None
    return keychain


def resolve_images(sources: Iterable["Source"], settings: "Settings", *, fetch: bool | None) -> Sequence["Source"]:
    """The images as they are sent: some links, or with ``fetch`` all, are fetched here, once they are read."""
    from ..images.sources import resolve_links

    def download(link: "Link") -> bytes:
        from ..images.download import download as run  # in the thread that needs it, for it loads httpx

        return run(link, timeout=settings.timeout, within=settings.max_time)

    endpoint = None if settings.offline else settings.base_url
    return resolve_links(sources, fetch=fetch, endpoint=endpoint, download=download)


def open_endpoint(settings: "Settings", key: str | None, groups: Iterable[Iterable["Source"]] = ()) -> "Endpoint":
    """The endpoint that these settings name, not connected yet.

    Args:
        groups: the images that it will be asked about.
    """
    from ..client.endpoint import Endpoint
    from ..images import sources

    if settings.offline:
        from ..client.offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(
        settings.base_url,
        key=key,
        secrets=sources.find_link_secrets(chain(*groups)),
        headers=settings.headers if settings.is_base_url_trusted else {},
        timeout=settings.timeout,
        allow_http=settings.allow_http,
    )


def build_request_url(settings: "Settings") -> str:
    """Where requests would go."""
    if settings.offline:
        from ..client.offline import OfflineTransport

        return f"{OfflineTransport.URL}/chat/completions"
    return f"{settings.base_url}/chat/completions"


def build_request(
    settings: "Settings", prompt: str, system: str | None, extra: dict[str, object], *, stream: bool
) -> "Request":
    """What is asked of every image, under these settings."""
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
    )


def select_describe(schema: "Schema | None") -> "DescribeFunction":
    """The function that makes a request: the plain one, or the one for answers that must fit a schema."""
    session = open_schema_session(schema)
    if session is not None:
        return session.describe
    from ..describe import run

    return run.describe


def open_schema_session(schema: "Schema | None") -> "Session | None":
    """The session for requests whose answers must fit a schema; ``None`` without one."""
    if schema is None:
        return None
    from ..describe.structured import Session

    return Session(schema)


def add_response_format(request: "Request", schema: "Schema | None") -> "Request":
    """The request as it is first sent where the answer must fit a schema."""
    if schema is None:
        return request
    from ..describe import structured

    return replace(request, form=structured.build_response_format(schema))
