"""How Pillow reads TIFFs; loaded when the first one comes, for it takes 3 ms."""

from PIL import TiffImagePlugin

# Pillow's own reader of unpacked TIFFs takes 16-bit planes for 8-bit ones; libtiff, which reads all others, does not.
TiffImagePlugin.READ_LIBTIFF = True
