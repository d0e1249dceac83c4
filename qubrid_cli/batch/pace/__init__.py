"""The pace of a run, which the server, the user and this machine limit."""
