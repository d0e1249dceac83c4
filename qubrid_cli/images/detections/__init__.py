"""Where things are in an image: boxes and points, drawn on it or cut out of it."""
