"""How long to train when nobody says."""

from __future__ import annotations

from szilard.data import n_batches

STEPS = 2400  # optimiser steps that a small set gets
FEWEST, MOST = 12, 100  # epochs
BATCH, SMALL_BATCH = 128, 16
SMALL = 1000  # examples below which batches are small, for enough steps an epoch


def batch_size(n_train: int) -> int:
    """Examples a batch of one process: 128, or 16 for fewer than 1000 examples."""
    return BATCH if n_train >= SMALL else SMALL_BATCH


def epochs(n_train: int, batch: int) -> int:
    """About 2400 steps, but never fewer than 12 epochs nor more than 100."""
    return max(FEWEST, min(MOST, STEPS // n_batches(n_train, batch)))
