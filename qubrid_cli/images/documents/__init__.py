"""Files with several pages."""
