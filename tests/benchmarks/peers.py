"""The programs that are compared: each in a fresh, temporary environment, and their versions."""

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
#: The libraries whose versions are printed.
_LIBRARIES = ("pip", "typer", "httpx", "pillow", "rich", "openai", "llm", "pyvips")
_MODULES = {"pillow": "PIL"}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def environment_of(*packages: str) -> Path:
    """Create an environment with these packages, once per run, and return the folder of its programs.

    pip is upgraded first, because the start script of a program is pip's, and those of older versions are slower.
    """
    home = Path(_folder().name) / str(len(list(Path(_folder().name).iterdir())))
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    programs = home / ("Scripts" if sys.platform == "win32" else "bin")
    for requirements in (("--upgrade", "pip"), packages):
        install = [str(programs / "python"), "-m", "pip", "install", "--quiet", *requirements]
        subprocess.run(install, check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    return programs


def qvision() -> Path:
    """The programs of an environment with qvision as users install it: compiled, without extras."""
    return environment_of(str(_SOURCE))


def naive() -> Path:
    """The programs of an environment with the ``openai`` SDK and Pillow."""
    return environment_of("openai", "pillow")


def llm() -> Path:
    """The programs of an environment with the ``llm`` command."""
    return environment_of("llm")


def llm_settings(folder: Path, url: str) -> dict[str, str]:
    """Configure a model called ``stub`` for ``llm``, and return the environment variables for it."""
    (folder / "extra-openai-models.yaml").write_text(
        f'- model_id: stub\n  model_name: m\n  api_base: "{url}"\n  vision: true\n  api_key_name: stub\n'
    )
    (folder / "keys.json").write_text('{"stub": "k"}')
    return {"LLM_USER_PATH": str(folder)}


def clean() -> dict[str, str]:
    """The environment variables of every run: none of the developer's, no Python path."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **at_home(Path(_folder().name) / "home")}


def missing(*programs: str) -> list[str]:
    """The programs that this machine lacks; their names are printed."""
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        print(f"skipped, not installed: {', '.join(absent)}")
    return absent


def describe_machine() -> str:
    """The machine, and the versions of everything that took part."""
    lines = [f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"]
    here = {name: version(name) for name in _LIBRARIES if find_spec(_MODULES.get(name, name))}
    lines.append(_line(f"qvision {qubrid_cli.__version__}, from source", here))
    for home in sorted(Path(_folder().name).glob("*/bin")):
        list_packages = [str(home / "python"), "-m", "pip", "list", "--format", "json"]
        packages = json.loads(subprocess.run(list_packages, check=True, capture_output=True).stdout)
        versions = {package["name"].lower(): package["version"] for package in packages}
        kind = next(name for name in ("qubrid-cli", "llm", "openai") if name in versions)
        lines.append(_line(f"environment for {kind}", versions))
    lines.append(", ".join(filter(None, (_version("vipsthumbnail", "--vips-version"), _version("curl", "--version")))))
    return "\n".join(lines)


def _line(what: str, versions: Mapping[str, str]) -> str:
    return f"{what}: " + ", ".join(f"{name} {versions[name]}" for name in _LIBRARIES if name in versions)


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
