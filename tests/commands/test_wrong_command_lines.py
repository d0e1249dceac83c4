"""Wrong command lines: one sentence, a hint that works when it is followed, the right exit code, and no request."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli import cli

from ..conftest import at_home
from ..support.server import Server, stream

#: The line, its exit code, the error, and the line that follows the hint; without one, the hint itself has a command. What
#: the corrected line has in addition is named by the error or the hint, or is a file that exists.
LINES: list[tuple[Any, ...]] = [
    # the command
    ("nonsense", 2, "no such command 'nonsense'"),
    ("describ photo.jpg", 2, "no such command 'describ'; did you mean describe?", "describe photo.jpg"),
    ("photo.jpg", 2, "photo.jpg is not a command"),
    ("'my photo.jpg' hi", 2, '"my photo.jpg" is not a command'),
    ("photos", 2, "photos is not a command"),
    (".", 2, ". is not a command"),
    ("https://127.0.0.1:9/a.jpg", 2, "https://127.0.0.1:9/a.jpg is not a command"),
    ("--nonsense", 2, "no such option: --nonsense"),
    ("--profile", 2, "option --profile requires an argument"),
    ("--profile ollma auth status", 3, "there is no profile ollma, named by --profile; did you mean ollama?", "--profile ollama auth status"),
    ("--colour never config path", 2, "no such option: --colour; did you mean --color?", "--color never config path"),
    ("locat photo.jpg dogs --dry-run", 2, "no such command 'locat'; did you mean locate or chat?", "locate photo.jpg dogs --dry-run"),
    ("help nonsense", 2, "no such command or topic: nonsense"),
    ("help describe nonsense", 2, "unexpected argument: nonsense"),
    ("help images nonsense", 2, "unexpected argument: nonsense"),
    ("help config nonsense", 2, "no such command 'nonsense'"),
    ("help imags", 2, "no such command or topic: imags; did you mean images?", "help images"),
    ("help lightroom", 2, "no such command or topic: lightroom"),
    ("help config se", 2, "no such command 'se'; did you mean set?", "help config set"),
    ("help descibe", 2, "no such command or topic: descibe; did you mean describe?", "help describe"),
    ("version extra", 2, "unexpected argument: extra"),
    # the question and the images of grep
    ("grep", 2, "there is no question"),
    ("grep ''", 2, "the question is empty"),
    ("grep cat", 2, "no image was named"),
    ("grep cat ''", 2, "the name of an image is empty"),
    ("grep photos 'is it red?'", 2, "the question comes first, and photos is a path"),
    ("grep cat foto.jpg", 4, 'no such image: foto.jpg; did you mean photo.jpg or "my photo.jpg"?', "grep cat photo.jpg"),
    ("grep cat '*.webp'", 4, "no image matches *.webp", "grep cat photo.jpg"),
    ("grep cat list.txt", 2, "list.txt is a list, not an image", "grep cat --from list.txt"),
    ("grep cat photos -c --why", 2, "-c and --why exclude each other", "grep cat photos -c"),
    ("grep cat photos -q --json", 2, "-q and --json exclude each other", "grep cat photos -q"),
    ("grep cat photos -c -0", 2, "-c and -0 exclude each other", "grep cat photos -c"),
    ("grep '-v is it?' photos", 2, '"-v is it?" would be read as an option', "grep -e '-v is it?' photos"),
    ("grep -e cat nope.webp", 4, "no such image: nope.webp", "grep -e cat photos"),
    ("grep cat photos -l -L", 2, "-l and -L exclude each other", "grep cat photos -l"),
    ("grep cat photos -m 2 --sort probability", 2, "-m and --sort exclude each other", "grep cat photos --sort probability"),
    ("grep cat photos --sort name", 2, "invalid value for --sort: 'name' is not probability", "grep cat photos --sort probability"),
    ("grep cat photos -m 0", 2, "invalid value for --max-count / -m: 0 is out of range (at least 1)", "grep cat photos -m 1"),
    ("grep cat photos -o -", 2, "-o - is not a file on this machine", "grep cat photos --json"),
    ("grep cat photos -o s3://bucket/r.jsonl", 2, None, "grep cat photos -o r.jsonl"),
    ("grep cat photos --votes 2", 2, "invalid value for --votes: 2", "grep cat photos --votes 3"),
    ("grep cat photos --by schema --threshold 0.9", 2, "--threshold and --by schema exclude each other", "grep cat photos --threshold 0.9"),
    # images and prompt
    ("describe", 2, "no image was named"),
    ("describe hi", 2, "no image was named"),
    ("describe photo.jpg hi there", 2, "two prompts: 'hi' and 'there'", "describe photo.jpg 'hi there'"),
    ("describe photo.jpg -p hi there", 2, "two prompts: -p and 'there'", "describe photo.jpg -p hi"),
    ("describe foto.jpg hi", 4, 'no such image: foto.jpg; did you mean photo.jpg or "my photo.jpg"?', "describe photo.jpg hi"),
    ("describe photo.jpg 'my photo (3).jpg'", 4, None, "describe photo.jpg 'my photo.jpg'"),
    ("describe photo.jpg './my photos.jpg'", 4, None, "describe photo.jpg './my photo.jpg'"),
    ("describe photo.jpg zz1.webp zz2.webp zz3.webp zz4.webp", 4, "no such image: zz1.webp; no such image: zz2.webp; no such image: zz3.webp; and 1 more", "describe photo.jpg"),
    ("describe www.example.org/a.jpg", 4, "no such image: www.example.org/a.jpg", "describe https://www.example.org/a.jpg"),
    ("describe photo.jpg nope/x", 4, "no such image: nope/x", "describe photo.jpg -p nope/x"),
    ("describe '*.webp' hi", 4, "no image matches *.webp", "describe photo.jpg -p '*.webp'"),
    ("describe photos hi", 2, "photos is a folder"),
    ("describe 'my photo.jpg' .", 2, ". is a folder"),
    ("describe list.txt hi", 4, "list.txt is not an image that can be read", "describe photo.jpg -p @list.txt"),
    ("describe 2.jpg hi", 4, "no such image: 2.jpg; did you mean ./-1.jpg?", "describe ./-1.jpg hi"),
    ("describe -1.jpg hi", 2, "-1.jpg would be read as an option", "describe ./-1.jpg hi"),
    ("describe photo.jpg ''", 2, "the prompt is empty", "describe photo.jpg"),
    ("describe photo.jpg -p ''", 2, "-p is empty", "describe photo.jpg"),
    ("describe photo.jpg -p", 2, "option -p requires an argument"),
    ("describe photo.jpg -p @you", 2, "cannot read you, named by -p: No such file or directory", "describe photo.jpg -p @@you"),
    ("describe photo.jpg -p @photo.jpg", 2, "photo.jpg is not UTF-8 text", "describe photo.jpg"),
    ("describe photo.jpg -P altt", 2, "there is no preset altt; did you mean alt?", "describe photo.jpg -P alt"),
    ("describe - -p -", 2, "two arguments read standard input: - is there twice", "describe photo.jpg -p @list.txt"),
    ("describe https:///a.jpg", 2, "https:///a.jpg has no host", "describe https://example.com/photo.jpg"),
    (f"describe {'photo.jpg ' * 9}hi", 2, "9 images for one request", f"describe {'photo.jpg ' * 9}hi --each"),
    ("describe photo.jpg --each --together", 2, "--each and --together exclude each other", "describe photo.jpg --each"),
    # a yes-or-no question
    ("test hi --dry-run", 2, "no image was named", "test photo.jpg 'is it a cat?' --dry-run"),
    ("test photo.jpg --dry-run", 2, "there is no question", "test photo.jpg 'is there an error dialog?' --dry-run"),
    ("test photo.jpg ' ' --dry-run", 2, "there is no question", "test photo.jpg 'is there an error dialog?' --dry-run"),
    ("test photo.jpg hi --votes 2 --dry-run", 2, "invalid value for --votes: 2", "test photo.jpg hi --votes 3 --dry-run"),
    ("test photo.jpg hi --votes 3 --by logprobs --dry-run", 2, "--votes and --by logprobs exclude each other", "test photo.jpg hi --by logprobs --dry-run"),
    ("test photo.jpg hi --votes 3 --threshold 0.7 --dry-run", 2, "--threshold and --votes exclude each other", "test photo.jpg hi --votes 3 --dry-run"),
    ("test photo.jpg hi --by logprobs --think on --dry-run", 2, "--by logprobs and --think on exclude each other", "test photo.jpg hi --think on --dry-run"),
    ("test photo.jpg '- is it red?'", 2, '"- is it red?" would be read as an option', "test photo.jpg -p '- is it red?'"),
    ("test photos 'is it red?'", 2, "photos is a folder"),
    # boxes, chats and benchmarks
    ("locate photos cat --dry-run", 2, "photos is a folder", "batch photos -P boxes --dry-run"),
    ("chat photos hi", 2, "photos is a folder", "chat 'photos/*.jpg' hi"),
    ("batch photos -p cat -P boxes --tiles 4 --dry-run", 2, "boxes cannot be placed in an image that is sent in parts", "batch photos -p cat -P boxes --dry-run"),
    ("describe photo.jpg cat -P boxes --tiles auto --dry-run", 2, "boxes cannot be placed in an image that is sent in parts", "describe photo.jpg cat -P boxes --dry-run"),
    ("bench photo.jpg hi --threshold 0.8 --dry-run", 2, "--threshold applies to yes-or-no questions", "bench photo.jpg hi --dry-run"),
    ("bench hi --labels photo.jpg --dry-run", 2, "photo.jpg is not a list of lines: it contains NUL bytes", "bench photo.jpg hi --dry-run"),
    ("join list.txt -o all.jsonl", 2, "list.txt is a file, not the folder of a run in parts", "report empty.txt -o all.jsonl"),
    # options of a request
    ("describe photo.jpg -max-tokens 5", 2, "unknown option -max-tokens", "describe photo.jpg --max-tokens 5"),
    ("describe photo.jpg --max-token 5", 2, "no such option: --max-token; did you mean --max-tokens?", "describe photo.jpg --max-tokens 5"),
    ("describe photo.jpg --nonsense", 2, "no such option: --nonsense"),
    ("describe photo.jpg --presett alt", 2, "no such option: --presett; did you mean --preset?", "describe photo.jpg --preset alt"),
    ("describe photo.jpg --top-p 2", 2, "invalid value for --top-p: 2.0 is out of range (0 to 1)", "describe photo.jpg --top-p 1"),
    ("describe photo.jpg --top-p x", 2, "invalid value for --top-p: 'x' is not a number"),
    ("describe photo.jpg --timeout 0", 2, "invalid value for --timeout: 0.0 is out of range (more than 0)"),
    ("describe photo.jpg --color=blue", 2, "invalid value for --color: 'blue' is not one of auto, always, never"),
    ("describe photo.jpg --max-tokens many", 2, "invalid value for --max-tokens: 'many' is not a whole number"),
    ("describe photo.jpg --max-tokens 0", 2, "invalid value for --max-tokens: 0 is out of range (at least 1)", "describe photo.jpg --max-tokens 1"),
    ("describe photo.jpg --model", 2, "option --model requires an argument"),
    ("describe photo.jpg -m ''", 3, "--model is empty", "describe photo.jpg -m Qwen/Qwen3-VL-Plus"),
    ("describe photo.jpg --dry-run --base-url nonsense", 3, "--base-url is not an http or https URL: nonsense", "describe photo.jpg --dry-run --base-url http://localhost:11434/v1"),
    ("describe photo.jpg --think hard", 2, "invalid value for --think: 'hard' is not one of on, off, low, medium, high", "describe photo.jpg --think high"),
    ("describe photo.jpg -O seed", 2, "-O seed is not KEY=JSON", "describe photo.jpg -O seed=42"),
    ("describe photo.jpg -O 'stop=[1'", 2, "-O stop=[1: '[1' is not JSON", "describe photo.jpg -O 'stop=\"text\"'"),
    ("describe photo.jpg -O max_tokens=5", 2, "-O cannot set max_tokens", "describe photo.jpg --max-tokens 5"),
    ("describe photo.jpg -O stream=false", 2, "-O cannot set stream", "describe photo.jpg --no-stream"),
    ("describe photo.jpg --dry-run --schema 'a strng'", 2, None, "describe photo.jpg --dry-run --schema 'a string'"),
    ("describe photo.jpg --tiles 99", 2, "invalid value for --tiles: 99", "describe photo.jpg --tiles auto"),
    ("describe photo.jpg --crop 1,2", 2, "invalid value for --crop: 1,2", "describe photo.jpg --crop 0,50%,100%,50%"),
    ("describe photo.jpg --crop 9000,0,9,9", 4, "--crop 9000,0,9,9 reaches beyond photo.jpg, which has 160 × 120 pixels", "describe photo.jpg --crop 0,50%,100%,50%"),
    ("describe photo.jpg --pages 3-1", 2, "invalid value for --pages: 3-1", "describe photo.jpg --pages 1"),
    ("describe photo.jpg --pages 5", 4, "photo.jpg has only one frame, so there is no frame 5", "describe photo.jpg"),
    ("describe photo.jpg --background purpleish", 2, None, "describe photo.jpg --background white"),
    # output
    ("describe photo.jpg --field txt", 2, "no field 'txt' in --field txt", "describe photo.jpg --field text"),
    ("describe photo.jpg --json --field text", 2, "--json and --field exclude each other", "describe photo.jpg --field text"),
    ("describe photo.jpg -o photos", 2, "-o photos is a folder", "describe photo.jpg -o photos/notes.txt"),
    ("describe photo.jpg -o photo.jpg", 2, None, "describe photo.jpg -o list.txt"),
    ("describe photo.jpg -o ''", 2, "-o is empty", "describe photo.jpg"),
    ("batch photos caption --failures=", 2, "--failures is empty", "batch photos caption"),
    ("locate photo.jpg cat --crop-to '' --dry-run", 2, "--crop-to is empty", "locate photo.jpg cat --dry-run"),
    ("join photos -o all.html", 2, "join does not write -o all.html", "report empty.txt -o all.html"),
    ("locate photo.jpg cat --tiles 4", 2, "no such option: --tiles"),
    ("report '' -o all.jsonl", 2, "the name of a file or a folder is empty", "report empty.txt -o all.jsonl"),
    # the key and the settings
    ("QUBRID_API_KEY= QUBRID_BASE_URL= describe photo.jpg", 3, "no API key: QUBRID_API_KEY is not set, and none is stored for profile qubrid", "QUBRID_API_KEY= QUBRID_BASE_URL= describe photo.jpg --offline"),
    ("describe photo.jpg --base-url http://example.org/v1", 3, "the key is not sent to example.org over plain http"),
    ("QVISION_CONFIG=no.toml describe photo.jpg", 3, None, "QVISION_CONFIG=no.toml config set model Qwen/Qwen3-VL-Plus"),
    ("auth login", 2, "cannot prompt: standard input is not a terminal", "auth login --stdin < key.txt"),
    ("auth login --stdin < empty.txt", 2, "the key is empty; nothing was stored"),
    ("auth nonsense", 2, "no such command 'nonsense'"),
    ("config se", 2, "no such command 'se'; did you mean set?"),
    ("config get", 2, "missing argument 'KEY'"),
    ("config get model", 3, None),
    ("config set modle x", 3, None, "config set model x"),
    ("config set max_tokens many", 3, None, "config set max_tokens 2048"),
    ("config set a/b 1", 2, "a/b is not a key of a TOML file", "config set 'prices.\"Qwen/Qwen3-VL-8B-Instruct\".input' 1"),
    ("models extra", 2, "unexpected argument: extra"),
    ("presets show nope", 2, "there is no preset nope", "presets show ocr"),
    ("doctor --timeout 0", 2, "invalid value for --timeout: 0 is out of range (1 to 3600)"),
    ("completion basch", 2, "invalid value for 'SHELL': 'basch' is not one of bash, zsh, fish, powershell; did you mean bash?", "completion bash"),
    ("completion", 2, "missing argument 'SHELL': bash, zsh, fish, powershell", "completion fish"),
    # batch
    ("batch hi", 2, "no image was named"),
    ("batch photos phots", 4, "no such image: phots; did you mean photos?", "batch photos"),
    ("batch photos zusammenfassen", 4, "no such image: zusammenfassen", "batch photos -p zusammenfassen"),
    ("batch photos/ holidy/", 4, "no such image: holidy/", "batch photos/"),
    ("batch photo.jpg phots/a", 4, "no such image: phots/a; did you mean photos/?", "batch photo.jpg photos/"),
    ("batch nope caption", 2, "two prompts: 'nope' and 'caption'", "batch photos caption"),
    ("batch list.txt", 2, "list.txt is a list, not an image"),
    ("batch list.txt caption", 2, "list.txt is a list, not an image"),
    ("batch --from nope.txt caption", 2, "cannot read the list nope.txt: No such file or directory", "batch --from list.txt caption"),
    ("batch --from photo.jpg caption", 2, "photo.jpg is not a list of lines: it contains NUL bytes", "batch photo.jpg caption"),
    ("batch photos caption -0", 2, "-0 applies to a list, and there is no --from", "batch --from names.bin -0 caption"),
    ("batch photos caption -j 0", 2, "invalid value for -j: 0", "batch photos caption -j auto"),
    ("batch photos caption --shard 3/2", 2, "invalid value for --shard: 3/2", "batch photos caption --shard 2/4"),
    ("batch photos caption --existing skip", 2, "--existing has no effect without --sidecar txt or --sidecar json or --sidecar xmp", "batch photos caption --existing skip --sidecar json"),
    ("batch photos caption --sidecar doc", 2, "invalid value for --sidecar: 'doc' is not one of txt, json, xmp", "batch photos caption --sidecar txt"),
    ("batch photos caption --max-failures x", 2, "invalid value for --max-failures: x", "batch photos caption --max-failures 5%"),
    ("batch photos caption -o list.txt", 2, "-o list.txt is not a results file, and was not changed", "batch photos caption -o empty.txt"),
    ("batch photos caption -o r.parquet", 2, "-o r.parquet is not named like the lines of JSON that it will hold", "batch photos caption -o r.jsonl"),
    ("batch photos caption -o empty.txt --failures empty.txt", 2, "-o and --failures name the same file, empty.txt", "batch photos caption -o empty.txt"),
]  # fmt: skip


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Server]:
    with Server() as server:
        server.answer = lambda asked: stream("Yes." if b"yes" in asked.body else "A lighthouse.")
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: Server, lighthouse: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "my photo.jpg", "-1.jpg", "photos/a.jpg"):
        shutil.copy(lighthouse, tmp_path / name)
    files = {
        "list.txt": "photo.jpg\n",
        "key.txt": "qk-0123456789\n",
        "empty.txt": "",
        "names.bin": "photo.jpg\0",
        "photos/notes.txt": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    settings = {**at_home(tmp_path / "home"), "QUBRID_API_KEY": "qk-0123456789", "QUBRID_BASE_URL": endpoint.url}
    others = dict.fromkeys(("NO_COLOR", "FORCE_COLOR", "QVISION_CONFIG", "QVISION_PROFILE", "EDITOR", "VISUAL"), "")
    for name, value in {**settings, **others, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}.items():
        monkeypatch.setenv(name, value)
    endpoint.asked.clear()


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command line, with variables before it and a file for standard input behind it."""
    words, source = shlex.split(line), "/dev/null"
    while re.match("[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    if "<" in words:
        *words, _, source = words
    with open(source) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        return cli.main(words)


@pytest.mark.parametrize("row", LINES, ids=[line[0] for line in LINES])
def test_a_wrong_command_line_costs_nothing_and_its_hint_works(
    row: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], endpoint: Server
) -> None:
    line, exit_code, error, *corrected = row
    assert run(line, monkeypatch) == exit_code
    out, err = capfd.readouterr()
    assert (out, endpoint.asked) == ("", [])
    report = re.fullmatch(r"error: (.*[^.])\nhint: (.*)\n", err)
    assert report is not None, err
    shown, hint = report.groups()
    assert shown == error or error is None
    if corrected:
        old, new = (set(" ".join(shlex.split(text)).split()) for text in (line, corrected[0]))
        unnamed = [word for word in new - old - {"<"} if word not in f"{shown} {hint}"]
        assert [word for word in unnamed if not Path(word.removeprefix("@")).exists()] == []
        following = corrected[0]
    else:
        command = re.search(r"(?:^|: |See )qvision (.*?)(?:, which mentions it)?$", hint)
        assert command is not None, hint
        following = command[1]
    assert run(following, monkeypatch) == 0, capfd.readouterr().err
