"""What names the images of a run: arguments, lists and archives, each read as it is needed."""
