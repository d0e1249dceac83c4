"""XMP files: what is written into them, and that everything else stays byte for byte."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.batch.sidecars.captions import PhotoField, PhotoTexts
from qubrid_cli.batch.sidecars.choice import ExistingPolicy
from qubrid_cli.batch.sidecars.xmp import PropertyExistsError, XmpFile
from qubrid_cli.batch.sidecars.xmp_document import NotXmpError

TITLE, DESCRIPTION, ALT, KEYWORDS = PhotoField
FAIL, SKIP, APPEND, REPLACE = (
    ExistingPolicy.FAIL,
    ExistingPolicy.SKIP,
    ExistingPolicy.APPEND,
    ExistingPolicy.REPLACE,
)
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
NAMES = {
    f"{DC}title": TITLE,
    f"{DC}description": DESCRIPTION,
    "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility": ALT,
    f"{DC}subject": KEYWORDS,
}
HARD = "A <b>\"light\"</b> & 'house' – é🎉 ]]>\nsecond line"
ALL: PhotoTexts = {TITLE: ("T",), DESCRIPTION: ("D",), ALT: ("A",), KEYWORDS: ("sea", "boat")}


def merge(
    existing: bytes | None,
    texts: PhotoTexts,
    policy: ExistingPolicy = FAIL,
    fields: Collection[PhotoField] | None = None,
) -> bytes:
    return XmpFile(existing).merge(texts, fields=texts if fields is None else fields, existing=policy)


def describe(text: str) -> PhotoTexts:
    return {DESCRIPTION: (text,)}


def read(data: bytes) -> dict[PhotoField, list[str | None]]:
    """The fields of an XMP file, read by an XML parser."""
    (rdf,) = [one for one in ET.fromstring(data).iter() if one.tag == f"{RDF}RDF"]
    found = {NAMES[one.tag]: one for block in rdf for one in block if one.tag in NAMES}
    return {name: [item.text for item in one.iter(f"{RDF}li")] for name, one in found.items()}


# What is written


def test_each_field_has_its_property() -> None:
    texts = {TITLE: (HARD,), DESCRIPTION: (HARD,), ALT: (HARD,), KEYWORDS: ("sea", "<light>")}
    assert read(merge(None, texts)) == {name: list(values) for name, values in texts.items()}


@given(st.text(st.characters()))
def test_any_answer_becomes_valid_xml(text: str) -> None:
    """All characters that XML allows come back; the others are left out."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    clean = "".join(
        c for c in plain if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
    )
    found = read(merge(None, dict.fromkeys(PhotoField, (text,))))
    assert {item or "" for items in found.values() for item in items} == {clean}


@pytest.mark.parametrize("text", [HARD, "plain", " é "])
def test_exiftool_reads_each_field(tmp_path: Path, text: str) -> None:
    """exiftool, where it is installed, reads the same as an XML parser."""
    path = tmp_path / "photo.jpg.xmp"
    path.write_bytes(merge(None, {TITLE: (text,), DESCRIPTION: (text,), ALT: (text,), KEYWORDS: (text, "sea")}))
    names = {"Title": TITLE, "Description": DESCRIPTION, "AltTextAccessibility": ALT, "Subject": KEYWORDS}
    parsed = read(path.read_bytes())
    found: dict[str, object] = {name: parsed[key] if key is KEYWORDS else parsed[key][0] for name, key in names.items()}
    if exiftool := shutil.which("exiftool"):
        done = subprocess.run(
            [exiftool, "-j", *(f"-{name}" for name in names), path], capture_output=True, check=True, timeout=60
        )
        (told,) = json.loads(done.stdout)
        assert told.keys() - {"SourceFile"} == names.keys()
        found = {name: told[name] for name in names}
    flat = [str(item).strip() for value in found.values() for item in (value if isinstance(value, list) else [value])]
    assert flat == [text.strip()] * 4 + ["sea"]


# Our own texts


@pytest.mark.parametrize("policy", ExistingPolicy)
def test_writing_the_same_again_changes_nothing(policy: ExistingPolicy) -> None:
    once = merge(None, ALL)
    assert merge(once, ALL, policy) == once


@pytest.mark.parametrize("policy", [FAIL, REPLACE])
def test_writing_something_else_replaces_ours(policy: ExistingPolicy) -> None:
    other: PhotoTexts = {TITLE: ("T2",), DESCRIPTION: ("D2",), ALT: ("A2",), KEYWORDS: ("boat", "cat")}
    assert merge(merge(None, ALL), other, policy) == merge(None, other)


