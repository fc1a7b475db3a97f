"""Searchers, one file each: each proposes the next choice from the trials so far."""
