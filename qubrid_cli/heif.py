"""HEIC, what iPhones take, for Pillow: importing this teaches it; without the extra ``[heif]`` it cannot be imported."""

import re

from pi_heif import register_heif_opener

register_heif_opener(thumbnails=False)

#: An item's type in an ItemInfoEntry, versions 2 and 3 (ISO/IEC 14496-12, 8.11.6.2).
_ITEM_TYPE = re.compile(rb"infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}(.{4})", re.DOTALL)


def is_sound(data: bytes) -> bool:
    """Whether the decoder survives the file: pi_heif 1.4 ends the whole process over an item type that is no ASCII."""
    return all(kind.isascii() for kind in _ITEM_TYPE.findall(data))
