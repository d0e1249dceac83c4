"""The schema that an answer must fit: read from a file or the short form, checked, held against values.

The home of jsonschema, which takes 60 ms to import: nothing without a schema loads this module.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import referencing.exceptions
from jsonschema import Draft202012Validator, exceptions, validators
from jsonschema.protocols import Validator
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.jsonschema import DRAFT202012

from . import shorthand
from .errors import UsageError
from .frozen import frozen
from .specimen import specimen

#: Of the errors of one answer; a model mends these, then the rest is gone too more often than not.
_MAX_PROBLEMS = 10
#: Characters of an error, which repeats the value that it is about.
_MAX_WORDS = 200
#: What valid schemas can still do: go in a circle, lead nowhere, name a type of their own (draft 3), or mix drafts, over
#: whose different ids referencing stumbles with an AttributeError.
_CANNOT_BE_USED = (
    RecursionError,
    referencing.exceptions.Unresolvable,
    exceptions.UnknownType,
    AttributeError,
)


@frozen
class Schema:
    """A valid JSON Schema, and what holds values against it."""

    document: Mapping[str, Any]
    _validator: Validator

    def problems(self, value: Any) -> list[str]:
        """What is wrong with a value: its first ten errors, each with its place, such as ``tags.0``.

        Raises:
            UsageError: the schema refers to itself without end.
        """
        try:
            return [_told(error) for error in islice(self._validator.iter_errors(value), _MAX_PROBLEMS)]
        except _CANNOT_BE_USED as error:
            raise UsageError(
                "the schema cannot be followed to its end", hint="Look for a $ref that leads nowhere, or to itself."
            ) from error


def _told(error: exceptions.ValidationError | exceptions.SchemaError) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    words = error.message if len(error.message) <= _MAX_WORDS else error.message[: _MAX_WORDS - 1] + "…"
    return f"{place}: {words}" if place else words


def read(given: str | Mapping[str, Any], *, where: str, folder: str = "") -> Schema:
    """The schema that an option or a preset gives.

    Args:
        given: ``@FILE``, an existing file or a name that ends in ``.json``; a JSON Schema itself; else the short form.
        where: what it stands in, for messages.
        folder: the one that a file's name begins at, where that is not the one we stand in.

    Raises:
        UsageError: unreadable, or no valid schema.
    """
    if not isinstance(given, str):
        return _checked(_plain(given, where), where)
    if given.startswith("@") or given.endswith(".json") or os.path.isfile(os.path.join(folder, given)):
        name = given.removeprefix("@") or "@"
        name = os.path.join(folder, os.path.expanduser(name)) if folder else name
        return _checked(_parsed(_content(name, where), f"{where} {name}"), f"{where} {name}")
    if given.lstrip().startswith("{"):
        return _checked(_parsed(given, where), where)
    return _checked(shorthand.parse(given, where=where), where)


def _plain(given: Mapping[str, Any], where: str) -> Any:
    try:
        return json.loads(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{where} holds what JSON has not: {error}", hint="It is a JSON Schema as a table.") from error


def _content(name: str, where: str) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8-sig")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no UTF-8 text"
        raise UsageError(
            f"{where}: cannot read {name}: {reason}", hint="Name a file that holds a JSON Schema."
        ) from error


def _parsed(text: str, where: str) -> Any:
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)  # Python reads NaN and 1e999, which are no JSON
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{where} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            hint="It holds a JSON Schema.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON that can be used", hint="NaN, or brackets without end?") from error
    return found


def _checked(document: Any, where: str) -> Schema:
    if not isinstance(document, dict):
        raise UsageError(f"{where} is no JSON Schema: it is no object", hint='The least is {"type": "object"}.')
    if not isinstance(document.get("$schema", ""), str):
        raise UsageError(f"{where} is no JSON Schema: its $schema is no text", hint="Leave $schema out.")
    kind = validators.validator_for(document, default=Draft202012Validator)
    try:
        kind.check_schema(document)
        _check_references(document, where)
    except exceptions.SchemaError as error:
        raise UsageError(f"{where} is no JSON Schema: {_told(error)}", hint="See json-schema.org.") from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply", hint="Make it flatter.") from error
    # With a registry given, jsonschema does not fetch what a $ref names from the network.
    found = Schema(document, kind(document, registry=REGISTRY))
    found.problems(specimen(document))  # so that what leads in a circle does so before an answer is there
    return found


def _check_references(document: Mapping[str, Any], where: str) -> None:
    """Refuse what would fail only when the answer is there: a ``$ref`` out of the document, a pattern that is none."""
    resolver = REGISTRY.resolver_with_root(Resource.from_contents(document, default_specification=DRAFT202012))
    parts = list(_objects(document))
    has_several_bases = any("$id" in part for part in parts[1:])  # a $ref is relative to the nearest one
    for reference in (part["$ref"] for part in parts if isinstance(part.get("$ref"), str) and not has_several_bases):
        try:
            resolver.lookup(reference)
        except referencing.exceptions.Unresolvable as error:
            raise UsageError(
                f"{where}: $ref {reference!r} leads nowhere",
                hint="Only what stands in the schema itself can be referred to.",
            ) from error
    for pattern in (pattern for part in parts for pattern in _patterns(part)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"{where}: the pattern {pattern!r} cannot be used: {error}", hint="Write it as for Python."
            ) from error


def _patterns(part: Mapping[str, Any]) -> list[str]:
    of_names = part.get("patternProperties")
    found = [part.get("pattern"), *(of_names if isinstance(of_names, Mapping) else ())]
    return [pattern for pattern in found if isinstance(pattern, str)]


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, Mapping):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _objects(part)
