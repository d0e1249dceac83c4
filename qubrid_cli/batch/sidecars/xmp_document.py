"""Locate the properties in an XMP file, so that one can be changed while all other bytes stay as they are.

A file with a document type is refused, because it can declare entities: one line of them can expand to gigabytes.

Source: XMP specification part 1 (ISO 16684-1), 7; XML 1.0, 4.3.3 and appendix F (encodings).
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

RDF_NAMESPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DEFAULT_LANGUAGE = "x-default"
#: A character that XML cannot contain, between the namespace and the name of an element.
SEPARATOR = "\x1f"

_RDF_RDF = f"{RDF_NAMESPACE}{SEPARATOR}RDF"
_RDF_DESCRIPTION = f"{RDF_NAMESPACE}{SEPARATOR}Description"
_RDF_LI = f"{RDF_NAMESPACE}{SEPARATOR}li"
_RDF_ABOUT = f"{RDF_NAMESPACE}{SEPARATOR}about"
_CONTAINERS = {f"{RDF_NAMESPACE}{SEPARATOR}{name}" for name in ("Alt", "Bag", "Seq")}
_XML_LANG = f"http://www.w3.org/XML/1998/namespace{SEPARATOR}lang"

_XML_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
_TAG_NAME = re.compile(rb"</?([^\s/>]+)")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"']+)\s*=\s*("[^"]*"|'[^']*')""")
_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)""")
#: The longer marks come first, because they begin like shorter ones.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}


class NotXmpError(Exception):
    """The file is not XMP, or cannot be changed safely; the text is the end of a sentence."""


@dataclass(slots=True)
class Element:
    """An element in the file: its offsets, those of its content, and for properties and items all text in it.

    Attributes:
        content_end: the offset of its end tag; -1 if it has none, because it is empty.
    """

    start: int
    content_start: int
    content_end: int = -1
    end: int = -1
    text: str = ""


@dataclass(slots=True)
class ContainerItem(Element):
    """An item of a container; ``language`` is empty if it has none."""

    language: str = ""


@dataclass(slots=True)
class PropertyValue(Element):
    """A property in the file: an element, or an attribute of a description.

    Attributes:
        container: an ``rdf:Alt``, ``rdf:Bag`` or ``rdf:Seq`` with an end tag, if the property has one.
        items: the items of the container.
        prefix: the prefix of RDF there, with its colon.
    """

    container: Element | None = None
    items: list[ContainerItem] = field(default_factory=list)
    prefix: str = ""

    @property
    def default_text(self) -> str:
        """The text for readers that do not ask for a language; all texts if none is marked as the default."""
        return next((item.text for item in self.items if item.language.lower() == DEFAULT_LANGUAGE), self.text)


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes to replace."""

    start: int
    end: int
    replacement: str = ""


