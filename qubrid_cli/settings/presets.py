"""Presets: questions that are asked often, worded once, with what suits them. Pure.

The alternative text follows W3C's "Images Tutorial" (WAI) and WCAG 2.2, success criterion 1.1.1.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UsageError
from ..frozen import frozen


@frozen
class Preset:
    """A question with a name; what is ``None`` is left to the settings.

    Attributes:
        prompt: with variables, see ``placeholders``.
        schema: the form of the answer: the short form, a file's name, or a JSON Schema.
        about: what it is for, in a few words.
        path: of the file that it stands in, beside which a file that ``schema`` names is looked for; ``None`` for our own.
    """

    name: str
    prompt: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    schema: str | Mapping[str, Any] | None = None
    about: str = ""
    path: Path | None = None


#: A transcript is the likeliest reading, never a variation.
_EXACT_TEMPERATURE = 0.0

_BUILT_IN_LIST = (
    Preset(
        "describe",
        "Describe this image in detail for someone who cannot see it. Begin with one sentence that says what it is and "
        "what it is about. Then go on in a few short paragraphs: the main subject and what it does, the surroundings, "
        "how things are placed to each other, colours and light, and any text, quoted as it stands there. Say only what "
        "can be seen. Where something is unclear, say so instead of guessing, and name no person unless a caption in the "
        "image does.",
        about="a full description, in a few paragraphs",
    ),
    Preset(
        "caption",
        "Write a caption for this image: one sentence of at most 25 words that says who or what is seen, what happens, and "
        "where. Be concrete, and state nothing that cannot be seen. Answer with the caption alone, without quotation marks.",
        about="one sentence, as under a picture in a newspaper",
    ),
    Preset(
        "alt",
        "Write alternative text for this image, as a screen reader will read it out in place of the image. Say what "
        "matters about it to someone who reads the page: its subject and the point it makes, not every detail. If the "
        "image is mostly text, give that text. If it is a button, an icon or a link, say what it does. Use at most 125 "
        'characters, in one line of plain text. Do not begin with "image of", "picture of" or "photo of". Answer with '
        "that text alone: no quotation marks, no label, no Markdown.",
        about="alternative text by W3C's guidance, at most 125 characters",
    ),
    Preset(
        "ocr",
        "Transcribe all text in this image exactly as it is written. Keep the language, the spelling with its mistakes, "
        "capitals, punctuation, and the line breaks. Go in reading order; where there are columns, one after the other, with "
        "an empty line between blocks. Put [illegible] for what cannot be read; never guess, complete, correct or "
        "translate. Answer with the text alone: no comment, no heading, no code fence. If there is no text at all, answer "
        "[no text].",
        temperature=_EXACT_TEMPERATURE,
        about="all text, verbatim, with its line breaks",
    ),
    Preset(
        "tags",
        "List tags for this image, for a search in a photo archive: from 5 to 15, the most telling first. Cover the "
        "subject, objects, place, activity, mood, colours and style, as far as they can be seen. Each is in lower case, in "
        "English, in the singular, of one or two words, and said only once.",
        temperature=_EXACT_TEMPERATURE,
        schema="tags [string]",
        about="5 to 15 keywords, as JSON",
    ),
    Preset(
        "table",
        "Read the table in this image, cell by cell. Give its headings as columns, from left to right, and every row from top "
        "to bottom, with exactly as many cells as there are columns. Copy each cell exactly as it is written, with units and "
        "signs; an empty cell is an empty string. Repeat the content of a merged cell in each place it covers. Where there "
        "are no headings, number the columns. Leave no row out and invent none.",
        temperature=_EXACT_TEMPERATURE,
        schema="title? string: as written above or below the table, columns [string], rows [[string]]",
        about="a table, as JSON with columns and rows",
    ),
    Preset(
        "chart",
        "Read the chart in this image. Give its title, its kind, both axes with their labels and units, and every series with "
        "all of its points, from left to right, x as it is written at the axis. Take a value from its label where there is one, "
        "else estimate it against the axis as exactly as you can; it is null where it cannot be told. A chart without names of "
        "series has one, called like what is shown. Then say in one sentence what the chart shows.",
        temperature=_EXACT_TEMPERATURE,
        schema="""
            title?
            type (bar|line|area|pie|scatter|histogram|box|heatmap|other)
            x_axis {label?, unit?}
            y_axis {label?, unit?}
            series [{name, points [{x string, y? number}]}]
            estimated bool: whether values were estimated against the axis
            summary
        """,
        about="a chart's kind, axes and data points, as JSON",
    ),
    Preset(
        "ui",
        "Look at this screenshot of a user interface as a tester would. Say what kind of screen it is, which application as "
        "far as that can be seen, and what it is for. List every element that can be used or read, from top to bottom and "
        "from left to right: its role, its text exactly as written, its state, and where on the screen it is. Quote errors and "
        "warnings. Report only what can be seen.",
        schema="""
            kind string: "such as login form, settings, list, dialog or error page"
            application?
            purpose
            elements [{
                role (button|link|input|checkbox|radio|switch|menu|tab|heading|text|image|icon|list|table|dialog|other)
                text?
                state? string: "such as disabled, checked, selected or focused"
                place string: such as top left
            }]
            messages [string]: errors and warnings as they are worded
        """,
        about="a screenshot's elements, as JSON",
    ),
    Preset(
        "json",
        "Describe this image as data. State only what can be seen: count carefully, quote text as it stands there, and use "
        "null or an empty list for what is not there.",
        schema="""
            title string: at most 8 words
            summary string: two or three sentences
            kind (photo|screenshot|document|chart|diagram|map|drawing|painting|render|other)
            objects [{name, count int, details?}]
            people int: how many can be seen
            text [string]: every text in the image as it is written
            setting? string: where it is
            indoors? bool
            colors [string]: "the main ones, by plain names"
            mood?
            tags [string]
        """,
        about="a general description, as JSON",
    ),
)
BUILT_IN_PRESETS = {preset.name: preset for preset in _BUILT_IN_LIST}
#: What a preset of the user's may set.
PRESET_KEYS = tuple(field.name for field in fields(Preset) if field.name not in {"name", "path"})
#: Where the user's are, when nobody says.
_DEFAULT_PATH = Path("config.toml")


def list_names(user: Mapping[str, object]) -> list[str]:
    """All presets there are, the built-in ones first."""
    return [*BUILT_IN_PRESETS, *(name for name in user if name not in BUILT_IN_PRESETS)]


def resolve_all(user: Mapping[str, object], path: Path = _DEFAULT_PATH) -> tuple[dict[str, Preset], list[ConfigError]]:
    """All presets by name, the user's laid over the built-in ones; and what is wrong with those that cannot be used."""
    found, wrong = dict(BUILT_IN_PRESETS), []
    for name in user:
        try:
            found[name] = find(name, user, path)
        except ConfigError as error:
            found.pop(name, None)
            wrong.append(error)
    return found, wrong


