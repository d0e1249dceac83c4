"""The commands, one file each: read the options, make the calls in order, show one result."""
