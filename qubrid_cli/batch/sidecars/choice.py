"""Which sidecars a run writes, under which names, and what it does with files that exist."""

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...frozen import frozen
from ...images.sources import DocumentPage, File, Source
from ...images.suffixes import has_image_suffix
from ...text import quote_name
from ..inputs import Task, is_archive_name, resolve_source
from .captions import PhotoField, list_fields


class SidecarFormat(StrEnum):
    """The text of the answer, its record as JSON, or its fields as XMP."""

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


class ExistingPolicy(StrEnum):
    """What to do with an existing sidecar that this program did not write, and with such a field in XMP.

    ``SKIP`` also applies to what this program wrote. Keywords in XMP are always merged.
    """

    SKIP = "skip"
    FAIL = "fail"
    APPEND = "append"
    REPLACE = "replace"


class XmpName(StrEnum):
    """The name of the XMP file of an image: with the suffix of the image, or without it."""

    NAME = "{name}.xmp"
    STEM = "{stem}.xmp"


@frozen
class SidecarOptions:
    """The sidecars of a run.

    Attributes:
        caption_suffix: of text files.
        append_suffix: text and JSON files are named ``photo.jpg.txt``, not ``photo.txt``.
        one_line: texts are written in one line.
        prefix: comes before each text.
        fields: the fields in XMP that the answers may fill.
        is_alt_text: answers that are text are alternative texts.
    """

    formats: tuple[SidecarFormat, ...]
    existing: ExistingPolicy = ExistingPolicy.FAIL
    caption_suffix: str = ".txt"
    append_suffix: bool = False
    one_line: bool = False
    prefix: str = ""
    xmp_name: XmpName = XmpName.NAME
    fields: frozenset[PhotoField] = frozenset({PhotoField.DESCRIPTION})
    is_alt_text: bool = False

    def derive_path(self, sidecar_format: SidecarFormat, image: Path, page: int | None = None) -> Path:
        """Derive the path of a sidecar from that of the image, or from that of a document and the number of its page."""
        if sidecar_format is SidecarFormat.XMP:
            suffix, keeps_suffix = ".xmp", self.xmp_name is XmpName.NAME
        else:
            suffix = self.caption_suffix if sidecar_format is SidecarFormat.TXT else ".json"
            keeps_suffix = self.append_suffix
        name = os.fspath(image)
        if page is not None:
            return Path(f"{name}-{page}{suffix}")
        return Path((name if keeps_suffix else os.path.splitext(name)[0]) + suffix)


#: The options by attribute, and the sidecars to which they apply.
_FLAGS = {
    "existing": ("--existing", frozenset(SidecarFormat)),
    "caption_suffix": ("--caption-suffix", frozenset({SidecarFormat.TXT})),
    "append_suffix": ("--append-suffix", frozenset({SidecarFormat.TXT, SidecarFormat.JSON})),
    "one_line": ("--one-line", frozenset({SidecarFormat.TXT})),
    "prefix": ("--prefix", frozenset({SidecarFormat.TXT})),
    "xmp_name": ("--xmp-name", frozenset({SidecarFormat.XMP})),
}


def build_options(
    formats: Sequence[str],
    *,
    changes: Mapping[str, Any],
    force: bool = False,
    schema: Mapping[str, Any] | None = None,
    is_alt_text: bool = False,
) -> SidecarOptions:
    """Build the options of a run from those of its command line.

    Args:
        changes: attributes of ``SidecarOptions`` by their names; those that are ``None`` or false have their default.
        force: existing sidecars are replaced, unless ``changes`` says otherwise.
        schema: of the answers.

    Raises:
        UsageError: an option is invalid, or does not apply to any of the sidecars.
    """
    kinds = tuple(dict.fromkeys(map(SidecarFormat, formats)))
    types: dict[str, type[StrEnum]] = {"existing": ExistingPolicy, "xmp_name": XmpName}
    values: dict[str, Any] = {
        name: types[name](value) if name in types else value
        for name, value in changes.items()
        if value is not None and value is not False
    }
    for name, (flag, applies_to) in _FLAGS.items():
        if name in values and not applies_to.intersection(kinds):
            alternatives = " or ".join(
                f"--sidecar {kind}" for kind in sorted(applies_to, key=list(SidecarFormat).index)
            )
            raise UsageError(
                f"{flag} has no effect without {alternatives}", hint=f"Add {alternatives}, or leave out {flag}."
            )
    if force:
        values.setdefault("existing", ExistingPolicy.REPLACE)
    fields = list_fields(schema, is_alt_text=is_alt_text)
    options = SidecarOptions(kinds, fields=fields, is_alt_text=is_alt_text, **values)
    _check_caption_suffix(options.caption_suffix)
    if len({options.derive_path(kind, Path("photo.jpg")) for kind in kinds}) < len(kinds):
        raise UsageError("two sidecars of an image would have the same name", hint="Change --caption-suffix.")
    if SidecarFormat.JSON in kinds and options.existing is ExistingPolicy.APPEND:
        raise UsageError(
            "--existing append does not apply to --sidecar json: a JSON file holds one object",
            hint="Use --existing replace or skip, or leave out --sidecar json.",
        )
    if SidecarFormat.XMP in kinds and not fields:
        raise UsageError(
            "--sidecar xmp: the schema has no field that photo managers have",
            hint="Call a field of the schema title, caption, alt or keywords, or use: -P photo",
        )
    return options


def _check_caption_suffix(suffix: str) -> None:
    if "." not in suffix[:-1] or any(separator in suffix for separator in ("/", "\\", "\0")):
        problem = "it needs a dot and a name"
    elif has_image_suffix(suffix):
        problem = "it is a suffix of images"
    else:
        return
    raise UsageError(
        f"invalid value for --caption-suffix: {suffix} ({problem})", hint="For example: --caption-suffix .caption"
    )


def find_file(source: Source) -> Path | None:
    """Find the file of an image, or of the document of a page; ``None`` for an image that is not in a file."""
    document = source.document if isinstance(source, DocumentPage) else source
    return document.path if isinstance(document, File) else None


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse images that cannot have a sidecar, before any request is sent.

    Raises:
        UsageError: standard input, a link or a ``data:`` URL.
    """
    for argument in arguments:
        source = None if argument == "-" else resolve_source(Task(1, argument))
        if source is None or find_file(source) is None or is_archive_name(argument):
            name = "standard input" if source is None else quote_name(source.name)
            problem = "is an archive" if is_archive_name(argument) else "is not a file"
            raise UsageError(
                f"--sidecar writes files next to image files, but {name} {problem}",
                hint="Leave out --sidecar, or save the image to a file first.",
            )
