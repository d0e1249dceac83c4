"""What an XMP file says about an image: added to what stands in it, of which every other byte stays. Pure.

The file is not parsed and written anew: the places of our properties are found, cut out, and new ones put in as a block
of their own. A document type is refused, and with it every entity: one line of them can swell to gigabytes.

Source: XMP specification part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2021.1, "Alt Text (Accessibility)".
"""

import codecs
import hashlib
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_IPTC = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
#: What no XML holds, however it is written (XML 1.0, 2.2).
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


class NotXmpError(Exception):
    """What is there is no XMP, or none that can be kept; the text is the end of a sentence."""


class OccupiedError(Exception):
    """What is there says something else, and somebody else has written it; the text names the property."""

    def __init__(self, name: str, *, is_tags: bool) -> None:
        super().__init__(name)
        self.is_tags = is_tags


class _Form(Enum):
    TEXT = auto()
    LANGUAGES = auto()
    BAG = auto()


@dataclass(frozen=True, slots=True)
class _Property:
    namespace: str
    prefix: str
    name: str
    form: _Form

    @property
    def expanded(self) -> str:
        """The name as the parser has it."""
        return f"{self.namespace} {self.name}"


_DESCRIPTION = _Property(_DC, "dc", "description", _Form.LANGUAGES)
_ALT = _Property(_IPTC, "Iptc4xmpCore", "AltTextAccessibility", _Form.LANGUAGES)
_TAGS = _Property(_DC, "dc", "subject", _Form.BAG)
_PROPERTIES = (_DESCRIPTION, _ALT, _TAGS)
#: Ours: digests of the properties that were written here, so that what a person wrote or changed is told apart.
_MARK = _Property("urn:qvision:xmp:1#", "qvision", "WrittenByQvision", _Form.TEXT)
_MARK_ATTRIBUTE = re.compile(rb"""\s[^\s<>=:]+:WrittenByQvision\s*=\s*("[^"]*"|'[^']*')""")
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_RDF_RDF = f"{_RDF} RDF"
_RDF_DESCRIPTION = f"{_RDF} Description"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said about an image.

    Attributes:
        description: for ``dc:description``.
        alt: for ``Iptc4xmpCore:AltTextAccessibility``, where it is meant to stand in for the image.
        tags: for ``dc:subject``.
    """

    description: str
    alt: str | None = None
    tags: tuple[str, ...] = ()

    def values(self) -> dict[_Property, tuple[str, ...]]:
        """The properties, each with its texts."""
        alt = {} if self.alt is None else {_ALT: (self.alt,)}
        return {_DESCRIPTION: (self.description,)} | alt | ({_TAGS: self.tags} if self.tags else {})


@dataclass(slots=True)
class _Element:
    """A property that is there: from where to where, and its text."""

    start: int
    end: int = 0
    text: str = ""


class _Document:
    """An XMP file, with the places that matter.

    Raises:
        NotXmpError: it is none, or its text is not UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.about = ""
        self.elements: dict[str, list[_Element]] = {}
        self.attributes: dict[str, tuple[int, str]] = {}
        #: The end tags of ``rdf:RDF`` and of the first ``rdf:Description`` that has one.
        self.rdf_end = self.description_end = -1
        self._path: list[str] = []
        self._open: _Element | None = None
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
        marks = {mark for element in self.elements.get(_MARK.expanded, []) for mark in element.text.split()}
        return marks | set(self.attributes.get(_MARK.expanded, (0, ""))[1].split())

    def is_ours(self, one: _Property) -> bool:
        """Whether all that it says of the kind is as it was written here."""
        elements = self.elements.get(one.expanded, [])
        return all(_digest(one, element.text) in self.marks for element in elements)

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in {"utf-8", "us-ascii"}:
            raise NotXmpError(f"is not UTF-8 but {encoding}")

    def _doctype(self, *_: object) -> NoReturn:
        raise NotXmpError("has a document type, and entities may hide in that")

    def _started(self, name: str, attributes: dict[str, str]) -> None:
        place = self._parser.CurrentByteIndex
        if self._path[-2:] == [_RDF_RDF, _RDF_DESCRIPTION]:
            self._open = _Element(place)
            self.elements.setdefault(name, []).append(self._open)
        elif name == _RDF_DESCRIPTION and self._path[-1:] == [_RDF_RDF]:
            self.about = attributes.get(f"{_RDF} about", self.about)
            self.attributes |= {kind: (place, value) for kind, value in attributes.items()}
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

    def _behind(self, place: int) -> int:
        """The end of the tag that begins at a place."""
        found = _TAG.match(self.data, place)
        assert found
        return found.end()


