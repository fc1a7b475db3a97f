"""Programs for inference on one input (``csrc/inference/inference.h``)."""

from __future__ import annotations

import ctypes

from szilard.kernels.functions.types import ARRAY, FLOAT, I32, I64, INT, OUT, Arguments


class Step(ctypes.Structure):
    """``szilard_step``: one step of a program; pointers that are not needed are None."""

    _fields_ = (
        *((name, I32) for name in ("kind", "activation", "relu", "n_inputs")),
        ("inputs", ARRAY),
        *((name, I32) for name in ("channels", "height", "width")),
        *(
            (name, I32)
            for name in ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w")
        ),
        *((name, I32) for name in ("pad_top", "pad_bottom", "pad_left", "pad_right")),
        *((name, I32) for name in ("groups", "count_padding", "offset")),
        ("slope", FLOAT),
        *((name, I32) for name in ("rows", "cols", "nnz")),
        *((name, ARRAY) for name in ("crow", "col", "mean", "variance", "bias", "bias_variance")),
    )


FUNCTIONS: dict[str, Arguments] = {
    "szilard_program_new": (
        *(I32, INT, *[I32] * 4),
        *(ctypes.POINTER(Step), I32, ARRAY),
        ARRAY,
    ),
    "szilard_program_run": (I64, ARRAY, I64, *OUT, INT),
    "szilard_program_free": (I64,),
    "szilard_class_uncertainty": (I32, I32, ARRAY, ARRAY, I32, ARRAY, FLOAT, INT, *OUT * 3),
}
