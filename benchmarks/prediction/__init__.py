"""Predictions with uncertainty: networks, their quality in one pass and from draws, and the latency of runtimes."""
