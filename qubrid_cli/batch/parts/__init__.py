"""A run in parts: the images are divided into parts, which any executor can work on, on one machine or many."""
