"""``qvision models``: which models an endpoint has."""

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import typer

from ..errors import AuthError, QvisionError, StoppedError, printable
from ..output import say
from . import asking, options, showing

if TYPE_CHECKING:
    from ..settings import Settings

#: More would be waited for longer than it takes to ask again by hand.
_MAX_RETRIES = 2


def models(
    context: typer.Context,
    *,
    profile: options.Profile = None,
    base_url: options.BaseUrl = None,
    timeout: options.Timeout = None,
    retries: options.Retries = None,
    retry_max_wait: options.RetryMaxWait = None,
    max_time: options.MaxTime = None,
    allow_http: options.AllowHttp = False,
    offline: options.Offline = False,
    as_json: options.JsonObject = False,
) -> None:
    """List the models of the endpoint, one id on each line.

    Where Qubrid gives no list, those that its documentation names.
    """
    from .. import catalogue, configuration

    given: dict[str, Any] = {"profile": profile, "base_url": base_url, "timeout": timeout, "retries": retries}
    given |= {"retry_max_wait": retry_max_wait, "max_time": max_time}
    given |= {"allow_http": allow_http or None, "offline": offline or None}
    try:
        settings = asking.settled(context, configuration.read(os.environ), given)
        found = _found(settings)
    except (QvisionError, KeyboardInterrupt) as error:
        failure = error if isinstance(error, QvisionError) else StoppedError("stopped by Ctrl-C")
        if as_json:
            _show_object(None, (), failure)
        raise failure from None
    ids = catalogue.built_in(settings.base_url) if found is None else found
    if as_json:
        base = asking.url(settings).removesuffix("/chat/completions")
        _show_object("built-in" if found is None else "endpoint", ids, None, base)
        return
    if found is None:
        host = settings.base_url.partition("//")[2].partition("/")[0]
        say(f"note: {host} gives no list; these vision models are in its documentation of {catalogue.DATED}")
    elif not ids:
        say("note: the endpoint's list is empty")
    _show(ids, settings)


def _show_object(
    source: str | None, ids: tuple[str, ...], error: QvisionError | None, base_url: str | None = None
) -> None:
    """The list as JSON, or what went wrong, in the same form."""
    from .. import catalogue

    facts = None
    if error is not None:
        from .. import records  # which loads what images need

        facts = records.json_error(error)
    showing.show_object(
        {
            "schema_version": 1,
            "ok": error is None,
            "source": source,
            "dated": catalogue.DATED if source == "built-in" else None,
            "base_url": base_url,
            "models": [{"id": name} for name in ids],
            "error": facts,
        }
    )


def _found(settings: "Settings") -> tuple[str, ...] | None:
    """The endpoint's own list, kept for completion; ``None`` where it has none and ours takes its place."""
    from .. import catalogue, configuration, credentials, listing
    from ..retries import Patience

    key = None if settings.offline else asking.found_key(settings)
    sent = key.text if key is not None and key.barred is None else None
    if key is not None and key.barred is not None:
        say(f"note: the key from {key.where} is not sent: {key.barred}")
    patience = Patience(min(settings.retries, _MAX_RETRIES), settings.retry_max_wait, settings.max_time)
    try:
        with asking.endpoint(settings, sent) as endpoint, closing(listing.ask(endpoint, patience)) as asked:
            for item in asked:
                if isinstance(item, tuple):
                    found = item
                elif sys.stderr is not None and sys.stderr.isatty():
                    say(f"{printable(item.why)}, trying again in {item.seconds:.1f} s")
    except listing.NoListError:
        if settings.offline or not catalogue.built_in(settings.base_url):
            raise
        return None
    except AuthError as error:
        if error.status == 401 and sent is None:
            credentials.required(key, settings)  # which says that there is none, where one is needed
        raise
    if not settings.offline:
        catalogue.keep(configuration.cache(), settings.base_url, found)
    return found


def _show(ids: tuple[str, ...], settings: "Settings") -> None:
    if sys.stdout is not None and sys.stdout.isatty():
        showing.show_rows(("model", ""), [(printable(name), "set" if name == settings.model else "") for name in ids])
    elif ids:
        showing.print_line("\n".join(printable(name) for name in ids))


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(models)
