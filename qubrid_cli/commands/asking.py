"""How commands that ask come from settings to an endpoint and a request."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import UsageError
from ..output import say
from . import questions

if TYPE_CHECKING:
    from ..chat import Request
    from ..configuration import Config
    from ..credentials import Key, Keychain
    from ..description import Items
    from ..endpoint import Endpoint
    from ..presets import Preset
    from ..schema import Schema
    from ..settings import Settings
    from ..sources import Link, Source


def settled(context: typer.Context, config: "Config", given: Mapping[str, Any]) -> "Settings":
    """The settings of this run.

    Args:
        context: has, in ``options.Before``, the ``--profile`` that was given before the command.
        given: the options by the setting's name; ``None``, or a switch that is off, where one was not given.
    """
    from ..settings import resolve

    before, behind = context.obj.profile, given.get("profile")
    if before and behind and before != behind:
        raise UsageError(f"two profiles, {before} and {behind}", hint="Name one, before the command or behind it.")
    return resolve({**given, "profile": behind or before}, os.environ, config)


def settled_by_preset(
    context: typer.Context, config: "Config", given: Mapping[str, Any], name: str | None
) -> tuple["Preset | None", "Settings"]:
    """The preset that was asked for, here or by the settings; and the settings, with its own between options and profile."""
    settings = settled(context, config, given)
    if (name := name or settings.preset) is None:
        return None, settings
    chosen = questions.preset(name, config)
    return chosen, settled(context, config, questions.laid_over(given, chosen))


def found_key(settings: "Settings") -> "Key | None":
    """The key of this profile, wherever it is."""
    from .. import credentials

    return credentials.find(settings, os.environ, keys(), keychain)


def keys() -> Path:
    """Where keys are stored; beside no file that ``QVISION_CONFIG`` names, for that one may be shared."""
    from .. import configuration

    return configuration.folder() / "keys.toml"


def key(settings: "Settings", *, quiet: bool = False) -> str | None:
    """The key that goes along; notes say where it all goes instead, and why one does not."""
    from .. import credentials

    if settings.offline:
        return None
    found = found_key(settings)
    needed = credentials.required(found, settings)
    if not settings.is_trusted and not quiet:
        say(f"note: QUBRID_BASE_URL wins over the address of profile {settings.profile}")
    if found is not None and found.barred is not None and not quiet:
        say(f"note: the key from {found.where} is not sent: {found.barred}")
    return needed


def keychain() -> "Keychain | None":
    """The system's keyring; ``None`` where the extra is not installed."""
    try:
        from .. import keychain as opened
    except ImportError:
        return None
    return opened


def images(found: Iterable["Source"], settings: "Settings", *, fetch: bool | None) -> Sequence["Source"]:
    """The images as they are sent: some links, or with ``fetch`` all, are fetched here, once they are read."""
    from .. import links

    def download(link: "Link") -> bytes:
        from ..download import download as run  # in the thread that needs it, for it loads httpx

        return run(link, timeout=settings.timeout, within=settings.max_time)

    endpoint = None if settings.offline else settings.base_url
    return links.resolved(found, fetch=fetch, endpoint=endpoint, download=download)


def endpoint(settings: "Settings", key: str | None, groups: Iterable[Iterable["Source"]] = ()) -> "Endpoint":
    """The endpoint that these settings name, not connected yet.

    Args:
        groups: the images that it will be asked about.
    """
    from .. import links
    from ..endpoint import Endpoint

    if settings.offline:
        from ..offline import OfflineTransport

        return Endpoint(OfflineTransport.URL, timeout=settings.timeout, transport=OfflineTransport())
    return Endpoint(
        settings.base_url,
        key=key,
        secrets=links.secrets(chain(*groups)),
        headers=settings.headers if settings.is_trusted else {},
        timeout=settings.timeout,
        allow_http=settings.allow_http,
    )


def url(settings: "Settings") -> str:
    """Where requests would go."""
    if settings.offline:
        from ..offline import OfflineTransport

        return f"{OfflineTransport.URL}/chat/completions"
    return f"{settings.base_url}/chat/completions"


def request(
    settings: "Settings", prompt: str, system: str | None, extra: dict[str, object], *, stream: bool
) -> "Request":
    """What is asked of every image, under these settings."""
    from .. import chat

    return chat.Request(
        model=settings.asked_model,
        prompt=prompt,
        pictures=(),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        system=system,
        stream=stream,
        extra=extra,
    )


def describing(schema: "Schema | None") -> Callable[..., "Items"]:
    """What asks: ``description.describe``, or the same for answers that must fit a schema."""
    if schema is None:
        from .. import description

        return description.describe
    from .. import structured

    return structured.Session(schema).describe


def formed(request: "Request", schema: "Schema | None") -> "Request":
    """The request as it is first sent where the answer must fit a schema."""
    if schema is None:
        return request
    from .. import structured

    return replace(request, form=structured.form(schema))
