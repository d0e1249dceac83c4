"""The fixtures of batches, whose results are reported."""

from ..batch.conftest import batch, draw, gallery

__all__ = ["batch", "draw", "gallery"]
