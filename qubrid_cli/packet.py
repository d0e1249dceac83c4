"""What is found in an XMP file, each property with its place in it. Pure.

A document type is refused, and with it every entity: one line of them can swell to gigabytes.

Source: XMP specification part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2021.1, "Alt Text (Accessibility)".
"""

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NoReturn
from xml.parsers import expat

from .frozen import frozen

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_IPTC = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
#: What no XML holds, however it is written (XML 1.0, 2.2).
ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NotXmpError(Exception):
    """What is there is no XMP, or none that can be kept; the text is the end of a sentence."""


class Form(Enum):
    """How a property has its texts: one, one a language, or a heap."""

    TEXT = auto()
    LANGUAGES = auto()
    BAG = auto()


@frozen
class Property:
    """A kind of statement that a file makes."""

    namespace: str
    prefix: str
    name: str
    form: Form

    @property
    def expanded(self) -> str:
        """The name as the parser has it."""
        return f"{self.namespace} {self.name}"


DESCRIPTION = Property(_DC, "dc", "description", Form.LANGUAGES)
ALT = Property(_IPTC, "Iptc4xmpCore", "AltTextAccessibility", Form.LANGUAGES)
TAGS = Property(_DC, "dc", "subject", Form.BAG)
PROPERTIES = (DESCRIPTION, ALT, TAGS)
#: Ours: digests of the properties that were written here, so that what a person wrote or changed is told apart.
MARK = Property("urn:qvision:xmp:1#", "qvision", "WrittenByQvision", Form.TEXT)
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_RDF_RDF = f"{RDF} RDF"
_RDF_DESCRIPTION = f"{RDF} Description"
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
DEFAULT = "x-default"


@dataclass(slots=True)
class Element:
    """A property that is there: from where to where, its text, and that of its alternatives by their languages."""

    start: int
    end: int = 0
    text: str = ""
    languages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def default(self) -> str:
        """What it says to whoever asks for no language: all, where nothing is marked so."""
        return next((text for language, text in self.languages if language.lower() == DEFAULT), self.text)

    @property
    def others(self) -> list[tuple[str, str]]:
        """What it says in certain languages; that is never ours."""
        return [one for one in self.languages if one[0].lower() != DEFAULT]


class Document:
    """An XMP file, with the places that matter.

    Raises:
        NotXmpError: it is none, or its text is not UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.about = ""
        self.elements: dict[str, list[Element]] = {}
        self.attributes: dict[str, tuple[int, str]] = {}
        #: The end tags of ``rdf:RDF`` and of the first ``rdf:Description`` that has one.
        self.rdf_end = self.description_end = -1
        self._path: list[str] = []
        self._open: Element | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.XmlDeclHandler = self._declared
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._started
        self._parser.EndElementHandler = self._ended
        self._parser.CharacterDataHandler = self._said
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise NotXmpError(f"is no XML: {error}") from error
        if self.rdf_end < 0:
            raise NotXmpError("is no XMP, for it has no rdf:RDF")

    @property
    def marks(self) -> set[str]:
        """The digests of what was written here."""
        marks = {mark for element in self.elements.get(MARK.expanded, []) for mark in element.text.split()}
        return marks | set(self.attributes.get(MARK.expanded, (0, ""))[1].split())

    def is_ours(self, one: Property) -> bool:
        """Whether all that it says of the kind is as it was written here."""
        elements = self.elements.get(one.expanded, [])
        return all(digest(one, element.default) in self.marks for element in elements)

    def others(self, one: Property) -> list[tuple[str, str]]:
        """What a property says in certain languages."""
        return [other for element in self.elements.get(one.expanded, []) for other in element.others]

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in {"utf-8", "us-ascii"}:
            raise NotXmpError(f"is not UTF-8 but {encoding}")

    def _doctype(self, *_: object) -> NoReturn:
        raise NotXmpError("has a document type, and entities may hide in that")

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        place = self._parser.CurrentByteIndex
        if self._path[-2:] == [_RDF_RDF, _RDF_DESCRIPTION]:
            self._open = Element(place)
            self.elements.setdefault(name, []).append(self._open)
        elif name == _RDF_DESCRIPTION and self._path[-1:] == [_RDF_RDF]:
            self.about = attributes.get(f"{RDF} about", self.about)
            self.attributes |= {kind: (place, value) for kind, value in attributes.items()}
        elif self._open is not None and _LANGUAGE in attributes:
            self._open.languages.append((attributes[_LANGUAGE], ""))
        self._path.append(name)

    def _ended(self, name: str) -> None:
        self._path.pop()
        place = self._parser.CurrentByteIndex
        has_end_tag = self.data[place : place + 2] == b"</"
        if self._path[-2:] == [_RDF_RDF, _RDF_DESCRIPTION] and self._open is not None:
            self._open.end, self._open = self._behind(place), None
        elif name == _RDF_DESCRIPTION and self._path[-1:] == [_RDF_RDF] and has_end_tag and self.description_end < 0:
            self.description_end = place
        elif name == _RDF_RDF and self.rdf_end < 0:
            if not has_end_tag:
                raise NotXmpError("has an rdf:RDF with nothing in it")
            self.rdf_end = place

    def _said(self, text: str) -> None:
        if self._open is not None:
            self._open.text += text
            if self._open.languages and self._path[-1] == f"{RDF} li":
                language, before = self._open.languages[-1]
                self._open.languages[-1] = language, before + text

    def _behind(self, place: int) -> int:
        """The end of the tag that begins at a place."""
        found = _TAG.match(self.data, place)
        assert found
        return found.end()


def digest(one: Property, text: str) -> str:
    """A digest of a property, whatever blanks another program has put in between."""
    letters = "".join(ILLEGAL.sub("", text).split())
    return hashlib.sha256(f"{one.name} {letters}".encode()).hexdigest()[:24]
