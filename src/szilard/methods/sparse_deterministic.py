"""Point weights on a sparse support: the baseline of the same density as SSVI."""

from __future__ import annotations

from typing import Any

from szilard.methods.deterministic import Deterministic


class SparseDeterministic(Deterministic):
    """:class:`~szilard.methods.Deterministic` on 5 % of the weights, whose support moves as SSVI's does.

    Args:
        density: fraction of weights that exist.
    """

    name = "sparse-deterministic"
    summary = "Point weights on a sparse support that moves"
    source = "RigL, Evci et al. 2020, arXiv:1911.11134"
    order = 2
    baseline = False

    def __init__(self, n_data: int, *, density: float = 0.05, **options: Any) -> None:
        super().__init__(n_data, density=density, **options)
