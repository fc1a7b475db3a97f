"""Registration of an operator with torch: schema, shapes, gradient.

These are the plain dispatcher calls behind ``torch.library.custom_op``, without its checks at every call, which took
longer than a sparse product of a small network. If nothing observes the dispatcher, it is skipped too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import _AutoDispatchBelowAutograd, _len_torch_dispatch_stack

_LIBRARY = torch.library.Library("szilard", "FRAGMENT")


def define(
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    gradient: Callable[[Callable[..., Any]], type[torch.autograd.Function]] | None = None,
) -> Callable[..., Any]:
    """Define ``szilard::name(arguments) -> results`` and return a function that calls it.

    Args:
        schema: ``"name(arguments) -> results"`` in torch's schema language, without the namespace.
        run: computes the results, on every device.
        fake: makes outputs of the right shape, strides and dtype from tensors without data.
        gradient: makes an autograd Function from the operator that its ``forward(ctx, *arguments)`` calls.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"szilard::{name}", fake, lib=_LIBRARY)
    operator = getattr(torch.ops.szilard, name).default
    direct = run
    if gradient is not None:

        def below(*arguments: Any) -> Any:
            with _AutoDispatchBelowAutograd():
                return operator(*arguments)

        _LIBRARY.impl(name, gradient(below).apply, "Autograd")
        direct = gradient(run).apply

    def call(*arguments: Any) -> Any:
        return direct(*arguments) if unobserved(arguments[0]) else operator(*arguments)

    call.__name__ = call.__qualname__ = name
    return call


def unobserved(tensor: torch.Tensor) -> bool:
    """Whether no compiler, exporter, FLOP counter, transform or profiler needs to see the operator itself."""
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and not _len_torch_dispatch_stack()
        and not torch.autograd._profiler_enabled()
        and torch._C._functorch.peek_interpreter_stack() is None
    )
