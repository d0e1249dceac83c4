"""qvision: the command line for vision models."""

__version__ = "0.2.0"
