"""What Windows does differently. Its rules are tested on every system."""

import errno
import os
import random
import socket
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from platformdirs.unix import Unix

from qubrid_cli import files
from qubrid_cli.batch.folders import Shard
from qubrid_cli.batch.readers.lists import ListEntry, ListLine, decode_name, read_items, sample_items
from qubrid_cli.images.formats import unsupported_error
from qubrid_cli.operating_system import (
    WindowsLocks,
    call_interruptibly,
    find_editor_command,
    find_xdg_folder,
    format_set_variable,
    get_pipe_encoding,
    receive,
    replace_file,
    split_command,
    wait_until,
)
from qubrid_cli.text import decode_text, quote_name

from .conftest import Qvision
from .support.completions import FILES


@pytest.mark.parametrize(
    ("name", "posix", "windows"),
    [
        ("a.jpg", "a.jpg", "a.jpg"),
        ("café.jpg", "café.jpg", "café.jpg"),
        ("photos\\a.jpg", "'photos\\a.jpg'", "photos\\a.jpg"),
        ("C:\\My Pictures\\a.jpg", "'C:\\My Pictures\\a.jpg'", '"C:\\My Pictures\\a.jpg"'),
        ("my photos\\", "'my photos\\'", '"my photos\\\\"'),
        ("a b.jpg", '"a b.jpg"', '"a b.jpg"'),
        ("what's this?", '"what\'s this?"', '"what\'s this?"'),
        ('what is "this"?', "'what is \"this\"?'", '"what is \\"this\\"?"'),
        ('title="x"', "'title=\"x\"'", '"title=\\"x\\""'),
        ("a,b", "a,b", '"a,b"'),
        ("a&b", '"a&b"', '"a&b"'),
    ],
)
def test_a_name_is_quoted_as_the_shells_of_the_system_need_it(name: str, posix: str, windows: str) -> None:
    assert [quote_name(name, is_windows=is_windows) for is_windows in (False, True)] == [posix, windows]


def test_a_path_with_a_drive_is_a_file_in_the_command_that_converts_it() -> None:
    error = unsupported_error(("an SVG image", "rsvg-convert {} -o out.png"), "C:/pictures/a.svg")
    assert error.hint == "Convert it to an image first: rsvg-convert C:/pictures/a.svg -o out.png"


@pytest.mark.parametrize(
    ("command", "windows"),
    [
        ("notepad", ["notepad"]),
        ("C:\\Tools\\vim.exe", ["C:\\Tools\\vim.exe"]),
        ("code --wait", ["code", "--wait"]),
        ('"C:\\Program Files\\Notepad++\\notepad++.exe" -multiInst', ["C:\\Program Files\\Notepad++\\notepad++.exe", "-multiInst"]),
        ("'C:\\My Tools\\vim.exe' -n", ["C:\\My Tools\\vim.exe", "-n"]),
        ('C:\\"My Tools"\\vim.exe', ["C:\\My Tools\\vim.exe"]),
        ("", []),
    ],
)  # fmt: skip
def test_backslashes_in_the_editor_stay_on_windows(command: str, windows: list[str]) -> None:
    assert split_command(command, is_windows=True) == windows
    assert find_editor_command({"EDITOR": command}, is_interactive=False, is_windows=True) == windows


def test_an_editor_may_be_a_path_with_blanks_on_windows(tmp_path: Path) -> None:
    program = tmp_path / "my editor.exe"
    program.touch()
    assert split_command(str(program), is_windows=True) == [str(program)]
    assert split_command("a 'b c'", is_windows=False) == ["a", "b c"]


@pytest.mark.parametrize("is_windows", [False, True])
def test_an_open_quote_in_the_editor_is_an_error(*, is_windows: bool) -> None:
    with pytest.raises(ValueError, match="No closing quotation"):
        split_command('"C:\\Program Files\\x.exe', is_windows=is_windows)


