"""Data sets: one embedded, readers for standard files and for a user's own; train, valid and test apart."""

from szilard.data.batching import batches, n_batches
from szilard.data.dataset import DataSet, Split, Task
from szilard.data.loading import load, names

__all__ = ["DataSet", "Split", "Task", "batches", "load", "n_batches", "names"]
