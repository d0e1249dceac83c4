"""Write the fields of an image into an XMP file, and keep all other bytes of the file.

Of a text in several languages, only the default (``x-default``) is written; the others are kept. Only keywords that this
program wrote are ever removed.

Source: XMP specification part 1 (ISO 16684-1), 7; IPTC Photo Metadata Standard 2021.1, "Alt Text (Accessibility)".
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from xml.sax.saxutils import escape

from ...frozen import frozen
from .captions import PhotoField, PhotoTexts
from .choice import ExistingPolicy
from .xmp_document import DEFAULT_LANGUAGE, RDF_NAMESPACE, SEPARATOR, ContainerItem, Edit, PropertyValue, XmpDocument

_DC_NAMESPACE = "http://purl.org/dc/elements/1.1/"
_IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"


@frozen
class _Property:
    """A property of an image in XMP."""

    namespace: str
    prefix: str
    name: str

    @property
    def expanded_name(self) -> str:
        """The name as the parser reports it."""
        return f"{self.namespace}{SEPARATOR}{self.name}"

    @property
    def qualified_name(self) -> str:
        """The name with its usual prefix."""
        return f"{self.prefix}:{self.name}"

    def digest(self, text: str) -> str:
        """Digest the property with this text, ignoring whitespace, which other programs may change."""
        letters = "".join(_ILLEGAL_CHARACTERS.sub("", text).split())
        return hashlib.sha256(f"{self.name} {letters}".encode()).hexdigest()[:24]

    def encode(self, content: str) -> str:
        """Encode the property as XML."""
        name = self.qualified_name
        return f'<{name} xmlns:{self.prefix}="{self.namespace}">{content}</{name}>\n'


_PROPERTIES = {
    PhotoField.TITLE: _Property(_DC_NAMESPACE, "dc", "title"),
    PhotoField.DESCRIPTION: _Property(_DC_NAMESPACE, "dc", "description"),
    PhotoField.ALT: _Property(_IPTC_NAMESPACE, "Iptc4xmpCore", "AltTextAccessibility"),
    PhotoField.KEYWORDS: _Property(_DC_NAMESPACE, "dc", "subject"),
}
#: A property of our own. It has the names of the properties that this program wrote, and the digests of their texts, one
#: for each keyword. A text whose digest is missing was written or changed by another program.
_MARK = _Property("urn:qvision:xmp:1#", "qvision", "WrittenByQvision")
#: Characters that XML cannot contain in any notation (XML 1.0, 2.2).
_ILLEGAL_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EMPTY_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{RDF_NAMESPACE}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
).encode()


class PropertyExistsError(Exception):
    """The file has a text that this program did not write; the message names the property."""


class XmpFile:
    """An XMP file, or a new one.

    Args:
        data: of the existing file; ``None`` or blank for a new one.

    Raises:
        NotXmpError: it is not XMP, or cannot be changed.
    """

    def __init__(self, data: bytes | None) -> None:
        self._document = XmpDocument(data if data and data.strip() else _EMPTY_XMP)
        self._marks = {mark for value in self._document.values[_MARK.expanded_name] for mark in value.text.split()}

    def has_all(self, fields: Iterable[PhotoField]) -> bool:
        """Whether each field has a text, or was written by this program; keywords of other origin do not count."""
        return all(
            _PROPERTIES[photo_field].qualified_name in self._marks
            or (self._has_own_keywords() if photo_field is PhotoField.KEYWORDS else self._has_text(photo_field))
            for photo_field in fields
        )

    def check(self, fields: Iterable[PhotoField]) -> None:
        """Check that no text of other origin would be replaced; keywords are merged instead.

        Raises:
            PropertyExistsError: a field has such a text.
        """
        for photo_field in fields:
            if photo_field is not PhotoField.KEYWORDS and not self._is_ours(photo_field):
                raise PropertyExistsError(_PROPERTIES[photo_field].qualified_name)

    def merge(self, texts: PhotoTexts, *, fields: Collection[PhotoField], existing: ExistingPolicy) -> bytes:
        """Return the file with these texts.

        Args:
            fields: all that the answer might have filled; those that it left empty are recorded as written too.
            existing: what to do with texts that exist. Only a description is ever appended to.

        Raises:
            PropertyExistsError: with ``FAIL``, a field has a text of other origin.
        """
        if existing is ExistingPolicy.FAIL:
            self.check(texts)
        changes = [self._change(photo_field, values, existing) for photo_field, values in texts.items()]
        edits = [edit for change in changes for edit in change.edits]
        block = "".join(change.block for change in changes)
        marks = self._marks.union(*(change.marks for change in changes))
        marks |= {_PROPERTIES[photo_field].qualified_name for photo_field in {*fields, *texts}}
        marks -= {mark for change in changes for mark in change.removed_marks - change.marks}
        old_values, mark = self._document.values[_MARK.expanded_name], " ".join(sorted(marks))
        if [value.text for value in old_values] != [mark]:
            edits += map(self._document.cut, old_values)
            block += _MARK.encode(mark)
        return self._document.change(edits, block)

    def _change(self, photo_field: PhotoField, texts: Sequence[str], existing: ExistingPolicy) -> "_Change":
        if photo_field is PhotoField.KEYWORDS:
            return self._merge_keywords(texts)
        if self._has_text(photo_field):
            if existing is ExistingPolicy.SKIP:
                return _Change()
            if existing is ExistingPolicy.APPEND:
                return self._append_text(texts[0]) if photo_field is PhotoField.DESCRIPTION else _Change()
        return self._replace_text(photo_field, texts[0])

    def _get_values(self, photo_field: PhotoField) -> list[PropertyValue]:
        return self._document.values[_PROPERTIES[photo_field].expanded_name]

    def _has_text(self, photo_field: PhotoField) -> bool:
        return any(value.default_text.strip() for value in self._get_values(photo_field))

    def _digest_all(self, photo_field: PhotoField) -> set[str]:
        """The digests of all texts of a field."""
        digest = _PROPERTIES[photo_field].digest
        return {digest(value.default_text) for value in self._get_values(photo_field) if value.default_text.strip()}

    def _is_ours(self, photo_field: PhotoField) -> bool:
        """Whether a field has no text of other origin."""
        return self._digest_all(photo_field) <= self._marks

    def _has_own_keywords(self) -> bool:
        return any(self._is_own_keyword(value, item) for value, item in self._iterate_keywords())

    def _replace_text(self, photo_field: PhotoField, text: str) -> "_Change":
        """Write the text for the default language."""
        values, xmp_property = self._get_values(photo_field), _PROPERTIES[photo_field]
        removed_marks, marks = frozenset(self._digest_all(photo_field)), frozenset({xmp_property.digest(text)})
        edits = [self._document.cut(value) for value in values[1:]]
        container = values[0].container if values else None
        if container is None:
            edits += map(self._document.cut, values[:1])
            new_item = _encode_item(text, "rdf:", DEFAULT_LANGUAGE)
            block = xmp_property.encode(f'<rdf:Alt xmlns:rdf="{RDF_NAMESPACE}">{new_item}</rdf:Alt>')
            return _Change(edits, block, marks, removed_marks)
        item = _find_default(values[0])
        if item is None:
            new_item = _encode_item(text, values[0].prefix, DEFAULT_LANGUAGE)
            edits.append(Edit(container.content_start, container.content_start, new_item))
        elif item.language and item.content_end >= 0:
            edits.append(Edit(item.content_start, item.content_end, _encode_text(text)))
        else:
            edits.append(Edit(item.start, item.end, _encode_item(text, values[0].prefix, DEFAULT_LANGUAGE)))
        return _Change(edits, "", marks, removed_marks)

    def _append_text(self, text: str) -> "_Change":
        """Append a text to the description, unless it contains the text."""
        value = next(value for value in self._get_values(PhotoField.DESCRIPTION) if value.default_text.strip())
        if "".join(text.split()) in "".join(value.default_text.split()):
            return _Change()
        item = _find_default(value)
        if value.container is not None and item is None:  # it has only other languages
            return self._replace_text(PhotoField.DESCRIPTION, text)
        is_ours, combined = self._is_ours(PhotoField.DESCRIPTION), f"{value.default_text.rstrip()}\n{text}"
        if item is None or item.content_end < 0 or not item.language:
            change = self._replace_text(PhotoField.DESCRIPTION, combined)
        else:
            marks = frozenset({_PROPERTIES[PhotoField.DESCRIPTION].digest(combined)})
            change = _Change([Edit(item.content_end, item.content_end, f"\n{_encode_text(text)}")], "", marks)
        return change if is_ours else replace(change, marks=frozenset())

    def _iterate_keywords(self) -> Iterator[tuple[PropertyValue, ContainerItem]]:
        for value in self._get_values(PhotoField.KEYWORDS):
            if value.container is not None:
                yield from ((value, item) for item in value.items)

    def _is_own_keyword(self, value: PropertyValue, item: ContainerItem) -> bool:
        """Whether this program wrote a keyword; earlier versions wrote one digest of all keywords."""
        digest = _PROPERTIES[PhotoField.KEYWORDS].digest
        return digest(item.text) in self._marks or digest(value.text) in self._marks

    def _merge_keywords(self, keywords: Sequence[str]) -> "_Change":
        """Replace the keywords that this program wrote, and keep all others."""
        values, xmp_property = self._get_values(PhotoField.KEYWORDS), _PROPERTIES[PhotoField.KEYWORDS]
        own_items = [item for value, item in self._iterate_keywords() if self._is_own_keyword(value, item)]
        plain_values = [value for value in values if value.container is None and value.text.strip()]
        foreign_texts = [item.text.strip() for _, item in self._iterate_keywords() if item not in own_items]
        foreign_texts += [value.text.strip() for value in plain_values]
        foreign_keys = {text.casefold() for text in foreign_texts}
        new_texts = [text for text in keywords if text.casefold() not in foreign_keys]
        removed_marks = frozenset(xmp_property.digest(text.text) for text in (*own_items, *values))
        marks = frozenset(map(xmp_property.digest, new_texts))
        target = next((value for value in values if value.container is not None), None)
        if target is None or target.container is None:
            if not new_texts:
                return _Change()
            items = "".join(_encode_item(text, "rdf:") for text in (*foreign_texts, *new_texts))
            block = xmp_property.encode(f'<rdf:Bag xmlns:rdf="{RDF_NAMESPACE}">{items}</rdf:Bag>')
            return _Change([self._document.cut(value) for value in values], block, marks, removed_marks)
        read_whitespace = self._document.read_whitespace_before
        edits = [Edit(item.start - len(read_whitespace(item.start)), item.end) for item in own_items]
        end = target.items[-1].end if target.items else target.container.content_start
        space = read_whitespace(target.items[0].start) if target.items else ""
        new_items = "".join(f"{space}{_encode_item(text, target.prefix)}" for text in new_texts)
        return _Change([*edits, Edit(end, end, new_items)], "", marks, removed_marks)


@frozen
class _Change:
    """What changes in a file.

    Attributes:
        block: new properties.
        marks: digests of what is written.
        removed_marks: digests of what is replaced.
    """

    edits: Sequence[Edit] = ()
    block: str = ""
    marks: frozenset[str] = frozenset()
    removed_marks: frozenset[str] = frozenset()


def _find_default(value: PropertyValue) -> ContainerItem | None:
    """Find the item for readers that do not ask for a language."""
    marked = (item for item in value.items if item.language.lower() == DEFAULT_LANGUAGE)
    without_language = (item for item in value.items if not item.language)
    return next(chain(marked, without_language), None)


def _encode_text(text: str) -> str:
    return escape(_ILLEGAL_CHARACTERS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def _encode_item(text: str, prefix: str, language: str = "") -> str:
    attribute = f' xml:lang="{language}"' if language else ""
    return f"<{prefix}li{attribute}>{_encode_text(text)}</{prefix}li>"
