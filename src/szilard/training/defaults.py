"""How long to train when nobody says."""

from __future__ import annotations

from szilard.data import n_batches

STEPS = 3000  # optimiser steps that a small set gets
FEWEST, MOST = 12, 300  # epochs
BATCH, SMALL_BATCH = 128, 32
SMALL = 1000  # examples below which batches are small, for enough steps an epoch


def batch_size(n_train: int) -> int:
    """Examples a batch of one process."""
    return BATCH if n_train >= SMALL else SMALL_BATCH


def epochs(n_train: int, batch: int) -> int:
    """About 3000 steps, but never fewer than 12 epochs nor more than 300."""
    return max(FEWEST, min(MOST, STEPS // n_batches(n_train, batch)))
