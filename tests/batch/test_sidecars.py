"""Sidecars: their content, and which existing files they replace."""

import json
import os
import shutil
import stat
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qubrid_cli.batch import xmp
from qubrid_cli.batch.entries import Record
from qubrid_cli.batch.sidecars import SidecarFormat, Sidecars, check_arguments
from qubrid_cli.describe.result import Description, UnpreparedImage
from qubrid_cli.errors import ImageError, OutputError, UsageError
from qubrid_cli.files import write_atomic
from qubrid_cli.images.sources import Bytes, File, Link, Stdin
from qubrid_cli.output.record import json_object

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
ALT = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility"
HARD = "A <b>\"light\"</b> & 'house' – é🎉 ]]>\nsecond line"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("photo.jpg", "photo.png", "other.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(name: str = "photo.jpg") -> File:
    return File(name, Path(name))


def record(text: str = "A lighthouse.\n", source: str = "photo.jpg", data: Any = None) -> Record:
    made = json_object(Description(prompt="what?", text=text, complete=True, images=(UnpreparedImage(source),)))
    return made | {"data": data}


def sidecars(
    kind: SidecarFormat, *, force: bool = False, said: tuple[str, str] = ("", ""), is_alt: bool = False
) -> Sidecars:
    return Sidecars(kind, force=force, has_text=lambda *asked: asked == said, is_alt_text=is_alt)


def write(kind: SidecarFormat, text: str = "A lighthouse.\n", *, force: bool = False, is_alt: bool = False) -> None:
    beside = sidecars(kind, force=force, is_alt=is_alt)
    beside.claim(file())
    beside.write(file(), record(text))


def properties(path: Path) -> dict[str, list[str | None]]:
    """The properties of an XMP file, read by an XML parser."""
    tree = ET.parse(path)
    (rdf,) = tree.iter(f"{RDF}RDF")
    return {one.tag: [item.text for item in one.iter(f"{RDF}li")] for block in rdf for one in block}


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        (SidecarFormat.TXT, "photo.txt", b"A lighthouse.\n"),
        (
            SidecarFormat.JSON,
            "photo.json",
            json.dumps(record(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n",
        ),
    ],
)
def test_the_content_of_a_sidecar(folder: Path, kind: SidecarFormat, name: str, content: bytes) -> None:
    write(kind)
    assert (folder / name).read_bytes() == content
    assert sorted(os.listdir(folder)) == sorted(["photo.jpg", "photo.png", "other.jpg", name])


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("  A\n\nB \n\n", "A\n\nB"),
        ("\x1b[31mred\x07", "[31mred"),
        ("é🎉\u2028", "é🎉"),
        ("half \ud800", "half ?"),
        ("", ""),
    ],
)
def test_a_text_sidecar_has_the_text_and_one_line_break(text: str, content: str) -> None:
    write(SidecarFormat.TXT, text)
    assert Path("photo.txt").read_bytes().decode() == content + "\n"


def test_an_answer_of_only_tags_is_one_line() -> None:
    sidecars(SidecarFormat.TXT).write(
        file(), record('{"tags": ["sea", "light house"]}', data={"tags": ["sea", "light\nhouse"]})
    )
    assert Path("photo.txt").read_text() == "sea, light house\n"


@pytest.mark.parametrize("data", [{"tags": ["a", 1]}, {"tags": ["a"], "title": "b"}, {"tags": "a"}, ["a"], "a"])
def test_other_data_is_written_as_the_model_wrote_it(data: object) -> None:
    sidecars(SidecarFormat.TXT).write(file(), record("as it is", data=data))
    assert Path("photo.txt").read_text() == "as it is\n"


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("photo", "photo.txt"),
        ("a.b.jpg", "a.b.txt"),
        (".jpg", ".jpg.txt"),
        ("./-x.jpg", "-x.txt"),
        ("caf\udce9\n.jpg", "caf\udce9\n.txt"),
        ("sub/../photo.jpg", "photo.txt"),
    ],
)
def test_the_name_is_derived_from_the_image(folder: Path, name: str, beside: str) -> None:
    (folder / "sub").mkdir()
    image = File(name, Path(name))
    sidecars(SidecarFormat.TXT).write(image, record(source=name))
    assert (folder / beside).exists()


