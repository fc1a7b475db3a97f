"""Positions of sequences and images that count: no padding, and a label other than -100."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from szilard.compression.batches import leaves
from szilard.errors import SzilardError
from szilard.likelihood import Categorical, Likelihood

IGNORED = -100  # as in torch's cross-entropy and most collators


@dataclass(frozen=True, eq=False)
class Positions:
    """The positions of one batch that count.

    Attributes:
        chosen: bool ``[B, ...]``, true for positions that count.
        first: classes are the second dimension of outputs, before the positions.
    """

    chosen: Tensor
    first: bool = False

    @classmethod
    def that_count(cls, output: Tensor, labels: Tensor | None, mask: Tensor | None) -> Positions | None:
        """Positions of outputs ``[B, ..., C]`` or ``[B, C, ...]`` that count; None if all do.

        Args:
            labels: of the batch; if there is one for each position, those with -100 do not count.
            mask: ``[B, T]`` for outputs ``[B, T, C]``, or None.

        Raises:
            SzilardError: no position counts.
        """
        ignored = labels is not None and not labels.is_floating_point() and bool((labels == IGNORED).any())
        if labels is not None and ignored and labels.shape == output.shape[:-1]:
            return cls._some((labels != IGNORED) & mask if mask is not None else labels != IGNORED)
        if labels is not None and ignored and labels.shape == (len(output), *output.shape[2:]):
            return cls._some(labels != IGNORED, first=output.dim() > 2)
        if mask is None or bool(mask.all()):
            return None
        if labels is not None and labels.shape[:2] != output.shape[:2]:
            return None  # labels of whole examples
        return cls._some(mask)

    @classmethod
    def every(cls, output: Tensor, first: bool) -> Positions:
        """All positions."""
        shape = (len(output), *output.shape[2:]) if first else output.shape[:-1]
        return cls(torch.ones(shape, dtype=torch.bool, device=output.device), first)

    @classmethod
    def _some(cls, chosen: Tensor, first: bool = False) -> Positions:
        if not bool(chosen.any()):
            raise SzilardError(
                "no position of a calibration batch counts: all are padding or have the label -100; give other data"
            )
        return cls(chosen, first)

    def of_batches(self, likelihood: Likelihood) -> Likelihood:
        """The likelihood of whole outputs ``[B, ..., C]`` or ``[B, C, ...]``, from that of the result of :meth:`of`."""
        if isinstance(likelihood, Categorical) and self.chosen.dim() > 1 and not self.first:
            return Categorical(last=True, probabilities=likelihood.probabilities)
        return likelihood

    @property
    def examples(self) -> int:
        """Number of examples in which any position counts."""
        return int(self.chosen.flatten(1).any(1).sum()) if self.chosen.dim() > 1 else int(self.chosen.sum())

    def of(self, values: Tensor) -> Tensor:
        """Outputs ``[n, C]`` or labels ``[n]`` of the positions that count."""
        chosen = self.chosen.to(values.device)
        if self.first and values.dim() > chosen.dim():
            values = values.movedim(1, -1)
        return values[chosen]

    def means(self, values: Tensor) -> Tensor:
        """Mean of the values of positions ``[n]`` for each example in which any position counts."""
        where = self.chosen.nonzero()[:, 0].to(values.device)
        size = len(self.chosen)
        sums = torch.zeros(size, dtype=values.dtype, device=values.device).index_add(0, where, values)
        counts = torch.bincount(where, minlength=size)
        return (sums / counts.clamp_min(1))[counts > 0]


def next_tokens(labels: Tensor) -> Tensor:
    """Labels ``[B, T]``, which are the tokens themselves, shifted to the positions before; the last is ignored."""
    return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORED)], 1)


def are_next_tokens(inputs: Any, output: Tensor, labels: Tensor) -> bool:
    """Whether labels ``[B, T]`` are the network's inputs, and its outputs ``[B, T, C]`` predict the next token.

    Language models are trained like this, and their loaders leave the shift to the loss.
    """
    if output.dim() != 3 or labels.shape != output.shape[:2] or labels.is_floating_point():
        return False
    counts = labels != IGNORED
    given = any(
        t.shape == labels.shape and not t.is_floating_point() and torch.equal(t[counts], labels[counts])
        for t in leaves(inputs)
    )
    if not given or labels.shape[1] < 2 or not bool(counts.any()):
        return False
    predicted, shifted = output.argmax(-1), next_tokens(labels)
    same = (predicted == labels)[counts].double().mean()
    following = (predicted == shifted)[shifted != IGNORED].double().mean()
    return bool(following > same)


def sample(parts: Sequence[Tensor]) -> Tensor:
    """Batches as one tensor; sequences and images of different sizes are cut to the smallest."""
    if len({part.dim() for part in parts}) > 1:
        raise SzilardError(
            "outputs or labels of two batches have different numbers of dimensions; give batches of one kind, or "
            "evaluate"
        )
    least = [min(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    cut = [part[(slice(None), *(slice(0, n) for n in least))] for part in parts]
    return torch.cat(cut)
