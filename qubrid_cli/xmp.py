"""What an XMP file says about an image: added to what stands in it, of which every other byte stays. Pure.

The file is not parsed and written anew: the places of our properties are found, cut out, and new ones put in as a block
of their own. Of a text in several languages only that for all of them (``x-default``) is ours; the others are kept.
"""

import codecs
import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from .frozen import frozen
from .packet import (
    ALT,
    DEFAULT,
    DESCRIPTION,
    ILLEGAL,
    MARK,
    PROPERTIES,
    RDF,
    TAGS,
    Document,
    Form,
    NotXmpError,
    Property,
    digest,
)

_MARK_ATTRIBUTE = re.compile(rb"""\s[^\s<>=:]+:WrittenByQvision\s*=\s*("[^"]*"|'[^']*')""")
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


class OccupiedError(Exception):
    """What is there says something else, and somebody else has written it; the text names the property."""

    def __init__(self, name: str, *, is_tags: bool) -> None:
        super().__init__(name)
        self.is_tags = is_tags


@frozen
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

    def values(self) -> dict[Property, tuple[str, ...]]:
        """The properties, each with its texts."""
        alt = {} if self.alt is None else {ALT: (self.alt,)}
        return {DESCRIPTION: (self.description,)} | alt | ({TAGS: self.tags} if self.tags else {})


def merged(existing: bytes | None, statement: Statement, *, force: bool = False) -> bytes:
    """An XMP file that says this, and all else that an existing one says.

    Args:
        force: also in the place of what somebody else has said.

    Raises:
        NotXmpError: what exists cannot be read, or cannot be kept.
        OccupiedError: it says something of the kind already, which was not written here.
    """
    bom = codecs.BOM_UTF8 if existing and existing.startswith(codecs.BOM_UTF8) else b""
    document = Document(existing.removeprefix(bom) if existing and existing.strip() else _EMPTY)
    values = statement.values()
    for one in values:
        if one.expanded in document.attributes:
            raise NotXmpError(f"has {one.prefix}:{one.name} in a form that cannot be replaced")
        if not force and not document.is_ours(one):
            raise OccupiedError(f"{one.prefix}:{one.name}", is_tags=one is TAGS)
    kept = {
        digest(one, element.default)
        for one in PROPERTIES
        if one not in values
        for element in document.elements.get(one.expanded, [])
    }
    marks = {digest(one, "".join(texts)) for one, texts in values.items()} | kept & document.marks
    new = [_written(one, texts, document.others(one)) for one, texts in values.items()]
    new.append(_written(MARK, (" ".join(sorted(marks)),)))
    return bom + _replaced(document, {one.expanded for one in (*values, MARK)}, "".join(new))


def _replaced(document: Document, names: set[str], new: str) -> bytes:
    """The file without some properties, and with new ones where the first description ends."""
    data = document.data
    cuts = [(one.start, one.end, b"") for name in names for one in document.elements.get(name, [])]
    if document.description_end >= 0:
        cuts.append((document.description_end, document.description_end, new.encode()))
    else:
        head = f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(document.about)}>\n'
        block = f"{head}{new}</rdf:Description>\n"
        cuts.append((document.rdf_end, document.rdf_end, block.encode()))
    if MARK.expanded in document.attributes:
        place, _ = document.attributes[MARK.expanded]
        if found := _MARK_ATTRIBUTE.search(data, place):
            cuts.append((*found.span(), b""))
    for start, end, instead in sorted(cuts, reverse=True):
        stop = end + 1 if end > start and data[end : end + 1] == b"\n" else end
        data = data[:start] + instead + data[stop:]
    return data


def _written(one: Property, texts: tuple[str, ...], others: Sequence[tuple[str, str]] = ()) -> str:
    """A property as XML; ``others`` is what it says in certain languages, behind the one that is meant for all."""
    clean = [escape(ILLEGAL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))) for text in texts]
    match one.form:
        case Form.TEXT:
            inner = clean[0]
        case Form.LANGUAGES:
            said = f'<rdf:li xml:lang="{DEFAULT}">{clean[0]}</rdf:li>'
            said += "".join(f"<rdf:li xml:lang={quoteattr(name)}>{escape(text)}</rdf:li>" for name, text in others)
            inner = f'<rdf:Alt xmlns:rdf="{RDF}">{said}</rdf:Alt>'
        case Form.BAG:
            items = "".join(f"<rdf:li>{text}</rdf:li>" for text in clean)
            inner = f'<rdf:Bag xmlns:rdf="{RDF}">{items}</rdf:Bag>'
    return f'<{one.prefix}:{one.name} xmlns:{one.prefix}="{one.namespace}">{inner}</{one.prefix}:{one.name}>\n'
