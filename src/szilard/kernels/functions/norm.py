"""Normalisation, pooling and divergences (``csrc/norm/norm.h``)."""

from __future__ import annotations

from szilard.kernels.functions.types import ARRAY, FLOAT, GEOMETRY, I32, I64, INT, OUT, Arguments

FUNCTIONS: dict[str, Arguments] = {
    "szilard_batch_norm": (I32, I64, *[ARRAY] * 4, INT, FLOAT, *OUT * 4, INT),
    "szilard_batch_norm_backward": (I32, I64, *[ARRAY] * 6, INT, *OUT * 4, INT),
    "szilard_divergence": (I64, *[ARRAY] * 2, *OUT),
    "szilard_divergence_backward": (I64, *[ARRAY] * 2, FLOAT, FLOAT, *OUT * 2),
    "szilard_max_pool": (GEOMETRY, ARRAY, *OUT * 2, INT),
    "szilard_max_pool_backward": (GEOMETRY, *[ARRAY] * 2, *OUT, INT),
}
