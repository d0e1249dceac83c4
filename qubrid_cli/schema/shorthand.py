"""The short form of a schema: ``title, tags [string], people int, indoors bool: taken inside?``.

    fields  = field { ("," | line break) field }
    field   = name [ "?" ] [ type ] [ ":" description ]
    type    = string | int | number | bool | "[" type "]" | "{" fields "}" | "(" value { "|" value } ")"

A name is a word, or any text in double quotes. A description in double quotes may also contain any text; without them
it ends at a comma, a line break or a closing brace. Every field is required; one with a question mark may be null.
"""

import json
import re
from typing import Any, NoReturn

from ..errors import UsageError
from ..text import shorten, suggest

_TYPES = {
    "string": "string", "str": "string", "text": "string", "int": "integer", "integer": "integer",
    "number": "number", "float": "number", "bool": "boolean", "boolean": "boolean",
}  # fmt: skip
_HINT = "For example: title, tags [string], people int, indoors bool: taken inside? (A schema in a file: @FILE)"
#: Levels of brackets; more than anyone writes by hand.
_MAX_DEPTH = 20
_WORD = re.compile(r"[^\W\d][\w-]*")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_INLINE_WHITESPACE = re.compile(r"[^\S\n]*")
_WHITESPACE = re.compile(r"\s*")
_DESCRIPTION = re.compile(r"[^,\n}]*")
_VALUE = re.compile(r'[^|()"\n]+')


def parse(text: str, *, where: str) -> dict[str, Any]:
    """Parse the short form into a JSON Schema.

    Args:
        where: the option or setting, for messages.

    Raises:
        UsageError: a syntax error, with its position.
    """
    return _ShorthandParser(text, where).parse_fields("")


class _ShorthandParser:
    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._position = 0
        self._depth = 0

    def parse_fields(self, closing: str) -> dict[str, Any]:
        """Parse fields up to a closing bracket, or to the end of the text if ``closing`` is empty."""
        properties: dict[str, Any] = {}
        self._take(_WHITESPACE)
        while self._peek() not in {closing, ""}:
            start = self._position
            name, schema = self._parse_field()
            if name in properties:
                self._position = start
                self._fail(f"duplicate field {name!r}")
            properties[name] = schema
            if self._peek() not in {",", "\n", closing, ""}:
                self._fail("a comma is missing")
            self._take(_WHITESPACE)
            if self._accept(","):
                self._take(_WHITESPACE)
        if not properties:
            self._fail("a field is missing")
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def _parse_field(self) -> tuple[str, dict[str, Any]]:
        name = self._parse_name()
        is_nullable = self._accept("?")
        schema = {"type": "string"} if self._peek() in {"", ",", "\n", ":", "}"} else self._parse_type()
        if is_nullable:
            schema |= {"type": [schema["type"], "null"]}
            schema |= {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        if self._accept(":") and (description := self._parse_description()):
            schema["description"] = description
        return name, schema

    def _parse_type(self) -> dict[str, Any]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._fail("brackets are nested too deeply")
        match self._peek():
            case "[":
                self._position += 1
                schema: dict[str, Any] = {"type": "array", "items": self._parse_type()}
                self._expect("]")
            case "{":
                self._position += 1
                schema = self.parse_fields("}")
                self._expect("}")
            case "(":
                self._position += 1
                schema = {"type": "string", "enum": self._parse_enum_values()}
                self._expect(")")
            case _:
                schema = {"type": self._parse_named_type()}
        self._depth -= 1
        return schema

    def _parse_named_type(self) -> str:
        start = self._position
        word = self._take(_WORD)
        if word.lower() not in _TYPES:
            self._position = start
            hint = "The types are string, int, number, bool, [type], {fields} and (one|of|these). "
            hint += "Put a description that contains a comma in quotes."
            problem = f"unknown type {word!r}" if word else "a type is missing"
            self._fail(problem, suggestion=suggest(word, _TYPES), hint=hint)
        return _TYPES[word.lower()]

    def _parse_enum_values(self) -> list[str]:
        """Parse the values between parentheses."""
        values: list[str] = []
        while True:
            start = self._position
            value = self._parse_quoted() if self._peek() == '"' else self._take(_VALUE).strip()
            if not value or value in values:
                self._position = start
                self._fail(f"duplicate value {value!r}" if value else "a value is missing")
            values.append(value)
            if not self._accept("|"):
                return values

    def _parse_name(self) -> str:
        if self._peek() == '"':
            return self._parse_quoted()
        return self._take(_WORD) or self._fail("a name is missing")

    def _parse_description(self) -> str:
        return self._parse_quoted() if self._peek() == '"' else self._take(_DESCRIPTION).strip()

    def _parse_quoted(self) -> str:
        start = self._position
        quoted = self._take(_QUOTED) or self._fail("the quotes are not closed")
        try:
            return str(json.loads(quoted, strict=False))
        except ValueError:
            self._position = start
            self._fail("invalid escape sequence")

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Move past a match and return its text; empty if there is none."""
        match = pattern.match(self._text, self._position)
        self._position = match.end() if match else self._position
        return match[0] if match else ""

    def _peek(self) -> str:
        """Return the next character that is not a space or tab; empty at the end."""
        self._take(_INLINE_WHITESPACE)
        return self._text[self._position : self._position + 1]

    def _accept(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._position += 1
        return True

    def _expect(self, bracket: str) -> None:
        if not self._accept(bracket):
            self._fail(f"{bracket} is missing")

    def _fail(self, problem: str, *, suggestion: str = "", hint: str = _HINT) -> NoReturn:
        remaining = self._text[self._position :]
        place = f"character {self._position + 1}: {shorten(remaining, 20)!r}" if remaining else "the end"
        raise UsageError(f"{self._where}: {problem} at {place}{suggestion}", hint=hint)
