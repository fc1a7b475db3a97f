"""Inputs as networks take them: a tensor, or tuples, lists and dicts of tensors with the same examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError

_WANTED = "give a tensor [N, ...], or a tuple, list or dict of such tensors"


def tensors(x: Any) -> list[Tensor]:
    """All tensors of an input, in order.

    Raises:
        SzilardError: the input holds something other than tensors.
    """
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, Mapping):
        return [tensor for part in x.values() for tensor in tensors(part)]
    if type(x) in (tuple, list):
        return [tensor for part in x for tensor in tensors(part)]
    raise SzilardError(f"inputs hold {type(x).__name__}, which cannot be split into examples; {_WANTED}")


def count(x: Any) -> int:
    """N, the number of examples.

    Raises:
        SzilardError: the tensors have different numbers of examples.
    """
    if isinstance(x, Tensor) and x.dim():
        return len(x)
    found = [len(tensor) if tensor.dim() else 0 for tensor in tensors(x)]
    if not found or 0 in [tensor.dim() for tensor in tensors(x)] or len(set(found)) != 1:
        raise SzilardError(
            f"inputs hold tensors of {found} examples; the number must be the same in each; {_WANTED}"
        )
    return found[0]


def each(x: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure, with ``change`` applied to each tensor."""
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, Mapping):
        return {name: each(part, change) for name, part in x.items()}
    return type(x)(each(part, change) for part in x)


def parts(x: Any, size: int, device: torch.device) -> Iterator[Any]:
    """Parts of up to ``size`` examples, on a device; one empty part if there are no examples."""
    total = count(x)
    for start in range(0, max(total, 1), size):

        def taken(tensor: Tensor, start: int = start) -> Tensor:
            return tensor[start : start + size].to(device)

        yield each(x, taken)
