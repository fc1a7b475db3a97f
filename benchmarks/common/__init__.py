"""Shared by all benchmarks: output, machine description, timing, worker processes, cells with a verdict."""
