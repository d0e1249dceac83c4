"""The shell of pages: what a policy permits, and texts that try to leave their place."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qubrid_cli.report.html_page import PageSetup, encode_data, render_page
from qubrid_cli.report.safe_html import extract_text, render_markdown

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "\u2028&lt;'\\",
    "\udc80",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_data_says_the_same_and_cannot_leave_its_element(text: str) -> None:
    encoded = encode_data({text: [text, float("inf")]})
    assert "<" not in encoded
    assert json.loads(encoded) == {text: [text, None]}


def test_data_that_is_nested_too_deeply_is_cut_off() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    encoded = encode_data({"a": 1, "b": nested})
    assert encoded == '{"a":1,"b":' + "[" * 99 + "null" + "]" * 99 + "}"


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_a_template_are_escaped(text: str) -> None:
    html = render_page("base.html", PageSetup(), title=text).decode()
    assert re.findall(r"<title>[^<>]*</title>", html)
    assert "<script" not in html


def test_a_page_permits_only_its_own_style_and_script(tmp_path: Path) -> None:
    (tmp_path / "own.css").write_text("p { margin: 0 }")
    (tmp_path / "own.js").write_text("let x = 1;")
    html = render_page("base.html", PageSetup(("own.css",), ("own.js",), (tmp_path,)), title="t", data={}).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert re.sub("sha256-[^&]*", "sha256-", policy[1]).replace("&#39;", "'") == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'sha256-'; "
        "script-src 'sha256-'; connect-src 'none'"
    )


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("A plain sentence.\n\nAnd another one, (really).", None),
        ("# Title\n\n**bold** `code`", "<h4>Title</h4>\n<p><strong>bold</strong> <code>code</code></p>"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("[x](JaVaScript&colon;alert(1))", "<p>[x](JaVaScript:alert(1))</p>"),
        ("[x](/etc/passwd) [y](file:///x)", '<p><a target="_blank" rel="noopener noreferrer">x</a> [y](file:///x)</p>'),
        ("![a *cat*](https://evil.example/t.png)", "<p>a cat</p>"),
        (
            '[x](https://a.example/?q="><script>)',
            '<p><a href="https://a.example/?q=%22%3E%3Cscript%3E" target="_blank" rel="noopener noreferrer">x</a></p>',
        ),
        (
            "<https://a.example/?a=1&b=2>",
            '<p><a href="https://a.example/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer">https://a.example/?a=1&amp;b=2</a></p>',
        ),
    ],
)
def test_markdown_of_a_model_becomes_html_without_dangers(text: str, html: str | None) -> None:
    assert render_markdown(text) == html


def test_the_text_of_markdown_has_no_markup() -> None:
    html = render_markdown("# A *title*\n\n- <b> &amp; [x](https://a.example)") or ""
    assert extract_text(html).split("\n") == ["A title", "", "<b> & x", ""]


def test_a_text_that_would_take_long_to_parse_is_left_as_it_is() -> None:
    assert render_markdown("*a " * 100_000) is None
