"""What limits the pace of a run: the server, the user, and this machine."""
