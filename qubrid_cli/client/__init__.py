"""The OpenAI dialect over HTTP: request out, events in, errors understood, retries."""
