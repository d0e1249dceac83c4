"""The suffixes of images and documents: all in lower case and without the dot."""

# Sets, because a regular expression that ignores case would take 1.5 ms to compile.
#: Images without pages.
IMAGE_SUFFIXES = frozenset({
    "jpg", "jpeg", "pjpg", "pjpeg", "pjp", "jpe", "jfi", "jfif", "jif", "jps", "insp", "mpo", "png", "apng", "gif", "webp",
    "avif", "avifs", "heic", "heics", "heif", "heifs", "hif", "bmp", "dib", "ico", "jp2", "jpf", "jpx", "j2c", "j2k", "jpc",
    "pbm", "pfm", "pgm", "pnm", "ppm", "qoi", "tga", "icb", "vda", "vst",
})  # fmt: skip
#: Documents, whose pages are images.
DOCUMENT_SUFFIXES = frozenset({"pdf", "tif", "tiff"})
READABLE_SUFFIXES = IMAGE_SUFFIXES | DOCUMENT_SUFFIXES
#: Images that are recognized by name, so that the error can say how to convert them.
_UNREADABLE_SUFFIXES = frozenset({
    "svg", "eps", "jxl", "dng", "cr2", "cr3", "crw", "nef", "arw", "orf", "raf", "rw2", "psd", "xcf", "xpm",
})  # fmt: skip


def has_readable_suffix(name: str) -> bool:
    """Whether a file name has the suffix of a format that can be read."""
    return find_suffix(name) in READABLE_SUFFIXES


def has_image_suffix(name: str) -> bool:
    """Whether a name has the suffix of an image, readable or not; for globs and for files that do not exist."""
    return find_suffix(name) in READABLE_SUFFIXES | _UNREADABLE_SUFFIXES


def find_suffix(name: str) -> str:
    """The part of a name after its last dot, in lower case; empty if it has no dot."""
    return name.rpartition(".")[2].lower() if "." in name else ""
