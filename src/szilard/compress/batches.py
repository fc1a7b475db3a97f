"""Batches of inputs as networks take them: tensors, and tuples, lists and dicts of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure, with every tensor changed; what is no tensor stays."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named one
        return type(batch)(*(mapped(value, change) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(mapped(value, change) for value in batch)
    return batch


def leaves(batch: Any) -> Iterator[Tensor]:
    """Every tensor of it."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from leaves(value)
    elif isinstance(batch, tuple | list):
        for value in batch:
            yield from leaves(value)


def length(batch: Any) -> int:
    """Examples in a batch: rows of its first tensor; 0 where there is none."""
    first = next(leaves(batch), None)
    return 0 if first is None or first.dim() == 0 else len(first)


def rows(batch: Any, which: slice | Tensor) -> Any:
    """Some examples of a batch; tensors that do not have one row for each are for all of them."""
    count = length(batch)
    return mapped(batch, lambda t: t[which] if t.dim() and len(t) == count else t)


def together(batches: Sequence[Any]) -> Any:
    """One batch of all; the first alone where they do not fit together, as those of padded text."""
    first = batches[0]
    if len(batches) == 1:
        return first
    parts = [list(leaves(batch)) for batch in batches]
    kinds = {tuple((t.shape[1:], t.dtype) for t in part) for part in parts}
    counts = [length(batch) for batch in batches]
    whole = all(t.dim() and len(t) == n for part, n in zip(parts, counts, strict=True) for t in part)
    if len(kinds) > 1 or not whole:
        return first
    columns = iter([torch.cat(column) for column in zip(*parts, strict=True)])
    return mapped(first, lambda _: next(columns))
