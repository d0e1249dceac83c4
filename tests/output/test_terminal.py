"""What a person sees: the real program on a real pseudo-terminal, its screen read back by a terminal emulator."""

import io
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pexpect
import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import qubrid_cli
from qubrid_cli.output.blocks import SOFT_BREAK, Page, build_parser
from qubrid_cli.output.markdown import IncrementalRenderer

from ..conftest import KEY, command, environment
from ..support.server import DONE, Hold, Pause, Reply, Server, delta, event, figures, refusal, stream

COLUMNS, ROWS = 80, 24
STATISTICS = "ttft 0.41 s · 38.4 tok/s · total 1.92 s · 120 → 48 tokens · 114 KB → "


def everything() -> str:
    """Some 8,000 tokens of all that Markdown has, and of what terminals find hard."""
    words = random.Random(5)
    blocks = ["# A Ünïcode title: 灯台\n\n"]
    for number in range(24):
        text = " ".join(
            words.choice(("light", "**tower**", "`sea`", "雾中", "fog 🌫️", "*horn*", "the", "of")) for _ in range(60)
        )
        blocks.append(
            f"## Part {number}\n\n{text}\n\n- one\n  - two 二\n    - three\n  - four\n- five\n\n  with a paragraph\n\n"
        )
        blocks.append(
            "".join(f"{item}. step {item} 🚢\n" for item in range(1, 12)) + "\n> a quote\n> of two lines\n\n---\n\n"
        )
        blocks.append(
            "| name | count | 名前 |\n|:--|--:|:-:|\n"
            + "".join(f"| row {r} | {r * number} | 数{r} |\n" for r in range(8))
        )
        blocks.append("\n<b>not HTML</b> and [not][a reference]\n\n")
    code = "".join(f"def f{line}(x: int) -> int:  # {'コメント ' * (line % 7)}{line}\n" for line in range(200))
    return "".join([*blocks, f"```python\n{code}```\n\n", "Setext\n======\n\nThe end.\n"])


ANSWER = everything()


