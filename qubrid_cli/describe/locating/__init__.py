"""Find objects in images: requests for boxes, and the interpretation of the numbers in the answers."""
