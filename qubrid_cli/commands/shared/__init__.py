"""What several commands need: options, help, hints, and the way from a command line to a request."""
