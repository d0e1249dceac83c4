"""Benchmarks, run by hand and not with the tests: ``python -m tests.benchmarks``."""
