"""``qvision models``: list the models of an endpoint."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from ..errors import AuthError, InterruptedByUserError, QvisionError
from ..library import connection
from ..output import show
from ..output.streams import echo_err, echo_note
from ..settings.checks import get_origin
from ..text import escape_control_characters
from .shared import help_layout, options, setup

if TYPE_CHECKING:
    from ..client.endpoint import Endpoint
    from ..client.retry import RetryLimits
    from ..settings.fields import Settings

app = typer.Typer()

_EXAMPLES = """\
qvision models
qvision models --profile ollama
qvision models --base-url http://localhost:8000/v1"""

#: Running the command again is faster than waiting for more retries.
_MAX_RETRIES = 2


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
@options.with_settings(*options.RETRY_SETTINGS, "profile", "base_url", "timeout", "allow_http", "offline")
def models(
    context: typer.Context,
    *,
    as_json: options.JsonObject = False,
    quiet: options.Quiet = False,
) -> None:
    """List the models of the endpoint, one id per line.

    If Qubrid provides no list, the vision models in its documentation are shown.
    """
    from ..settings import model_cache

    try:
        settings = setup.resolve_settings(context)
        endpoint_models = _fetch_models(settings, quiet=quiet)
    except (QvisionError, KeyboardInterrupt) as error:
        failure = error if isinstance(error, QvisionError) else InterruptedByUserError()
        if as_json:
            _print_json(None, (), failure)
        raise failure from None
    ids = model_cache.get_built_in_models(settings.base_url) if endpoint_models is None else endpoint_models
    if as_json:
        source = "built-in" if endpoint_models is None else "endpoint"
        _print_json(source, ids, None, connection.get_base_url(settings))
        return
    if endpoint_models is None and not quiet:
        host, date = get_origin(settings.base_url).removeprefix("https://"), model_cache.BUILT_IN_MODELS_DATE
        echo_note(f"{host} does not list its models; these are the vision models in its documentation of {date}")
    elif not ids and not quiet:
        echo_note("the endpoint's list is empty")
    _print_models(ids, settings)


def _print_json(
    source: str | None, ids: tuple[str, ...], error: QvisionError | None, base_url: str | None = None
) -> None:
    """Print the list, or the error in an object of the same form."""
    from ..settings import model_cache

    error_object = None
    if error is not None:
        from ..describe.record import json_error  # loads what images need

        error_object = json_error(error)
    show.print_json(
        {
            "schema_version": 1,
            "ok": error is None,
            "source": source,
            "dated": model_cache.BUILT_IN_MODELS_DATE if source == "built-in" else None,
            "base_url": base_url,
            "models": [{"id": name} for name in ids],
            "error": error_object,
        }
    )


def _fetch_models(settings: "Settings", *, quiet: bool) -> tuple[str, ...] | None:
    """Request the list and cache it for completion; ``None`` if the endpoint has no list and there is a built-in one."""
    from ..client.models import NoModelListError, check_address
    from ..client.retry import RetryLimits
    from ..settings import config_file, keys, model_cache

    key = None if settings.offline else connection.find_key(settings)
    sent_key = key.text if key is not None and key.withheld_reason is None else None
    if key is not None and key.withheld_reason is not None and not quiet:
        echo_note(f"the key from {key.location} is not sent: {key.withheld_reason}")
    limits = RetryLimits(min(settings.retries, _MAX_RETRIES), settings.retry_max_wait, settings.max_time)
    try:
        with connection.open_endpoint(settings, sent_key) as endpoint:
            try:
                ids = _list_models(endpoint, limits, quiet=quiet)
            except NoModelListError as error:
                if model_cache.get_built_in_models(settings.base_url):
                    return None
                check_address(endpoint, error, settings.max_time)
                raise
    except AuthError as error:
        if error.status == 401 and sent_key is None:
            keys.require_key(key, settings)  # raises a better error: a key is needed and missing
        raise
    if not settings.offline:
        model_cache.cache_models(config_file.get_cache_folder(), settings.base_url, ids)
    return ids


def _list_models(endpoint: "Endpoint", limits: "RetryLimits", *, quiet: bool) -> tuple[str, ...]:
    """Request the list; show each retry on a terminal."""
    from ..client.models import list_models
    from ..client.retry import RetryScheduled

    ids: tuple[str, ...] = ()
    with closing(list_models(endpoint, limits)) as items:
        for item in items:
            if not isinstance(item, RetryScheduled):
                ids = item
            elif sys.stderr is not None and sys.stderr.isatty() and not quiet:
                echo_err(f"{escape_control_characters(item.reason)}, trying again in {item.seconds:.1f} s")
    return ids


def _print_models(ids: tuple[str, ...], settings: "Settings") -> None:
    if sys.stdout is not None and sys.stdout.isatty():
        show.show_rows(
            ("model", ""), [(escape_control_characters(name), "set" if name == settings.model else "") for name in ids]
        )
    elif ids:
        show.print_line("\n".join(escape_control_characters(name) for name in ids))
