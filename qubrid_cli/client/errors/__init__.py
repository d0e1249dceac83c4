"""What a failed request means: the server's reason is read from its body, and a table of rules decides what follows."""