def test_what_one_answer_lacks_stays_ours() -> None:
    without = merge(merge(None, ALL), describe("D2"))
    assert read(without) == read(merge(None, {**ALL, **describe("D2")}))
    assert read(merge(without, {KEYWORDS: ("cat",)}))[KEYWORDS] == ["cat"]


def test_a_caption_never_touches_keywords_nor_keywords_a_caption() -> None:
    assert read(merge(merge(None, describe("D")), {KEYWORDS: ("sea",)})) == {DESCRIPTION: ["D"], KEYWORDS: ["sea"]}
    assert read(merge(None, {KEYWORDS: ("sea",)})) == {KEYWORDS: ["sea"]}


def test_keywords_that_an_earlier_version_wrote_together_are_ours() -> None:
    """It had one digest for all keywords, and named no properties."""
    digest = hashlib.sha256(b"subject seaboat").hexdigest()[:24].encode()
    old = re.sub(rb">[^<>]+</qvision:", rb">%s</qvision:" % digest, merge(None, {KEYWORDS: ("sea", "boat")}))
    assert read(merge(old, {KEYWORDS: ("cat",)}))[KEYWORDS] == ["cat"]


def test_a_mark_that_another_program_turned_into_an_attribute_is_read() -> None:
    ours = merge(None, describe("A dog.")).decode()
    start, end = ours.index("<qvision:"), ours.index("</rdf:Description>")
    digests = ET.fromstring(ours[start:end]).text
    attribute = f'<rdf:Description xmlns:qvision="urn:qvision:xmp:1#"\nqvision:WrittenByQvision="{digests}"\n'
    theirs = (ours[:start] + ours[end:]).replace("<rdf:Description ", attribute)
    again = merge(theirs.encode(), describe("A cat.")).decode()
    assert again.count("WrittenByQvision") == 2
    assert merge(again.encode(), describe("A cow.")).count(b"A cow.") == 1


# Foreign files

FOREIGN = """\ufeff<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<!-- made by hand: > " ' -->
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk="a > b">
 <r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
  <r:Description r:about='uuid:é' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='4'/>
  %s
 </r:RDF>
</x:xmpmeta>
<?xpacket end='w'?>
"""
OWN = "<r:Description r:about='uuid:é' xmlns:d='http://purl.org/dc/elements/1.1/'>%s</r:Description>"
GERMAN_TITLE = (
    "<d:title><r:Alt><r:li xml:lang='de'>é &amp; &#x41; <![CDATA[<x>]]></r:li></r:Alt></d:title><!-- kept --><?kept?>"
)


