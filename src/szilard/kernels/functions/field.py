"""Prediction of fields (``csrc/field/field.h``)."""

from __future__ import annotations

import ctypes

from szilard.kernels.functions.types import ARRAY, I32, I64, OUT, Arguments


class FieldNetwork(ctypes.Structure):
    """``szilard_field_network``: weights, int32."""

    _fields_ = (
        ("hidden", I32),
        *((name, ARRAY) for name in ("linear", "first", "second", "last", "biases")),
    )


class FieldPass(ctypes.Structure):
    """``szilard_field_pass``: targets and neighbours of a pass, and the slices that it reads."""

    _fields_ = (
        *((name, I64) for name in ("size", "count")),
        *((name, I32) for name in ("level", "kind", "neighbours", "place")),
        ("anchor", I64),
        *(
            (name, ARRAY)
            for name in ("targets", "near", "latitude", "values", "first_earlier", "second_earlier")
        ),
    )


FUNCTIONS: dict[str, Arguments] = {
    "szilard_field_predict": (ctypes.POINTER(FieldNetwork), ctypes.POINTER(FieldPass), *OUT * 2),
}
