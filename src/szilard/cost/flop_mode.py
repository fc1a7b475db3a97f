"""Counting the FLOPs of the operators that run, without importing torch's compiler.

:class:`torch.utils.flop_counter.FlopCounterMode` counts the same, operator by operator, and imports the compiler, which
takes longer than most networks take to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


def flops_of(run: Callable[[], Any]) -> int:
    """FLOPs of the operators that ``run()`` calls, by the formulas of PyTorch (2 a multiplication with its addition).

    Args:
        run: called once, or twice if it raises or its operators hold functions (``torch.cond``): PyTorch's own mode
            follows these.
    """
    mode = Counting()
    try:
        with mode:
            run()
    except Exception:  # torch.cond compiles, and the compiler wraps what an operator raises
        with FlopCounterMode(display=False) as counter:
            run()
        return int(counter.get_total_flops())
    return mode.flops


class Counting(TorchDispatchMode):
    """Adds up the FLOPs of the operators that run inside the block."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping imports torch._dynamo; nothing is compiled in here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            raise NotImplementedError(f"{func} holds functions")
        if func is not torch.ops.prim.device.default:
            with self:  # an operator that is a composition of others counts as they do
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result
