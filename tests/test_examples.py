"""Every code block of the README and the manual runs: in bash, fish, zsh and Python, against a server on loopback."""

import importlib.util
import json
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from qubrid_cli.schema.example import example_for
from qubrid_cli.settings.config_file import parse_config

from .conftest import KEY, at_home, environment
from .support import documents, draw
from .support.buckets import Bucket, make_bucket
from .support.preloaded import Preloaded
from .support.server import JSON, Asked, Reply, Server, document, stream
from .test_readme import MANUAL, README

#: The first lines of these blocks of the README are run by ``.ci/run``, in a fresh clone.
INSTALLING = "python3 -m venv "
#: The outputs that these commands show are compared by tests of their own.
SHOWN = {
    'qvision describe tests/images/lighthouse.jpg "what is this?" --offline',
    "QVISION_MODEL=Qwen/Qwen3-VL-Flash qvision config show | head -n 3",
    "qvision doctor --offline | grep -v versions",
}
#: The address of a Dask scheduler in the examples, and what takes its place.
CLUSTER = ("tcp://10.0.0.5:8786", "local:1")
SHELLS = {"sh": ["bash"], "fish": ["fish"], "zsh": ["zsh", "-f"], "powershell": ["pwsh", "-NoProfile"]}
IMAGES = {
    *(
        "photo.jpg",
        "before.jpg",
        "after.jpg",
        "receipt.jpg",
        "receipt.png",
        "scan.png",
        "form.png",
        "webpage.png",
        "plan.png",
        "page.png",
    ),
    *("shots/1.png", "shots/2.png", "talk/1.png", "2024-01/a.jpg", "2024-01/drafts/b.jpg"),
    *("photos/a.jpg", "photos/b.jpg", "dataset/1.jpg", "dataset/2.jpg", "receipts/1.jpg", "public/images/1.png"),
}
FILES = {
    "questions.txt": "What is this?",
    "list.txt": "photo.jpg\nbefore.jpg\n",
    "labels.csv": "image,expected\nphoto.jpg,no\nbefore.jpg,yes\n",
    "products.csv": "image,color,article\nphoto.jpg,red,shirt\nbefore.jpg,blue,hat\n",
    "key.txt": "qk-another-0123456789\n",
    "form.schema.json": '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}',
}


def find_blocks(source: str) -> list[tuple[str, str]]:
    """The language and the text of each code block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", source, flags=re.MULTILINE | re.DOTALL)


def find_program(language: str, text: str) -> list[str] | None:
    """The command that runs a block; ``None`` if this machine lacks the shell, or a library that the block imports."""
    if language == "python":
        imported = re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE)
        return [sys.executable] if all(map(importlib.util.find_spec, imported)) else None
    shell = SHELLS.get(language)
    return shell if shell and shutil.which(shell[0]) else None


def answer(asked: Asked) -> Reply:
    """Play an endpoint, and the host of an image behind a proxy."""
    if asked.method == "GET" and asked.path.endswith("/models"):
        return Reply([b'{"data": [{"id": "Qwen/Qwen3-VL-Plus"}]}'], headers=JSON)
    if asked.method == "GET":
        return Reply([(draw.IMAGES / "lighthouse.jpg").read_bytes()], headers={"Content-Type": "image/jpeg"})
    form = asked.json.get("response_format", {}).get("json_schema")
    if form is not None and form["schema"].get("title") == "boxes":
        text = '[{"bbox_2d": [100, 200, 400, 700], "label": "dog"}]'
        return stream(text) if asked.json.get("stream") else document(text)
    text = "a-white-lighthouse" if form is None else json.dumps(without_truths(example_for(form["schema"])))
    return stream(text) if asked.json.get("stream") else document(text)


def without_truths(value: Any) -> Any:
    match value:
        case dict():
            return {key: without_truths(inner) for key, inner in value.items()}
        case list():
            return [without_truths(inner) for inner in value]
    return False if value is True else value


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Server]:
    with Server() as server:
        server.answer = answer
        yield server


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("template")
    for number, name in enumerate(sorted(IMAGES)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (9 * number, 99, 200)).save(folder / name)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards/1.tar", "w") as tar:
        tar.add(folder / "photo.jpg", "1.jpg")
        tar.add(folder / "questions.txt", "1.txt")
    parquet.write_table(
        pa.table({"picture": [(folder / "photo.jpg").read_bytes()], "label": ["sky"]}), folder / "train.parquet"
    )
    for name, count in {"paper.pdf": 2, "book.pdf": 7, "scan.pdf": 2, "scans/1.pdf": 1}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(documents.pdf([documents.filled(0, 0, 1)] * count))
    return folder


@pytest.fixture(scope="module")
def filled_bucket(template: Path) -> Bucket:
    """The bucket that the examples name."""
    image, line = (template / "photo.jpg").read_bytes(), b'{"image": "s3://bucket/photos/a.jpg"}\n'
    return make_bucket("bucket", {"photos/a.jpg": image, "list.jsonl": line})


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, preloaded: Preloaded) -> Path:
    """A folder with ``qvision``, and with a program that takes a screenshot."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "qvision").symlink_to(preloaded.client)
    (folder / "grim").write_text("#!/bin/sh\nexec cat photo.jpg\n")
    (folder / "grim").chmod(0o755)
    return folder