class XmpDocument:
    """An XMP file and its properties.

    Attributes:
        values: by the namespace and the name of the property.

    Raises:
        NotXmpError: it is not XMP.
    """

    def __init__(self, data: bytes) -> None:
        self._bom, self._encoding, self._data = _decode(data)
        self.values: defaultdict[str, list[PropertyValue]] = defaultdict(list)
        self._about = ""
        #: The end tags of ``rdf:RDF`` and of the first ``rdf:Description`` that has one, or an ``rdf:RDF`` without one.
        self._rdf_end = self._description_end = -1
        self._empty_rdf: Element | None = None
        self._open_names: list[str] = []
        self._open_elements: list[Element | None] = []
        self._parser = expat.ParserCreate("utf-8", SEPARATOR)  # whatever encoding the file declares: it is decoded
        self._parser.ordered_attributes = True
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._on_doctype
        self._parser.StartElementHandler = self._on_start_tag
        self._parser.EndElementHandler = self._on_end_tag
        self._parser.CharacterDataHandler = self._on_text
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            raise NotXmpError(f"is not XML: {error}") from error
        if self._rdf_end < 0 and self._empty_rdf is None:
            raise NotXmpError("is not XMP: it has no rdf:RDF")

    def change(self, edits: Iterable[Edit], block: str) -> bytes:
        """Return the file after some edits, with new properties at the end of its first description."""
        changes = list(edits)
        if block:
            head = f'<rdf:Description xmlns:rdf="{RDF_NAMESPACE}" rdf:about={quoteattr(self._about)}>\n'
            description = f"{head}{block}</rdf:Description>\n"
            if self._description_end >= 0:
                changes.append(Edit(self._description_end, self._description_end, block))
            elif self._empty_rdf is None:
                changes.append(Edit(self._rdf_end, self._rdf_end, description))
            else:
                end = self._empty_rdf.content_start
                changes.append(Edit(end - 2, end, f">\n{description}</{self._read_name(self._empty_rdf.start)}>"))
        data = self._data
        for edit in sorted(changes, key=lambda edit: (edit.start, edit.end), reverse=True):
            data = data[: edit.start] + edit.replacement.encode() + data[edit.end :]
        return self._bom + data.decode().encode(self._encoding, "xmlcharrefreplace")

    def cut(self, value: Element) -> Edit:
        """Return the edit that removes an element with the line break after it, or an attribute and the space before it."""
        is_element = self._data.startswith(b"<", value.start)
        return Edit(value.start, value.end + (is_element and self._data.startswith(b"\n", value.end)))

    def read_whitespace_before(self, offset: int) -> str:
        """Return the whitespace before an offset."""
        before = self._data[:offset]
        return before[len(before.rstrip()) :].decode()

    def _read_name(self, offset: int) -> str:
        name = _TAG_NAME.match(self._data, offset)
        assert name
        return name[1].decode()

    def _on_doctype(self, *_: object) -> NoReturn:
        raise NotXmpError("has a document type, which could contain harmful entities")

    def _on_start_tag(self, name: str, attributes: list[str]) -> None:
        start = self._parser.CurrentByteIndex
        tag = _XML_TAG.match(self._data, start)
        assert tag
        by_name = dict(zip(attributes[::2], attributes[1::2], strict=True))
        grandparent, parent = [None, None, *self._open_elements][-2:]
        element: Element | None = None
        if self._open_names[-2:] == [_RDF_RDF, _RDF_DESCRIPTION]:
            element = PropertyValue(start, tag.end())
            self.values[name].append(element)
        elif self._open_names[-1:] == [_RDF_RDF] and name == _RDF_DESCRIPTION:
            self._about = by_name.get(_RDF_ABOUT, self._about)
            self._add_attributes(tag, attributes)
            element = Element(start, tag.end())
        elif name == _RDF_RDF:
            element = Element(start, tag.end())
        elif isinstance(parent, PropertyValue) and name in _CONTAINERS:
            element = parent.container = Element(start, tag.end())
            prefix, colon, _ = self._read_name(start).rpartition(":")
            parent.prefix = prefix + colon
        elif isinstance(grandparent, PropertyValue) and name == _RDF_LI:
            element = ContainerItem(start, tag.end(), language=by_name.get(_XML_LANG, ""))
            if grandparent.container is parent:
                grandparent.items.append(element)
        self._open_names.append(name)
        self._open_elements.append(element)

    def _add_attributes(self, tag: re.Match[bytes], attributes: list[str]) -> None:
        """Add the properties that are attributes of a description.

        The parser does not report the declarations of namespaces, so these are skipped.
        """
        name_end = len(self._read_name(tag.start()).encode()) + 1
        spans = [match for match in _ATTRIBUTE.finditer(tag[0], name_end) if not re.match(rb"xmlns(:|$)", match[1])]
        for match, name, text in zip(spans, attributes[::2], attributes[1::2], strict=True):
            start, end = (tag.start() + offset for offset in match.span())
            self.values[name].append(PropertyValue(start, end, end=end, text=text))

    def _on_end_tag(self, name: str) -> None:
        self._open_names.pop()
        element = self._open_elements.pop()
        if element is None:
            return
        if self._data.startswith(b"/>", element.content_start - 2):
            element.end = element.content_start
        else:
            tag = _XML_TAG.match(self._data, self._parser.CurrentByteIndex)
            assert tag
            element.content_end, element.end = tag.span()
        if isinstance(element, PropertyValue) and element.container and element.container.content_end < 0:
            element.container = None
        if name == _RDF_DESCRIPTION and type(element) is Element and self._description_end < 0:
            self._description_end = element.content_end
        elif name == _RDF_RDF and self._rdf_end < 0 and self._empty_rdf is None:
            self._rdf_end = element.content_end
            self._empty_rdf = element if element.content_end < 0 else None

    def _on_text(self, text: str) -> None:
        for element in self._open_elements:
            if isinstance(element, PropertyValue | ContainerItem):
                element.text += text


def _decode(data: bytes) -> tuple[bytes, str, bytes]:
    """Decode a file; return its byte order mark, its encoding, and the rest as UTF-8.

    Raises:
        NotXmpError: it cannot be decoded so that encoding it again gives the same bytes.
    """
    bom = next((mark for mark in _BYTE_ORDER_MARKS if data.startswith(mark)), b"")
    body = data.removeprefix(bom)
    if bom:
        encoding = _BYTE_ORDER_MARKS[bom]
    elif body.startswith((b"<\0", b"\0<")):
        encoding = "utf-16-le" if body.startswith(b"<\0") else "utf-16-be"
    else:
        declared = _DECLARED_ENCODING.match(body)
        encoding = declared[1].decode() if declared else "utf-8"
    try:
        text = body.decode(encoding)
        if text.encode(encoding) == body:
            return bom, encoding, text.encode()
    except (LookupError, ValueError):
        pass
    raise NotXmpError(f"is not XML: it cannot be read as {encoding}")
