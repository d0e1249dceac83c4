"""A conversation about images: its turns, the requests for answers, its session file, its commands, and the prompt."""
