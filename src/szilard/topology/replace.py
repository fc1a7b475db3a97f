"""How a support moves: drop the entries that say least, grow where the score of growth is largest."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.sparse.growth import Growth
from szilard.sparse.move import Move
from szilard.sparse.support import Support

#: Optimiser state that estimates a second moment: a new entry starts at the mean of the survivors, because a
#: zero there with Adam's saturated bias correction would make its first update several times too large.
SECOND_MOMENTS = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "hess"})


def drop_and_grow(support: Support, score: Tensor, growth: Growth, fraction: float) -> Move:
    """Keep the units of largest ``score``, replace the rest by those of largest |gradient|.

    With n = floor(fraction * nnz): K keeps nnz - n entries; A is the n largest |gradient| among all
    entries outside K, so one dropped a moment ago may be chosen again and then keeps its values. Structured
    supports do the same in units of their :class:`~szilard.sparse.pattern.Pattern`.

    Args:
        support: as it is before the move.
        score: importance of each existing entry, ``[nnz]``; ties keep the lower index.
        growth: says where entries should grow.
        fraction: of the entries, to be replaced.
    """
    if torch.isnan(score).any():
        raise SzilardError(
            "a removal score is NaN, so nothing can be dropped: inputs or targets hold NaN, or training has diverged; "
            "look at the batches, and lower lr if they are whole"
        )
    source = support.replace(support.pattern.moved(support, score, growth, fraction))
    return Move(source, dropped=int((source < 0).sum()))


def carry_optimizer_state(move: Move, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
    """Permute an optimiser's state of ``parameter [nnz]``: first moments of new entries start at zero."""
    for name, value in optimizer.state.get(parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            fill = move.survivors(value).mean() if name in SECOND_MOMENTS else 0.0
            move.carry(value, fill)
