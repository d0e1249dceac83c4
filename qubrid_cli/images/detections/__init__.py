"""Where things are in an image: boxes and points, which can be drawn on it or cut out of it."""
