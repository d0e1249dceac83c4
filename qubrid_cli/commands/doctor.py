"""``qvision doctor``: check everything from the settings to an answer."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import StoppedError, printable
from ..output import say
from . import asking, options, showing

if TYPE_CHECKING:
    from ..checks import Check
    from ..checkup import Case
    from ..endpoint import Endpoint
    from ..settings import Settings

Timeout = Annotated[
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
    profile: options.Profile = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    timeout: Timeout = None,
    no_request: Annotated[bool, typer.Option("--no-request", help="Have no image described, which costs.")] = False,
    allow_http: options.AllowHttp = False,
    offline: options.Offline = False,
    as_json: options.JsonObject = False,
) -> None:
    """Check the settings, the key, the way to the endpoint, its models, an answer, and what this machine can do.

    Exit 3 where the settings or the key are wrong, 5 where it is the endpoint.
    """
    from .. import checks as all_checks
    from .. import checkup

    given: dict[str, Any] = {"profile": profile, "model": model, "base_url": base_url}
    given |= {"allow_http": allow_http or None, "offline": offline or None}
    checks: list[Check] = []
    stopped = None
    try:
        for check in checkup.examine(_case(context, given, timeout, asks=not no_request)):
            checks.append(check)
            if not as_json:
                _show(check)
    except KeyboardInterrupt:
        stopped = StoppedError("stopped by Ctrl-C")
    code = checkup.exit_code(checks)
    if as_json:
        found = [{name: getattr(check, name) for name in ("name", "status", "message", "hint")} for check in checks]
        showing.show_object({"schema_version": 1, "ok": code == 0 and stopped is None, "checks": found})
    if stopped is not None:
        say(stopped.report())
        code = stopped.exit_code
    if all_checks.is_any_left():  # a keyring waits in threads of its own, perhaps, and Python would wait for them
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def _case(context: typer.Context, given: dict[str, Any], timeout: int | None, *, asks: bool) -> "Case":
    from dataclasses import replace

    from .. import catalogue, checkup, configuration

    def open_endpoint(settings: "Settings", key: str | None, seconds: float) -> "Endpoint":
        return asking.endpoint(replace(settings, timeout=seconds), key)

    def keep(settings: "Settings", models: tuple[str, ...]) -> None:
        if not settings.offline:
            catalogue.keep(configuration.cache(), settings.base_url, models)

    def keyring() -> str | None:
        try:
            from .. import keychain
        except ImportError:
            return None
        return keychain.backend()

    return checkup.Case(
        path=str(configuration.location(os.environ)),
        env=os.environ,
        config=lambda: configuration.read(os.environ),
        settle=lambda config: asking.settled(context, config, given),
        find_key=asking.found_key,
        open_endpoint=open_endpoint,
        keep=keep,
        keyring=keyring,
        timeout=timeout,
        asks=asks,
    )


def _show(check: "Check") -> None:
    """A line, and another one for the hint; on a terminal with a colour."""
    line = f"{check.name:<9} {printable(check.message)}"
    hint = f"hint: {printable(check.hint)}" if check.hint else None
    if sys.stdout is not None and sys.stdout.isatty():
        from .. import terminal

        terminal.show_marked(check.status.value, line, hint)
        return
    showing.print_line(f"{check.status.value:<5}{line}" + (f"\n{'':15}{hint}" if hint else ""))


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(doctor)
