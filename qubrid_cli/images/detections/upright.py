"""Load a whole image in full size as image viewers show it: upright, in sRGB, opaque, without metadata."""

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import Image

from ...errors import ImageError
from ...text import quote_name
from .. import color, damage, decode, encode, sources
from ..metadata import keep_sound_chunks
from ..prepare import PreparedImage

if TYPE_CHECKING:
    from ..documents.pages import Documents


def load_upright(source: sources.Source, prepared: PreparedImage, documents: "Documents | None" = None) -> Image.Image:
    """Read an image in mode RGB that was prepared before.

    A page of a PDF is drawn in the size in which it was sent, so it may have more pixels than ``prepared`` has points.

    Raises:
        ImageError: it cannot be read anymore, or has changed.
    """
    name = quote_name(source.name)
    limits = prepared.limits or encode.ImageLimits()
    if isinstance(source, sources.DocumentPage):
        assert documents is not None
        document = documents.open(source.document)
        data, sha256 = document.read_page(source.number, limits).data, document.sha256
    else:
        assert not isinstance(source, sources.Link)
        data = sources.read_bytes(source)
        sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != prepared.sha256:
        raise ImageError(f"{name} has changed since it was sent", hint="Run the command again.")
    return _decode_bytes(data, name, limits.background)


def _decode_bytes(data: bytes, name: str, background: str | None) -> Image.Image:
    """Decode an image, or the intact part of a damaged one."""
    try:
        return _decode(data, name, background)
    except ImageError as error:
        if error.code != "damaged_image":
            raise
        sound = keep_sound_chunks(data)
        if sound is not None:
            data, _ = sound
            with suppress(ImageError):
                return _decode(data, name, background)
        recovered = damage.recover(data, name)
        if recovered is None:
            raise
        with decode.translate_errors(name), recovered.image as image:
            return _convert(image, b"", decode.read_orientation(image), background)


def _decode(data: bytes, name: str, background: str | None) -> Image.Image:
    with decode.translate_errors(name), decode.open_image(data, name) as opened:
        if opened.format == "PNG":  # EXIF may be at its end, and reading it would hide any damage
            damage.decode_pixels(opened, data)
        decode.skip_blank_frames(opened)
        orientation = decode.read_orientation(opened)
        image = decode.crop_to_aperture(opened, data, name)
        damage.decode_pixels(image, data)
        return _convert(decode.widen_levels(image, data), data, orientation, background)


def _convert(image: Image.Image, data: bytes, orientation: int, background: str | None) -> Image.Image:
    numbers = encode.read_color_numbers(image, data)
    profile = color.build_profile(numbers) or image.info.get("icc_profile")
    gamma = color.find_gamma(image, numbers)
    upright = encode.turn_upright(image, color.examine(image, background), orientation)
    result = color.convert_to_srgb(upright, profile, gamma).convert("RGB")
    result.info = {}
    return result
