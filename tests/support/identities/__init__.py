"""Mathematical properties of SSVI, each checked against an independent computation.

A check is a function that returns the largest error and its bound. ``tests/methods/test_exactness.py`` runs each as a
test, and ``benchmarks/exactness.py`` prints them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from identities import distributions, runs
from identities.check import Check
from identities.gradients import gradients
from identities.invariants import invariants
from identities.known_answer import KnownAnswer, known_answer, known_answer_checks

__all__ = ["CHECKS", "Check", "KnownAnswer", "known_answer", "known_answer_checks"]

CHECKS: dict[str, Callable[[], Check]] = {
    **{
        f"gradients-{kind}-{density:g}-{str(dtype)[6:]}": (
            lambda dtype=dtype, kind=kind, density=density: gradients(dtype, kind, density)
        )
        for kind in ("linear", "conv1d", "conv2d")
        for density in (0.1, 1.0)
        for dtype in (torch.float32, torch.float64)
    },
    "lrt-moments": distributions.lrt_moments,
    "kl": distributions.kl_monte_carlo,
    "folded-normal": distributions.folded_normal,
    "drop-sets": distributions.drop_sets,
    "invariants": invariants,
    "same-seed": runs.same_seed,
    "full-density": runs.full_density,
    "static-twin": runs.static_twin,
    "largest-allocation": runs.largest_allocation,
}
