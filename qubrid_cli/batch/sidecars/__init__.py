"""Sidecars: files next to the images that hold their answers, as text, JSON or XMP."""
