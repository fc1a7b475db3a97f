"""What all families share (``csrc/core/core.h``)."""

from __future__ import annotations

import ctypes

from szilard.kernels.functions.types import I64, INT, OUT, Arguments, Key

FUNCTIONS: dict[str, Arguments] = {
    "szilard_use_isa": (ctypes.c_char_p,),
    "szilard_normal": (Key, I64, *OUT, INT),
}