@dataclass
class Screen:
    """A terminal of 80 columns and 24 rows with a long memory."""

    columns: int = COLUMNS
    rows: int = ROWS

    def __post_init__(self) -> None:
        self._screen = pyte.HistoryScreen(self.columns, self.rows, history=100_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> "Screen":
        self._stream.feed(data)
        return self

    @property
    def cells(self) -> list[list[tuple[str, str, str, bool, bool]]]:
        """Every character that was ever left on the screen, with its colours, without empty rows at the end."""
        rows = [*self._screen.history.top, *(self._screen.buffer[y] for y in range(self.rows))]
        cells = [
            [(c.data, c.fg, c.bg, c.bold, c.italics) for c in (row[x] for x in range(self.columns))] for row in rows
        ]
        while cells and not "".join(cell[0] for cell in cells[-1]).strip():
            cells.pop()
        return cells

    @property
    def lines(self) -> list[str]:
        return ["".join(cell[0] for cell in row).rstrip() for row in self.cells]

    @property
    def title(self) -> str:
        return str(self._screen.title)


class Terminal(Protocol):
    def __call__(
        self,
        *arguments: object,
        until: Callable[["pexpect.spawn[bytes]"], None] | None = None,
        env: Mapping[str, str] = {},
    ) -> tuple[bytes, int]: ...


@pytest.fixture
def run(server: Server, quick_program: list[str]) -> Terminal:
    """Runs ``describe`` on a terminal of its own and returns what it wrote there, and its exit code."""

    def run_describe(
        *arguments: object,
        until: Callable[["pexpect.spawn[bytes]"], None] | None = None,
        env: Mapping[str, str] = {},
    ) -> tuple[bytes, int]:
        # The encoding is decided when Python starts.
        program, *rest = command() if "PYTHONIOENCODING" in env else quick_program
        line = [*rest, *command("describe", *arguments)[3:]]
        known = {"QUBRID_BASE_URL": server.url, "QUBRID_API_KEY": KEY, "TERM": "xterm-256color"}
        out = io.BytesIO()
        child: pexpect.spawn[bytes] = pexpect.spawn(
            program, line, env=environment({**known, **env}), dimensions=(ROWS, COLUMNS), timeout=60
        )
        child.logfile_read = out
        if until is not None:
            until(child)
        child.expect(pexpect.EOF)
        child.close()
        assert KEY.encode() not in out.getvalue()
        assert b"Traceback" not in out.getvalue()
        return out.getvalue(), child.exitstatus if child.exitstatus is not None else -1

    return run_describe


def printed_once(text: str) -> bytes:
    """What one print of the whole answer writes."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=COLUMNS, color_system="256")
    page = Page()
    page.parsed = build_parser().parse(text)
    console.print(page)
    return file.getvalue().replace(f"{SOFT_BREAK}\n", "").replace("\n", "\r\n").encode()


def test_a_long_answer_leaves_the_scrollback_of_one_print(run: Terminal, server: Server, lighthouse: Path) -> None:
    server.answer = stream(*[ANSWER[i : i + 3] for i in range(0, len(ANSWER), 3)])
    out, exit_code = run(lighthouse, "-q")
    assert exit_code == 0
    assert b"\x1b[J" not in out  # tmux moves what is erased that way from the upper left corner into the scrollback
    assert Screen().feed(out).cells == Screen().feed(printed_once(ANSWER)).cells


def test_a_terminal_never_shows_the_thought_of_a_thinking_model(
    run: Terminal, server: Server, lighthouse: Path
) -> None:
    rest = [delta("a cat?\n</thi"), delta("nk>\n\nA cat."), delta("", finish="stop"), DONE]
    server.answer = Reply([delta("Is it "), Pause(0.2), *rest])
    out, exit_code = run(lighthouse, "-m", "Qwen/Qwen3-VL-235B-A22B-Thinking", "--no-stats")
    assert (exit_code, b"Is it" in out, Screen().feed(out).lines) == (0, False, ["A cat."])


def written(pieces: Sequence[str], *, live: bool = True, columns: int = COLUMNS, rows: int = ROWS) -> str:
    """What the drawing writes, with one frame for each piece."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=columns, height=rows, color_system="256")
    renderer = IncrementalRenderer(console, live=live)
    for piece in pieces:
        renderer.add(piece)
    renderer.finish("")
    return file.getvalue()


def drawn(pieces: Sequence[str], *, live: bool = True, columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    """The lines that the drawing leaves."""
    text = written(pieces, live=live, columns=columns, rows=rows)
    return Screen(columns, rows).feed(text.replace("\n", "\r\n").encode()).lines


ATOMS = [
    *(
        "text ",
        "**b",
        "**",
        "`",
        "```\n",
        "```python\n",
        "- ",
        "10. ",
        "2",
        "    ",
        "\n",
        "\n\n",
        "> ",
        "| a | b |\n",
        "|---|:-:|\n",
    ),
    *(
        "---\n",
        "===\n",
        "[x](http://e.com)",
        "![alt](u.png)",
        "[r]: http://x\n",
        "[r][r]",
        "<div>",
        "<br>",
        "long" * 25,
        "日本",
        "🎉",
        "\t",
        "~~",
        "\\",
        '"""',
    ),
]


@settings(max_examples=150)
@given(
    pieces=st.lists(st.sampled_from(ATOMS), max_size=60),
    columns=st.sampled_from([80, 40, 12]),
    rows=st.sampled_from([24, 5, 2]),
)
def test_any_markdown_in_any_pieces_leaves_what_one_piece_leaves(pieces: list[str], columns: int, rows: int) -> None:
    whole = drawn(["".join(pieces)], live=False, columns=columns, rows=rows)
    assert drawn(pieces, columns=columns, rows=rows) == whole


@pytest.mark.parametrize(
    "text",
    [
        "1. a\n\n2. b\n\n10. c\n",
        "- a\n\n  1. b\n\n  2. c\n\n2 d\n",
        "text\n\n1.5 percent\n",
        ">\n\ntext\n\n>\n\n---\n\n>\n",
        "para\n| a |\n|---|\n| b |\n\npara\n| a |\n|--x|\n",
        "- a\n#b\n",
        "    code\n\n    more\n\n   text\n",
    ],
)
def test_one_frame_for_each_character_leaves_what_one_frame_leaves(text: str) -> None:
    """A line that is not complete may continue the block above."""
    assert drawn(list(text)) == drawn([text], live=False)


LOOKS = {
    "a line break": ("one  \ntwo\nthree\n", ["one", "two", "three"]),
    "HTML": ("<b>x</b> <hr>\n", ["<b>x</b> <hr>"]),
    "a reference": ("[a][b]\n\n[b]: c\n", ["[a][b]", "", "[b]: c"]),
    "a link": ("[a](b) <http://e.com>\n", ["a (b) <http://e.com>"]),
    "a line break's tag": ("a<BR/> b<br>\nc `<br>` \\<br>\n", ["a", "b", "c <br> <br>"]),
    "an image": ("a ![*b*](c) d [e](f)\n", ["a ![*b*](c) d e (f)"]),
    "a linked image": ("[![a](b.png)](c)\n", ["![a](b.png) (c)"]),
    "code": ("```sh\n  a\n\tb\n\n```\nend\n", ["  a", "    b", "", "", "end"]),
    "indented code": ("a\n\n      b\n    c\n", ["a", "", "  b", "c"]),
    "code in a list": (f"- a\n  ```\n  {'x' * 20}\n  ```\n", ["", " • a", "   " + "x" * 17, "   xxx"]),
    "a line break in a cell": ("|a|b|\n|-|-|\n|1<br>2|3|\n", ["", "", " a  b", " ────", " 1  3", " 2"]),
    "a wide cell": (
        f"|a|b|\n|-|-|\n|{'x' * 20}|3|\n",
        ["", "", " a                b", " " + "─" * 18, " " + "x" * 15 + "  3", " xxxxx"],
    ),
    "many columns without a row": ("|a|b|c|d|e|\n|-|-|-|-|-|\n", ["", "a", "b", "c", "d", "e"]),
    "many columns": (
        "|a|b|c|d|e|\n|-|-|-|-|-|\n|1|2|3|4|5|\n|6|\n",
        ["", *("a: 1", "b: 2", "c: 3", "d: 4", "e: 5"), "", *("a: 6", "b:", "c:", "d:", "e:")],
    ),
}


@pytest.mark.parametrize("look", LOOKS)
def test_no_text_is_lost_or_moved(look: str) -> None:
    text, lines = LOOKS[look]
    assert drawn([text], columns=20) == lines


@pytest.mark.parametrize(
    "code", ["def f(x: int) -> str:\n    return 'a'", f"x = '{'word ' * 50}'\n\ny = 1", "日本 " * 80 + "."]
)
def test_code_is_copied_as_it_was_written(code: str) -> None:
    """Without a margin, padding or background; a terminal joins the rows of a line that it wrapped itself."""
    text = written(["a\n\n```python\n", *code, "\n```\n"], live=False)
    assert re.sub("\x1b\\[[0-9;]*m", "", text) == f"a\n\n{code}\n"
    assert re.search("\x1b\\[[0-9;]*\\b4[0-9]", text) is None  # a background


def test_a_block_is_not_drawn_again_while_the_paragraph_below_is_written() -> None:
    file = io.StringIO()
    renderer = IncrementalRenderer(Console(file=file, force_terminal=True, width=COLUMNS, height=ROWS), live=True)
    renderer.add("| table |\n|---|\n| row |\n\nA paragraph")
    size = len(file.getvalue())
    renderer.add(" is mostly one line")
    frame = file.getvalue()[size:]
    assert ("A paragraph is mostly one line" in frame, "row" in frame) == (True, False)


def test_prose_is_at_most_100_columns_wide_and_code_and_tables_may_be_wider() -> None:
    words = "word " * 60
    table = f"|a|b|\n|-|-|\n|{'x' * 60}|{'y' * 60}|\n"
    lines = drawn([f"# {words}\n\n{words}\n\n- {words}\n\n> {words}\n\n```\n{'c' * 130}\n```\n\n{table}"], columns=140)
    widths = {line.strip(" •▌")[:4]: len(line) for line in sorted(lines, key=len)}
    assert all(90 < len(line) <= 100 for line in lines if line.count("word") > 12)
    assert (widths["cccc"], widths["xxxx"] > 120, sum(line.count("word") for line in lines)) == (130, True, 240)


VERBATIM = (
    "5.\n__init__ and *this*\n# comment\nfirst line\nsecond line\n\n1) a\n2) b\n    indented\tby\ttabs\n| a | b |\n|---|---|\n"
    f"{'a long line ' * 20}\n{'長い行' * 30}\n日本 <br> <b>bold</b> ![x](y.png)\n```\ncode\n```\ntrailing   \n"
)


@pytest.mark.parametrize(
    "options", [["-P", "ocr"], ["-P", "alt"], ["-P", "own"], ["--plain"], ["--plain", "--color", "always"]]
)
def test_a_verbatim_answer_is_shown_as_it_was_written(
    run: Terminal, server: Server, lighthouse: Path, tmp_path: Path, options: list[str]
) -> None:
    """The terminal wraps the lines itself."""
    config = tmp_path / "config.toml"
    config.write_text("[presets.own]\nprompt = 'Read it.'\nverbatim = true\n")
    text = VERBATIM.replace("__init__", "\x1b[31m__init__\x9b0m").replace("comment\n", "comment\r\n")
    server.answer = stream(*[text[i : i + 3] for i in range(0, len(text), 3)])
    out, exit_code = run(lighthouse, "-q", *options, env={"QVISION_CONFIG": str(config)})
    shown = VERBATIM.replace("__init__", "[31m__init__0m").replace("\n", "\r\n").encode()
    assert (exit_code, Screen().feed(out).cells) == (0, Screen().feed(shown).cells)
    assert out.endswith(shown)


@pytest.mark.parametrize("options", [[], ["--plain"]])
def test_a_terminal_without_utf_8_shows_question_marks(
    run: Terminal, server: Server, lighthouse: Path, options: list[str]
) -> None:
    server.answer = stream("a é 灯")
    out, _ = run(lighthouse, "-q", *options, env={"PYTHONIOENCODING": "latin-1"})
    assert b"a \xe9 ?" in out


def test_a_verbatim_preset_can_be_drawn_as_markdown(run: Terminal, server: Server, lighthouse: Path) -> None:
    server.answer = stream("**loud**")
    assert Screen().feed(run(lighthouse, "-q", "-P", "ocr", "--no-plain")[0]).lines == ["loud"]


def test_an_answer_cannot_control_the_terminal(run: Terminal, server: Server, lighthouse: Path) -> None:
    server.answer = stream(
        "before \x1b]52;c;aGVsbG8=\x07", "\x1b[2J\x1b]0;title\x07", " [red]x[/] \x9b31m\r after \x08\x7f"
    )
    out, exit_code = run(lighthouse, "-q")
    screen = Screen().feed(out)
    assert (exit_code, screen.lines, screen.title) == (0, ["before ]52;c;aGVsbG8=[2J]0;title [red]x[/] 31m after"], "")
    assert b"\x1b]" not in out
    assert b"\x07" not in out


@pytest.mark.parametrize("form", [["--json"], ["--field", "text"]])
def test_records_are_harmless_on_a_terminal_too(
    run: Terminal, server: Server, lighthouse: Path, form: list[str]
) -> None:
    server.answer = stream("a\x1b[2J\x9b31m b")
    out, _ = run(lighthouse, "-q", *form)
    assert b"\x1b" not in out
    assert "\x9b".encode() not in out


def test_a_hostile_file_name_is_shown_and_not_obeyed(run: Terminal, lighthouse: Path, tmp_path: Path) -> None:
    evil = tmp_path / "\x1b[2J\x1b]0;owned\x07.jpg"
    evil.write_bytes(lighthouse.read_bytes()[:200])
    out, exit_code = run(evil)
    screen = Screen().feed(out)
    assert (exit_code, screen.title) == (4, "")
    assert '\\x1b[2J\\x1b]0;owned\\x07.jpg"is damaged or cut off' in "".join(screen.lines)  # wrapped at a blank


def test_the_spinner_names_the_phase_and_leaves_no_trace(run: Terminal, server: Server, large_lighthouse: Path) -> None:
    hold = Hold()
    server.answer = Reply([hold, delta("Here.", finish="stop"), figures(), DONE])

    def until(child: "pexpect.spawn[bytes]") -> None:
        child.expect_exact("waiting for the first token (1 s)")
        hold.event.set()

    out, _ = run(large_lighthouse, until=until)
    lines = Screen().feed(out).lines
    assert (lines[:2], lines[2].startswith(STATISTICS), lines[3:]) == (["Here.", ""], True, ["test/vlm"])


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"ACCESSIBLE": "1"}])
def test_phases_are_lines_where_nothing_may_be_repainted(
    run: Terminal, server: Server, lighthouse: Path, env: dict[str, str]
) -> None:
    server.answer = stream("A *light", "house*.")
    out, _ = run(lighthouse, "--no-stats", env=env)
    text = re.sub("\x1b\\[[0-9;]*m", "", out.decode())
    assert ("\x1b" in text, re.search("\r(?!\n)", text)) == (False, None)
    preparing, sending, *rest = text.split("\r\n")
    assert (preparing, sending[:8]) == (f"preparing {lighthouse}", "sending ")
    assert rest == ["waiting for the first token", "A lighthouse.", ""]


