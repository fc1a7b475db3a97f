"""Fewer folds and ways to use a prior, for tests that do not depend on their number."""

from __future__ import annotations

import pytest

from szilard.training import prior_folds


@pytest.fixture
def few_ways(monkeypatch):
    """Two folds of: the prior with 2 σ and no transfer, each at two temperatures, and fine-tuning at two rates."""
    monkeypatch.setattr(prior_folds, "FOLDS", 2)
    monkeypatch.setattr(prior_folds, "WIDEN", (2.0,))
