"""The JSON Schema of an answer: read it, expand the short form, validate a value, make an example."""
