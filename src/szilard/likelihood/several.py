"""A network with several outputs, each with its own likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.likelihood.likelihood import Likelihood


@dataclass(frozen=True, eq=False)
class Part:
    """One output.

    Attributes:
        likelihood: likelihood of the output.
        shape: shape of one example; None is the length of a sequence, at most once.
    """

    likelihood: Likelihood
    shape: tuple[int | None, ...]

    @property
    def each(self) -> int:
        """Number of values of one example, or of one position of it."""
        return int(torch.Size([n for n in self.shape if n is not None]).numel())

    def size(self, positions: int) -> int:
        """Number of values of one example."""
        return self.each * (positions if None in self.shape else 1)

    def taken(self, flat: Tensor, positions: int) -> Tensor:
        return flat.reshape(len(flat), *(positions if n is None else n for n in self.shape))


class Several(Likelihood):
    """Outputs ``[B, K]``, flat, one part after the other; the score is that of the first, and all have a curvature.

    Args:
        parts: the outputs, in order.
    """

    trainable = False

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        first = self.parts[0].likelihood
        self.name, self.score, self.relative = first.name, first.score, first.relative  # type: ignore[misc]
        self.unlabelled = first.unlabelled  # type: ignore[misc]

    def divided(self, output: Tensor) -> list[Tensor]:
        """All parts, each in its shape."""
        fixed = sum(part.each for part in self.parts if None not in part.shape)
        moving = sum(part.each for part in self.parts if None in part.shape)
        positions = (output.shape[1] - fixed) // moving if moving else 0
        sizes = [part.size(positions) for part in self.parts]
        flat = output.split(sizes, dim=1)
        return [part.taken(one, positions) for part, one in zip(self.parts, flat, strict=True)]

    def judged(self, output: Tensor) -> Tensor:
        return self.divided(output)[0]

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        return self.parts[0].likelihood.nll(self.judged(output), y)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return self.parts[0].likelihood.values(self.judged(output), y)

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        return self.parts[0].likelihood.agreement(self.judged(output), self.judged(original))

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """Independent directions of all parts."""
        found = [
            part.likelihood.direction(one, softness, generator).reshape(len(one), -1)
            for part, one in zip(self.parts, self.divided(output), strict=True)
        ]
        return torch.cat(found, 1)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        """Sum over the parts."""
        pairs = zip(self.parts, self.divided(wanted), self.divided(answer), strict=True)
        return torch.stack([part.likelihood.divergence(w, a) for part, w, a in pairs]).sum()

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return self.parts[0].likelihood.loss(self.judged(output), y)

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        self.parts[0].likelihood.check_shape(self.judged(output), y)

    def check_values(self, output: Tensor, y: Tensor) -> None:
        self.parts[0].likelihood.check_values(self.judged(output), y)

    def guessing(self, y: Tensor) -> float:
        return self.parts[0].likelihood.guessing(y)

    def answers(self, output: Tensor) -> Tensor | None:
        return self.parts[0].likelihood.answers(self.judged(output))

    def label_probability(self, output: Tensor, y: Tensor) -> Tensor | None:
        return self.parts[0].likelihood.label_probability(self.judged(output), y)
