"""The JSON value in the text of an answer: which one it is, and which faults are corrected."""

import json
import time
from typing import Any

import pytest

from qubrid_cli.describe.json_text import Invalid, Valid, parse_value
from qubrid_cli.schema.json_schema import Schema
from qubrid_cli.schema.json_schema import load_schema as schema

ONE = schema("a int", where="x")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', Valid({"a": 1})),
        ('\n```\n{"a": 1}\n```', Valid({"a": 1})),
        ('Sure!\n~~~json\n{"a": 1}\n~~~\nBye.', Valid({"a": 1})),
        ('As in [1] and {b}: {"a": 1}. Is that {fine}?', Valid({"a": 1})),
        ('First {"a": "?"}, no: {"a": 2}', Valid({"a": 2})),
        ('{"a": 1} or {"a": 2}', Invalid(("it contains 2 JSON values instead of one",))),
        ('{"a": 1}\nSo:\n```\n{"a": 1}', Valid({"a": 1})),
        ('```\n{"a": 1}\n```\n```js\nx\n```\n````', Valid({"a": 1})),
        ('{"a": 1, "a": 2}', Invalid(("it is not valid JSON: duplicate key 'a'",))),
        ("", Invalid(("it is empty",))),
        ("No.", Invalid(("it is plain text instead of JSON",))),
        ('{"a": NaN}', Invalid(("it is not valid JSON: NaN is not a JSON value",))),
        ("9" * 301, Invalid(("it is not valid JSON: a number is too large",))),
        ('{"a": 1e999}', Invalid(("it is not valid JSON: a number is too large",))),
        ("[" * 100_000, Invalid(("it is not valid JSON: nested too deeply",))),
        ("[" * 101 + "]" * 101, Invalid(("it is not valid JSON: nested too deeply",))),
        ('{"a": "x"}', Invalid(("a: 'x' is not of type 'integer'",))),
        ("{}", Invalid(("'a' is a required property",))),
    ],
)
def test_the_value_is_found_if_only_one_can_be_the_answer(text: str, found: object) -> None:
    assert parse_value(text, ONE) == found


def test_brackets_used_as_punctuation_are_not_a_broken_value() -> None:
    said = 'As [asked] (see {this}, [1]): {"a": 1}'
    assert parse_value(said, ONE) == Valid({"a": 1})


def test_at_most_ten_problems_are_listed_each_cut_to_a_line() -> None:
    wrong: list[Any] = [["x" * 1000]] * 500
    found = parse_value(json.dumps(wrong), schema({"type": "array", "items": {"type": "integer"}}, where="x"))
    assert isinstance(found, Invalid)
    assert (len(found.problems), max(map(len, found.problems))) == (10, 203)


ANY = schema({"type": "object", "required": ["a"], "additionalProperties": False, "properties": {"a": {}}}, where="x")
TEXTS = schema({"type": "array", "items": {"type": "string"}, "minItems": 2}, where="x")
TEXT = schema({"type": "string"}, where="x")
TREE = schema(
    {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "child": {"$ref": "#"}, "error": {"type": "object"}},
    },
    where="x",
)
COMMA = "a comma after the last item was removed"
CONTROL = "control characters in a string were kept"
ESCAPE = "an invalid escape in a string was replaced"
LIST = "the value was taken out of a list"


def member(name: str) -> str:
    return f"the value was taken out of an object with the member {name!r}"


CORRECTED: list[tuple[Schema, str, object, list[str]]] = [
    (ONE, '{"a": 1,}', {"a": 1}, [COMMA]),
    (ONE, '{"a": 1 \n,\n }', {"a": 1}, [COMMA]),
    (ANY, '{"a": [1, 2,],}', {"a": [1, 2]}, [COMMA]),
    (ANY, '{"a": ["x,]", ",}",]}', {"a": ["x,]", ",}"]}, [COMMA]),
    (ANY, r'{"a": ["\",]", 1,]}', {"a": ['",]', 1]}, [COMMA]),
    (ONE, '```json\n{"a": 1,}\n```', {"a": 1}, [COMMA]),
    (ONE, 'Here it is:\n{"a": 1,}\nAnything else?', {"a": 1}, [COMMA]),
    (ONE, 'He said "yes": {"a": 1,}', {"a": 1}, [COMMA]),
    (ANY, '{"a": "x\ny"}', {"a": "x\ny"}, [CONTROL]),
    (ANY, '{"a": "x\r\n\ty\0"}', {"a": "x\r\n\ty\0"}, [CONTROL]),
    (ANY, '{"a": "x\\\\\ny"}', {"a": "x\\\ny"}, [CONTROL]),
    (ANY, '{"a": "x\ny",}', {"a": "x\ny"}, [CONTROL, COMMA]),
    (ANY, r'{"a": "snake\_case"}', {"a": "snake_case"}, [ESCAPE]),
    (ANY, r'{"a": "it\'s 5 \% of \$9\n"}', {"a": "it's 5 % of $9\n"}, [ESCAPE]),
    (ANY, r'{"a": "\d+\.\d"}', {"a": r"\d+\.\d"}, [ESCAPE]),
    (ANY, r'{"a": "C:\users\Public \"x\" \\"}', {"a": 'C:\\users\\Public "x" \\'}, [ESCAPE]),
    (ANY, r'{"a": "\alpha + \(x\)"}', {"a": r"\alpha + \(x\)"}, [ESCAPE]),
    (TEXT, r'"x\_y"', "x_y", [ESCAPE]),
    (ONE, '{"result": {"a": 1}}', {"a": 1}, [member("result")]),
    (ONE, '```json\n{"receipt": {"a": 1}}\n```', {"a": 1}, [member("receipt")]),
    (ONE, '[{"a": 1}]', {"a": 1}, [LIST]),
    (TEXTS, '{"items": ["x", "y"]}', ["x", "y"], [member("items")]),
    (TEXTS, '[["x", "y"]]', ["x", "y"], [LIST]),
    (TEXT, '{"text": "x"}', "x", [member("text")]),
    (TREE, '{"tree": {"name": "x"}}', {"name": "x"}, [member("tree")]),
]


