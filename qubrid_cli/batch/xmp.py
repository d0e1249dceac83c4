"""Write metadata about an image into an XMP file, keeping every other byte of it.

The file is not parsed and written anew: our properties are located and cut out, and new ones are inserted as a block. Of
a text in several languages, only the default (``x-default``) is ours; the others are kept.

A file with a document type is refused, and with it every entity: one line of them can expand to gigabytes.

Source: XMP specification part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2021.1, "Alt Text (Accessibility)".
"""

import codecs
import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from ..frozen import frozen


class _Form(Enum):
    """How a property holds its texts."""

    TEXT = auto()
    LANGUAGES = auto()
    BAG = auto()


@frozen
class _Property:
    """A property of an image in XMP."""

    namespace: str
    prefix: str
    name: str
    form: _Form

    @property
    def expanded_name(self) -> str:
        """The name as the parser reports it."""
        return f"{self.namespace} {self.name}"

    @property
    def qualified_name(self) -> str:
        """The name with its usual prefix."""
        return f"{self.prefix}:{self.name}"

    def digest(self, text: str) -> str:
        """Digest the property with this text, ignoring whitespace, which other programs may change."""
        letters = "".join(_ILLEGAL_CHARACTERS.sub("", text).split())
        return hashlib.sha256(f"{self.name} {letters}".encode()).hexdigest()[:24]

    def encode(self, texts: tuple[str, ...], other_languages: Sequence[tuple[str, str]] = ()) -> str:
        """Encode the property as XML, with texts in other languages after the default one."""
        clean = [escape(_ILLEGAL_CHARACTERS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))) for text in texts]
        match self.form:
            case _Form.TEXT:
                content = clean[0]
            case _Form.LANGUAGES:
                languages = [(_DEFAULT_LANGUAGE, clean[0]), *((name, escape(text)) for name, text in other_languages)]
                items = "".join(f"<rdf:li xml:lang={quoteattr(name)}>{text}</rdf:li>" for name, text in languages)
                content = f'<rdf:Alt xmlns:rdf="{_RDF_NAMESPACE}">{items}</rdf:Alt>'
            case _Form.BAG:
                items = "".join(f"<rdf:li>{text}</rdf:li>" for text in clean)
                content = f'<rdf:Bag xmlns:rdf="{_RDF_NAMESPACE}">{items}</rdf:Bag>'
        name = self.qualified_name
        return f'<{name} xmlns:{self.prefix}="{self.namespace}">{content}</{name}>\n'


_RDF_NAMESPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC_NAMESPACE = "http://purl.org/dc/elements/1.1/"
_IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_RDF_RDF = f"{_RDF_NAMESPACE} RDF"
_RDF_DESCRIPTION = f"{_RDF_NAMESPACE} Description"
_XML_LANG = "http://www.w3.org/XML/1998/namespace lang"
_DEFAULT_LANGUAGE = "x-default"

_DESCRIPTION = _Property(_DC_NAMESPACE, "dc", "description", _Form.LANGUAGES)
_ALT_TEXT = _Property(_IPTC_NAMESPACE, "Iptc4xmpCore", "AltTextAccessibility", _Form.LANGUAGES)
_TAGS = _Property(_DC_NAMESPACE, "dc", "subject", _Form.BAG)
#: Digests of the properties that were written here. A property without one was written or changed by another program.
_MARK = _Property("urn:qvision:xmp:1#", "qvision", "WrittenByQvision", _Form.TEXT)
_MARK_ATTRIBUTE = re.compile(rb"""\s[^\s<>=:]+:WrittenByQvision\s*=\s*("[^"]*"|'[^']*')""")

#: Characters that XML cannot contain in any notation (XML 1.0, 2.2).
_ILLEGAL_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_EMPTY_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF_NAMESPACE}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


class NotXmpError(Exception):
    """The file is not XMP, or cannot be changed safely; the text is the end of a sentence."""


