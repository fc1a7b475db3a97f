"""RigL with the same number of entries in every row."""

from __future__ import annotations

from typing import Any

from szilard.methods.dynamic import RigL


class SRigL(RigL):
    """RigL with a constant fan-in: every output reads the same number of inputs, and weak outputs go.

    The publication rounds the fan-in down when outputs go; here the number of entries stays exact, so that outputs only
    go in numbers that divide it.

    Args:
        pattern: ``"fan-in:0.3"`` removes an output that has fewer salient entries than 0.3 of the fan-in; ``"fan-in"``
            keeps all outputs.
    """

    name = "srigl"
    label = "SRigL"
    summary = "RigL with as many inputs for every output"
    source = "Lasby et al. 2023, arXiv:2305.02299"
    order = 26

    def __init__(self, n_data: int, *, pattern: str = "fan-in:0.3", **options: Any) -> None:
        super().__init__(n_data, pattern=pattern, **options)
