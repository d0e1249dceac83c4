"""The suffixes of images and documents."""

# Suffixes in lower case. A regular expression that ignores case would take 1.5 ms to compile.
#: Images without pages.
IMAGE_SUFFIXES = frozenset({
    "jpg", "jpeg", "pjpg", "pjpeg", "pjp", "jpe", "jfi", "jfif", "jif", "jps", "insp", "mpo", "png", "apng", "gif", "webp",
    "avif", "avifs", "heic", "heics", "heif", "heifs", "hif", "bmp", "dib", "ico", "jp2", "jpf", "jpx", "j2c", "j2k", "jpc",
    "pbm", "pfm", "pgm", "pnm", "ppm", "qoi", "tga", "icb", "vda", "vst",
})  # fmt: skip
#: Documents, whose pages are images.
DOCUMENT_SUFFIXES = frozenset({"pdf", "tif", "tiff"})
#: The suffixes of what can be read.
READABLE_SUFFIXES = IMAGE_SUFFIXES | DOCUMENT_SUFFIXES
_UNREADABLE_SUFFIXES = frozenset({
    "svg", "eps", "jxl", "dng", "cr2", "cr3", "crw", "nef", "arw", "orf", "raf", "rw2", "psd", "xcf", "xpm",
})  # fmt: skip


def has_readable_suffix(name: str) -> bool:
    """Whether a file name has the suffix of a format that is read."""
    return find_suffix(name) in READABLE_SUFFIXES


def has_image_suffix(name: str) -> bool:
    """Whether the suffix marks an argument as an image, readable or not; for globs and names that do not exist."""
    return find_suffix(name) in READABLE_SUFFIXES | _UNREADABLE_SUFFIXES


def find_suffix(name: str) -> str:
    """What follows the last dot, in lower case; empty without a dot."""
    return name.rpartition(".")[2].lower() if "." in name else ""
