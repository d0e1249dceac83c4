"""What an XMP file says about an image: added to what stands in it, of which every other byte stays. Pure.

The file is not parsed and written anew: the places of our properties are found, cut out, and new ones put in as a block
of their own. Of a text in several languages only that for all of them (``x-default``) is ours; the others are kept.
"""

# MERGED DOCSTRING of qubrid_cli.packet: What is found in an XMP file, each property with its place in it. Pure. A document type is refused, and with it every entity: one line of them can swell to gigabytes. Source: XMP specification part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2021.1, "Alt Text (Accessibility)".

import codecs
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from ..frozen import frozen

RDF_NAMESPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC_NAMESPACE = "http://purl.org/dc/elements/1.1/"
_IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
#: What no XML holds, however it is written (XML 1.0, 2.2).
ILLEGAL_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NotXmpError(Exception):
    """What is there is no XMP, or none that can be kept; the text is the end of a sentence."""


class ValueForm(Enum):
    """How a property has its texts: one, one a language, or a heap."""

    TEXT = auto()
    LANGUAGES = auto()
    BAG = auto()


@frozen
class XmpProperty:
    """A kind of statement that a file makes."""

    namespace: str
    prefix: str
    name: str
    form: ValueForm

    @property
    def expanded_name(self) -> str:
        """The name as the parser has it."""
        return f"{self.namespace} {self.name}"


DESCRIPTION = XmpProperty(_DC_NAMESPACE, "dc", "description", ValueForm.LANGUAGES)
ALT_TEXT = XmpProperty(_IPTC_NAMESPACE, "Iptc4xmpCore", "AltTextAccessibility", ValueForm.LANGUAGES)
TAGS = XmpProperty(_DC_NAMESPACE, "dc", "subject", ValueForm.BAG)
PROPERTIES = (DESCRIPTION, ALT_TEXT, TAGS)
#: Ours: digests of the properties that were written here, so that what a person wrote or changed is told apart.
MARK = XmpProperty("urn:qvision:xmp:1#", "qvision", "WrittenByQvision", ValueForm.TEXT)
_XML_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_RDF_RDF = f"{RDF_NAMESPACE} RDF"
_RDF_DESCRIPTION = f"{RDF_NAMESPACE} Description"
_XML_LANG = "http://www.w3.org/XML/1998/namespace lang"
DEFAULT_LANGUAGE = "x-default"


@dataclass(slots=True)
class PropertyElement:
    """A property that is there: from where to where, its text, and that of its alternatives by their languages."""

    start: int
    end: int = 0
    text: str = ""
    languages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def default_text(self) -> str:
        """What it says to whoever asks for no language: all, where nothing is marked so."""
        return next((text for language, text in self.languages if language.lower() == DEFAULT_LANGUAGE), self.text)

    @property
    def other_languages(self) -> list[tuple[str, str]]:
        """What it says in certain languages; that is never ours."""
        return [one for one in self.languages if one[0].lower() != DEFAULT_LANGUAGE]


