"""Shows a Description on a terminal, in a pipe or as JSON."""
