"""HEIC, what iPhones take, for Pillow: importing this teaches it; without the extra ``[heif]`` it cannot be imported."""

from pi_heif import register_heif_opener

register_heif_opener(thumbnails=False)
