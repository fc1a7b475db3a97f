"""How an operator is made known to torch: schema, shapes, gradient.

The plain dispatcher calls behind ``torch.library.custom_op``, without its checks at every call: those took longer than
a sparse product of a small network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import _AutoDispatchBelowAutograd

_LIBRARY = torch.library.Library("szilard", "FRAGMENT")

#: Below autograd, from inside a Function's forward: ``with below_autograd(): op(...)``.
below_autograd = _AutoDispatchBelowAutograd


def define(
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    gradient: type[torch.autograd.Function] | None = None,
) -> Any:
    """Define ``szilard::name(arguments) -> results`` and return what calls it.

    Args:
        schema: ``"name(arguments) -> results"`` in torch's schema language, without the namespace.
        run: computes it, on every device.
        fake: its outputs' shapes, strides and dtypes from tensors without data.
        gradient: a Function whose ``forward(ctx, *arguments)`` calls the operator inside :data:`below_autograd`.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"szilard::{name}", fake, lib=_LIBRARY)
    if gradient is not None:
        _LIBRARY.impl(name, gradient.apply, "Autograd")
    return getattr(torch.ops.szilard, name).default