@pytest.mark.parametrize("kind", list(SidecarFormat))
def test_a_new_sidecar_has_the_mode_of_the_umask(folder: Path, kind: SidecarFormat) -> None:
    before = os.umask(0o027)
    try:
        write(kind)
    finally:
        os.umask(before)
    (new,) = folder.glob("photo*.*[tnp]")
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


def test_a_replaced_sidecar_keeps_its_mode() -> None:
    write(SidecarFormat.XMP)
    Path("photo.jpg.xmp").chmod(0o604)
    write(SidecarFormat.XMP, "A dog.")
    assert stat.S_IMODE(Path("photo.jpg.xmp").stat().st_mode) == 0o604


def test_an_open_sidecar_can_be_read_to_its_end_after_it_was_replaced() -> None:
    write(SidecarFormat.JSON, "old")
    with Path("photo.json").open() as reader:
        write(SidecarFormat.JSON, "new")
        assert (json.load(reader)["text"], json.loads(Path("photo.json").read_text())["text"]) == ("old", "new")


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        (SidecarFormat.TXT, "photo.txt", "My own caption.\n"),
        (SidecarFormat.TXT, "photo.txt", ""),
        (SidecarFormat.JSON, "photo.json", '{"mine": true}\n'),
        (SidecarFormat.JSON, "photo.json", json.dumps(record(source="photo.png"))),
    ],
)
def test_a_file_of_other_origin_is_replaced_only_with_force(
    folder: Path, kind: SidecarFormat, name: str, content: str
) -> None:
    (folder / name).write_text(content)
    for step in (sidecars(kind).claim, lambda image: sidecars(kind).write(image, record())):
        with pytest.raises(ImageError) as caught:
            step(file())
        assert caught.value.code == "sidecar"
        assert f"cannot write the sidecar of photo.jpg: {name} already exists" in caught.value.message
    assert (folder / name).read_text() == content
    write(kind, "new", force=True)
    assert (folder / name).read_text() != content


def test_a_text_of_an_earlier_answer_may_be_replaced() -> None:
    write(SidecarFormat.TXT, "old")
    again = sidecars(SidecarFormat.TXT, said=("photo.jpg", "old\n"))
    again.claim(file())
    again.write(file(), record("new"))
    assert Path("photo.txt").read_text() == "new\n"


def test_a_json_sidecar_of_the_same_image_may_be_replaced() -> None:
    write(SidecarFormat.JSON, "old")
    image = file(os.path.abspath("photo.jpg"))
    sidecars(SidecarFormat.JSON).write(image, record("new", source=image.name))
    assert json.loads(Path("photo.json").read_text())["text"] == "new"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 picture", b"nul\0", b"caf\xe9"])
def test_a_file_that_is_not_text_is_never_replaced(folder: Path, content: bytes, *, force: bool) -> None:
    """It may be an image of that name."""
    (folder / "photo.txt").write_bytes(content)
    with pytest.raises(ImageError, match="cannot be replaced"):
        sidecars(SidecarFormat.TXT, force=force).claim(file())
    assert (folder / "photo.txt").read_bytes() == content


@pytest.mark.parametrize("force", [False, True])
def test_the_image_itself_is_never_replaced(folder: Path, *, force: bool) -> None:
    (folder / "scan.txt").write_text("P2 1 1 1 0")
    with pytest.raises(ImageError, match=r"scan\.txt is the image itself"):
        sidecars(SidecarFormat.TXT, force=force).claim(file("scan.txt"))


@pytest.mark.parametrize("force", [False, True])
def test_a_link_is_not_written_through(folder: Path, *, force: bool) -> None:
    (folder / "target").write_text("precious")
    (folder / "photo.txt").symlink_to("target")
    with pytest.raises(ImageError, match="it is not a regular file"):
        sidecars(SidecarFormat.TXT, force=force).claim(file())


@pytest.mark.parametrize(
    ("kind", "force"), [(SidecarFormat.TXT, False), (SidecarFormat.TXT, True), (SidecarFormat.JSON, True)]
)
def test_two_images_of_a_run_do_not_share_a_sidecar(kind: SidecarFormat, *, force: bool) -> None:
    beside = sidecars(kind, force=force)
    beside.claim(file("photo.jpg"))
    beside.claim(file("photo.jpg"))
    with pytest.raises(
        ImageError, match=r"^cannot write .* photo\.png: photo\.\w+ is the sidecar of another image of this run$"
    ):
        beside.claim(file("photo.png"))


