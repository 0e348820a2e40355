"""Benchmarks behind `yumen bench NAME`: one module each, with a `run` that returns its figures."""
