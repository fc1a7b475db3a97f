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
    batches: Iterable[Any] = [given] if isinstance(given, Tensor) else given
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    count = 0
    for batch in batches:
        x, y = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
        if not isinstance(x, Tensor) or not (y is None or isinstance(y, Tensor)):
            raise SzilardError(
                f"calibration must give tensors, or pairs of inputs and labels, not {type(x).__name__}; "
                "wrap your loader so that it does"
            )
        inputs.append(x.detach())
        if y is not None:
            labels.append(y.detach())
        count += len(x)
        if count >= most:
            break
    if not count:
        raise SzilardError("calibration is empty; give at least one batch, or None to do without data")
    return torch.cat(inputs)[:most], torch.cat(labels)[:most] if len(labels) == len(inputs) else None
