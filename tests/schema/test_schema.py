"""The schema that an answer must fit: the short form, files, what is refused, what fits; and a value that always does."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.errors import UsageError
from qubrid_cli.output import formatting
from qubrid_cli.schema import json_schema, shorthand
from qubrid_cli.schema.example import example_for, resolve_reference


def parsed(text: str) -> dict[str, Any]:
    return shorthand.parse(text, where="--schema")


def fields_of(text: str) -> Any:
    return parsed(text)["properties"]


def test_the_short_form_means_a_closed_object_with_every_field_required() -> None:
    assert parsed("title, tags [string], people int, indoors bool: taken inside?") == {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "people": {"type": "integer"},
            "indoors": {"type": "boolean", "description": "taken inside?"},
        },
        "required": ["title", "tags", "people", "indoors"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a str", {"type": "string"}),
        ("a text", {"type": "string"}),
        ("a Integer", {"type": "integer"}),
        ("a float", {"type": "number"}),
        ("a boolean", {"type": "boolean"}),
        ("a?", {"type": ["string", "null"]}),
        ("a ? int", {"type": ["integer", "null"]}),
        ("a [[int]]", {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        ("a {b}", parsed("b")),
        ("a [{b int, c}]", {"type": "array", "items": parsed("b int, c")}),
        ("a {\n  b int\n  c\n}", parsed("b int, c")),
        ("a (x|y z| w )", {"type": "string", "enum": ["x", "y z", "w"]}),
        ('a? ("x|y"|z)', {"type": ["string", "null"], "enum": ["x|y", "z", None]}),
        ("a: what: ever (it) is?", {"type": "string", "description": "what: ever (it) is?"}),
        (r'a int: "one, \"two\" }"', {"type": "integer", "description": 'one, "two" }'}),
        ("a:", {"type": "string"}),
    ],
)
def test_a_field_has_a_type_and_a_description(text: str, found: object) -> None:
    assert fields_of(text) == {"a": found}


@pytest.mark.parametrize("text", ["a, b int", "a\nb int", " a ,\n b int,\n", "\n a\n\n , b int\n", "a,b int"])
def test_fields_are_separated_by_commas_or_line_breaks(text: str) -> None:
    assert fields_of(text) == {"a": {"type": "string"}, "b": {"type": "integer"}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a field is missing at the end"),
        ("a {}", "a field is missing at character 4: '}'"),
        ("a,,b", "a name is missing at character 3: ',b'"),
        ("1a", "a name is missing at character 1: '1a'"),
        ("title, tags strng, people", "unknown type 'strng' at character 13: 'strng, people'; did you mean string?"),
        ("a b c", "unknown type 'b' at character 3: 'b c'"),
        ("a: b, c d", "unknown type 'd' at character 9: 'd'"),
        ("a [", "a type is missing at the end"),
        ("a []", "a type is missing at character 4: ']'"),
        ("a [string", "] is missing at the end"),
        ("a {b", "} is missing at the end"),
        ("a {b}}", "a comma is missing at character 6: '}'"),
        ("a int int", "a comma is missing at character 7: 'int'"),
        ("a, b, a", "duplicate field 'a' at character 7: 'a'"),
        ("a (", "a value is missing at the end"),
        ("a (x|x)", "duplicate value 'x' at character 6: 'x)'"),
        ("a (x", ") is missing at the end"),
        ('a: "b', "the quotes are not closed at character 4: '\"b'"),
        (r'a: "\q"', "invalid escape sequence at character 4: '\"\\\\q\"'"),
        ("a " + "[" * 100_000, "brackets are nested too deeply at character 23: '[[[[[[[[[[[[[[[[[[[…'"),
    ],
)
def test_a_syntax_error_in_the_short_form_is_reported_with_its_position(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert caught.value.message == f"--schema: {says}"


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True) | st.text(
    st.characters(codec="utf-8"), max_size=8
)
LEAVES = st.sampled_from(["string", "integer", "number", "boolean"]).map(lambda kind: {"type": kind}) | st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=1, max_size=4, unique=True
).map(lambda values: {"type": "string", "enum": values})


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _with_description(found: tuple[dict[str, Any], str]) -> dict[str, Any]:
    return {**found[0], "description": found[1]} if found[1] else found[0]


def objects(kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    said = st.tuples(kinds, st.text(st.characters(codec="utf-8"), max_size=12)).map(_with_description)
    return st.dictionaries(NAMES, said, min_size=1, max_size=4).map(closed)


KINDS = st.recursive(
    LEAVES, lambda kinds: kinds.map(lambda kind: {"type": "array", "items": kind}) | objects(kinds), max_leaves=8
)


def short(kind: dict[str, Any]) -> str:
    """The short form of a type."""
    match kind:
        case {"enum": values}:
            return f"({'|'.join(json.dumps(value) for value in values)})"
        case {"type": "array"}:
            return f"[{short(kind['items'])}]"
        case {"type": "object"}:
            return f"{{{fields_short(kind)}}}"
        case _:
            return str(kind["type"])


def fields_short(kind: dict[str, Any]) -> str:
    return ", ".join(
        f"{json.dumps(name)} {short(of)}" + (f": {json.dumps(of['description'])}" if "description" in of else "")
        for name, of in kind["properties"].items()
    )


@given(objects(KINDS))
def test_every_schema_of_the_short_form_survives_a_round_trip(document: dict[str, Any]) -> None:
    assert parsed(fields_short(document)) == document


@given(objects(KINDS))
def test_every_short_form_has_an_example_that_fits(document: dict[str, Any]) -> None:
    assert json_schema.load_schema(document, where="x").find_problems(example_for(document)) == []


@given(st.text(max_size=40))
def test_any_text_is_a_short_form_or_is_refused(text: str) -> None:
    with suppress(UsageError):
        assert parsed(text)["required"]


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {"node": {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}}}},
}  # fmt: skip


#: As OpenAI wants a tree: everything required, and null where there is nothing.
NULLABLE = {**closed({name: {"anyOf": [{"$ref": "#"}, {"type": "null"}]} for name in "abcdefghij"}), "title": "tree"}


@pytest.mark.parametrize(
    "document",
    [
        {},
        TREE,
        NULLABLE,
        {"type": ["integer", "null"], "minimum": 3},
        {"type": "number", "exclusiveMaximum": -2},
        {"type": "string", "minLength": 40, "maxLength": 41},
        {"type": "string", "maxLength": 3},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "array", "minItems": 3, "prefixItems": [{"const": 1}], "items": {"enum": ["a"]}},
        {"properties": {"a": {"default": 5}}, "required": ["a", "b"]},
        {"items": {"type": "boolean"}},
        {"type": "array", "minItems": 2.0, "items": {"type": "string", "minLength": 30.0, "maxLength": 31.0}},
        {"$schema": "http://json-schema.org/draft-03/schema#", "properties": {"a": {"required": True, "anyOf": {}}}},
        {"$id": "https://h.example/a", "$defs": {"b": {"$id": "c/d", "$ref": "e"}, "f": {"$id": "c/e"}}},
    ],
)
def test_most_schemas_have_an_example_that_fits(document: dict[str, Any]) -> None:
    assert json_schema.load_schema(document, where="x").find_problems(example_for(document)) == []


DOCUMENT = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize("given_", ["form.json", "@form.json", "@form", "form"])
def test_a_file_is_recognized_by_its_name_or_its_existence(
    given_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / given_.removeprefix("@")).write_text(json.dumps(DOCUMENT))
    assert json_schema.load_schema(given_, where="--schema").document == DOCUMENT


def test_a_folder_of_that_name_does_not_count_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tags").mkdir()
    assert json_schema.load_schema("tags", where="--schema").document == parsed("tags")


def test_a_schema_can_be_given_as_json_or_as_a_table() -> None:
    assert (
        json_schema.load_schema(json.dumps(DOCUMENT), where="x").document
        == json_schema.load_schema(DOCUMENT, where="x").document
        == DOCUMENT
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is not valid JSON: Expecting value in line 1, column 1"),
        ('{"type":\n}', "is not valid JSON: Expecting value in line 2, column 1"),
        ('{"minimum": NaN}', "contains a number that is not finite"),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "is not a JSON Schema: it is not an object"),
        ('{"$schema": 5}', "is not a JSON Schema: its $schema is not a string"),
        ('{"type": "strng"}', "is not a JSON Schema: type: 'strng' is not valid under any of the given schemas"),
        (
            '{"properties": {"a": {"minimum": "x"}}}',
            "is not a JSON Schema: properties.a.minimum: 'x' is not of type 'number'",
        ),
    ],
)
def test_a_file_without_a_valid_schema_is_refused(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "form.json"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        json_schema.load_schema(str(path), where="--schema")
    assert caught.value.message == f"--schema {path} {says}"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"$ref": "#/nope"}, "x: cannot resolve $ref '#/nope'"),
        ({"items": {"$ref": "https://example.com/a.json"}}, "x: cannot resolve $ref 'https://example.com/a.json'"),
        ({"$ref": "file:///etc/passwd"}, "x: cannot resolve $ref 'file:///etc/passwd'"),
    ],
)
def test_a_reference_out_of_the_schema_is_refused_and_not_fetched(document: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        json_schema.load_schema(document, where="x")
    assert caught.value.message == says


@pytest.mark.parametrize("document", [{"pattern": "("}, {"properties": {"a": {"patternProperties": {"[": {}}}}}])
def test_a_pattern_that_python_cannot_use_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^x( is not a JSON Schema|: invalid pattern )"):
        json_schema.load_schema(document, where="x")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--schema: cannot read nope.json: No such file or directory$"):
        json_schema.load_schema("@nope.json", where="--schema")
    (tmp_path / "photo.json").write_bytes(b"\xff\xd8")
    with pytest.raises(UsageError, match=r"photo.json: it is not UTF-8 text$"):
        json_schema.load_schema(str(tmp_path / "photo.json"), where="--schema")


@pytest.mark.parametrize(
    "document",
    [
        {"$ref": "#"},
        {"properties": {"a": {"items": {"$ref": "#/properties/a/items"}}}},
        {"$schema": "http://json-schema.org/draft-03/schema#", "type": "colour"},
    ],
)
def test_a_schema_that_refers_to_itself_without_end_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^the schema cannot be applied$"):
        json_schema.load_schema(document, where="x")


@pytest.mark.parametrize(
    "path",
    ["a", "name", "left.right.name", "tags.0", "tags.17.deep", "open.anything.0.x", "pair.1.x", "mixed.1.x", "x.x-1"],
)
def test_a_path_within_a_schema_passes(path: str) -> None:
    properties = {
        **TREE["$defs"]["node"]["properties"],  # type: ignore[index]
        "a": True,
        "tags": {"type": "array", "items": {"properties": {"deep": {}}}},
        "open": {"type": "object"},
        "pair": {"prefixItems": [{}, {}], "items": False},
        "mixed": {"prefixItems": [{}, {}], "items": {"type": "string"}},
        "x": {"type": "object", "additionalProperties": False, "patternProperties": {"^x-": {}}},
    }
    document = {**TREE, "$ref": "#/$defs/root", "$defs": {**TREE["$defs"], "root": closed(properties)}}  # type: ignore[dict-item]
    formatting.check_path(path, document)


@pytest.mark.parametrize(
    ("found", "path", "says"),
    [
        ({"a": [1, 2]}, "a.2", ("2", "Available: 0, 1")),
        ({"a": {"b": 1, "c": 2}}, "a.d", ("d", "Available: b, c")),
        ({"a": "text"}, "a.b", ("b", "This value has no fields.")),
        ({"a": None}, "a.0", ("0", "This value has no fields.")),
        ({"a": {"b": [{"c": None}]}}, "a.b.0.c", None),
    ],
)
def test_a_path_that_does_not_exist_in_a_value_lists_the_fields(
    found: object, path: str, says: tuple[str, str] | None
) -> None:
    error = formatting.error_for_missing_value(found, path)
    expected = None if says is None else (f"no field {says[0]!r} in --field {path}", says[1])
    assert (None if error is None else (error.message, error.hint)) == expected


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#", {"$defs": {"a/b": {"~": 1}}}),
        ("#/$defs/a~1b", {"~": 1}),
        ("#/$defs/a~1b/~0", 1),
        ("#/$defs/none/below", None),
        ("#anchor", None),
        ("https://example.com/a.json", None),
    ],
)
def test_a_reference_is_a_pointer_into_the_schema(reference: str, found: object) -> None:
    assert resolve_reference(reference, {"$defs": {"a/b": {"~": 1}}}) == found
