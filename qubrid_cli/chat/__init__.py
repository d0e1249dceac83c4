"""Conversations about images: turns, requests for answers, session files, commands, and the input of messages."""
