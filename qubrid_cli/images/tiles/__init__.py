"""Parts of an image: crops, and tiles for images with detail that is lost when they are sent whole."""
