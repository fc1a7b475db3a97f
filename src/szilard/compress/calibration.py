"""What is known of the data that a network will see: inputs to compress with, and examples to judge by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError

EXAMPLES = 512  # to compress with
MOST_JUDGES = 10_000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Attributes:
    inputs: batches to compress with.
    judges: batches of other inputs; the same ones where there are too few.
    labels: of the judges, or None.
    """

    inputs: list[Tensor]
    judges: list[Tensor]
    labels: list[Tensor] | None

    @classmethod
    def of(
        cls, given: Any, *, examples: int = EXAMPLES, batch_size: int = 64, keep_back: bool = True
    ) -> Calibration:
        """From a tensor ``[N, ...]``, or batches, each a tensor or a pair of inputs and labels.

        The first ``examples`` are for compressing. Those that follow judge: by their labels if there are any, else by
        what the network believes of its answers. Where too few follow, a quarter is kept back for it, if
        ``keep_back``.

        Raises:
            SzilardError: no examples, or something else than tensors.
        """
        x, y = _gather(given, examples + MOST_JUDGES)
        scarce = keep_back and len(x) < examples * 5 // 4
        count = max(1, len(x) * 3 // 4) if scarce else examples
        rest = slice(count, None) if len(x) > count else slice(None)
        return cls(
            list(x[:count].split(batch_size)),
            list(x[rest].split(4 * batch_size)),
            None if y is None else list(y[rest].split(4 * batch_size)),
        )


def _gather(given: Any, most: int) -> tuple[Tensor, Tensor | None]:
    if not isinstance(given, Tensor | Iterable):
        raise SzilardError(f"calibration is a {type(given).__name__}; give a tensor of inputs, or batches")
    batches: Iterable[Any] = [given] if isinstance(given, Tensor) else given
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    count = 0
    for batch in batches:
        x, y = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
        if not isinstance(x, Tensor) or not (y is None or isinstance(y, Tensor)):
            odd = x if not isinstance(x, Tensor) else y
            raise SzilardError(
                f"calibration must give tensors, or pairs of inputs and labels, not {type(odd).__name__}; "
                "wrap your loader so that it does"
            )
        _check(x, y, len(inputs))
        inputs.append(x.detach())
        if y is not None:
            labels.append(y.detach())
        count += len(x)
        if count >= most:
            break
    if not count:
        raise SzilardError("calibration is empty; give at least one batch, or None to do without data")
    if labels and len(labels) != len(inputs):
        raise SzilardError(
            f"{len(labels)} of {len(inputs)} calibration batches have labels; give labels with all, or with none"
        )
    return _together(inputs, "inputs")[:most], _together(labels, "labels")[:most] if labels else None


def _check(x: Tensor, y: Tensor | None, number: int) -> None:
    """Refuse a batch that no network can be judged by."""
    where = f"calibration batch {number}, counted from 0,"
    if x.is_nested or x.layout is not torch.strided:
        raise SzilardError(f"{where} is a nested or sparse tensor; pad it to a dense one")
    if x.dim() == 0:
        raise SzilardError(f"{where} is a single number; give inputs [B, ...]")
    if (x.is_floating_point() or x.is_complex()) and not bool(torch.isfinite(x).all()):
        flat = torch.isfinite(x).reshape(len(x), -1).all(1)
        raise SzilardError(
            f"example {int((~flat).nonzero()[0])} of {where} has NaN or infinite values; remove or mend it"
        )
    if y is not None and (y.is_nested or y.dim() == 0 or len(y) != len(x)):
        count = 1 if y.is_nested or y.dim() == 0 else len(y)
        raise SzilardError(f"{where} has {len(x)} inputs and {count} labels; give one label for each input")


def _together(parts: list[Tensor], what: str) -> Tensor:
    shapes = {(tuple(part.shape[1:]), part.dtype) for part in parts}
    if len(shapes) > 1:
        (first, kind), (other, another) = sorted(shapes, key=str)[:2]
        told = f"shapes {list(first)} and {list(other)}" if first != other else f"types {kind} and {another}"
        raise SzilardError(f"{what} of calibration batches have {told}; give them all in one shape and type")
    return torch.cat(parts)
