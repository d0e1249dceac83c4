"""Reports for other programs: nothing in a name or an answer is a formula, a link or HTML, and nothing is lost."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from qubrid_cli.report.document import iterate_markdown
from qubrid_cli.report.export import ReportFormat, write_report
from qubrid_cli.report.results import Results
from qubrid_cli.report.table import iterate_csv

from ..conftest import Qvision
from ..support.gallery import REFUSED, Batch, Draw, Gallery, answered, numbered
from ..support.results import line, write

HOSTILE = {
    "html": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)</script>",
    "link": "[x](javascript:alert(1)) ![](https://evil.example/x.png) <https://evil.example>",
    "definition": "[x]\n\n[x]: javascript:alert(1)",
    "bare": "http://evil.example and www.evil.example",
    "escaped": "\\<b>\\\\<b>\\[x](https://evil.example)",
    "fence": "```\n<b>\n````\n<b>\n~~~\n<b>",
    "heading": "# Title\n\nTitle\n=====\n\nTitle\n---\n- - -\n#",
    "entity": "&lt;b&gt; &#60;b&#62;",
    "comment": "<!-- \n\n -->",
    "quote": "a\n\n> b\n\n    c\n\n1. d\n\n<b>",
    "terminal": "\x1b]0;x\x07 \x9b31m \u202e",
    "line": "a\r\nb\u2028<b>\x00\rc",
}


def read_csv(path: Path) -> list[dict[str, str]]:
    with Results([str(path)]) as results:
        return list(csv.DictReader(io.StringIO("".join(iterate_csv(results)), newline=""), strict=True))


def export(name: str, value: Any, tmp_path: Path) -> str:
    """The cell of a value in a table."""
    (row,) = read_csv(write(tmp_path / "r.jsonl", line(**{"data" if name.startswith("data") else name: value})))
    return row[name]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "＝1", "－x", "- item")),
        ("\r=1", "'=1"),
        ("\n=1", "'\n'=1"),
        *(
            (text, text)
            for text in ("a=1", "'=1", "-12.5", "+3", "-1,5", "1e-5", 'say "a, b"\nc;d', "ä🙂", "x" * 40_000)
        ),
        ("\x1b[31mred\x00\x9b", "[31mred"),
        ("\udc80", "\udc80"),
        ("a;=1+1\n@b; -c|d!e\n- item (x)\n-5", "a;'=1+1\n'@b;' -c|d!e\n- item (x)\n-5"),
    ],
)
def test_no_text_is_a_formula(tmp_path: Path, value: str, cell: str) -> None:
    assert export("text", value, tmp_path) == cell
    assert export("source_id", value, tmp_path) == cell


def test_no_cell_is_a_formula_where_semicolons_divide_cells(tmp_path: Path) -> None:
    """As Excel reads a table in Germany: quotes inside of a cell mean nothing, and each line break begins a row."""
    texts = ["a;=1", "a\n=1", 'a"\n"=1', 'a;"@b', "a\n -c|d", "a; +x(1)", "=1;=1", "a,\r\n\t=1", '";=1', "a;;=1;\n;=1"]
    lines = [line(f"{number};=1.jpg", key=str(number), text=text, data=[text]) for number, text in enumerate(texts)]
    with Results([str(write(tmp_path / "r.jsonl", *lines))]) as results:
        rows = list(csv.reader("".join(iterate_csv(results)).split("\n"), delimiter=";"))
    cells = [cell.strip() for row in rows for cell in row]
    assert len(cells) > len(texts)
    assert [cell for cell in cells if re.match(r"[=@]|[+-].*[|!(]", cell)] == []


@pytest.mark.parametrize(
    ("data", "cells"),
    [
        ({"total": -1.5, "paid": True, "by": None}, {"data.total": "-1.5", "data.paid": "true", "data.by": ""}),
        ({"a": {"b": 1, "c": {}}}, {"data.a.b": "1", "data.a.c": "{}"}),
        ({"tags": ["a", "b"], "": "=1"}, {"data.tags": '["a","b"]', "data.": "'=1"}),
        ([1, 2], {"data": "[1,2]"}),
        ("=x", {"data": "'=x"}),
        ({"a.b": 1, "a": {"b": 2}}, {"data.a.b": "1", "data.a.b_": "2"}),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, {"data.a.b.c.d": '{"e":1}'}),
    ],
)
def test_data_has_columns_of_its_own(tmp_path: Path, data: Any, cells: dict[str, str]) -> None:
    (row,) = read_csv(write(tmp_path / "r.jsonl", line(data=data)))
    assert {name: cell for name, cell in row.items() if name.startswith("data")} == cells


def test_every_table_has_the_same_first_columns_and_a_cell_for_each_value_of_the_list(tmp_path: Path) -> None:
    plain = read_csv(write(tmp_path / "plain.jsonl", line()))[0]
    lines = [line(data={"x": 1}, row={"sku": "7"}), line("b.jpg", data={"y": 2}, row={"sku": "8", "=b": "9"})]
    rows = read_csv(write(tmp_path / "r.jsonl", *lines))
    assert list(rows[0]) == [*plain, "data.x", "data.y", "row.sku", "row.=b"]
    assert [list(row.values())[-4:] for row in rows] == [["1", "", "7", ""], ["", "2", "8", "9"]]
    cells = ["a.jpg", "ok", "text of a.jpg", "m", "caption", "2026-11-01T10:00:00Z", "a.jpg", "1", "false", "false"]
    assert list(filter(None, plain.values())) == cells


def test_a_table_does_not_get_a_column_for_each_image(tmp_path: Path) -> None:
    lines = [line(f"{number}.jpg", data={str(number): number}) for number in range(201)]
    rows = read_csv(write(tmp_path / "r.jsonl", *lines))
    assert [name for name in rows[0] if name.startswith("data")] == ["data"]
    assert rows[7]["data"] == '{"7":7}'


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_document_is_active_or_continues_behind_its_end(tmp_path: Path, text: str) -> None:
    places = ["text", "source", "prompt", "model", "error"]
    lines = [line(**{"source": f"{place}.jpg", "path": place, "key": place, place: text}) for place in places]
    with Results([str(write(tmp_path / "r.jsonl", *lines, line("z.jpg")))]) as results:
        document = "".join(iterate_markdown(results, str(tmp_path), text))
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(document)
    inline = [child.type for token in tokens for child in token.children or ()]
    assert {"html_inline", "link_open", "image"}.isdisjoint(inline)
    assert {"html_block", "fence", "code_block"}.isdisjoint(token.type for token in tokens if token.level == 0)
    headings = [token for token in tokens if token.type == "heading_open"]
    assert [(token.tag, token.level) for token in headings] == [("h1", 0), *[("h2", 0)] * 6]
    assert document.count("text of z.jpg") == 1
    assert {"\x1b", "\x9b", "\x00", "\u202e"}.isdisjoint(document)


def test_a_document_shows_the_image_its_answers_and_why_there_is_none(tmp_path: Path) -> None:
    write(tmp_path / "photos/a b#1.jpg", b"")
    lines = [
        line("photos/a b#1.jpg", text="**A dog**\n\n# Kind\n\n| x | y |\n|---|---|\n| 1 | 2 |"),
        line("photos/a b#1.jpg", model="n", request={"model": "n"}, key="n", data={"a": "`"}),
        line("photos/b.jpg", error="the [server] is down"),
    ]
    with Results(
        [str(write(tmp_path / "out/r.jsonl", *(text.replace(b'"path":"', b'"path":"../') for text in lines)))]
    ) as r:
        document = "".join(iterate_markdown(r, str(tmp_path / "out"), "r.jsonl"))
    assert document == (
        "# r.jsonl\n\n2 answers, 1 failed\n\n**Prompt:**\n\n> caption\n\n"
        "## photos/a b\\#1.jpg\n\n![](../photos/a%20b%231.jpg)\n\n"
        "> **A dog**\n>\n> \\# Kind\n>\n> | x | y |  \n> |---|---|  \n> | 1 | 2 |\n\nm\n\n"
        '```json\n{\n  "a": "`"\n}\n```\n\nn\n\n'
        "## photos/b.jpg\n\n**Failed:** the \\[server\\] is down\n\nm\n"
    )


@pytest.mark.parametrize("kind", [ReportFormat.PARQUET, ReportFormat.JSONL])
def test_what_a_report_writes_for_other_programs_is_read_again(tmp_path: Path, kind: ReportFormat) -> None:
    lines = [line(data={"a": [1, None]}, row={"b": "c"}), line("b.jpg", error="down"), line("\udc80.jpg", path=None)]
    path, copy = write(tmp_path / "r.jsonl", *lines), tmp_path / "copy"
    with Results([str(path)]) as results, copy.open("wb") as file:
        write_report(results, file, str(copy), kind, title="")
        rows = list(iterate_csv(results))
    with Results([str(copy)]) as copied:
        assert list(iterate_csv(copied)) == rows
    assert rows[1].startswith("a.jpg,,ok,text of a.jpg,,,m,")


def test_lines_are_kept_as_they_are_except_for_paths(tmp_path: Path) -> None:
    original = line(path="photos/a.jpg", data={"number": 1e5})
    path = write(tmp_path / "r.jsonl", line(path="photos/a.jpg", error="down"), original)
    with Results([str(path)]) as results:
        assert list(results.iterate_lines(str(tmp_path))) == [original]
        (moved,) = results.iterate_lines(str(tmp_path / "out"))
    assert json.loads(moved) == {**json.loads(original), "path": "../photos/a.jpg"}


def test_all_that_a_batch_writes_is_read(
    batch: Batch, qvision: Qvision, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    names = numbered(4)
    draw(*names)
    gallery.rule = lambda name, number: REFUSED if name == names[1] else answered(name, number)
    assert batch("photos", "caption", "-o", "parts/", "--part-size", 3).exit_code == 7
    assert batch("photos", "tags", "-o", "r.jsonl").exit_code == 7
    (tmp_path / "parts/partial").mkdir(exist_ok=True)
    (tmp_path / "parts/part-00002.jsonl").rename(tmp_path / "parts/partial/part-00002.jsonl")
    lines = (tmp_path / "r.jsonl").read_bytes()
    done = qvision("report", "parts", "-", "r.jsonl", "-o", "-", "--format", "csv", stdin=lines[:-5])
    assert done.stderr == (
        "unfinished: 1 part of parts; answers that were saved so far are included\n"
        "incomplete: the last line of standard input, ignored\n"
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert [(Path(row["source"]).name, row["prompt"], row["state"]) for row in rows] == [
        (name, prompt, "failed" if name == names[1] else "ok") for name in names for prompt in ("caption", "tags")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["r.jsonl", "-o", "r.jsonl"], "error: -o would overwrite"),
        (["r.jsonl", "-o", "r.cvs"], "the suffix .cvs is not known"),
        (["r.jsonl", "-o", "r"], "it has no suffix\nhint: Name the format with --format: "),
        (["r.jsonl", "-o", "-"], "it has no suffix"),
        (["folder", "-o", "r.csv"], "there is no run in"),
        (["-", "-", "-o", "r.csv"], "two arguments read standard input"),
        (["nothing.jsonl", "-o", "nowhere/r.csv"], "there is no folder"),
        (["r.jsonl", "-o", "r.md", "--bom"], "--bom has no effect on md, only on csv"),
        (["r.jsonl", "-o", "r.csv", "--inline-limit", "1"], "--inline-limit has no effect on csv, only on html"),
    ],
)
def test_a_report_that_cannot_be_made_is_refused(
    qvision: Qvision, tmp_path: Path, arguments: list[str], message: str
) -> None:
    original = write(tmp_path / "r.jsonl", line())
    (tmp_path / "folder").mkdir()
    done = qvision("report", *arguments)
    assert (done.exit_code in {2, 4}, done.stdout, message in done.stderr) == (True, b"", True), done.stderr
    assert original.read_bytes() == line()


def test_a_table_for_excel_begins_with_a_mark_and_replaces_the_old_one(qvision: Qvision, tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", line(text="ä"))
    table = write(tmp_path / "t.csv", b"old")
    assert qvision("report", "r.jsonl", "-o", "t.csv", "--bom").exit_code == 0
    assert table.read_text("utf-8-sig") == table.read_text("utf-8").removeprefix("\ufeff")