def test_two_images_do_not_share_an_xmp_file() -> None:
    beside = sidecars(SidecarFormat.XMP)
    for name in ("photo.jpg", "photo.png"):
        beside.claim(file(name))
        beside.write(file(name), record(name))
    assert properties(Path("photo.png.xmp"))[DESCRIPTION] == ["photo.png"]


def test_a_file_created_between_request_and_answer_is_not_lost() -> None:
    beside = sidecars(SidecarFormat.TXT)
    beside.claim(file())
    Path("photo.txt").write_text("mine")
    with pytest.raises(ImageError):
        beside.write(file(), record())
    assert Path("photo.txt").read_text() == "mine"


def test_a_file_created_at_the_last_moment_is_not_overwritten(folder: Path) -> None:
    Path("photo.txt").write_text("mine")
    before = sorted(os.listdir(folder))
    with pytest.raises(FileExistsError):
        write_atomic(Path("photo.txt"), b"ours", overwrite=False)
    assert (Path("photo.txt").read_text(), sorted(os.listdir(folder))) == ("mine", before)


def test_a_sidecar_that_a_killed_run_did_not_write_is_written_later() -> None:
    sidecars(SidecarFormat.TXT).write_missing(file(), record())
    assert Path("photo.txt").read_text() == "A lighthouse.\n"


def test_an_existing_sidecar_is_not_missing() -> None:
    Path("photo.txt").write_text("corrected by hand")
    sidecars(SidecarFormat.TXT, force=True).write_missing(file(), record())
    assert Path("photo.txt").read_text() == "corrected by hand"


def test_a_missing_folder_fails_the_image_before_the_request() -> None:
    with pytest.raises(ImageError, match="cannot be written"):
        sidecars(SidecarFormat.TXT).claim(file("gone/photo.jpg"))


def test_a_name_that_is_too_long_raises_our_error() -> None:
    long = file("x" * 254)
    with pytest.raises((ImageError, OutputError)):
        sidecars(SidecarFormat.XMP).write(long, record())


@pytest.mark.parametrize("source", [Bytes("data:,…", b"x"), Link("https://a/b", "https://a/b"), Stdin(BytesIO())])
def test_an_image_that_is_not_a_file_has_no_sidecar(source: Bytes | Link | Stdin) -> None:
    with pytest.raises(ImageError, match="is not a file, so it cannot have a sidecar"):
        sidecars(SidecarFormat.TXT).claim(source)


@pytest.mark.parametrize("argument", ["-", "https://example.com/a.jpg", "HTTP://a/b", "data:image/png;base64,aGk="])
def test_arguments_that_are_not_files_are_refused_before_the_run(argument: str) -> None:
    with pytest.raises(UsageError, match=r"^--sidecar writes files next to image files, but .* is not a file$"):
        check_arguments(["photos", argument])


def test_arguments_that_may_be_files_pass() -> None:
    check_arguments(["photos", "a.jpg", "file:///a.jpg", "*.jpg", "nope"])


@pytest.mark.parametrize("is_alt", [False, True])
def test_xmp_has_the_description_and_the_alt_text(*, is_alt: bool) -> None:
    write(SidecarFormat.XMP, HARD, is_alt=is_alt)
    found = properties(Path("photo.jpg.xmp"))
    assert found[DESCRIPTION] == [HARD]
    assert found.get(ALT) == ([HARD] if is_alt else None)


def test_xmp_has_tags_as_keywords() -> None:
    sidecars(SidecarFormat.XMP).write(file(), record("{}", data={"tags": ["sea", "<light>"]}))
    found = properties(Path("photo.jpg.xmp"))
    assert (found[DESCRIPTION], found[SUBJECT]) == (["sea, <light>"], ["sea", "<light>"])


@given(st.text(st.characters()))
@settings(deadline=None)
def test_any_answer_becomes_valid_xml(text: str) -> None:
    """All characters that XML allows come back; the others are left out."""
    tree = ET.fromstring(xmp.merge(None, xmp.XmpMetadata(text, alt_text=text)))
    told = {one.text or "" for one in tree.iter(f"{RDF}li")}
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert told == {
        "".join(
            c for c in plain if c in "\t\n" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
        )
    }


