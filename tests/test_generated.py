"""The files that scripts make from the program are up to date: the picture of the README and the man pages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .conftest import environment
from .support import demo, man_pages, roff

#: The miniature is encoded slightly differently by other versions of Pillow.
MINIATURE = re.compile(r"data:image/jpeg;base64,[\w+/=]+")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_the_picture_of_the_readme_shows_what_the_program_prints() -> None:
    """If not, run ``python -m tests.support.demo``, and look at the picture."""
    drawn, stored = (MINIATURE.sub("", text) for text in (demo.draw_session(), demo.FILE.read_text("utf-8")))
    assert drawn == stored


def test_the_picture_of_the_readme_is_small_and_needs_no_other_file() -> None:
    picture = demo.FILE.read_text("utf-8")
    assert len(picture.encode()) <= 60_000
    elements = [element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()]
    assert set(elements) == {"svg", "title", "desc", "style", "rect", "circle", "path", "clipPath", "image", "text"}
    assert re.findall(r"https?:[^\"]*|@import|url\([^#]", picture) == ["http://www.w3.org/2000/svg"]
    assert len(MINIATURE.findall(picture)) == 1


def test_the_man_pages_say_what_the_program_and_its_manual_say() -> None:
    """If not, run ``python -m tests.support.man_pages``."""
    stored = {path.relative_to(man_pages.FOLDER).as_posix(): path for path in man_pages.FOLDER.rglob("*.?")}
    assert {name: path.read_text("ascii") for name, path in stored.items()} == man_pages.build_pages()


HOSTILE = """\
.SH is no macro, and neither is 'this: \\fBtext\\fR, \\n(.H; ~^`code`

- .one
- *two* `'three'` [four](https://example.com/a-b) [five](keys.md#six) <https://example.com>

  second paragraph
1. ä 灯台 🚢

### `.TH` "heading"

| a | b | c |
|---|---|---|
| `.x` |  | \\ |

```sh
.TH
'TH -a "$b" \\                                                          # a comment
```
"""


@pytest.mark.parametrize(
    "checker",
    [
        ["mandoc", "-T", "lint", "-W", "all"],
        ["groff", "-T", "utf8", "-man", "-ww", "-z"],
        ["man", "--warnings", "-E", "UTF-8", "-l"],
    ],
    ids=lambda checker: str(checker[0]),
)
def test_no_formatter_of_man_pages_finds_anything_to_warn_of(checker: list[str], tmp_path: Path) -> None:
    if shutil.which(checker[0]) is None:
        pytest.skip(f"{checker[0]} is not installed")
    hostile = tmp_path / "hostile.7"
    title = roff.macro("TH", "HOSTILE", "7", "2026-11-29")
    name = ".SH NAME", r"hostile \- text that looks like macros"
    hostile.write_text(roff.join([title, *name, ".SH TEXT", *roff.convert(HOSTILE, man_pages._name_page)]), "ascii")
    pages = [hostile, *man_pages.FOLDER.rglob("*.?")][: 1 if checker[0] == "man" else None]  # man starts groff for each
    done = subprocess.run([*checker, *pages], capture_output=True, env=environment(), check=False, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    if checker[0] == "man":
        words = ".SH is no macro, and neither is 'this: \\fBtext\\fR, \\n(.H; ~^code"
        assert words in " ".join(done.stdout.decode().split())
