"""Which files and folders are left out: files of other formats, and previews that programs keep.

Only names are compared. Whether a file can be decoded is known when it is read.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator

from ..errors import ImageError
from ..images.suffixes import has_readable_suffix
from ..text import escape_control_characters, format_count, quote_name

#: Kinds of files that people may expect to be described, by suffix. Sources: dcraw, LibRaw and ffmpeg's lists of formats.
_SUFFIXES_BY_KIND = {
    "camera raw": (
        "3fr arq ari arw bay braw cap cr2 cr3 cri crw dcr dcs dng drf eip erf fff gpr iiq k25 kdc mdc mef mos mrw nef nrw "
        "orf ori pef ptx pxn r3d raf raw rw2 rwl rwz sr2 srf srw sti x3f"
    ),
    "video": (
        "3g2 3gp asf avi divx dv f4v flv insv lrv m2t m2ts m2v m4v mkv mod mov mp4 mpe mpeg mpg mts mxf ogm ogv qt rm rmvb "
        "vob webm wmv"
    ),
    "audio": "aac aif aiff alac amr ape au caf flac m4a m4b mid midi mka mp2 mp3 oga ogg opus wav wma",
    "vector graphics": "ai cdr cgm dwg dxf emf eps ps svg svgz vsdx wmf",
    "image format that cannot be read": (
        "afdesign afphoto ase bpg clip cur dcm dds djv djvu exr fit fits flif hdp hdr icns iff jls jng jxl jxr kra mng "
        "nii ora pam pcd pct pcx pict procreate psb psd pspimage ras rgb rgba sgi sun wbmp wdp xbm xcf xpm"
    ),
    "archive": "7z bz2 cb7 cbr cbt cbz gz rar tar tgz xz zip zst",
    "office document": "doc docx epub key numbers odg odp ods odt pages ppt pptx rtf xls xlsx",
}
_KIND_BY_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES_BY_KIND.items() for suffix in suffixes.split()}
_OTHER = "other"
#: Suffixes of files that programs and people keep beside images: captions, settings, catalogs and logs.
_COMPANIONS = (
    "aae bak bib bin cap caption comask cop cos cosessiondb cot csv ctg dat db dop ffs_db html htm info ini inp js json "
    "jsonl log lock lnk lrcat lrtemplate lua m3u md nfo npy npz on1 part pickle pkl pp3 properties pto py rss2 sh spd sqlite "
    "sqlite3 srt thm tmp toml tsv txt url vtt xml xmp yaml yml"
)
_COMPANION_SUFFIXES = frozenset(_COMPANIONS.split())
#: Folders of previews, trash and copies. Sources: Synology, QNAP, macOS, Windows, Android, digiKam, Picasa, Syncthing,
#: Lightroom and Capture One; and the previews in a library of Apple Photos.
_PREVIEW_FOLDER = re.compile(
    r"@eaDir|#recycle|#snapshot|@Recycle|\.?@__thumb|@Recently-Snapshot"
    r"|__MACOSX|\.AppleDouble|\.Trash(es|-\d+)?|\.Spotlight-V100|\.fseventsd|\.TemporaryItems|\.DocumentRevisions-V100"
    r"|\$RECYCLE\.BIN|RECYCLER|System Volume Information"
    r"|\.thumbnails|\.thumbs?|\.trashed|\.dtrash|\.picasaoriginals|\.stversions"
    r"|.*\.lrdata|CaptureOne|.*\.cocatalog/Cache"
    r"|.*\.(photoslibrary|photolibrary)/(resources|private|scopes|database|internal|external|Thumbnails|Previews)",
    re.IGNORECASE,
)
#: Metadata of macOS beside each file on foreign disks, such as ``._a.jpg``, and files in Android's trash.
_JUNK_FILE = re.compile(r"\._.*|\.trashed-\d+-.*|\.pending-\d+-.*|Thumbs\.db|ehthumbs.*\.db", re.IGNORECASE | re.DOTALL)
#: Commands that convert a file of a kind.
_CONVERSIONS = {
    "camera raw": "darktable-cli {} out.jpg",
    "video": "ffmpeg -i {} -frames:v 1 out.png",
}


def is_preview_folder(path: str) -> bool:
    """Whether a folder has the name of one in which a program keeps previews, trash or copies."""
    parent, name = os.path.split(path)
    return bool(
        _PREVIEW_FOLDER.fullmatch(name)
        or _PREVIEW_FOLDER.fullmatch(f"{os.path.basename(os.path.abspath(parent))}/{name}")
    )


def is_junk_file(name: str) -> bool:
    """Whether a file belongs to the system, and is not an image whatever its suffix."""
    # Most names need no pattern; comparing the first character saves 0.16 s for a million files.
    return name[:1] in {".", "T", "t", "e", "E"} and _JUNK_FILE.fullmatch(name) is not None


def is_in_preview_folder(path: str, pattern: str) -> bool:
    """Whether a file that matches a glob is in a folder of previews that the glob does not name."""
    folder = os.path.dirname(path)
    named = set(pattern.split(os.sep))
    while folder not in {"", os.sep}:
        parent, name = os.path.split(folder)
        if parent == folder:
            break
        if is_preview_folder(folder) and name not in named:
            return True
        folder = parent
    return False


class LeftOut:
    """Counts what is left out of the folders and globs of a run, by kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first_paths: dict[str, str] = {}
        self._preview_folder_count = 0
        self._first_preview_folder = ""

    @property
    def file_count(self) -> int:
        """Files that are not read, without captions, catalogs and the like."""
        return self._counts.total()

    def add_file(self, path: str) -> None:
        """Count a file without a readable suffix, unless it is a caption, a catalog or the like."""
        name = os.path.basename(path)
        suffix = os.path.splitext(name)[1][1:].lower()
        kind = _KIND_BY_SUFFIX.get(suffix)
        if kind is None and (suffix in _COMPANION_SUFFIXES or is_junk_file(name) or has_readable_suffix(name)):
            return
        kind = kind or _OTHER
        self._counts[kind] += 1
        self._first_paths.setdefault(kind, path)

    def add_preview_folder(self, path: str) -> None:
        """Count a folder of previews."""
        self._preview_folder_count += 1
        self._first_preview_folder = self._first_preview_folder or path

    def format_line(self) -> str | None:
        """Format the counts, ``14 not read: 12 camera raw, 2 video``; ``None`` if nothing was left out."""
        parts = []
        if self._counts:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.most_common())
            parts.append(f"{self.file_count:,} not read: {kinds}")
        if self._preview_folder_count:
            is_one = self._preview_folder_count == 1
            count = "1 folder" if is_one else f"{self._preview_folder_count:,} folders"
            first = escape_control_characters(self._first_preview_folder)
            parts.append(f"{count} of previews or trash left out{':' if is_one else ', such as'} {first}")
        return "; ".join(parts) or None

    def format_hint(self) -> str:
        """Say what to do about the most frequent kind."""
        if not self._counts:
            return f"To describe them all the same, name the folder: {quote_name(self._first_preview_folder)}"
        ((kind, _),) = self._counts.most_common(1)
        path = quote_name(escape_control_characters(self._first_paths[kind]))
        if command := _CONVERSIONS.get(kind):
            return f"Convert them first, for example: {command.format(path)}"
        return f"Convert them to JPEG or PNG first. To see the format of a file: qvision describe {path} --dry-run"

    def format_lines(self, document_count: int) -> Iterator[str]:
        """Yield the lines of the summary.

        Args:
            document_count: documents that were left out because the library that reads them is missing.
        """
        if (line := self.format_line()) is not None:
            yield line
        if document_count:
            message, hint = _describe_documents(document_count)
            yield f"note: {message}"
            yield f"hint: {hint}"

    def raise_if_any(self, document_count: int) -> None:
        """If no image was found, raise an error that says what was left out; an empty folder is not an error.

        Raises:
            ImageError: something was left out.
        """
        message, hint = self.format_line(), None
        if message is not None:
            hint = self.format_hint()
        elif document_count:
            message, hint = _describe_documents(document_count)
        if message is not None:
            raise ImageError(f"no image was found; {message}", hint=hint, code="no_images")


def _describe_documents(count: int) -> tuple[str, str]:
    """Return the message about documents that were left out because a library is missing, and a hint."""
    from ..installation import format_install_command

    documents = format_count(count, "PDF document was", "PDF documents were")
    message = f"{documents} left out, because reading PDFs needs an extra library"
    return message, f"Run: {format_install_command('pypdfium2')}"