@pytest.fixture
def env(tmp_path: Path, programs: Path, endpoint: Server) -> dict[str, str]:
    """An environment with ``qvision`` on the path, and with a key, in which everything goes to the endpoint."""
    variables = {
        **environment(at_home(tmp_path / "home")),
        "QUBRID_API_KEY": KEY,
        "QUBRID_BASE_URL": endpoint.url,
        "HTTP_PROXY": endpoint.url.removesuffix("/v1"),
        "EDITOR": "true",
        "SCRATCH": str(tmp_path),  # as on a cluster with Slurm
        "SLURM_ARRAY_TASK_ID": "1",
    }
    return {**variables, "PATH": f"{programs}:{Path(sys.executable).parent}:{variables['PATH']}"}


def test_the_other_blocks_are_configurations_that_are_valid_and_outputs_that_are_compared() -> None:
    blocks = [block for page in (README, *MANUAL.values()) for block in find_blocks(page)]
    assert {language for language, _ in blocks} <= {*SHELLS, "python", "toml", "console"}
    for language, text in blocks:
        if language == "toml":
            parse_config(text, Path("config.toml"))
    assert {text.splitlines()[0].removeprefix("$ ") for language, text in blocks if language == "console"} == SHOWN


@pytest.mark.parametrize("page", ["README", *MANUAL])
def test_the_code_blocks_of_a_page_run(
    page: str, template: Path, env: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    (tmp_path / "home").mkdir()
    if "s3://" in (README if page == "README" else MANUAL[page]):
        env |= request.getfixturevalue("filled_bucket").env
    lines, count = ["exec >stdout 2>stderr"], 0
    for count, (language, text) in enumerate(find_blocks(README if page == "README" else MANUAL[page])):
        program = find_program(language, text)
        if program is None or text.startswith(INSTALLING):
            continue
        text = text.replace(*CLUSTER)  # noqa: PLW2901
        script = tmp_path / f"{count}.{language}"
        script.write_text(f"set -eo pipefail\n{text}" if language in {"sh", "zsh"} else text)
        redirection = "</dev/null" if "qvision chat" in text else ""  # a person would type
        lines.append(
            f"{shlex.join([*program, str(script)])} {redirection}; echo {count}:$? >>codes; echo '-- end of block {count}' >&2"
        )
    (tmp_path / "all.sh").write_text("\n".join(lines))
    (folder / "codes").touch()
    child = pexpect.spawn("bash", [str(tmp_path / "all.sh")], env=env, cwd=str(folder), timeout=100)
    while child.expect_exact(["(hidden): ", pexpect.EOF]) == 0:
        child.sendline(KEY)
    errors = (folder / "stderr").read_text()
    codes = dict(line.split(":") for line in (folder / "codes").read_text().split())
    assert {block: code for block, code in codes.items() if code != "0"} == {}, errors
    assert not re.search("^(error|hint|Traceback)", errors, re.MULTILINE), errors
    assert len(codes) == len(lines) - 1