class XmpDocument:
    """An XMP file, with the places that matter.

    Raises:
        NotXmpError: it is none, or its text is not UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.about = ""
        self.elements: dict[str, list[PropertyElement]] = {}
        self.attributes: dict[str, tuple[int, str]] = {}
        #: The end tags of ``rdf:RDF`` and of the first ``rdf:Description`` that has one.
        self.rdf_end = self.description_end = -1
        self._open_tags: list[str] = []
        self._open_property: PropertyElement | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.XmlDeclHandler = self._on_declaration
        self._parser.StartDoctypeDeclHandler = self._on_doctype
        self._parser.StartElementHandler = self._on_start_tag
        self._parser.EndElementHandler = self._on_end_tag
        self._parser.CharacterDataHandler = self._on_text
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise NotXmpError(f"is no XML: {error}") from error
        if self.rdf_end < 0:
            raise NotXmpError("is no XMP, for it has no rdf:RDF")

    @property
    def marks(self) -> set[str]:
        """The digests of what was written here."""
        marks = {mark for element in self.elements.get(MARK.expanded_name, []) for mark in element.text.split()}
        return marks | set(self.attributes.get(MARK.expanded_name, (0, ""))[1].split())

    def is_ours(self, xmp_property: XmpProperty) -> bool:
        """Whether all that it says of the kind is as it was written here."""
        elements = self.elements.get(xmp_property.expanded_name, [])
        return all(digest_property(xmp_property, element.default_text) in self.marks for element in elements)

    def other_languages(self, xmp_property: XmpProperty) -> list[tuple[str, str]]:
        """What a property says in certain languages."""
        return [
            other for element in self.elements.get(xmp_property.expanded_name, []) for other in element.other_languages
        ]

    def _on_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in {"utf-8", "us-ascii"}:
            raise NotXmpError(f"is not UTF-8 but {encoding}")

    def _on_doctype(self, *_: object) -> NoReturn:
        raise NotXmpError("has a document type, and entities may hide in that")

    def _on_start_tag(self, name: str, attributes: dict[str, str]) -> None:
        place = self._parser.CurrentByteIndex
        if self._open_tags[-2:] == [_RDF_RDF, _RDF_DESCRIPTION]:
            self._open_property = PropertyElement(place)
            self.elements.setdefault(name, []).append(self._open_property)
        elif name == _RDF_DESCRIPTION and self._open_tags[-1:] == [_RDF_RDF]:
            self.about = attributes.get(f"{RDF_NAMESPACE} about", self.about)
            self.attributes |= {kind: (place, value) for kind, value in attributes.items()}
        elif self._open_property is not None and _XML_LANG in attributes:
            self._open_property.languages.append((attributes[_XML_LANG], ""))
        self._open_tags.append(name)

    def _on_end_tag(self, name: str) -> None:
        self._open_tags.pop()
        place = self._parser.CurrentByteIndex
        has_end_tag = self.data[place : place + 2] == b"</"
        if self._open_tags[-2:] == [_RDF_RDF, _RDF_DESCRIPTION] and self._open_property is not None:
            self._open_property.end, self._open_property = self._find_tag_end(place), None
        elif (
            name == _RDF_DESCRIPTION and self._open_tags[-1:] == [_RDF_RDF] and has_end_tag and self.description_end < 0
        ):
            self.description_end = place
        elif name == _RDF_RDF and self.rdf_end < 0:
            if not has_end_tag:
                raise NotXmpError("has an rdf:RDF with nothing in it")
            self.rdf_end = place

    def _on_text(self, text: str) -> None:
        if self._open_property is not None:
            self._open_property.text += text
            if self._open_property.languages and self._open_tags[-1] == f"{RDF_NAMESPACE} li":
                language, before = self._open_property.languages[-1]
                self._open_property.languages[-1] = language, before + text

    def _find_tag_end(self, tag_start: int) -> int:
        """The end of the tag that begins at a place."""
        found = _XML_TAG.match(self.data, tag_start)
        assert found
        return found.end()


def digest_property(xmp_property: XmpProperty, text: str) -> str:
    """A digest of a property, whatever blanks another program has put in between."""
    letters = "".join(ILLEGAL_CHARACTERS.sub("", text).split())
    return hashlib.sha256(f"{xmp_property.name} {letters}".encode()).hexdigest()[:24]


_MARK_ATTRIBUTE = re.compile(rb"""\s[^\s<>=:]+:WrittenByQvision\s*=\s*("[^"]*"|'[^']*')""")
_EMPTY_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{RDF_NAMESPACE}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


class PropertyExistsError(Exception):
    """What is there says something else, and somebody else has written it; the text names the property."""

    def __init__(self, name: str, *, is_tags: bool) -> None:
        super().__init__(name)
        self.is_tags = is_tags


@frozen
class XmpMetadata:
    """What is said about an image.

    Attributes:
        description: for ``dc:description``.
        alt_text: for ``Iptc4xmpCore:AltTextAccessibility``, where it is meant to stand in for the image.
        tags: for ``dc:subject``.
    """

    description: str
    alt_text: str | None = None
    tags: tuple[str, ...] = ()

    def texts_by_property(self) -> dict[XmpProperty, tuple[str, ...]]:
        """The properties, each with its texts."""
        alt = {} if self.alt_text is None else {ALT_TEXT: (self.alt_text,)}
        return {DESCRIPTION: (self.description,)} | alt | ({TAGS: self.tags} if self.tags else {})