def merge_with_built_in(name: str, overrides: object, path: Path = _DEFAULT_PATH) -> Preset:
    """A preset of the user's laid over the built-in one of its name, key by key; its prompt may still be missing.

    An empty text takes a key out of a built-in one.

    Raises:
        ConfigError: it cannot be used, with the key that is wrong.
    """
    at = f"{path}: presets.{name}"
    if not isinstance(overrides, Mapping):
        raise ConfigError(f"{at} is no table", hint=f'For example: [presets.{name}] and prompt = "…"')
    for key, value in overrides.items():
        if key not in PRESET_KEYS:
            meant = difflib.get_close_matches(key, PRESET_KEYS, n=1)
            hint = f"Did you mean {meant[0]}?" if meant else f"There are: {', '.join(PRESET_KEYS)}"
            raise ConfigError(f"{at} has no key {key!r}", hint=hint)
        if not _is_valid_value(key, value):
            raise ConfigError(f"{at}.{key} cannot be {value!r}", hint=_EXPECTED_VALUES.get(key, "It is a text."))
    base = BUILT_IN_PRESETS.get(name, Preset(name, ""))
    values: dict[str, Any] = {key: None if value == "" else value for key, value in overrides.items()}
    made = replace(base, **values, path=path if "schema" in overrides else base.path)
    is_told = bool(overrides.get("about")) or "prompt" not in overrides
    return made if is_told and made.about else replace(made, about=_shorten(made.prompt or ""))


_EXPECTED_VALUES = {
    "max_tokens": "It is a whole number from 1.",
    "temperature": "It is a number from 0.",
    "top_p": "It is a number from 0 to 1.",
    "schema": "It is a text or a table.",
}


def _is_valid_value(key: str, value: object) -> bool:
    match key, value:
        case _, bool():
            return False
        case "max_tokens", int():
            return value >= 1
        case "temperature", int() | float():
            return value >= 0 and math.isfinite(value)
        case "top_p", int() | float():
            return 0 <= value <= 1
        case "schema", str() | Mapping():
            return True
        case _:
            return isinstance(value, str) and key not in _EXPECTED_VALUES


def _shorten(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 60 else line[:59] + "…"


def find(name: str, user: Mapping[str, object], path: Path = _DEFAULT_PATH) -> Preset:
    """The preset of a name.

    Raises:
        UsageError: there is none, with those that there are.
        ConfigError: it is the user's, and cannot be used.
    """
    if name in user:
        found = merge_with_built_in(name, user[name], path)
        if not found.prompt:
            raise ConfigError(f"{path}: presets.{name} has no prompt", hint='It needs at least: prompt = "…"')
        return found
    if name not in BUILT_IN_PRESETS:
        raise UsageError(f"there is no preset {name!r}", hint=hint_for_unknown(name, user), code="no_such_preset")
    return BUILT_IN_PRESETS[name]


def hint_for_unknown(name: str, user: Mapping[str, object]) -> str:
    """A hint for a name that no preset has."""
    there = list_names(user)
    close = difflib.get_close_matches(name.lower(), there, n=1)
    return (f"Did you mean {close[0]}? " if close else "") + f"There are: {', '.join(there)}"
