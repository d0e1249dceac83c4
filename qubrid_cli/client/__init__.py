"""The OpenAI API over HTTP: requests, answers as events, errors, retries."""
