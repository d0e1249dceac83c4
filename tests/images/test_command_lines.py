"""What each word of a command line is taken for, by the rules of POSIX and of Windows; both are tested on every system."""

import shlex
from io import BytesIO
from pathlib import Path

import pytest

from qubrid_cli.batch.inputs import split_arguments
from qubrid_cli.errors import UsageError
from qubrid_cli.images.arguments import classify
from qubrid_cli.images.sources import DocumentPage

#: Command lines in the quotes of a POSIX shell, and what their words are taken for: an ``image`` (with their number, for a
#: glob that the program expands), the ``prompt``, or an image that is ``missing`` or a glob with ``no match``.
LINES = [
    # line, on POSIX, on Windows if that differs
    ("describe photo.jpg", "image"),
    ("describe ./photo.jpg", "image"),
    ("describe photo.jpg 'what is this?'", "image, prompt"),
    ("describe 'what is this?' photo.jpg", "prompt, image"),
    ("describe photo.jpg 'my photo.jpg' hi", "image, image, prompt"),
    ("describe photo.jpg what", "image, prompt"),
    ("describe -", "image"),
    ("describe - hi", "image, prompt"),
    ("describe https://example.org/a.jpg hi", "image, prompt"),
    ("describe HTTPS://example.org/a 'what is it?'", "image, prompt"),
    ("describe data:image/png;base64,AAAA hi", "image, prompt"),
    ("describe 'data: this text is no URL' photo.jpg", "prompt, image"),
    ("describe photo.jpg 'see https://example.org/a.jpg'", "image, prompt"),
    ("describe report.pdf summarize", "image, prompt"),
    ("describe 'report.pdf#page=2' summarize", "page, prompt"),
    ("describe 'nope.pdf#page=2' summarize", "missing, prompt"),
    ("describe notes.md hi", "image, prompt"),
    ("describe caption caption.jpg", "prompt, missing"),
    # mistyped images
    ("describe nope.jpg", "missing"),
    ("describe photo.jpg nope.jpg", "image, missing"),
    ("describe 'my photo (3).jpg' hi", "missing, prompt"),
    ("describe My\\ Photo.jpg hi", "missing, prompt"),
    ("describe 'my\u00a0photo.jpg' hi", "missing, prompt"),
    ("describe cafe\u0301.jpg hi", "missing, prompt"),
    ("describe IMG_0012 hi", "missing, prompt"),
    ("describe img_0012.jpg hi", "missing, prompt"),
    ("describe phots/a hi", "missing, prompt"),
    ("describe holidy/ hi", "missing, prompt"),
    ("describe './no suffix' hi", "missing, prompt"),
    ("describe '~/my pictures' hi", "missing, prompt"),
    ("describe /srv/a hi", "missing, prompt"),
    ("describe '../a b' hi", "missing, prompt"),
    ("describe 'old scan 2.TIFF' hi", "missing, prompt"),
    ("describe www.example.org/a.jpg hi", "missing, prompt"),
    ("describe nope.jgp hi", "missing, prompt"),
    ("describe ./nope hi", "missing, prompt"),
    ("describe 'the scan.pdf' hi", "missing, prompt"),
    ("describe 'My  Photo' hi", "missing, prompt"),
    ("describe 'D:/My Pictures' hi", "missing, prompt"),
    ("describe 'my pictures/' hi", "missing, prompt"),
    ("describe photo.jpg 1/2", "image, missing"),
    ("describe / hi", "folder"),
    # prompts that mention files
    ("describe photo.jpg 'what is foo.png?'", "image, prompt"),
    ("describe photo.jpg 'compare it with report2.pdf'", "image, prompt"),
    ("describe photo.jpg 'is this /etc/passwd'", "image, prompt"),
    ("describe photo.jpg 'what is in foo.png'", "image, prompt"),
    ("describe photo.jpg 'Describe photo2.jpg'", "image, prompt"),
    ("describe photo.jpg 'a short caption in French'", "image, prompt"),
    (f"describe photo.jpg '{'word ' * 60}a.jpg'", "image, prompt"),
    ("describe photo.jpg '…?'", "image, prompt"),
    ("describe photo.jpg ' '", "image, prompt"),
    ("describe photo.jpg and/or", "image, prompt"),
    ("describe photo.jpg yes/no", "image, prompt"),
    ("describe photo.jpg Qwen3.5", "image, prompt"),
    ("describe photo.jpg これは何ですか", "image, prompt"),
    ("describe photo.jpg ''", "image, prompt"),
    ("describe photo.jpg 'one line\nanother.jpg'", "image, prompt"),
    ("describe hi there", "two prompts"),
    ("describe photo.jpg one two", "two prompts"),
    ("describe hi", "no image"),
    ("describe -p hi photo.jpg", "image"),
    ("describe -p hi photo.jpg nope", "two prompts"),
    ("describe photos hi", "folder"),
    # globs: the shells of Windows leave them to the program
    ("describe '*.jpg' hi", "4 images, prompt"),
    ("describe 'photos/*.jpg' hi", "2 images, prompt"),
    ("describe '*.png' hi", "no match, prompt"),
    ("describe 'photos/*.webp' hi", "no match, prompt"),
    ("describe '*' hi", "two prompts", "5 images, prompt"),
    ("describe '*.*' hi", "two prompts", "5 images, prompt"),
    ("describe 'photos/*' hi", "missing, prompt", "2 images, prompt"),
    ("describe 'photos\\*' hi", "missing, prompt", "2 images, prompt"),
    ("describe 'photos\\?.jpg' hi", "no match, prompt", "2 images, prompt"),
    ("describe 'IMG*' hi", "two prompts", "1 images, prompt"),
    ("describe 'empty\\*' hi", "missing, prompt", "no match, prompt"),
    ("describe photo.jpg 'why?'", "image, prompt"),
    ("describe photo.jpg 'is it 2*3?'", "image, prompt"),
    ("describe photo.jpg 'rate it: ***'", "image, prompt"),
    ("describe photo.jpg '***'", "image, prompt", "image, 5 images"),
    # backslashes
    ("describe 'photos\\a.jpg' hi", "missing, prompt", "image, prompt"),
    ("describe '.\\photo.jpg' hi", "missing, prompt", "image, prompt"),
    ("describe 'photos\\phot' hi", "missing, prompt"),
    ("describe 'phots\\a' hi", "missing, prompt"),
    ("describe 'photos\\my scans' hi", "two prompts", "missing, prompt"),
    ("describe 'C:\\My Pictures\\a b' hi", "missing, prompt"),
    ("describe '\\\\server\\share\\a b' hi", "missing, prompt"),
    ("describe 'my pictures\\' hi", "missing, prompt"),
    ("describe photo.jpg 'list all files in C:\\temp\\'", "image, prompt"),
    # batch: folders are images too, and a single word beside one is a mistyped one
    ("batch photos", "image"),
    ("batch photos caption", "image, prompt"),
    ("batch photos/ 'a short caption'", "image, prompt"),
    ("batch photos phots", "image, image"),
    ("batch photos/ holidy/", "image, image"),
    ("batch photos Photos2024", "image, image"),
    ("batch photos mine", "image, prompt"),
    ("batch photos 描述", "image, prompt"),
    ("batch photos -p phots", "image"),
    ("batch photo.jpg caption", "image, prompt"),
    ("batch . caption", "image, prompt"),
    ("batch - caption", "image, prompt"),
    ("batch 'pho*/' caption", "image, prompt"),
    ("batch 'nope*/' caption", "image, prompt"),
    ("batch '*.jpg' caption", "image, prompt"),
    ("batch '*' caption", "two prompts", "image, prompt"),
    ("batch 'photos\\*' caption", "image, prompt"),
    ("batch 'photos\\a.jpg' caption", "image, prompt"),
    ("batch 'photos\\my scans' caption", "two prompts", "image, prompt"),
    ("batch photos 'is it blue? or red'", "image, prompt"),
    ("batch list.txt caption", "list"),
    ("batch hi there", "two prompts"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photos", "empty"):
        (tmp_path / name).mkdir()
    for name in ("photo.jpg", "my photo.jpg", "IMG_0012.jpg", "caf\u00e9.jpg", "photos/a.jpg", "photos/b.jpg"):
        (tmp_path / name).touch()
    for name in ("list.txt", "photos/notes.txt", "notes.md"):
        (tmp_path / name).write_text("photo.jpg\n")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7\n")
    monkeypatch.chdir(tmp_path)


def take(line: str, *, is_windows: bool) -> str:
    command, *words = shlex.split(line)
    has_prompt_option = words[:1] == ["-p"] or "-p" in words
    if has_prompt_option:
        position = words.index("-p")
        del words[position : position + 2]
    try:
        if command == "batch":
            paths, prompt = split_arguments(
                words, has_prompt_option=has_prompt_option, is_preset=lambda word: word == "mine", is_windows=is_windows
            )
            assert [*paths, *filter(None, [prompt])] == sorted(words, key=lambda word: word == prompt)
            return ", ".join("prompt" if word == prompt else "image" for word in words)
        return take_for_describe(words, has_prompt_option=has_prompt_option, is_windows=is_windows)
    except UsageError as error:
        short = {"two prompts": "two prompts", "no image was": "no image", "is a folder": "folder", "is a list": "list"}
        return next(kind for text, kind in short.items() if text in error.message)


def take_for_describe(words: list[str], *, has_prompt_option: bool, is_windows: bool) -> str:
    result = classify(words, has_prompt_option=has_prompt_option, stdin=BytesIO(), is_windows=is_windows)
    kinds = []
    for word in words:
        if word == result.prompt:
            kinds.append("prompt")
            continue
        alone = classify([word], has_prompt_option=True, stdin=BytesIO(), is_windows=is_windows)
        if alone.error is not None:
            kinds.append("no match" if alone.error.message == f"no image matches {word}" else "missing")
            assert word.partition("#")[0] in alone.error.message
        elif alone.names in {(word,), (word.partition("#")[0],)} or not any(c in word for c in "*?"):
            kinds.append("page" if isinstance(alone.images[0], DocumentPage) else "image")
        else:
            kinds.append(f"{len(alone.images)} images")
    return ", ".join(kinds)


@pytest.mark.parametrize("row", LINES, ids=[line[0] for line in LINES])
def test_what_the_words_of_a_command_line_are(row: tuple[str, ...]) -> None:
    line, posix, *windows = row
    assert [take(line, is_windows=False), take(line, is_windows=True)] == [posix, *(windows or [posix])]