@pytest.mark.parametrize(("form", "text", "value", "corrections"), CORRECTED)
def test_a_fault_with_only_one_meaning_is_corrected(
    form: Schema, text: str, value: object, corrections: list[str]
) -> None:
    assert parse_value(text, form) == Valid(value, tuple(corrections))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (ANY, '{"a": [,]}'),
        (ANY, "{,}"),
        (ANY, '{"a": [1,,]}'),
        (ANY, '{"a": [1, ,2]}'),
        (ANY, '{"a": ,}'),
        (ANY, '{"a": [1 2]}'),
        (ONE, "{'a': 1}"),
        (ONE, "{a: 1}"),
        (ONE, '{"a": 1 /* one */}'),
        (ONE, '{"a": 1 // one\n}'),
        (ANY, '{"a": True}'),
        (ANY, '{"a": None}'),
        (ANY, '{"a": NaN,}'),
        (ONE, '{"a": 1, "a": 2,}'),
        (ONE, '{"a": 1, "b": 2,}'),
        (ONE, '{"a": "1",}'),
        (ONE, '{"a": 1,'),
        (ANY, '{"a": [1, 2,}'),
        (ANY, '{"a": "x'),
        (ANY, '{"a": "he said "no""}'),
        (ANY, '{"a": "x,\n "b": "y"}'),
        (ANY, r'{"a": "C:\new\data"}'),
        (ANY, r'{"a": "\x41"}'),
        (ANY, r'{"a": "\u12"}'),
        (ANY, r'{"a": "\U0001f600"}'),
        (ANY, r'{"a": "\0"}'),
        (ANY, r'{"a": "\(x\)"}'),
        (ANY, r'{"a": "\d\_"}'),
        (ANY, '{"a": "x\\\ny"}'),
        (ANY, r'{"a": "\é"}'),
        (ONE, '{"a": 1,} or {"a": 2,}'),
        (ONE, '{"result": {"a": 1,}}'),
        (ONE, '{"result": {"a": 1}, "ok": true}'),
        (ONE, '{"data": {"result": {"a": 1}}}'),
        (ONE, '[{"a": 1}, {"a": 1}]'),
        (ONE, '{"result": {"a": "1"}}'),
        (ONE, r'"{\"a\": 1}"'),
        (ONE, '{"error": {"a": 1}}'),
        (TREE, '{"child": {"name": "x"}}'),
        (TEXTS, '"x"'),
    ],
)
def test_a_fault_that_would_have_to_be_guessed_is_not_corrected(form: Schema, text: str) -> None:
    assert isinstance(parse_value(text, form), Invalid)


@pytest.mark.parametrize(
    "text",
    [
        *(
            '"' * 200_000,
            '"' + '\\"' * 200_000,
            "{" + '"a" ' * 100_000,
            '{"a": ' * 50_000,
            "[," * 100_000,
            '{"a": 1,' * 50_000,
        ),
        *(
            "{ " * 200_000,
            '{"a": "' + "\n" * 200_000,
            "," + " " * 200_000,
            ", " * 200_000,
            '{"a": [' + "1," * 100_000 + "]",
        ),
        *('{"a": "' + "\\_" * 100_000, "[1 " * 100_000, "{b} " * 50_000),
    ],
)
def test_a_hostile_text_costs_little(text: str) -> None:
    start = time.process_time()
    assert isinstance(parse_value(text, ONE), Invalid)
    assert time.process_time() - start < 5
