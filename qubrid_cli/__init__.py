"""qvision: the command line for vision models."""

__version__ = "0.1.0"