def test_writing_the_same_metadata_again_changes_nothing() -> None:
    once = xmp.merge(None, xmp.XmpMetadata("A dog.", alt_text="A dog.", tags=("a", "b")))
    assert xmp.merge(once, xmp.XmpMetadata("A dog.", alt_text="A dog.", tags=("a", "b"))) == once


def test_writing_other_metadata_replaces_ours() -> None:
    once = xmp.merge(None, xmp.XmpMetadata("A dog."))
    assert xmp.merge(once, xmp.XmpMetadata("A cat.")) == xmp.merge(None, xmp.XmpMetadata("A cat."))


def test_our_keywords_stay_ours_after_an_answer_without_any() -> None:
    with_tags = xmp.merge(None, xmp.XmpMetadata("A dog.", tags=("dog",)))
    without = xmp.merge(with_tags, xmp.XmpMetadata("A cat."))
    assert b"<rdf:li>dog</rdf:li>" in without
    again = xmp.merge(without, xmp.XmpMetadata("A cat.", tags=("cat",)))
    assert (b"<rdf:li>dog</rdf:li>" in again, b"<rdf:li>cat</rdf:li>" in again) == (False, True)


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
TITLE = (
    "<d:title><r:Alt><r:li xml:lang='de'>é &amp; &#x41; <![CDATA[<x>]]></r:li></r:Alt></d:title><!-- kept --><?kept?>"
)
MINE = "<d:description><r:Alt><r:li xml:lang='x-default'>Mine.</r:li></r:Alt></d:description>"


@pytest.mark.parametrize("inside", ["", OWN % TITLE, f"{OWN % TITLE}\n{OWN % TITLE}", OWN % "", "<r:Description/>"])
def test_everything_else_in_an_xmp_file_stays_byte_for_byte(inside: str) -> None:
    before = (FOREIGN % inside).encode()
    Path("photo.jpg.xmp").write_bytes(before)
    write(SidecarFormat.XMP, HARD, is_alt=True)
    after = Path("photo.jpg.xmp").read_bytes()
    assert properties(Path("photo.jpg.xmp"))[DESCRIPTION] == [HARD]
    same = next(place for place, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
    assert after.endswith(before[same:])
    assert {child.get(f"{RDF}about") for child in described(after)} <= {"uuid:é", None}


def described(data: bytes) -> list[ET.Element]:
    return list(ET.fromstring(data).iter(f"{RDF}Description"))


def test_an_xmp_file_does_not_grow_with_every_run() -> None:
    first = xmp.merge((FOREIGN % (OWN % TITLE)).encode(), xmp.XmpMetadata("A dog.", alt_text="A dog."))
    again = xmp.merge(first, xmp.XmpMetadata("A cat.", alt_text="A cat."))
    assert len(again) == len(first)
    assert again.replace(b"A cat.", b"A dog.").count(b"A dog.") == 2


ATTRIBUTE = "<r:Description r:about='' xmlns:d='http://purl.org/dc/elements/1.1/' d:description='Mine.'/>"


@pytest.mark.parametrize("inside", [OWN % MINE, OWN % (TITLE + MINE)])
def test_a_description_of_other_origin_is_replaced_only_with_force(inside: str) -> None:
    path = Path("photo.jpg.xmp")
    path.write_text(FOREIGN % inside)
    with pytest.raises(ImageError, match="already has a dc:description that qvision did not write"):
        sidecars(SidecarFormat.XMP).claim(file())
    assert path.read_text() == FOREIGN % inside
    write(SidecarFormat.XMP, "Ours.", force=True)
    assert properties(path)[DESCRIPTION] == ["Ours."]


GERMAN = "<d:description><r:Alt>%s<r:li xml:lang='de'>Mit &lt;Meer&gt;</r:li><r:li xml:lang='fr'>Mer</r:li></r:Alt></d:description>"


@pytest.mark.parametrize("default", ["<r:li xml:lang='x-default'>Sea</r:li>", ""])
def test_texts_in_other_languages_stay(default: str) -> None:
    Path("photo.jpg.xmp").write_text(FOREIGN % (OWN % (GERMAN % default)))
    with pytest.raises(ImageError):
        sidecars(SidecarFormat.XMP).claim(file())
    write(SidecarFormat.XMP, "Ours.", force=True)
    assert languages() == {"x-default": "Ours.", "de": "Mit <Meer>", "fr": "Mer"}
    write(SidecarFormat.XMP, "Ours again.")
    assert languages() == {"x-default": "Ours again.", "de": "Mit <Meer>", "fr": "Mer"}


def test_our_description_stays_ours_when_a_person_adds_a_language() -> None:
    write(SidecarFormat.XMP, "A dog.")
    path = Path("photo.jpg.xmp")
    path.write_text(path.read_text().replace("A dog.</rdf:li>", "A dog.</rdf:li><rdf:li xml:lang='de'>Hund</rdf:li>"))
    write(SidecarFormat.XMP, "A cat.")
    assert languages() == {"x-default": "A cat.", "de": "Hund"}


def languages() -> dict[str | None, str | None]:
    """The description in each language."""
    items = ET.parse("photo.jpg.xmp").iterfind(f".//{DESCRIPTION}//{RDF}li")
    return {one.get("{http://www.w3.org/XML/1998/namespace}lang"): one.text for one in items}


def test_a_description_that_a_person_corrected_is_theirs() -> None:
    write(SidecarFormat.XMP, "A dog.")
    path = Path("photo.jpg.xmp")
    path.write_text(path.read_text().replace("A dog.", "Our dog Rex."))
    with pytest.raises(ImageError):
        sidecars(SidecarFormat.XMP).claim(file())


def test_keywords_of_other_origin_stay_while_the_description_is_added() -> None:
    mine = "<d:subject><r:Bag><r:li>mine</r:li></r:Bag></d:subject>"
    Path("photo.jpg.xmp").write_text(FOREIGN % (OWN % mine))
    sidecars(SidecarFormat.XMP).write(file(), record("{}", data={"tags": ["sea"]}))
    found = properties(Path("photo.jpg.xmp"))
    assert (found[DESCRIPTION], found[SUBJECT]) == (["sea"], ["mine"])


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB + FOREIGN[1:] % "", "has a document type"),
        (BOMB + "<x>&b;</x>", "has a document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "has a document type"),
        ("Dear diary", "is not XML"),
        ("<html/>", "has no rdf:RDF"),
        ("<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>", "has an empty rdf:RDF"),
        ("<?xml version='1.0' encoding='latin-1'?><x/>", "is not UTF-8 but latin-1"),
        (FOREIGN % ATTRIBUTE, "has dc:description in a form that cannot be replaced"),
        ("\x02", "is not XML"),
    ],
)
def test_a_file_that_is_not_xmp_is_never_replaced(content: str, reason: str, *, force: bool) -> None:
    path = Path("photo.jpg.xmp")
    path.write_text(content)
    with pytest.raises(ImageError) as caught:
        sidecars(SidecarFormat.XMP, force=force).claim(file())
    assert reason in caught.value.message
    assert path.read_text() == content