@pytest.mark.parametrize(
    ("environment", "is_interactive", "posix", "windows"),
    [
        ({}, True, ["vi"], ["notepad"]),
        ({}, False, [], []),
        ({"EDITOR": " ", "VISUAL": ""}, True, ["vi"], ["notepad"]),
        ({"EDITOR": "ed", "VISUAL": "no-such-editor -x"}, True, ["no-such-editor", "-x"], ["no-such-editor", "-x"]),
    ],
)
def test_without_a_chosen_editor_that_of_the_system_is_used(
    environment: dict[str, str], *, is_interactive: bool, posix: list[str], windows: list[str]
) -> None:
    commands = [
        find_editor_command(environment, is_interactive=is_interactive, is_windows=is_windows)
        for is_windows in (False, True)
    ]
    assert commands == [posix, windows]


def test_a_variable_is_set_by_the_command_of_the_system() -> None:
    commands = [format_set_variable("QUBRID_API_KEY", "k", is_windows=is_windows) for is_windows in (False, True)]
    assert commands == ["export QUBRID_API_KEY=k", "setx QUBRID_API_KEY k"]


class _Kernel:
    """The locks of Windows: one on a handle does not go together with any exclusive one, not even of the same handle."""

    def __init__(self) -> None:
        self.held: list[tuple[int, int, bool]] = []

    def lock(self, descriptor: int, position: int, is_shared: bool) -> None:  # noqa: FBT001
        if any(held == position and not (shared and is_shared) for _, held, shared in self.held):
            raise PermissionError(errno.EACCES, "locked")
        self.held.append((descriptor, position, is_shared))

    def unlock(self, descriptor: int, position: int) -> None:
        self.close(descriptor, position)

    def close(self, descriptor: int, position: int | None = None) -> None:
        self.held = [lock for lock in self.held if lock[0] != descriptor or position not in {None, lock[1]}]


def test_a_results_file_is_used_by_several_runs_or_exclusively_by_the_last_one_on_windows() -> None:
    kernel = _Kernel()
    locks = WindowsLocks(kernel)
    first, second = 3, 4
    files.lock_shared(first, locks=locks)
    files.lock_shared(second, locks=locks)
    assert not files.try_lock_exclusive(first, locks=locks)
    assert not files.try_lock_exclusive(second, locks=locks), "the first one still uses it"
    kernel.close(first)
    assert files.try_lock_exclusive(second, locks=locks)
    assert [(descriptor, shared) for descriptor, _, shared in kernel.held] == [(second, False)]


def test_a_run_waits_while_another_one_has_the_results_file_exclusively_on_windows() -> None:
    kernel = _Kernel()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            kernel.close(3)

    locks = WindowsLocks(kernel, sleep=sleep)
    assert files.try_lock_exclusive(3, locks=locks)
    files.lock_shared(4, locks=locks)
    assert (len(waits), [descriptor for descriptor, *_ in kernel.held]) == (2, [4])


def test_a_lock_that_is_held_is_an_error_unless_it_is_waited_for_on_windows() -> None:
    locks = WindowsLocks(_Kernel())
    locks.lock_file(3)
    with pytest.raises(PermissionError):
        locks.lock(4, 0, is_shared=True, wait=False)


@pytest.mark.parametrize("is_windows", [False, True])
def test_a_locked_file_is_closed_and_deleted(tmp_path: Path, *, is_windows: bool) -> None:
    path = tmp_path / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    files.close_and_delete(descriptor, path, is_windows=is_windows)
    assert not path.exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    ("is_windows", "refusals", "attempts", "is_replaced"),
    [(True, 0, 1, True), (True, 4, 5, True), (True, 99, 7, False), (False, 1, 1, False)],
)
def test_a_file_that_another_program_has_open_is_replaced_later_on_windows(
    tmp_path: Path, *, is_windows: bool, refusals: int, attempts: int, is_replaced: bool
) -> None:
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_text("new")
    target.write_text("old")
    calls: list[Path] = []
    waits: list[float] = []

    def replace(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) <= refusals:
            raise PermissionError(errno.EACCES, "in use")
        source.replace(target)

    try:
        replace_file(source, target, is_windows=is_windows, replace=replace, sleep=waits.append)
    except PermissionError:
        assert not is_replaced
        assert (source.read_text(), target.read_text()) == ("new", "old")
    assert (len(calls), target.read_text() == "new") == (attempts, is_replaced)
    assert sum(waits) <= 10


