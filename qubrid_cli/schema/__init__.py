"""The JSON Schema of an answer: read, short form, validate, example."""
