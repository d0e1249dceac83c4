"""Where things are: requests for boxes, and how the numbers in the answers are read."""
