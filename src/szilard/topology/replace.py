"""One move of a support: drop the entries of lowest removal score, grow where the growth score is largest."""

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
    """Keep the units of largest ``score`` and replace the others by those of largest |gradient|.

    With n = floor(fraction * nnz): K keeps nnz - n entries; A is the n largest |gradient| among all entries outside K,
    so an entry that was just dropped can be chosen again and then keeps its values. Structured supports do the same in
    units of their :class:`~szilard.sparse.pattern.Pattern`.

    Args:
        support: as it is before the move.
        score: importance of each existing entry, ``[nnz]``; among equal scores the lower index is kept.
        growth: scores of where entries should grow.
        fraction: of the entries to replace.
    """
    refuse_nan(score)
    source = support.replace(support.pattern.moved(support, score, growth, fraction))
    return Move(source, dropped=int((source < 0).sum()))


def refuse_nan(score: Tensor) -> None:
    """Raise for a removal score that is NaN.

    Raises:
        SzilardError: there is one.
    """
    if torch.isnan(score).any():
        raise SzilardError(
            "a removal score is NaN, so no entry can be dropped: inputs or targets hold NaN, or training has diverged; "
            "check the batches, and lower lr if they hold no NaN"
        )


def carry_optimizer_state(move: Move, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
    """Permute an optimiser's state of ``parameter [nnz]``: first moments of new entries start at zero."""
    for name, value in optimizer.state.get(parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            fill = move.survivors(value).mean() if name in SECOND_MOMENTS else 0.0
            move.carry(value, fill)
