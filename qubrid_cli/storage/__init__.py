"""Folders of files and of objects in buckets, with the same operations for both."""
