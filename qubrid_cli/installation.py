"""The command that adds a library to this installation of the program."""

import os
import re
import sys
from contextlib import suppress

from .text import quote_name


def format_install_command(library: str, *, prefix: str = sys.prefix, python: str = sys.executable) -> str:
    """The command that installs a library beside the program, with the tool that installed the program.

    Args:
        prefix: the folder of the environment.
        python: the interpreter in it.
    """
    if os.path.exists(os.path.join(prefix, "pipx_metadata.json")):
        return f"pipx inject {quote_name(os.path.basename(prefix))} {library}"
    if _is_made_by_uv(prefix):
        return f"uv pip install --python {quote_name(python)} {library}"
    return f"{quote_name(python)} -m pip install {library}"


def _is_made_by_uv(prefix: str) -> bool:
    """Whether uv made the environment, which then has no pip; uv records this in ``pyvenv.cfg``."""
    with suppress(OSError, UnicodeDecodeError), open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
        return re.search(r"^uv\s*=", file.read(), re.MULTILINE) is not None
    return False
