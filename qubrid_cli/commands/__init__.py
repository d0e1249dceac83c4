"""The commands, a file each: options in, a line of calls, one thing shown."""
