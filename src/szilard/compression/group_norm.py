"""GroupNorm whose backward pass does not crash.

On a CPU, ``native_group_norm_backward`` of torch (seen in 2.13) reads a null pointer, and the process dies, if its
input lies channels last and a gradient by the weight is wanted but none by the input. That is so wherever only some
parameters are differentiated. A contiguous input has the same answer and the same gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class ContiguousGroupNorm(TorchFunctionMode):
    """While it is entered, ``group_norm`` lays out its input by rows."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is torch.group_norm or func is functional.group_norm:
            if args:
                args = (args[0].contiguous(), *args[1:])
            else:
                named["input"] = named["input"].contiguous()
        return func(*args, **named)
