"""Compare models and settings on the same images: speed, cost and accuracy."""
