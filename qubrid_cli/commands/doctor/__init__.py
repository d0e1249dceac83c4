"""``qvision doctor``: check everything from the settings to a model's answer."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import InterruptedByUserError
from ...output import show
from ...output.streams import echo_error
from ...text import escape_control_characters
from ..shared import help_layout, options, setup

if TYPE_CHECKING:
    from .check import Check

app = typer.Typer()

_EXAMPLES = """\
qvision doctor
qvision doctor --profile ollama
qvision doctor --json | jq '.checks[] | select(.status != "ok")'"""

CheckTimeout = Annotated[
    int | None,
    typer.Option(
        "--timeout",
        min=1,
        max=3600,
        metavar="SECONDS",
        help="Time limit of each check. [10, and 60 for the answer]",
        show_default=False,
    ),
]
NoRequest = Annotated[bool, typer.Option("--no-request", help="Do not send the test image, which costs a few tokens.")]


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
@options.with_settings(*options.ENDPOINT_SETTINGS)
def doctor(
    context: typer.Context,
    *,
    check_timeout: CheckTimeout = None,
    no_request: NoRequest = False,
    as_json: options.JsonObject = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only the checks that found a problem.")] = False,
) -> None:
    """Check settings, key, network, endpoint and this machine.

    Exits with 3 if the settings or the key are wrong, with 5 if the network or the endpoint fails.
    """
    from . import run
    from .check import CheckStatus, is_check_still_running

    checks: list[Check] = []
    interrupt = None
    try:
        for check in run.run_checks(
            lambda config: setup.resolve_settings(context, config), timeout=check_timeout, send_image=not no_request
        ):
            checks.append(check)
            if not as_json and not (quiet and check.status is CheckStatus.OK):
                _show_check(check)
    except KeyboardInterrupt:
        interrupt = InterruptedByUserError()
    exit_code = run.choose_exit_code(checks)
    if as_json:
        objects = [{name: getattr(check, name) for name in ("name", "status", "message", "hint")} for check in checks]
        show.print_json({"schema_version": 1, "ok": exit_code == 0 and interrupt is None, "checks": objects})
    if interrupt is not None:
        echo_error(interrupt)
        exit_code = interrupt.exit_code
    if is_check_still_running():  # Python would wait for the threads of a locked keyring, which may not be daemons
        sys.stdout.flush()
        os._exit(exit_code)
    raise typer.Exit(exit_code)


def _show_check(check: "Check") -> None:
    """Print a line for the check and a second one for its hint, in color on a terminal."""
    line = f"{check.name:<9} {escape_control_characters(check.message)}"
    hint = f"hint: {escape_control_characters(check.hint)}" if check.hint else None
    if sys.stdout is not None and sys.stdout.isatty():
        from ...output import terminal

        terminal.show_check(check.status.value, line, hint)
    else:
        show.print_line(f"{check.status.value:<5}{line}" + (f"\n{'':15}{hint}" if hint else ""))
