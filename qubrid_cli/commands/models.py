"""``qvision models``: which models an endpoint has."""

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import typer

from ..errors import AuthError, InterruptedByUserError, QvisionError
from ..output import show
from ..output.streams import echo_err
from ..text import escape_control_characters
from . import _options, _request

if TYPE_CHECKING:
    from ..settings.resolve import Settings

#: More would be waited for longer than it takes to ask again by hand.
_MAX_RETRIES = 2


def models(
    context: typer.Context,
    *,
    profile: _options.Profile = None,
    base_url: _options.BaseUrl = None,
    timeout: _options.Timeout = None,
    retries: _options.Retries = None,
    retry_max_wait: _options.RetryMaxWait = None,
    max_time: _options.MaxTime = None,
    allow_http: _options.AllowHttp = False,
    offline: _options.Offline = False,
    as_json: _options.JsonObject = False,
) -> None:
    """List the models of the endpoint, one id on each line.

    Where Qubrid gives no list, those that its documentation names.
    """
    from ..settings import config_file, fields

    given: dict[str, Any] = {"profile": profile, "base_url": base_url, "timeout": timeout, "retries": retries}
    given |= {"retry_max_wait": retry_max_wait, "max_time": max_time}
    given |= {"allow_http": allow_http or None, "offline": offline or None}
    try:
        settings = _request.resolve_settings(context, config_file.load_config(os.environ), given)
        found = _fetch_models(settings)
    except (QvisionError, KeyboardInterrupt) as error:
        failure = error if isinstance(error, QvisionError) else InterruptedByUserError("stopped by Ctrl-C")
        if as_json:
            _print_json(None, (), failure)
        raise failure from None
    ids = fields.get_built_in_models(settings.base_url) if found is None else found
    if as_json:
        base = _request.build_request_url(settings).removesuffix("/chat/completions")
        _print_json("built-in" if found is None else "endpoint", ids, None, base)
        return
    if found is None:
        host = settings.base_url.partition("//")[2].partition("/")[0]
        echo_err(
            f"note: {host} gives no list; these vision models are in its documentation of {fields.BUILT_IN_MODELS_DATE}"
        )
    elif not ids:
        echo_err("note: the endpoint's list is empty")
    _print_models(ids, settings)


def _print_json(
    source: str | None, ids: tuple[str, ...], error: QvisionError | None, base_url: str | None = None
) -> None:
    """The list as JSON, or what went wrong, in the same form."""
    from ..settings import fields

    facts = None
    if error is not None:
        from ..output import record  # which loads what images need

        facts = record.json_error(error)
    show.print_json(
        {
            "schema_version": 1,
            "ok": error is None,
            "source": source,
            "dated": fields.BUILT_IN_MODELS_DATE if source == "built-in" else None,
            "base_url": base_url,
            "models": [{"id": name} for name in ids],
            "error": facts,
        }
    )


def _fetch_models(settings: "Settings") -> tuple[str, ...] | None:
    """The endpoint's own list, kept for completion; ``None`` where it has none and ours takes its place."""
    from ..client.models import NoModelListError, list_models
    from ..client.retry import RetryLimits
    from ..settings import config_file, fields, keys

    key = None if settings.offline else _request.find_key(settings)
    sent = key.text if key is not None and key.withheld_reason is None else None
    if key is not None and key.withheld_reason is not None:
        echo_err(f"note: the key from {key.location} is not sent: {key.withheld_reason}")
    patience = RetryLimits(min(settings.retries, _MAX_RETRIES), settings.retry_max_wait, settings.max_time)
    try:
        with _request.open_endpoint(settings, sent) as endpoint, closing(list_models(endpoint, patience)) as asked:
            for item in asked:
                if isinstance(item, tuple):
                    found = item
                elif sys.stderr is not None and sys.stderr.isatty():
                    echo_err(f"{escape_control_characters(item.reason)}, trying again in {item.seconds:.1f} s")
    except NoModelListError:
        if settings.offline or not fields.get_built_in_models(settings.base_url):
            raise
        return None
    except AuthError as error:
        if error.status == 401 and sent is None:
            keys.require_key(key, settings)  # which says that there is none, where one is needed
        raise
    if not settings.offline:
        fields.cache_models(config_file.get_cache_folder(), settings.base_url, found)
    return found


def _print_models(ids: tuple[str, ...], settings: "Settings") -> None:
    if sys.stdout is not None and sys.stdout.isatty():
        show.show_rows(
            ("model", ""), [(escape_control_characters(name), "set" if name == settings.model else "") for name in ids]
        )
    elif ids:
        show.print_line("\n".join(escape_control_characters(name) for name in ids))


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(models)