def merged(existing: bytes | None, statement: Statement, *, force: bool = False) -> bytes:
    """An XMP file that says this, and all else that an existing one says.

    Args:
        force: also in the place of what somebody else has said.

    Raises:
        NotXmpError: what exists cannot be read, or cannot be kept.
        OccupiedError: it says something of the kind already, which was not written here.
    """
    bom = codecs.BOM_UTF8 if existing and existing.startswith(codecs.BOM_UTF8) else b""
    document = _Document(existing.removeprefix(bom) if existing and existing.strip() else _EMPTY)
    values = statement.values()
    for one in values:
        if one.expanded in document.attributes:
            raise NotXmpError(f"has {one.prefix}:{one.name} in a form that cannot be replaced")
        if not force and not document.is_ours(one):
            raise OccupiedError(f"{one.prefix}:{one.name}", is_tags=one is _TAGS)
    kept = {
        _digest(one, element.text)
        for one in _PROPERTIES
        if one not in values
        for element in document.elements.get(one.expanded, [])
    }
    marks = {_digest(one, "".join(texts)) for one, texts in values.items()} | kept & document.marks
    new = [_written(one, texts) for one, texts in values.items()] + [_written(_MARK, (" ".join(sorted(marks)),))]
    return bom + _replaced(document, {one.expanded for one in (*values, _MARK)}, "".join(new))


def _replaced(document: _Document, names: set[str], new: str) -> bytes:
    """The file without some properties, and with new ones where the first description ends."""
    data = document.data
    cuts = [(one.start, one.end, b"") for name in names for one in document.elements.get(name, [])]
    if document.description_end >= 0:
        cuts.append((document.description_end, document.description_end, new.encode()))
    else:
        head = f'<rdf:Description xmlns:rdf="{_RDF}" rdf:about={quoteattr(document.about)}>\n'
        block = f"{head}{new}</rdf:Description>\n"
        cuts.append((document.rdf_end, document.rdf_end, block.encode()))
    if _MARK.expanded in document.attributes:
        place, _ = document.attributes[_MARK.expanded]
        if found := _MARK_ATTRIBUTE.search(data, place):
            cuts.append((*found.span(), b""))
    for start, end, instead in sorted(cuts, reverse=True):
        stop = end + 1 if end > start and data[end : end + 1] == b"\n" else end
        data = data[:start] + instead + data[stop:]
    return data


def _written(one: _Property, texts: tuple[str, ...]) -> str:
    clean = [escape(_ILLEGAL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))) for text in texts]
    match one.form:
        case _Form.TEXT:
            inner = clean[0]
        case _Form.LANGUAGES:
            inner = f'<rdf:Alt xmlns:rdf="{_RDF}"><rdf:li xml:lang="x-default">{clean[0]}</rdf:li></rdf:Alt>'
        case _Form.BAG:
            items = "".join(f"<rdf:li>{text}</rdf:li>" for text in clean)
            inner = f'<rdf:Bag xmlns:rdf="{_RDF}">{items}</rdf:Bag>'
    return f'<{one.prefix}:{one.name} xmlns:{one.prefix}="{one.namespace}">{inner}</{one.prefix}:{one.name}>\n'


def _digest(one: _Property, text: str) -> str:
    """A digest of a property, whatever blanks another program has put in between."""
    letters = "".join(_ILLEGAL.sub("", text).split())
    return hashlib.sha256(f"{one.name} {letters}".encode()).hexdigest()[:24]
