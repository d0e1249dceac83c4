"""Where the programs that are compared come from: fresh environments that are thrown away, and what they hold."""

import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import qubrid_cli

from ..conftest import at_home

_SOURCE = Path(qubrid_cli.__file__).parent.parent
#: What is told of an environment: its libraries that take part.
_TOLD = ("pip", "typer", "httpx", "pillow", "rich", "openai", "llm", "pyvips")
_MODULES = {"pillow": "PIL"}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def environment_of(*packages: str) -> Path:
    """The folder of the programs of a new environment with these packages, made once in a run.

    pip is brought up to date first, for the script that starts a program is pip's, and older ones make it slower.
    """
    home = Path(_folder().name) / str(len(list(Path(_folder().name).iterdir())))
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    found = home / ("Scripts" if sys.platform == "win32" else "bin")
    for wanted in (("--upgrade", "pip"), packages):
        install = [str(found / "python"), "-m", "pip", "install", "--quiet", *wanted]
        subprocess.run(install, check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    return found


def qvision() -> Path:
    """The programs of an environment with qvision, installed as users have it: compiled, and with no extras."""
    return environment_of(str(_SOURCE))


def naive() -> Path:
    """The programs of an environment with the ``openai`` SDK and Pillow."""
    return environment_of("openai", "pillow")


def llm() -> Path:
    """The programs of an environment with the ``llm`` command."""
    return environment_of("llm")


def llm_settings(folder: Path, url: str) -> dict[str, str]:
    """The variables that give ``llm`` a model called ``stub`` at a server."""
    (folder / "extra-openai-models.yaml").write_text(
        f'- model_id: stub\n  model_name: m\n  api_base: "{url}"\n  vision: true\n  api_key_name: stub\n'
    )
    (folder / "keys.json").write_text('{"stub": "k"}')
    return {"LLM_USER_PATH": str(folder)}


def clean() -> dict[str, str]:
    """The environment variables of every run: none of the developer's, and no Python path."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **at_home(Path(_folder().name) / "home")}


def missing(*programs: str) -> list[str]:
    """Those that this machine does not have, which is told."""
    found = [program for program in programs if shutil.which(program) is None]
    if found:
        print(f"left out, for it is not installed: {', '.join(found)}")
    return found


def told() -> str:
    """The machine and the versions of all that took part."""
    lines = [f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"]
    here = {name: version(name) for name in _TOLD if find_spec(_MODULES.get(name, name))}
    lines.append(_line(f"qvision {qubrid_cli.__version__}, run from its source", here))
    for home in sorted(Path(_folder().name).glob("*/bin")):
        listed = [str(home / "python"), "-m", "pip", "list", "--format", "json"]
        found = json.loads(subprocess.run(listed, check=True, capture_output=True).stdout)
        versions = {one["name"].lower(): one["version"] for one in found}
        kind = next(name for name in ("qubrid-cli", "llm", "openai") if name in versions)
        lines.append(_line(f"environment for {kind}", versions))
    lines.append(", ".join(filter(None, (_version("vipsthumbnail", "--vips-version"), _version("curl", "--version")))))
    return "\n".join(lines)


def _line(what: str, versions: Mapping[str, str]) -> str:
    return f"{what}: " + ", ".join(f"{name} {versions[name]}" for name in _TOLD if name in versions)


def _processor() -> str:
    with suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _version(program: str, option: str) -> str:
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return f"{program} {found[0] if found else '?'}"