def test_reasoning_after_a_piece_of_the_answer_does_not_restart_the_spinner(
    run: Terminal, server: Server, lighthouse: Path
) -> None:
    late = event({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]})
    server.answer = Reply([delta("- one\n- two"), late, Pause(0.4), delta(" and more", finish="stop"), DONE])
    out, _ = run(lighthouse, "--no-stats")
    assert "the model is thinking" not in out.decode()
    assert Screen().feed(out).lines == ["", " • one", " • two and more"]


def test_a_pause_before_a_retry_is_reported(run: Terminal, server: Server, lighthouse: Path) -> None:
    busy = refusal(429, {"message": "busy"}, **{"Retry-After": "0.2"})
    server.answer = lambda _: stream("At last.") if len(server.asked) > 1 else busy
    out, exit_code = run(lighthouse, "--no-stats")
    said = f"429 from 127.0.0.1:{server.port}, trying again in 0.2 s (1 of 4)"
    assert (exit_code, Screen().feed(out).lines) == (0, [said, "At last."])


def test_thinking_is_shown_dimmed_above_the_answer(run: Terminal, server: Server, lighthouse: Path) -> None:
    server.answer = stream("<think>A tower\x1b[2J, ", "so…</think>", "A lighthouse.")
    out, _ = run(lighthouse, "--no-stats", "--thinking")
    assert Screen().feed(out).lines == ["A tower[2J, so…", "", "A lighthouse."]
    assert b"\x1b[2mA tower" in out


