"""Where output goes: a file that is replaced, a device, or stdout."""

import os
import stat
from pathlib import Path

import pytest

from qubrid_cli.errors import OutputError, UsageError
from qubrid_cli.output.streams import Output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answer.md"


def write(path: Path, *pieces: str) -> None:
    output = Output(str(path))
    for piece in pieces:
        output.write(piece)
    output.save()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_pieces_become_one_file(path: Path) -> None:
    write(path, "A light", "house.\n", "\x1b[31m", "é\udc80")
    assert path.read_bytes() == "A lighthouse.\n\x1b[31mé?".encode()


def test_no_file_is_created_before_it_is_complete(path: Path) -> None:
    output = Output(str(path))
    output.write("half an ans")
    assert list(path.parent.iterdir()) == []


def test_the_old_file_stays_whole_until_it_is_replaced(path: Path) -> None:
    path.write_text("old")
    output = Output(str(path))
    output.write("half an ans")
    assert path.read_text() == "old"


def test_a_reader_of_the_old_file_reads_it_to_its_end(path: Path) -> None:
    """So the new one was put in its place, and not written over it."""
    path.write_text("old")
    with path.open() as reader:
        write(path, "new")
        assert (reader.read(), path.read_text()) == ("old", "new")


def test_nothing_else_is_left_in_the_folder(path: Path) -> None:
    write(path, "new")
    assert list(path.parent.iterdir()) == [path]


def test_an_output_without_text_leaves_the_file_alone(path: Path) -> None:
    path.write_text("old")
    write(path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("bits", [0o600, 0o644, 0o755])
def test_the_files_mode_is_kept(path: Path, bits: int) -> None:
    path.touch()
    path.chmod(bits)
    write(path, "new")
    assert mode(path) == bits


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_gets_the_users_mode(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(path, "new")
    finally:
        os.umask(before)
    assert mode(path) == 0o666 & ~mask


def test_a_symlink_stays_and_its_target_is_written(path: Path) -> None:
    target = path.with_name("target.md")
    target.write_text("old")
    path.symlink_to(target.name)
    write(path, "new")
    assert (path.is_symlink(), target.is_symlink(), target.read_text()) == (True, False, "new")


def test_a_symlink_to_nothing_gets_its_target(path: Path) -> None:
    path.symlink_to("target.md")
    write(path, "new")
    assert (path.is_symlink(), path.with_name("target.md").read_text()) == (True, "new")


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".md")
    write(path, "new")
    assert path.read_text() == "new"


def test_a_device_is_written_directly() -> None:
    screen, keyboard = os.openpty()
    device = Path(os.ttyname(keyboard))
    write(device, "new")
    assert (os.read(screen, 100), device.is_char_device()) == (b"new", True)
    os.close(screen)
    os.close(keyboard)


def test_a_fifo_is_written_directly(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write(path, "new")
    assert (os.read(reader, 100), path.is_fifo()) == (b"new", True)
    os.close(reader)


def test_a_pipe_of_the_shell_is_written_directly() -> None:
    """What ``-o >(wc)`` and ``-o /dev/stdout | wc`` name."""
    reader, writer = os.pipe()
    write(Path(f"/dev/fd/{writer}"), "new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    os.close(writer)


def test_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^-o {tmp_path} is a folder$"):
        Output(str(tmp_path))


def test_a_symlink_to_a_folder_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(UsageError, match=f"^-o {link} is a folder$"):
        Output(str(link))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^-o {tmp_path}/none/answer.md: there is no folder {tmp_path}/none$"):
        Output(str(tmp_path / "none" / "answer.md"))


def test_the_answer_for_a_folder_that_vanished_goes_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    output = Output(str(folder / "answer.md"))
    output.write("new")
    folder.rmdir()
    with pytest.raises(OutputError, match=r"^cannot write .*/answer\.md: No such file or directory; the text is on"):
        output.save()
    assert capsys.readouterr().out == "new"


@pytest.mark.parametrize("name", ["answer.md", "link", "./answer.md"])
def test_an_input_is_not_overwritten_under_any_of_its_names(path: Path, name: str) -> None:
    path.write_text("an image")
    link = path.with_name("link")
    link.symlink_to(path)
    output = Output(str(link))
    with pytest.raises(UsageError, match=r"^-o would overwrite "):
        output.refuse_overwriting([path.parent / name])
    output.save()
    assert path.read_text() == "an image"


def test_another_file_is_not_refused(path: Path) -> None:
    output = Output(str(path))
    output.refuse_overwriting([path.with_name("other")])
    assert output.is_file


def test_a_file_is_not_a_terminal(path: Path) -> None:
    assert (Output(str(path)).is_file, Output(str(path)).is_terminal) == (True, False)


def test_standard_output_is_not_the_users_file() -> None:
    assert not Output().is_file
