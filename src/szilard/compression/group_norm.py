"""GroupNorm with a backward pass that does not crash.

On a CPU, ``native_group_norm_backward`` of torch (seen in 2.13) reads a null pointer, and the process dies, if its
input has the channels-last layout and a gradient by the weight is needed but none by the input. This happens if only
some parameters are differentiated. A contiguous input gives the same output and the same gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class ContiguousGroupNorm(TorchFunctionMode):
    """While it is entered, ``group_norm`` makes its input contiguous."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is torch.group_norm or func is functional.group_norm:
            if args:
                args = (args[0].contiguous(), *args[1:])
            else:
                named = {**named, "input": named["input"].contiguous()}
        return func(*args, **named)
