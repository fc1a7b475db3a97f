"""Products with sparse weights (``csrc/sparse/sparse.h``)."""

from __future__ import annotations

from szilard.kernels.functions.types import ARRAY, GEOMETRY, I32, INDEX, INT, OUT, Arguments, Key

CONV = (INDEX, GEOMETRY)

FUNCTIONS: dict[str, Arguments] = {
    "szilard_linear": (INDEX, I32, *[ARRAY] * 2, *OUT, INT),
    "szilard_linear_backward": (INDEX, I32, *[ARRAY] * 3, *OUT * 2, INT),
    "szilard_lrt_linear": (INDEX, I32, *[ARRAY] * 4, Key, INT, *OUT * 3, INT),
    "szilard_lrt_linear_backward": (INDEX, I32, *[ARRAY] * 6, INT, *OUT * 4, INT),
    "szilard_conv": (*CONV, *[ARRAY] * 2, *OUT, INT),
    "szilard_conv_backward": (*CONV, *[ARRAY] * 3, *OUT * 2, INT),
    "szilard_lrt_conv": (*CONV, *[ARRAY] * 3, Key, *OUT * 3, INT),
    "szilard_lrt_conv_backward": (*CONV, *[ARRAY] * 5, *OUT * 3, INT),
}
