"""One request about some images becomes one Description, as an iterator."""
