"""Where a weight would grow: the gradient at entries that do not exist, never held in full."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from szilard.sparse.growth import RowsGradient

BLOCK = 1 << 18  # entries of the dense gradient held at one time


class GrowthGradient:
    """Collects (output gradient, input) of one weight over a few batches and finds the largest entries of its gradient.

    With local reparametrisation the mean of the output is linear in μ, so ∂L/∂μ_ij = Σ_b g_bi x_bj also where
    no entry exists: a one-sample unbiased estimate of the gradient of F at μ = 0, σ = 0.

    The smaller of two is held: the batches, as for a large linear map, whose gradient is computed in blocks; or the sum
    of the gradients, as for a convolution, whose activations are a thousand times larger than its weight.
    """

    def __init__(self, rows_gradient: RowsGradient | None, entries: int | None = None) -> None:
        """
        Args:
            rows_gradient: of the layer; None if the layer gives gradients (:meth:`add_gradient`).
            entries: rows times columns of the weight; if None, the batches are held.
        """
        self._rows_gradient = rows_gradient
        self._entries = entries
        self.batches: list[tuple[Tensor, Tensor]] = []  # (output gradient, input)
        self.total: Tensor | None = None  # [rows, cols]

    def __len__(self) -> int:
        return len(self.batches) + (self.total is not None)

    def _rows(self, grad: Tensor, x: Tensor, rows: slice) -> Tensor:
        assert self._rows_gradient is not None  # only layers that have one give batches
        return self._rows_gradient(grad, x, rows)

    def add(self, grad: Tensor, x: Tensor) -> None:
        """Add one batch: the loss gradient of the weight's output, and its input."""
        grad, x = _finite(grad.detach()), x.detach()
        if self._entries is None or self._entries > grad.numel() + x.numel():
            self.batches.append((grad, x))
            return
        gradient = self._rows(grad, x, slice(0, grad.shape[1]))
        self.total = gradient if self.total is None else self.total.add_(gradient)

    def add_gradient(self, gradient: Tensor) -> None:
        """Add the gradient itself, ``[rows, cols]``."""
        gradient = _finite(gradient)
        self.total = gradient.clone() if self.total is None else self.total.add_(gradient)

    @property
    def is_zero(self) -> bool:
        """Whether all that was added is zero, in every process: it does not say where to grow."""
        held = [grad for grad, _ in self.batches] + ([] if self.total is None else [self.total])
        found = torch.tensor([float(any(bool(part.any()) for part in held))])
        return not bool(_summed_over_processes(found.to(held[0].device) if held else found))

    def state(self) -> tuple[list[tuple[Tensor, Tensor]], Tensor | None]:
        """The collected batches or sum, for a checkpoint."""
        return self.batches, self.total

    def resume(self, state: tuple[list[tuple[Tensor, Tensor]], Tensor | None]) -> None:
        """Continue from a :meth:`state`."""
        self.batches, self.total = list(state[0]), state[1]

    def stream(
        self, rows: int, cols: int, device: torch.device, multiple: int = 1
    ) -> Iterator[tuple[slice, Tensor]]:
        """The gradient by blocks of rows, ``(rows, [len(rows), cols])``, so that it is never held in full.

        With several processes each block is summed over them first, so that all make the same choice.

        Args:
            rows, cols: of the weight as a matrix.
            device: where the blocks are made.
            multiple: the number of rows of a block is a multiple of this, except in the last block.
        """
        step = max(1, BLOCK // max(1, cols) // multiple) * multiple
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            block = None if self.total is None else self.total[part].clone()
            for grad, x in self.batches:
                gradient = self._rows(grad, x, part)
                block = gradient if block is None else block.add_(gradient)
            block = torch.zeros(part.stop - start, cols, device=device) if block is None else block
            yield part, _summed_over_processes(block)

    def largest(self, count: int, rows: int, cols: int, taken: Tensor) -> Tensor:
        """The ``count`` entries of largest |gradient| among those not ``taken``.

        The gradient is streamed in blocks of rows with a running top-``count``.

        Args:
            count: how many entries.
            rows, cols: of the weight as a matrix.
            taken: ascending flat indices that cannot be chosen, int64.
        Returns:
            flat indices, int64 ``[count]``, unordered.
        """
        best = torch.empty(0, device=taken.device)
        where = torch.empty(0, dtype=torch.int64, device=taken.device)
        for part, gradient in self.stream(rows, cols, taken.device):
            block = gradient.abs_().flatten()
            low, high = torch.searchsorted(
                taken, torch.tensor([part.start * cols, part.stop * cols]).to(taken)
            )
            block[taken[low:high] - part.start * cols] = -1.0
            if len(best) == count:  # only entries above the smallest of the best so far can join them
                index = (block > best.min()).nonzero().flatten() if count else where
                values = block[index]
            else:
                values, index = block.topk(min(count, block.numel()))
            best, where = torch.cat([best, values]), torch.cat([where, index + part.start * cols])
            if len(best) > count:
                best, index = best.topk(count)
                where = where[index]
        return where[best >= 0]


def _finite(gradient: Tensor) -> Tensor:
    """A gradient, or zeros if it overflowed: the loss scale was too large, and GradScaler skips such a step."""
    return gradient if bool(torch.isfinite(gradient).all()) else torch.zeros_like(gradient)


def _summed_over_processes(block: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        block = block.contiguous()
        torch.distributed.all_reduce(block)
    return block
