"""Data sets: one embedded, readers for standard files and for your own files, and the train/validation/test split."""

from szilard.data.batching import batches, n_batches
from szilard.data.dataset import DataSet, Split, Task
from szilard.data.loading import load, names

__all__ = ["DataSet", "Split", "Task", "batches", "load", "n_batches", "names"]
