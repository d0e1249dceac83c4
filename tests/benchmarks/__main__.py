"""Runs all benchmarks and prints what they found."""

import httpx
import PIL

from qubrid_cli import __version__

from . import batching, chunks, preparation

print(f"qvision {__version__}, httpx {httpx.__version__}, Pillow {PIL.__version__}")
chunks.run()
preparation.run()
batching.run()
