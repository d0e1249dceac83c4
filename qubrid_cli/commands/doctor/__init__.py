"""``qvision doctor``: check everything from the settings to an answer."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import InterruptedByUserError
from ...output import show
from ...output.streams import echo_err
from ...text import escape_control_characters
from .. import _options, _request

if TYPE_CHECKING:
    from ...client.endpoint import Endpoint
    from ...settings.resolve import Settings
    from .checks import Check
    from .run import CheckContext

CheckTimeout = Annotated[
    int | None,
    typer.Option(
        "--timeout",
        min=1,
        max=3600,
        metavar="SECONDS",
        help="Give up a check after so long. [10, and 60 for an answer]",
        show_default=False,
    ),
]


def doctor(
    context: typer.Context,
    *,
    profile: _options.Profile = None,
    model: _options.Model = None,
    base_url: _options.BaseUrl = None,
    timeout: CheckTimeout = None,
    no_request: Annotated[bool, typer.Option("--no-request", help="Have no image described, which costs.")] = False,
    allow_http: _options.AllowHttp = False,
    offline: _options.Offline = False,
    as_json: _options.JsonObject = False,
) -> None:
    """Check the settings, the key, the way to the endpoint, its models, an answer, and what this machine can do.

    Exit 3 where the settings or the key are wrong, 5 where it is the endpoint.
    """
    from . import run
    from .checks import is_check_still_running

    given: dict[str, Any] = {"profile": profile, "model": model, "base_url": base_url}
    given |= {"allow_http": allow_http or None, "offline": offline or None}
    checks: list[Check] = []
    stopped = None
    try:
        for check in run.run_checks(_build_context(context, given, timeout, is_request_enabled=not no_request)):
            checks.append(check)
            if not as_json:
                _show_check(check)
    except KeyboardInterrupt:
        stopped = InterruptedByUserError("stopped by Ctrl-C")
    code = run.choose_exit_code(checks)
    if as_json:
        found = [{name: getattr(check, name) for name in ("name", "status", "message", "hint")} for check in checks]
        show.print_json({"schema_version": 1, "ok": code == 0 and stopped is None, "checks": found})
    if stopped is not None:
        echo_err(stopped.format_report())
        code = stopped.exit_code
    if is_check_still_running():  # a keyring waits in threads of its own, perhaps, and Python would wait for them
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def _build_context(
    context: typer.Context, options: dict[str, Any], timeout: int | None, *, is_request_enabled: bool
) -> "CheckContext":
    from dataclasses import replace

    from ...settings import config_file, fields
    from . import run

    def open_endpoint(settings: "Settings", key: str | None, seconds: float) -> "Endpoint":
        return _request.open_endpoint(replace(settings, timeout=seconds), key)

    def keep(settings: "Settings", models: tuple[str, ...]) -> None:
        if not settings.offline:
            fields.cache_models(config_file.get_cache_folder(), settings.base_url, models)

    def keyring() -> str | None:
        try:
            from ...settings import keychain
        except ImportError:
            return None
        return keychain.get_backend_name()

    return run.CheckContext(
        config_path=str(config_file.get_config_path(os.environ)),
        env=os.environ,
        read_config=lambda: config_file.load_config(os.environ),
        resolve_settings=lambda config: _request.resolve_settings(context, config, options),
        find_key=_request.find_key,
        open_endpoint=open_endpoint,
        cache_models=keep,
        find_keyring=keyring,
        timeout=timeout,
        is_request_enabled=is_request_enabled,
    )


def _show_check(check: "Check") -> None:
    """A line, and another one for the hint; on a terminal with a colour."""
    line = f"{check.name:<9} {escape_control_characters(check.message)}"
    hint = f"hint: {escape_control_characters(check.hint)}" if check.hint else None
    if sys.stdout is not None and sys.stdout.isatty():
        from ...output import terminal

        terminal.show_check(check.status.value, line, hint)
        return
    show.print_line(f"{check.status.value:<5}{line}" + (f"\n{'':15}{hint}" if hint else ""))


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)