class PropertyExistsError(Exception):
    """The file has a value that was not written here; the text names the property."""

    def __init__(self, name: str, *, is_tags: bool) -> None:
        super().__init__(name)
        self.is_tags = is_tags


@frozen
class XmpMetadata:
    """What to write about an image.

    Attributes:
        description: for ``dc:description``.
        alt_text: for ``Iptc4xmpCore:AltTextAccessibility``; ``None`` leaves that property alone.
        tags: for ``dc:subject``; none leave that property alone.
    """

    description: str
    alt_text: str | None = None
    tags: tuple[str, ...] = ()

    def texts_by_property(self) -> dict[_Property, tuple[str, ...]]:
        """The properties to write, each with its texts."""
        alt_text = {} if self.alt_text is None else {_ALT_TEXT: (self.alt_text,)}
        return {_DESCRIPTION: (self.description,)} | alt_text | ({_TAGS: self.tags} if self.tags else {})


def merge(existing: bytes | None, metadata: XmpMetadata, *, force: bool = False) -> bytes:
    """Return an XMP file with this metadata and everything else of an existing file.

    Args:
        force: also replace properties that were not written here.

    Raises:
        NotXmpError: the existing file cannot be read or changed.
        PropertyExistsError: it has one of the properties, which was not written here.
    """
    bom = codecs.BOM_UTF8 if existing and existing.startswith(codecs.BOM_UTF8) else b""
    document = _Document(existing.removeprefix(bom) if existing and existing.strip() else _EMPTY_XMP)
    texts = metadata.texts_by_property()
    for xmp_property in texts:
        if xmp_property.expanded_name in document.attributes:
            raise NotXmpError(f"has {xmp_property.qualified_name} in a form that cannot be replaced")
        if not force and not document.marks.issuperset(document.digests(xmp_property)):
            raise PropertyExistsError(xmp_property.qualified_name, is_tags=xmp_property is _TAGS)
    untouched = {_DESCRIPTION, _ALT_TEXT, _TAGS} - texts.keys()
    marks = {digest for xmp_property in untouched for digest in document.digests(xmp_property)} & document.marks
    marks |= {xmp_property.digest("".join(values)) for xmp_property, values in texts.items()}
    block = "".join(
        xmp_property.encode(values, document.other_languages(xmp_property)) for xmp_property, values in texts.items()
    )
    block += _MARK.encode((" ".join(sorted(marks)),))
    return bom + document.replace([*texts, _MARK], block)


@dataclass(slots=True)
class _Element:
    """A property in the file: its start and end, its text, and its texts by language."""

    start: int
    end: int = 0
    text: str = ""
    languages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def default_text(self) -> str:
        """The text for readers that ask for no language; all of it if no language is marked as the default."""
        return next((text for name, text in self.languages if name.lower() == _DEFAULT_LANGUAGE), self.text)


