"""Steps of solvers for sparse codes (``csrc/solve/solve.h``)."""

from __future__ import annotations

from szilard.kernels.functions.types import ARRAY, I64, INT, OUT, Arguments

FUNCTIONS: dict[str, Arguments] = {
    "szilard_shrink": (I64, I64, *[ARRAY] * 7, *OUT * 4, INT),
    "szilard_event_product": (I64, I64, I64, *[ARRAY] * 2, *OUT, INT),
}
