"""Entropy coding, random levels and rate-aware rounding (``csrc/coding/coding.h``)."""

from __future__ import annotations

import ctypes

from szilard.kernels.functions.types import ARRAY, I32, I64, INT, OUT, Arguments

FUNCTIONS: dict[str, Arguments] = {
    "szilard_rate": (*OUT, INT, I64, I64, *[ARRAY] * 3),
    "szilard_encode": (*OUT * 2, INT, I64, I64, ARRAY, *OUT, ARRAY),
    "szilard_encode_end": (*OUT * 2, ARRAY),
    "szilard_decode": (*OUT * 2, INT, I64, I64, ARRAY, I64, *OUT, ARRAY),
    "szilard_interleaved_encode": (ARRAY, ARRAY, I64, ARRAY, ARRAY, I32, *OUT * 2, ARRAY),
    "szilard_interleaved_decode": (*[ARRAY] * 3, I64, ARRAY, I32, *OUT, ARRAY, I64, ARRAY, ARRAY, *OUT),
    "szilard_draw": (I64, I32, ARRAY, I64, ctypes.c_uint32, *OUT),
    "szilard_quantise": (*OUT, INT, *[I32] * 4, *OUT, *[ARRAY] * 3, *OUT * 2),
}
