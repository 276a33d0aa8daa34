"""Suites: many students × benchmarks × seeds, journalled and resumable."""