def merge(existing: bytes | None, metadata: XmpMetadata, *, force: bool = False) -> bytes:
    """An XMP file that says this, and all else that an existing one says.

    Args:
        force: also in the place of what somebody else has said.

    Raises:
        NotXmpError: what exists cannot be read, or cannot be kept.
        OccupiedError: it says something of the kind already, which was not written here.
    """
    bom = codecs.BOM_UTF8 if existing and existing.startswith(codecs.BOM_UTF8) else b""
    document = XmpDocument(existing.removeprefix(bom) if existing and existing.strip() else _EMPTY_XMP)
    values = metadata.texts_by_property()
    for one in values:
        if one.expanded_name in document.attributes:
            raise NotXmpError(f"has {one.prefix}:{one.name} in a form that cannot be replaced")
        if not force and not document.is_ours(one):
            raise PropertyExistsError(f"{one.prefix}:{one.name}", is_tags=one is TAGS)
    kept = {
        digest_property(one, element.default_text)
        for one in PROPERTIES
        if one not in values
        for element in document.elements.get(one.expanded_name, [])
    }
    marks = {digest_property(one, "".join(texts)) for one, texts in values.items()} | kept & document.marks
    new = [_format_property(one, texts, document.other_languages(one)) for one, texts in values.items()]
    new.append(_format_property(MARK, (" ".join(sorted(marks)),)))
    return bom + _replace_properties(document, {one.expanded_name for one in (*values, MARK)}, "".join(new))


def _replace_properties(document: XmpDocument, names: set[str], new_block: str) -> bytes:
    """The file without some properties, and with new ones where the first description ends."""
    data = document.data
    cuts = [(one.start, one.end, b"") for name in names for one in document.elements.get(name, [])]
    if document.description_end >= 0:
        cuts.append((document.description_end, document.description_end, new_block.encode()))
    else:
        head = f'<rdf:Description xmlns:rdf="{RDF_NAMESPACE}" rdf:about={quoteattr(document.about)}>\n'
        block = f"{head}{new_block}</rdf:Description>\n"
        cuts.append((document.rdf_end, document.rdf_end, block.encode()))
    if MARK.expanded_name in document.attributes:
        place, _ = document.attributes[MARK.expanded_name]
        if found := _MARK_ATTRIBUTE.search(data, place):
            cuts.append((*found.span(), b""))
    for start, end, instead in sorted(cuts, reverse=True):
        stop = end + 1 if end > start and data[end : end + 1] == b"\n" else end
        data = data[:start] + instead + data[stop:]
    return data


def _format_property(
    xmp_property: XmpProperty, texts: tuple[str, ...], other_languages: Sequence[tuple[str, str]] = ()
) -> str:
    """A property as XML; ``others`` is what it says in certain languages, behind the one that is meant for all."""
    clean = [escape(ILLEGAL_CHARACTERS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))) for text in texts]
    match xmp_property.form:
        case ValueForm.TEXT:
            inner = clean[0]
        case ValueForm.LANGUAGES:
            said = f'<rdf:li xml:lang="{DEFAULT_LANGUAGE}">{clean[0]}</rdf:li>'
            said += "".join(
                f"<rdf:li xml:lang={quoteattr(name)}>{escape(text)}</rdf:li>" for name, text in other_languages
            )
            inner = f'<rdf:Alt xmlns:rdf="{RDF_NAMESPACE}">{said}</rdf:Alt>'
        case ValueForm.BAG:
            items = "".join(f"<rdf:li>{text}</rdf:li>" for text in clean)
            inner = f'<rdf:Bag xmlns:rdf="{RDF_NAMESPACE}">{items}</rdf:Bag>'
    return f'<{xmp_property.prefix}:{xmp_property.name} xmlns:{xmp_property.prefix}="{xmp_property.namespace}">{inner}</{xmp_property.prefix}:{xmp_property.name}>\n'
