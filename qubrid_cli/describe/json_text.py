r"""Find the JSON value in the text of an answer, correct it if only one meaning is possible, and validate it.

Three faults in a text that is almost JSON are corrected:

- A comma after the last item or member is removed.
- Control characters in strings, such as line breaks, are kept.
- A backslash that is not a JSON escape is removed before a sign that is escaped in Markdown, LaTeX or JavaScript (``\_``,
  ``\'``, ``\$``). It is kept before a letter (``\d``, ``\alpha``) and, in a string with such a letter, before other signs
  (``\d\.``). In four cases this would be a guess, so the string is not corrected: it has backslashes to remove and
  backslashes to keep; it has backslashes to keep, and its ``\n`` and the like may be meant as letters (``C:\new\data``); it
  has character codes (``\x41``, ``\0``); or it has other signs, but no such letter (``\(``).

If a text is JSON but does not fit the schema, the value is taken out of a list with one item, or out of an object with one
member that the schema does not name, such as ``result`` (but not ``error``). Any correction counts only if the value then
fits the schema exactly.

Everything else would be a guess: single quotes (apostrophes look the same), comments (they may hold a correction), ``True``
and ``None``, missing quotes, commas and brackets, several values, texts that were cut off, and a fault inside a wrapper.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from ..frozen import frozen

if TYPE_CHECKING:
    from ..schema.json_schema import Schema  # loads jsonschema

#: Levels of nesting. No answer about an image has as many, and other JSON parsers would overflow their stack.
_MAX_DEPTH = 100
#: The search ends after so many brackets that do not begin a JSON value, which limits the time for a text of brackets.
_MAX_ATTEMPTS = 20
_FENCE = re.compile(r"(`{3,}|~{3,})[^`]*")
_OPENING_BRACKET = re.compile(r"[{\[]")
#: A bracket that begins an object or an array and is not punctuation.
_JSON_START = re.compile(r"""\{\s*["']|\[\s*["'{\[]|\[\s*(-?\d|true|false|null|NaN)[^\]]*,""")

_STRING = r'"(?:[^"\\]++|\\.)*+"?'
#: Strings and brackets, to find the end of a value; a string without an end extends to the end of the text.
_STRUCTURE = re.compile(rf"{_STRING}|[{{}}\[\]]", re.DOTALL)
#: Strings, commas that follow no value, and commas before a closing bracket.
_CORRECTABLE = re.compile(rf"(?P<string>{_STRING})|[\[{{,:]\s*+,|(?P<comma>,)(?=\s*+[\]}}])", re.DOTALL)
_CONTROL_CHARACTER = re.compile("[\x00-\x1f]")
#: An escape. Some have no certain meaning: other languages' character codes (``unknown``), and a backslash before any other
#: character, such as a digit or a line break (``end``).
_ESCAPE = re.compile(
    r"""\\(?:(?P<valid>["\\/bfnrt]|u[0-9a-fA-F]{4})|(?P<sign>[_'#&%$@])"""
    r"""|(?P<unknown>u[0-9a-fA-F]|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|N\{)|(?P<letter>[A-Za-z])|[!-/:-@\[-`{-~]|(?P<end>))"""
)
#: Members that do not hold an answer.
_NO_WRAPPERS = frozenset({"error", "errors"})

_COMMA = "a comma after the last item was removed"
_CONTROL = "control characters in a string were kept"
_BACKSLASH = "an invalid escape in a string was replaced"


@frozen
class Valid:
    """The value of an answer that fits the schema, and what was corrected in its text."""

    value: Any
    corrections: tuple[str, ...] = ()


@frozen
class Invalid:
    """Why an answer does not fit the schema: at least one problem, each with its path."""

    problems: tuple[str, ...]


def parse_value(text: str, schema: "Schema") -> Valid | Invalid:
    """Parse the value in an answer: the only value, or the only one of several that fits the schema."""
    try:
        values = _find_json_values(text, _decode_value)
    except ValueError as error:
        return _parse_corrected(text, schema) or Invalid((str(error),))
    # A model may repeat its value, first while it thinks and then as its answer.
    values = list({json.dumps(value, sort_keys=True): value for value in values}.values())
    problems = [schema.find_problems(value) for value in values]
    fitting = [value for value, errors in zip(values, problems, strict=True) if not errors]
    if len(fitting) == 1:
        return Valid(fitting[0])
    if len(values) > 1:
        return Invalid((f"it contains {len(values)} JSON values instead of one",))
    return _unwrap(values[0], schema) or Invalid(tuple(problems[0]))


def find_values(text: str, decoder: json.JSONDecoder) -> list[Any]:
    """The JSON values in a text, with the same corrections as in an answer that must fit a schema.

    Raises:
        ValueError: the text contains no JSON value, or a broken one; the message says what is wrong.
    """

    def decode(text: str) -> Any:
        return _decode_value(text, decoder)

    try:
        return _find_json_values(text, decode)
    except ValueError:
        with suppress(ValueError):
            return _find_json_values(text, lambda text: decode(_correct(text, {})))
        raise


def _parse_corrected(text: str, schema: "Schema") -> Valid | None:
    """Parse the only value in an answer that is almost JSON; ``None`` if it does not fit the schema."""
    corrections = dict[str, None]()

    def decode(text: str) -> Any:
        return _decode_value(_correct(text, corrections))

    try:
        (value,) = _find_json_values(text, decode)
    except ValueError:
        return None
    return None if schema.find_problems(value) else Valid(value, tuple(corrections))


def _unwrap(value: Any, schema: "Schema") -> Valid | None:
    """Take a value that fits the schema out of a list or an object that contains nothing else."""
    match value:
        case [inner]:
            wrapper = "a list"
        case dict() if len(value) == 1:
            ((name, inner),) = value.items()
            if name.lower() in _NO_WRAPPERS or name in _list_properties(schema.document):
                return None
            wrapper = f"an object with the member {name[:80]!r}"
        case _:
            return None
    return None if schema.find_problems(inner) else Valid(inner, (f"the value was taken out of {wrapper}",))


def _list_properties(schema: Any) -> set[str]:
    """List the names of all properties that a schema declares, at any depth."""
    names, parts = set[str](), [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            if isinstance(properties := part.get("properties"), Mapping):
                names.update(properties)
            parts += part.values()
        elif isinstance(part, list | tuple):
            parts += part
    return names


def _find_json_values(text: str, decode: Callable[[str], Any]) -> list[Any]:
    """Return the JSON values in a text: the whole text, else those in code fences, else those between words.

    Raises:
        ValueError: the text contains no JSON value, or a broken one.
    """
    try:
        return [decode(text)]
    except ValueError as error:
        try:
            values = list(_iter_fenced(text, decode)) or list(_iter_embedded(text, decode))
        except ValueError as broken:
            raise ValueError(_explain_failure(text, broken)) from broken
        if not values:
            raise ValueError(_explain_failure(text, error)) from error
        return values


def _explain_failure(text: str, error: ValueError) -> str:
    if not text.strip():
        return "it is empty"
    if isinstance(error, json.JSONDecodeError) and not _OPENING_BRACKET.search(text):
        return "it is plain text instead of JSON"
    return f"it is not valid JSON: {error}"


def _decode_value(text: str, decoder: json.JSONDecoder | None = None) -> Any:
    try:
        return _check_depth((decoder or _DECODER).decode(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _iter_fenced(text: str, decode: Callable[[str], Any]) -> Iterator[Any]:
    fence, inside = "", list[str]()
    for line in text.split("\n"):
        bare = line.strip()
        if fence and bare == fence:
            with suppress(ValueError):
                yield decode("\n".join(inside))
            fence = ""
        elif fence:
            inside.append(line)
        elif opening := _FENCE.fullmatch(bare):
            fence, inside = opening[1], []


def _iter_embedded(text: str, decode: Callable[[str], Any]) -> Iterator[Any]:
    """Yield the objects and arrays in a text.

    Raises:
        ValueError: one is broken. The values inside a broken one are not answers.
    """
    position = failures = 0
    while (opening := _OPENING_BRACKET.search(text, position)) and failures < _MAX_ATTEMPTS:
        start = opening.start()
        try:
            end = _find_end(text, start)
            yield decode(text[start:end])
            position = end
        except ValueError:
            if _JSON_START.match(text, start):
                raise
            failures += 1
            position = opening.end()


def _find_end(text: str, start: int) -> int:
    """Find the end of the value that begins with a bracket; the end of the text if it is cut off.

    Raises:
        ValueError: it is nested too deeply.
    """
    depth = 0
    for match in _STRUCTURE.finditer(text, start):
        if match[0] in "{[":
            depth += 1
            if depth > _MAX_DEPTH:
                raise ValueError("nested too deeply")
        elif match[0] in "}]":
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)


def _correct(text: str, corrections: dict[str, None]) -> str:
    """Return a text with its commas and strings corrected; add what was done to ``corrections``."""

    def correct(match: re.Match[str]) -> str:
        if match["string"]:
            return _correct_string(match["string"], corrections)
        if match["comma"]:
            corrections[_COMMA] = None
            return ""
        return match[0]

    return _CORRECTABLE.sub(correct, text)


def _correct_string(string: str, corrections: dict[str, None]) -> str:
    """Return a quoted string with its escapes and control characters corrected, if only one meaning is possible."""
    if "\\" in string:
        escapes = list(_ESCAPE.finditer(string))
        if not all(escape["valid"] for escape in escapes):
            if not _is_certain(escapes):
                return string
            corrections[_BACKSLASH] = None
            string = _ESCAPE.sub(_correct_escape, string)
    if _CONTROL_CHARACTER.search(string):
        corrections[_CONTROL] = None
        string = _CONTROL_CHARACTER.sub(lambda match: f"\\u{ord(match[0]):04x}", string)
    return string


def _is_certain(escapes: Sequence[re.Match[str]]) -> bool:
    """Whether only one meaning is possible for the escapes of a string, some of which are invalid."""
    kinds = {escape.lastgroup for escape in escapes}
    if not kinds.isdisjoint({"unknown", "end"}):
        return False
    if "letter" in kinds:
        valid = {escape["valid"] for escape in escapes if escape["valid"]}
        return "sign" not in kinds and valid <= {'"', "\\", "/"}
    return None not in kinds  # other signs


def _correct_escape(escape: re.Match[str]) -> str:
    if escape["valid"]:
        return escape[0]
    return escape["sign"] or f"\\{escape[0]}"


def _check_depth(value: Any) -> Any:
    """Return a value that is not nested too deeply for other programs; level by level, because recursion could overflow."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
        ]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        duplicate, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"duplicate key {duplicate[:80]!r}")
    return dict(pairs)


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _parse_integer(text: str) -> int:
    if len(text) > 300:  # near the limit of floats, and many programs read every number as a float
        raise ValueError("a number is too large")
    return int(text)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_float=_parse_float, parse_int=_parse_integer, parse_constant=_reject_constant
)