@pytest.mark.parametrize(
    "inside",
    [
        "",
        OWN % GERMAN_TITLE,
        f"{OWN % GERMAN_TITLE}\n{OWN % GERMAN_TITLE}",
        OWN % "",
        "<r:Description/>",
        OWN % "<d:x/>",
    ],
)
def test_everything_else_stays_byte_for_byte(inside: str) -> None:
    before = (FOREIGN % inside).encode()
    after = merge(before, describe(HARD))
    assert read(after)[DESCRIPTION] == [HARD]
    same = next(place for place, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
    assert after.endswith(before[same:])
    abouts = {one.get(f"{RDF}about") for one in ET.fromstring(after).iter(f"{RDF}Description")}
    assert abouts <= {"uuid:é", None}


def test_a_file_does_not_grow_with_every_run() -> None:
    first = merge((FOREIGN % (OWN % GERMAN_TITLE)).encode(), {**describe("A dog."), ALT: ("A dog.",)})
    again = merge(first, {**describe("A cat."), ALT: ("A cat.",)})
    assert again.replace(b"A cat.", b"A dog.").count(b"A dog.") == 2
    assert len(again) == len(first)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("declaration", ["", "<?xml version='1.0' encoding='UTF-16'?>\n"])
def test_the_encoding_of_a_file_stays(encoding: str, declaration: str) -> None:
    if declaration and not encoding.startswith("utf-16"):
        return
    before = (declaration + FOREIGN[1:] % (OWN % GERMAN_TITLE)).encode(encoding)
    after = merge(before, ALL, REPLACE)
    assert read(after.decode(encoding).removeprefix(declaration).encode()) == {
        TITLE: ["T", "é & A <x>"],
        DESCRIPTION: ["D"],
        ALT: ["A"],
        KEYWORDS: ["sea", "boat"],
    }
    assert after.startswith(before[:60])
    assert merge(after, ALL) == after


@pytest.mark.parametrize("encoding", ["us-ascii", "iso-8859-1", "windows-1252"])
def test_characters_that_an_encoding_lacks_are_written_as_references(encoding: str) -> None:
    declaration = f"<?xml version='1.0' encoding='{encoding}'?>"
    before = (declaration + FOREIGN[1:].replace("\ufeff", "").replace("é", "e") % "").encode(encoding)
    after = merge(before, describe("é🎉"))
    assert read(after) == {DESCRIPTION: ["é🎉"]}


def test_an_empty_rdf_is_filled() -> None:
    after = merge(b"<a:b xmlns:a='adobe:ns:meta/'><r:RDF xmlns:r='%s' /></a:b>" % RDF[1:-1].encode(), describe(HARD))
    assert read(after) == {DESCRIPTION: [HARD]}
    assert after.endswith(b"</r:RDF></a:b>")


# Texts of other origin, in every form: item, plain element, attribute

MINE = {
    "languages": "<d:description><r:Alt>\n<r:li xml:lang='X-Default'>Mine &#33;</r:li></r:Alt></d:description>",
    "no language": "<d:description><r:Alt><r:li>Mine &#33;</r:li></r:Alt></d:description>",
    "a sequence": "<d:description><r:Seq><r:li>Mine &#33;</r:li></r:Seq></d:description>",
    "plain": "<d:description>Mine &#33;</d:description>",
    "nested": "<d:description r:parseType='Resource'><r:value>Mine &#33;</r:value></d:description>",
    "twice": "<d:description>Mine &#33;</d:description><d:description>Mine &#33;</d:description>",
}
ATTRIBUTE = """<r:Description r:about='' xmlns:d='http://purl.org/dc/elements/1.1/' xmlns:q='urn:q' q:a='d:description="x"'
 d:description = 'Mine &#33;'
 q:b=">"/>"""


@pytest.mark.parametrize("inside", [*(OWN % inside for inside in MINE.values()), ATTRIBUTE], ids=[*MINE, "attribute"])
def test_a_text_of_other_origin_is_changed_only_as_the_policy_says(inside: str) -> None:
    before = (FOREIGN % inside).encode()
    with pytest.raises(PropertyExistsError, match="dc:description"):
        XmpFile(before).check([DESCRIPTION])
    with pytest.raises(PropertyExistsError):
        merge(before, describe("Ours."))
    assert XmpFile(before).has_all([DESCRIPTION])
    kept = merge(before, {**describe("Ours."), TITLE: ("T",)}, SKIP)
    assert inside.removesuffix("</r:Description>").encode() in kept
    assert read(kept)[TITLE] == ["T"]
    replaced = merge(before, describe("Ours."), REPLACE)
    assert read(replaced)[DESCRIPTION] == ["Ours."]
    assert b"Mine" not in replaced
    appended = merge(before, describe("Ours."), APPEND)
    assert read(appended)[DESCRIPTION] == ["Mine !\nOurs."]
    assert merge(appended, describe("Ours."), APPEND) == appended
    with pytest.raises(PropertyExistsError):
        merge(appended, describe("Other."))


def test_only_a_description_is_appended_to() -> None:
    before = (FOREIGN % (OWN % "<d:title>Mine</d:title>")).encode()
    assert b"<d:title>Mine</d:title>" in merge(before, ALL, APPEND)


@pytest.mark.parametrize("blank", ["<d:description/>", "<d:description> </d:description>"])
def test_a_blank_text_is_filled(blank: str) -> None:
    assert read(merge((FOREIGN % (OWN % blank)).encode(), describe("Ours.")))[DESCRIPTION] == ["Ours."]


GERMAN = "<d:description><r:Alt>%s<r:li xml:lang='de'>Mit &lt;Meer&gt;</r:li>\n<r:li xml:lang='fr'>M&#101;r</r:li></r:Alt></d:description>"


@pytest.mark.parametrize("default", ["<r:li xml:lang='x-default'>Sea</r:li>", "<r:li xml:lang='x-default'/>", ""])
@pytest.mark.parametrize("policy", [REPLACE, APPEND])
def test_texts_in_other_languages_stay(default: str, policy: ExistingPolicy) -> None:
    before = (FOREIGN % (OWN % (GERMAN % default))).encode()
    once = merge(before, describe("Ours."), policy)
    others = (GERMAN % "|").partition("|")[2].encode()
    assert others in once
    text = "Sea\nOurs." if policy is APPEND and "Sea" in default else "Ours."
    assert read(once)[DESCRIPTION] == [text, "Mit <Meer>", "Mer"]
    assert others in merge(once, describe("Again."), REPLACE)


def test_our_description_stays_ours_when_a_person_adds_a_language() -> None:
    data = merge(None, describe("A dog."))
    data = data.replace(b"A dog.</rdf:li>", b"A dog.</rdf:li><rdf:li xml:lang='de'>Hund</rdf:li>")
    assert read(merge(data, describe("A cat."))) == {DESCRIPTION: ["A cat.", "Hund"]}


def test_a_description_that_a_person_corrected_is_theirs() -> None:
    data = merge(None, describe("A dog.")).replace(b"A dog.", b"Our dog Rex.")
    with pytest.raises(PropertyExistsError):
        XmpFile(data).check([DESCRIPTION])


# Keywords

BAG = "<d:subject>\n <r:Bag>\n  <r:li>Mine</r:li>\n  <r:li>M&#38;Y</r:li>\n </r:Bag>\n</d:subject>"


@pytest.mark.parametrize(
    ("inside", "keywords"),
    [
        (OWN % BAG, ["Mine", "M&Y"]),
        (OWN % BAG.replace("Bag", "Seq"), ["Mine", "M&Y"]),
        (OWN % "<d:subject>Mine</d:subject>", ["Mine"]),
        (OWN % "<d:subject><r:Bag/></d:subject>", []),
        (OWN % "<d:subject/>", []),
        (ATTRIBUTE.replace("description =", "subject ="), ["Mine !"]),
    ],
)
@pytest.mark.parametrize("policy", ExistingPolicy)
def test_keywords_are_merged_with_those_of_other_origin(
    inside: str, keywords: list[str], policy: ExistingPolicy
) -> None:
    before = (FOREIGN % inside).encode()
    once = merge(before, {KEYWORDS: ("mine", "sea", "boat")}, policy)
    new = ["sea", "boat"] if "Mine" in keywords else ["mine", "sea", "boat"]
    assert read(once)[KEYWORDS] == [*keywords, *new]
    assert merge(once, {KEYWORDS: ("mine", "sea", "boat")}, policy) == once
    again = merge(once, {KEYWORDS: ("cat",)}, policy)
    assert read(again)[KEYWORDS] == [*keywords, "cat"]
    if "Bag>" in inside or "Seq>" in inside:
        assert before.partition(b"\n </r:")[0] in again


def test_a_keyword_that_a_person_removed_does_not_bring_the_others_into_doubt() -> None:
    data = merge((FOREIGN % (OWN % BAG)).encode(), {KEYWORDS: ("sea", "boat")}).replace(b"<r:li>sea</r:li>", b"")
    assert read(merge(data, {KEYWORDS: ("cat",)}))[KEYWORDS] == ["Mine", "M&Y", "cat"]


# Whether there is anything to add


def test_a_file_has_all_that_was_written_or_left_empty_by_an_answer() -> None:
    partial = merge(None, describe("D"), fields=[*PhotoField])
    assert XmpFile(partial).has_all(PhotoField)
    assert not XmpFile(merge(None, describe("D"))).has_all(PhotoField)


def test_keywords_of_other_origin_are_not_all_there_is_to_write() -> None:
    before = (FOREIGN % (OWN % BAG)).encode()
    assert not XmpFile(before).has_all([KEYWORDS])
    assert XmpFile(merge(before, {KEYWORDS: ("mine",)})).has_all([KEYWORDS])


# What is never changed

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB + FOREIGN[1:] % "", "has a document type"),
        (BOMB + "<x>&b;</x>", "has a document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "has a document type"),
        ("Dear diary", "is not XML"),
        ("<html/>", "has no rdf:RDF"),
        ("<?xml version='1.0' encoding='latin-1'?><x>é</x>", "has no rdf:RDF"),
        ("<?xml version='1.0' encoding='utf-7'?><x>+</x>", "is not XML"),
        ("<?xml version='1.0' encoding='rot13'?><x/>", "cannot be read as rot13"),
        ("<?xml version='1.0' encoding='us-ascii'?><x>é</x>", "cannot be read as us-ascii"),
        ("\x02", "is not XML"),
    ],
)
def test_a_file_that_is_not_xmp_is_refused(content: str, reason: str) -> None:
    with pytest.raises(NotXmpError, match=reason):
        XmpFile(content.encode())


@pytest.mark.parametrize("data", [b"", b" \n"])
def test_an_empty_file_becomes_xmp(data: bytes) -> None:
    assert merge(data, describe("D")) == merge(None, describe("D"))