def test_late_thinking_does_not_disturb_the_drawing(run: Terminal, server: Server, lighthouse: Path) -> None:
    late = event({"choices": [{"delta": {"reasoning_content": "hm\n"}}]})
    pieces: list[bytes | Hold | Pause] = [
        delta("# Title\n\n- one\n"),
        Pause(0.2),
        late,
        delta("- two\n"),
        Pause(0.2),
        late,
        delta("", finish="stop"),
        DONE,
    ]
    server.answer = Reply([late, *pieces])
    out, _ = run(lighthouse, "--no-stats", "--thinking")
    assert [line.strip() for line in Screen().feed(out).lines if line] == ["hm", "Title", "• one", "• two"]


@pytest.mark.parametrize(("options", "last"), [([], "tail"), (["--plain"], "tail^C")])
def test_ctrl_c_leaves_the_partial_text_once(
    run: Terminal, server: Server, lighthouse: Path, options: list[str], last: str
) -> None:
    row = "word " * 15 + "word"
    server.answer = Reply([delta(f"{row} {row} tail"), Hold()])

    def until(child: "pexpect.spawn[bytes]") -> None:
        child.expect_exact("tail")
        child.sendintr()

    out, exit_code = run(lighthouse, "--no-stats", *options, until=until)
    *lines, error = (line for line in Screen().feed(out).lines if line)
    assert (exit_code, lines, error.partition(";")[0]) == (130, [row, row, last], "error: stopped by Ctrl-C")


