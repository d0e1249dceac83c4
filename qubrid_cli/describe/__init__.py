"""Requests about images: each yields progress and pieces of the answer, and last a Description."""
