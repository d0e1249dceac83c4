"""Sidecars of whole runs, with the real program."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from ..support.gallery import Batch, Draw, Gallery, answered, digest, lines, source
from ..support.server import Reply, document
from ..test_readme import MANUAL

PHOTO = {
    "title": "Old & new <b>",
    "caption": 'A lighthouse.\nIt\'s "red".',
    "keywords": ["sea", "light"],
    "alt": "é 🎉",
}
#: What the programs write, in their own style; {} is where this program must not write.
LIGHTROOM = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:Rating="4"
   crs:Exposure2012="+0.35"
   crs:HasSettings="True">
   <dc:subject>
    <rdf:Bag>
     <rdf:li>Family &amp; friends</rdf:li>
    </rdf:Bag>
   </dc:subject>
   <crs:ToneCurvePV2012>
    <rdf:Seq>
     <rdf:li>0, 0</rdf:li>
    </rdf:Seq>
   </crs:ToneCurvePV2012>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>"""
DIGIKAM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" digiKam:ColorLabel="3">
   <digiKam:TagsList><rdf:Seq><rdf:li>People/Ada</rdf:li></rdf:Seq></digiKam:TagsList>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">A tower</rdf:li><rdf:li xml:lang="de-DE">Ein Turm</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/" xmlns:dc="http://purl.org/dc/elements/1.1/" darktable:xmp_version="5">
   <darktable:history><rdf:Seq><rdf:li darktable:num="0" darktable:operation="exposure"/></rdf:Seq></darktable:history>
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">My title</rdf:li></rdf:Alt></dc:title>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
CAPTURE_ONE = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 5.5.0">
  <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="Red" />
  </rdf:RDF>
