"""From an argument to an image that may be sent: find, decode, shrink, encode, strip metadata."""
