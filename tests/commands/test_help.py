"""The help of the commands, and errors of the command line in the same style as all others."""

import pytest

from qubrid_cli import cli
from qubrid_cli.commands.shared import manual
from qubrid_cli.commands.shared.help_layout import _HEADINGS, MAX_WIDTH

from ..conftest import Qvision


@pytest.mark.parametrize("command", ["describe", "batch"])
@pytest.mark.parametrize("columns", [80, 100, 140])
def test_help_has_headings_and_fits_the_terminal(qvision: Qvision, command: str, columns: int) -> None:
    run = qvision(command, "--help", env={"COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns)})
    lines = run.stdout.decode().splitlines()
    assert {"Prompt:", "Images:", "Model:", "Output:", "Connection:", "Examples:"} <= set(lines)
    assert max(map(len, lines)) <= min(columns, MAX_WIDTH)
    other = lines[lines.index("Other:") + 1 : lines.index("Examples:")]
    assert [line.strip() for line in other if line] == ["-h, --help  Show this message and exit."]
    assert "x>=" not in run.stdout.decode()


def test_no_option_stands_under_two_headings() -> None:
    names = [name for section in _HEADINGS.values() for name in section]
    assert len(names) == len(set(names))


def test_help_and_version_are_commands_too(qvision: Qvision) -> None:
    assert qvision("help", "config", "set").stdout == qvision("config", "set", "--help").stdout
    assert qvision("help").stdout == qvision("--help").stdout
    assert qvision("version").stdout == qvision("-V").stdout == qvision("--version").stdout
    assert "..." not in qvision("--help").stdout.decode().partition("Commands:")[2]


@pytest.mark.parametrize("topic", manual.load_topics())
def test_help_shows_the_page_of_a_topic_as_it_is_written_in_a_pipe(
    topic: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.main(["help", topic]) == 0
    assert capfdbinary.readouterr().out == (manual.FOLDER / f"{topic}.md").read_bytes()


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        ("nonsense", "no such command 'nonsense'", "qvision --help"),
        ("help nonsense", "no such command or topic: nonsense", "qvision help"),
        ("help imags", "no such command or topic: imags; did you mean images?", "qvision help"),
        ("help config se", "no such command 'se'; did you mean set?", "qvision config --help"),
        ("describ a.jpg", "no such command 'describ'; did you mean describe?", "qvision --help"),
        ("config se", "no such command 'se'; did you mean set?", "qvision config --help"),
        ("describe a.jpg --nonsense", "no such option: --nonsense", "qvision describe --help"),
        ("describe a.jpg --presett alt", "no such option: --presett; did you mean --preset?", "qvision describe --help"),
        ("describe a.jpg --max-tokens x", "invalid value for --max-tokens: 'x' is not a whole number", "qvision describe --help"),
        ("describe a.jpg --max-tokens 0", "invalid value for --max-tokens: 0 is out of range (at least 1)", "qvision describe --help"),
        ("describe a.jpg --top-p 2", "invalid value for --top-p: 2.0 is out of range (0 to 1)", "qvision describe --help"),
        ("describe a.jpg --top-p x", "invalid value for --top-p: 'x' is not a number", "qvision describe --help"),
        ("describe a.jpg --timeout 0", "invalid value for --timeout: 0.0 is out of range (more than 0)", "qvision describe --help"),
        ("describe a.jpg --max-tokens", "option --max-tokens requires an argument", "qvision --help"),
        ("describe a.jpg --color=blue", "invalid value for --color: 'blue' is not one of 'auto', 'always', 'never'", "qvision describe --help"),
        ("config get", "missing argument 'KEY'", "qvision config get --help"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_one_sentence_and_a_hint_that_works(
    qvision: Qvision, line: str, error: str, hint: str
) -> None:
    run = qvision(*line.split())
    assert (run.exit_code, run.stdout, run.stderr) == (2, b"", f"error: {error}\nhint: See {hint}\n")
    assert qvision(*hint.split()[1:]).exit_code == 0