class _Document:
    """An XMP file, with the byte offsets at which it is changed.

    Raises:
        NotXmpError: it is not XMP, or not UTF-8.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.about = ""
        self.elements: defaultdict[str, list[_Element]] = defaultdict(list)
        self.attributes: dict[str, tuple[int, str]] = {}
        #: The end tags of ``rdf:RDF`` and of the first ``rdf:Description`` that has one.
        self.rdf_end = self.description_end = -1
        self._open_tags: list[str] = []
        self._open_property: _Element | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.XmlDeclHandler = self._on_declaration
        self._parser.StartDoctypeDeclHandler = self._on_doctype
        self._parser.StartElementHandler = self._on_start_tag
        self._parser.EndElementHandler = self._on_end_tag
        self._parser.CharacterDataHandler = self._on_text
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise NotXmpError(f"is not XML: {error}") from error
        if self.rdf_end < 0:
            raise NotXmpError("is not XMP: it has no rdf:RDF")
        marks = [element.text for element in self.elements[_MARK.expanded_name]]
        #: The digests of the properties that were written here.
        self.marks = {*" ".join(marks).split(), *self.attributes.get(_MARK.expanded_name, (0, ""))[1].split()}

    def digests(self, xmp_property: _Property) -> set[str]:
        """The digests of all values of a property."""
        return {xmp_property.digest(element.default_text) for element in self.elements[xmp_property.expanded_name]}

    def other_languages(self, xmp_property: _Property) -> list[tuple[str, str]]:
        """The texts of a property in languages other than the default one."""
        elements = self.elements[xmp_property.expanded_name]
        return [pair for element in elements for pair in element.languages if pair[0].lower() != _DEFAULT_LANGUAGE]

    def replace(self, properties: Sequence[_Property], block: str) -> bytes:
        """Return the file without some properties, and with new ones at the end of its first description."""
        names = [xmp_property.expanded_name for xmp_property in properties]
        cuts = [(element.start, element.end, "") for name in names for element in self.elements[name]]
        if self.description_end >= 0:
            cuts.append((self.description_end, self.description_end, block))
        else:
            head = f'<rdf:Description xmlns:rdf="{_RDF_NAMESPACE}" rdf:about={quoteattr(self.about)}>\n'
            cuts.append((self.rdf_end, self.rdf_end, f"{head}{block}</rdf:Description>\n"))
        if _MARK.expanded_name in self.attributes:
            offset, _ = self.attributes[_MARK.expanded_name]
            if attribute := _MARK_ATTRIBUTE.search(self.data, offset):
                cuts.append((*attribute.span(), ""))
        data = self.data
        for start, end, replacement in sorted(cuts, reverse=True):
            rest = data[end:].removeprefix(b"\n") if end > start else data[end:]
            data = data[:start] + replacement.encode() + rest
        return data

    def _on_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in {"utf-8", "us-ascii"}:
            raise NotXmpError(f"is not UTF-8 but {encoding}")

    def _on_doctype(self, *_: object) -> NoReturn:
        raise NotXmpError("has a document type, which could contain harmful entities")

    def _on_start_tag(self, name: str, attributes: dict[str, str]) -> None:
        offset = self._parser.CurrentByteIndex
        if self._open_tags[-2:] == [_RDF_RDF, _RDF_DESCRIPTION]:
            self._open_property = _Element(offset)
            self.elements[name].append(self._open_property)
        elif name == _RDF_DESCRIPTION and self._open_tags[-1:] == [_RDF_RDF]:
            self.about = attributes.get(f"{_RDF_NAMESPACE} about", self.about)
            self.attributes |= {attribute: (offset, value) for attribute, value in attributes.items()}
        elif self._open_property is not None and _XML_LANG in attributes:
            self._open_property.languages.append((attributes[_XML_LANG], ""))
        self._open_tags.append(name)

    def _on_end_tag(self, name: str) -> None:
        self._open_tags.pop()
        offset = self._parser.CurrentByteIndex
        has_end_tag = self.data.startswith(b"</", offset)
        if self._open_tags[-2:] == [_RDF_RDF, _RDF_DESCRIPTION] and self._open_property is not None:
            tag = _XML_TAG.match(self.data, offset)
            assert tag
            self._open_property.end, self._open_property = tag.end(), None
        elif name == _RDF_DESCRIPTION and self._open_tags[-1:] == [_RDF_RDF]:
            if has_end_tag and self.description_end < 0:
                self.description_end = offset
        elif name == _RDF_RDF and self.rdf_end < 0:
            if not has_end_tag:
                raise NotXmpError("has an empty rdf:RDF")
            self.rdf_end = offset

    def _on_text(self, text: str) -> None:
        if self._open_property is not None:
            self._open_property.text += text
            if self._open_property.languages and self._open_tags[-1] == f"{_RDF_NAMESPACE} li":
                language, before = self._open_property.languages[-1]
                self._open_property.languages[-1] = language, before + text