def test_the_reason_of_a_cut_off_answer_is_shown_below_it(run: Terminal, server: Server, lighthouse: Path) -> None:
    server.answer = Reply([delta("Half an ans", finish="length"), DONE])
    out, exit_code = run(lighthouse, "--no-stats")
    lines = Screen().feed(out).lines
    assert (exit_code, lines[0], lines[1]) == (
        6,
        "Half an ans",
        "error: the answer is incomplete: it reached the limit of tokens",
    )


def test_a_dash_on_a_terminal_is_refused(run: Terminal) -> None:
    out, exit_code = run("-")
    assert (exit_code, b"standard input, which is a terminal" in out) == (2, True)


@pytest.mark.parametrize(("color", "has_color"), [("never", False), ("always", True)])
def test_color_is_used_when_it_is_wanted(
    run: Terminal, server: Server, lighthouse: Path, color: str, *, has_color: bool
) -> None:
    server.answer = stream("# Title\n\n`code`\n")
    out, _ = run(lighthouse, "-q", "--color", color)
    assert (re.search(rb"\x1b\[[0-9;]*m", out) is not None) == has_color
    assert "Title" in "".join(Screen().feed(out).lines)


def test_the_manual_shows_what_the_program_shows(run: Terminal, large_lighthouse: Path) -> None:
    """All but the statistics, whose figures differ from run to run."""
    page = (Path(qubrid_cli.__file__).parent / "manual/privacy.md").read_text()
    shown = page.partition("```console\n")[2].partition("```")[0].splitlines()[1:-1]
    out, exit_code = run(large_lighthouse, "what is this?", "--offline", "--no-stats")
    assert (exit_code, Screen().feed(out).lines) == (0, [line.rstrip() for line in shown[:-2]])
