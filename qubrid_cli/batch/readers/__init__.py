"""Read the arguments, lists and archives that name the images of a run, each when it is needed."""
