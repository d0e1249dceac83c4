"""HEIC, what iPhones take, for Pillow: importing this teaches it; without the extra ``[heif]`` it cannot be imported."""

import re

from pi_heif import register_heif_opener

register_heif_opener(thumbnails=False)

#: An item's type in an ItemInfoEntry, versions 2 and 3 (ISO/IEC 14496-12, 8.11.6.2).
_ITEM_TYPE = re.compile(rb"infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}(.{4})", re.DOTALL)


def check(data: bytes) -> None:
    """Keep a file from the decoder that it does not survive: pi_heif 1.4 ends the whole process over an odd item type.

    Raises:
        ValueError: there is one that is no ASCII.
    """
    if not all(kind.isascii() for kind in _ITEM_TYPE.findall(data)):
        raise ValueError("the type of an item is no text")
