"""Options that work before and after the command, and when output has color."""

from pathlib import Path

import pytest

from qubrid_cli.cli import main
from qubrid_cli.output.appearance import may_repaint, settle_color

from ..conftest import at_home


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in at_home(tmp_path).items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "QVISION_OFFLINE"):
        monkeypatch.setenv(name, "")  # so that it is restored, whatever the program makes of it
    monkeypatch.delenv("QVISION_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("--offline models", "offline\n"),
        ("models --offline", "offline\n"),
        ("--offline --color never --quiet models", "offline\n"),
        ("--profile ollama auth status", "profile ollama: no key, and none is needed\n"),
        ("auth status --profile ollama", "profile ollama: no key, and none is needed\n"),
        (
            "--profile=ollama auth status --profile ollama --color=always",
            "profile ollama: no key, and none is needed\n",
        ),
        ("--quiet --profile ollama auth logout", ""),
        ("auth logout --profile ollama -q", ""),
        ("-q presets show json --color never", None),
        ("--verbose --offline config path", None),
    ],
)
def test_options_work_before_and_after_the_command(
    line: str, output: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out == output or output is None


def test_two_profiles_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "ollama", "auth", "status", "--profile", "lmstudio"]) == 2
    assert "two profiles, ollama and lmstudio" in capfd.readouterr().err


@pytest.mark.parametrize(
    "line", ["--color always describ", "describe --color=always --nonsense", "models --profile x --color always"]
)
def test_an_error_has_color_wherever_the_option_stands(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) in {2, 3}
    assert capfd.readouterr().err.startswith("\x1b[1;31merror:\x1b[0m ")


@pytest.mark.parametrize(
    ("choice", "before", "after"),
    [
        (None, {}, {}),
        (None, {"FORCE_COLOR": ""}, {}),
        (None, {"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1"}),
        (None, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, {"NO_COLOR": "1"}),
        ("always", {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}),
        ("never", {"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}),
        ("auto", {"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1"}),
    ],
)
def test_the_option_decides_about_color_then_the_environment(
    choice: str | None, before: dict[str, str], after: dict[str, str]
) -> None:
    settle_color(choice, before)
    assert before == after


@pytest.mark.parametrize(
    ("env", "may"),
    [
        ({}, True),
        ({"TERM": "dumb"}, False),
        ({"ACCESSIBLE": "1"}, False),
        ({"QVISION_ACCESSIBLE": "yes"}, False),
        ({"ACCESSIBLE": "0"}, True),
    ],
)
def test_lines_are_repainted_unless_that_disturbs(env: dict[str, str], *, may: bool) -> None:
    assert may_repaint(env) == may