</x:xmpmeta>
<!-- kept --><?kept?>"""
FOREIGN = {"lightroom": LIGHTROOM, "digikam": DIGIKAM, "darktable": DARKTABLE, "captureone": CAPTURE_ONE}
NAMES = ["Title", "Description", "Subject", "AltTextAccessibility"]

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def exiftool(*arguments: object) -> list[dict[str, object]]:
    done = subprocess.run(["exiftool", *map(str, arguments)], capture_output=True, check=True, timeout=60)
    return list(json.loads(done.stdout or b"[]"))


@needs_exiftool
def test_photos_are_described_once_and_what_other_programs_wrote_stays(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    photos = draw("plain.png", *(f"{name}.png" for name in FOREIGN))
    for name, xmp in FOREIGN.items():
        (tmp_path / "photos" / f"{name}.png.xmp").write_text(xmp)
    gallery.rule = lambda *_: document(json.dumps(PHOTO))
    command = ("photos/", "-P", "photo", "--sidecar", "xmp", "--sidecar", "txt", "--existing", "skip")
    first = batch(*command)
    assert (first.exit_code, sum(gallery.tries.values())) == (0, 5)
    again = batch(*command)
    assert (again.exit_code, again.stdout, sum(gallery.tries.values())) == (0, b"", 5)
    assert "0 described, 5 skipped" in again.stderr

    expected = dict(zip(NAMES, (PHOTO["title"], PHOTO["caption"], PHOTO["keywords"], PHOTO["alt"]), strict=True))
    own: dict[str, dict[str, object]] = {
        "plain": {},
        "lightroom": {"Subject": ["Family & friends", "sea", "light"], "Rating": 4, "Exposure2012": "+0.35"},
        "digikam": {
            "Description": "A tower",
            "Description-de-DE": "Ein Turm",
            "TagsList": "People/Ada",
            "ColorLabel": 3,
        },
        "darktable": {"Title": "My title", "HistoryOperation": "exposure"},
        "captureone": {"Label": "Red"},
    }
    for name, fields in own.items():
        expected_fields = expected | fields
        (found,) = exiftool("-j", *(f"-{field}" for field in expected_fields), f"{tmp_path}/photos/{name}.png.xmp")
        assert {field: found[field] for field in expected_fields} == expected_fields
    for name, xmp in FOREIGN.items():
        after = (tmp_path / "photos" / f"{name}.png.xmp").read_text()
        position = 0
        for line in re.split(r"(?<=>)", xmp):  # every tag is there, in its order
            position = after.index(line.strip(), position) + len(line.strip())
    assert {path.with_suffix(".txt").read_text() for path in photos} == {f"{PHOTO['caption']}\n"}


@needs_exiftool
def test_the_recipe_of_the_manual_embeds_sidecars_into_photos(batch: Batch, gallery: Gallery, tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "a b.jpg"
    photo.parent.mkdir()
    Image.new("RGB", (48, 32)).save(photo)
    gallery.names[digest(photo.read_bytes())] = photo.name
    gallery.rule = lambda *_: document(json.dumps(PHOTO))
    (asking, embedding) = (
        next(line for line in MANUAL["sidecars"].splitlines() if line.startswith(start))
        for start in ("qvision batch photos/ -P photo", "exiftool ")
    )
    assert batch(*shlex.split(asking, comments=True)[2:]).exit_code == 0
    subprocess.run(shlex.split(embedding), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (found,) = exiftool("-j", "-XMP:all", photo)
    assert [found[name] for name in NAMES] == [PHOTO["title"], PHOTO["caption"], PHOTO["keywords"], PHOTO["alt"]]


def test_a_sidecar_that_appears_or_a_folder_that_goes_while_the_image_is_asked_affects_only_the_image(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png", "sub/b.png", "c.png")
    photos = tmp_path / "photos"

    def answer(name: str, number: int) -> Reply:
        if name == "a.png":
            (photos / "a.txt").write_text("mine")
        elif name == "sub/b.png":
            shutil.rmtree(photos / "sub")
        return answered(name, number)

    gallery.rule = answer
    command = ("photos", "caption", "--sidecar", "txt", "-o", "r.jsonl", "--failures", "f.jsonl")
    run = batch(*command, "-j", 1)
    assert run.exit_code == 7
    assert "1 described, 2 failed" in run.stderr
    assert "failed: 2 × sidecar, first photos/" in run.stderr
    assert [line["ok"] for line in lines(tmp_path / "r.jsonl")] == [True] * 3
    assert ((photos / "a.txt").read_text(), (photos / "c.txt").read_text()) == ("mine", "This is c.png.\n")
    failed = [json.loads(line)["image"] for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert sorted(failed) == ["photos/a.png", "photos/sub/b.png"]

    (photos / "a.txt").unlink()
    again = batch("photos", *command[1:])  # the answer is there; nothing is paid again
    assert (again.exit_code, (photos / "a.txt").read_text()) == (0, "This is a.png.\n")
    assert gallery.tries == {"a.png": 1, "sub/b.png": 1, "c.png": 1}


def test_a_sidecar_of_a_recorded_answer_that_cannot_be_written_adds_no_line(
    batch: Batch, draw: Draw, tmp_path: Path
) -> None:
    draw(f"{'x' * 249}.png")
    assert batch("photos", "caption", "-o", "r.jsonl").exit_code == 0
    before = (tmp_path / "r.jsonl").read_bytes()
    run = batch("photos", "caption", "--sidecar", "xmp", "-o", "r.jsonl")
    assert (run.exit_code, "failed: 1 × sidecar" in run.stderr) == (7, True)
    assert (tmp_path / "r.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--existing", "skip"], "--existing has no effect without --sidecar txt"),
        (["--sidecar", "xmp", "-P", "ui"], "--sidecar xmp: the schema has no field that photo managers have"),
        (["--sidecar", "txt", "--caption-suffix", "a/b.txt"], "invalid value for --caption-suffix"),
        (["--sidecar", "xmp", "--xmp-name", "x.xmp"], "--xmp-name"),
    ],
)
def test_sidecar_options_that_do_not_fit_are_refused_before_any_request(
    batch: Batch, draw: Draw, gallery: Gallery, arguments: list[str], message: str
) -> None:
    draw("a.png")
    run = batch("photos", *arguments)
    assert (run.exit_code, sum(gallery.tries.values())) == (2, 0)
    assert message in run.stderr


def test_captions_for_training(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw("a.png", "b.png")
    (tmp_path / "photos" / "b.png.caption").write_text("old")
    gallery.rule = lambda *_: document("A dog.\nIt runs.")
    options = ["--caption-suffix", ".caption", "--append-suffix", "--one-line", "--prefix", "ohwx dog, "]
    run = batch("photos", "caption", "--sidecar", "txt", *options, "--existing", "append", "--ordered")
    assert (run.exit_code, [source(line) for line in run.json_lines]) == (0, ["a.png", "b.png"])
    captions = [(tmp_path / "photos" / f"{name}.png.caption").read_text() for name in "ab"]
    assert captions == ["ohwx dog, A dog. It runs.\n", "old, ohwx dog, A dog. It runs.\n"]


def test_force_replaces_sidecars_unless_they_are_skipped(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png")
    path = tmp_path / "photos" / "a.txt"
    path.write_text("mine")
    assert batch("photos", "--sidecar", "txt", "--force", "--existing", "skip").exit_code == 0
    assert (path.read_text(), sum(gallery.tries.values())) == ("mine", 0)
    forecast = batch("photos", "--sidecar", "txt", "--existing", "skip", "--dry-run").stdout.decode()
    assert "1 images: 0 to describe, 1 already done" in forecast
    assert batch("photos", "--sidecar", "txt", "--force").exit_code == 0
    assert path.read_text() == "This is a.png.\n"


@pytest.mark.parametrize("existing", ["fail", "skip", "append", "replace"])
def test_a_run_with_nothing_left_to_do_adds_what_is_missing_in_xmp(
    batch: Batch, draw: Draw, tmp_path: Path, existing: str
) -> None:
    """Also if the photos are not read again, because their files have not changed."""
    (photo,) = draw("a.png")
    os.utime(photo, (1_700_000_000, 1_700_000_000))
    assert batch("photos", "caption", "-o", "r.jsonl").exit_code == 0
    path = tmp_path / "photos" / "a.png.xmp"
    path.write_text(LIGHTROOM)
    run = batch("photos", "caption", "-o", "r.jsonl", "--sidecar", "xmp", "--existing", existing)
    assert (run.exit_code, "1 skipped" in run.stderr) == (0, True)
    assert "This is a.png." in path.read_text()