TEXT = "photos/a.jpg\r\nphotos/é 1.jpg\r\n\r\nlast.jpg"
NAMES = [ListLine(name) for name in ("photos/a.jpg", "photos/é 1.jpg", "last.jpg")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("tail", ["", "\r\n"])
def test_a_list_is_read_as_powershell_writes_it(tmp_path: Path, encoding: str, tail: str) -> None:
    data = (("\ufeff" if encoding == "utf-16-be" else "") + TEXT + tail).encode(encoding)
    assert list(read_items(BytesIO(data))) == NAMES
    (tmp_path / "list.txt").write_bytes(data)
    count, items = sample_items(tmp_path / "list.txt", 50, random.Random(1))
    assert (count, set(items) <= set(NAMES)) == (3 + bool(tail), True)


def test_a_long_list_and_one_of_objects_may_be_utf_16() -> None:
    names = [f"photos/{number}é.jpg" for number in range(20_000)]
    assert list(read_items(BytesIO("\n".join(names).encode("utf-16")))) == [ListLine(name) for name in names]
    objects = '{"image": "é.jpg", "prompt": "why?"}\n{"image": "b.jpg"}\n'
    assert list(read_items(BytesIO(objects.encode("utf-16")))) == [ListEntry("é.jpg", "why?"), ListEntry("b.jpg")]


@pytest.mark.parametrize(
    ("data", "encodings", "name"),
    [
        ("é.jpg".encode(), ("cp1252", "cp850"), "é.jpg"),
        ("é.jpg".encode("cp1252"), ("cp1252", "cp850"), "é.jpg"),
        ("fenêtre.jpg".encode("cp850"), ("cp1252", "cp850"), "fenêtre.jpg"),
        (b"caf\xe9.jpg", (), "caf\udce9.jpg"),
    ],
)
def test_names_in_a_list_may_be_those_of_windows_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, encodings: tuple[str, ...], name: str
) -> None:
    """The programs use one encoding, and the console another; the one in which the file exists is right."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fenêtre.jpg").touch()
    assert decode_name(data, encodings=encodings) == name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_prompts_and_schemas_may_be_files_of_windows(tmp_path: Path, qvision: Qvision, encoding: str) -> None:
    (tmp_path / "prompt.txt").write_bytes("Was kostet das Gerät?\r\n".encode(encoding))
    (tmp_path / "schema.json").write_bytes('{"type": "object"}'.encode(encoding))
    (tmp_path / "a.png").write_bytes((Path(__file__).parent / "images" / "screenshot.png").read_bytes())
    run = qvision("describe", "a.png", "-p", "@prompt.txt", "--schema", "@schema.json", "--offline", "--json")
    assert (run.exit_code, run.json["prompt"], run.json["error"]) == (0, "Was kostet das Gerät?", None)
    assert decode_text("é".encode(encoding)) == "é"


@pytest.mark.parametrize(
    ("python", "variable", "encoding"),
    [
        ("cp1252", None, "utf-8"),
        ("cp1252", "cp1252", "cp1252"),
        ("cp1252", ":replace", "utf-8"),
        ("utf-16", "utf-16:strict", "utf-16"),
    ],
)
def test_pipes_get_utf_8_unless_the_user_names_another_encoding(
    python: str, variable: str | None, encoding: str
) -> None:
    assert get_pipe_encoding(python, {"PYTHONIOENCODING": variable} if variable else {}) == encoding


def test_the_answer_in_a_pipe_has_the_encoding_that_the_user_names(qvision: Qvision, lighthouse: Path) -> None:
    run = qvision(
        *("describe", lighthouse, "--offline", "-p", "-"),
        stdin="Wie groß?".encode(),
        env={"PYTHONIOENCODING": "latin-1"},
    )
    assert "Wie groß?" in run.stdout.decode("latin-1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("trip/a.jpg", "trip\\a.jpg"),
        ("trip/a.jpg", "./trip/a.jpg"),
        ("trip/a.jpg", ".\\trip\\a.jpg"),
        ("trip/caf\u00e9.jpg", "trip/cafe\u0301.jpg"),
        ("\u00fcbung\\\u30ac.png", "u\u0308bung/\u30ab\u3099.png"),
    ],
)
def test_a_file_is_in_the_same_shard_on_each_system(one: str, other: str) -> None:
    shards = [[Shard(number, 50).contains(path) for number in range(1, 51)] for path in (one, other)]
    assert shards[0] == shards[1]


def test_a_backslash_in_a_link_is_another_link() -> None:
    shards = [[n for n in range(1, 51) if Shard(n, 50).contains(f"https://example.org/a{c}b")] for c in "/\\"]
    assert shards[0] != shards[1]


def test_a_wait_ends_in_short_steps_on_windows() -> None:
    asked: list[float | None] = []

    def wait(seconds: float | None) -> bool:
        asked.append(seconds)
        return len(asked) == 3

    wait_until(wait, is_windows=True)
    wait_until(lambda seconds: seconds is None, is_windows=False)
    assert asked == [asked[0]] * 3
    assert asked[0] is not None


@pytest.mark.parametrize("is_windows", [False, True])
def test_what_is_called_interruptibly_returns_or_raises_as_usual(*, is_windows: bool) -> None:
    assert call_interruptibly(lambda: 7, is_windows=is_windows) == 7
    with pytest.raises(ZeroDivisionError):
        call_interruptibly(lambda: 1 // 0, is_windows=is_windows)


def test_only_the_main_thread_waits_for_another_one_on_windows() -> None:
    """Others are not interrupted by Ctrl-C anyway."""
    threads: list[threading.Thread] = []

    def call() -> None:
        threads.append(call_interruptibly(threading.current_thread, is_windows=True))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert threads == [thread]
    assert call_interruptibly(threading.current_thread, is_windows=True) is not threading.main_thread()


class _SlowSocket:
    """A socket on which nothing comes for some reads, and whose timeouts are over at once."""

    def __init__(self, silent_reads: int) -> None:
        self._silent_reads = silent_reads
        self.timeouts: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def recv(self, size: int) -> bytes:
        if len(self.timeouts) <= self._silent_reads:
            raise TimeoutError("timed out")
        return b"data"[:size]


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_read_waits_in_short_steps_on_windows(timeout: float | None) -> None:
    connected: Any = _SlowSocket(3)
    assert receive(connected, 10, timeout, is_windows=True) == b"data"
    assert (len(connected.timeouts), max(connected.timeouts) < 1) == (4, True)


@pytest.mark.parametrize("is_windows", [False, True])
def test_a_read_times_out_as_usual(*, is_windows: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(TimeoutError):
            receive(ours, 10, 0.01, is_windows=is_windows)
        theirs.send(b"answer")
        assert receive(ours, 10, 5.0, is_windows=is_windows) == b"answer"


def test_the_script_for_powershell_does_nothing_but_register_a_completer() -> None:
    """It must not load modules or rebind keys: Tab works in other programs as before."""
    lines = FILES["powershell"].read_text().splitlines()
    top = [line for line in lines if line and not line.startswith((" ", "}"))]
    assert top == ["Register-ArgumentCompleter -Native -CommandName qvision -ScriptBlock {"]
    assert lines[-1] == "}"


@pytest.mark.parametrize(
    "env",
    [
        {"HOME": "/home/me"},
        {"HOME": "/home/me/", "XDG_CONFIG_HOME": "/data/config", "XDG_CACHE_HOME": "/data/cache"},
        {"HOME": "/home/me", "XDG_CONFIG_HOME": "relative", "XDG_CACHE_HOME": ""},
        {"HOME": "relative"},
        {"HOME": "/home/me", "ANDROID_ROOT": "/system", "ANDROID_DATA": "/data"},
    ],
)
def test_the_folders_for_settings_are_those_of_platformdirs(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    folders = [
        find_xdg_folder("XDG_CONFIG_HOME", ".config", env=env, system="linux"),
        find_xdg_folder("XDG_CACHE_HOME", ".cache", env=env, system="linux"),
    ]
    unix = Unix("qvision", appauthor=False)
    usual = [unix.user_config_path, unix.user_cache_path]
    assert folders == ([None, None] if env["HOME"] == "relative" or "ANDROID_ROOT" in env else usual)
    assert find_xdg_folder("XDG_CONFIG_HOME", ".config", env=env, system="darwin") is None
