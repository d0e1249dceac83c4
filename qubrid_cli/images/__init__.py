"""Turn an argument into an image that can be sent: find, decode, shrink and encode it, and remove its metadata."""
