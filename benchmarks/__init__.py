"""Benchmarks: each prints what it measured and ends in an assertion of its target."""
