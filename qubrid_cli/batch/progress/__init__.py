"""The progress of a run on stderr, and its summary."""