def test_a_mark_that_another_program_turned_into_an_attribute_is_read() -> None:
    ours = xmp.merge(None, xmp.XmpMetadata("A dog.")).decode()
    start, end = ours.index("<qvision:"), ours.index("</rdf:Description>")
    digests = ET.fromstring(ours[start:end]).text
    attribute = f'<rdf:Description xmlns:qvision="urn:qvision:xmp:1#" qvision:WrittenByQvision="{digests}" '
    theirs = (ours[:start] + ours[end:]).replace("<rdf:Description ", attribute)
    again = xmp.merge(theirs.encode(), xmp.XmpMetadata("A cat.")).decode()
    assert again.count("WrittenByQvision") == 2
    assert xmp.merge(again.encode(), xmp.XmpMetadata("A cow.")).count(b"A cow.") == 1


@pytest.mark.parametrize("text", [HARD, "plain", " é "])
def test_exiftool_reads_it_back(text: str) -> None:
    """exiftool, where it is installed, reads the same as an XML parser."""
    write(SidecarFormat.XMP, text, is_alt=True)
    found = properties(Path("photo.jpg.xmp"))
    read = {"Description": found[DESCRIPTION][0], "AltTextAccessibility": found[ALT][0]}
    if exiftool := shutil.which("exiftool"):
        names = [f"-{name}" for name in read]
        done = subprocess.run([exiftool, "-j", *names, "photo.jpg.xmp"], capture_output=True, check=True, timeout=60)
        (told,) = json.loads(done.stdout)
        read = {name: told[name] for name in read}
    assert read == {"Description": text.strip(), "AltTextAccessibility": text.strip()}
