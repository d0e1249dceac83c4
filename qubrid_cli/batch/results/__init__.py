"""What is inside a results file: its index, its rewriting, and the files beside it."""
