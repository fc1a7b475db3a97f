"""Default batch size and number of epochs."""

from __future__ import annotations

from szilard.data import n_batches

STEPS = 2400  # optimiser steps for a small data set
FEWEST, MOST = 12, 100  # epochs
BATCH, SMALL_BATCH = 128, 16
SMALL = 1000  # examples below which batches are small, for enough steps in each epoch


def batch_size(n_train: int) -> int:
    """Batch size of one process: 128, or 16 for fewer than 1000 examples."""
    return BATCH if n_train >= SMALL else SMALL_BATCH


def epochs(n_train: int, batch: int) -> int:
    """Epochs for about 2400 steps, at least 12 and at most 100."""
    return max(FEWEST, min(MOST, STEPS // n_batches(n_train, batch)))
