"""Requests about images: each becomes an iterator of events, of which the last one is a Description."""
