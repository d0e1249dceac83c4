"""The files that scripts make from the program are up to date: the picture of the README and the man pages."""

import re
import sys
from xml.etree import ElementTree as ET

import pytest

from .support import demo

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
