"""Embeddings: vectors that are compared by direction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood.likelihood import Likelihood, by_example


class Embedding(Likelihood):
    """Outputs ``[B, ..., k]`` are vectors that are compared by their cosine; the score is the mean cosine.

    As a density, this is exp(cosine · k) on the sphere, up to a constant: an error as large as the entries of a random
    unit vector then costs about one nat for each dimension.
    """

    name = "embedding"
    score = "cosine"
    relative = True
    trainable = False
    unlabelled = "cosine with the original's outputs"

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        """Up to a constant that does not depend on the output."""
        return (output.shape[-1] * (1 - self.values(output, y))).to(output)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return by_example(F.cosine_similarity(output.double(), y.double(), dim=-1))

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        return self.values(output, original)

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """√k ε orthogonal to the vector, divided by its length: the cosine does not depend on the length."""
        noise = torch.randn(output.shape, generator=generator).to(output)
        length = output.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        along = output / length
        across = noise - along * (noise * along).sum(-1, keepdim=True)
        return output.shape[-1] ** 0.5 * across / length

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        return answer.shape[-1] * (1 - F.cosine_similarity(answer, wanted, dim=-1)).mean()

    def guessing(self, y: Tensor) -> float:
        """Mean cosine of the best constant vector with vectors ``[N, ..., k]``: high if they share a direction."""
        return float(F.normalize(y.double(), dim=-1).reshape(-1, y.shape[-1]).mean(0).norm())

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        if y.shape != output.shape or not y.is_floating_point():
            raise SzilardError(
                f"targets have shape {list(y.shape)} and vectors {list(output.shape)}; give vectors of that shape, "
                "or no labels"
            )

    def check_values(self, output: Tensor, y: Tensor) -> None:
        if not bool(torch.isfinite(y).all()):
            raise SzilardError("targets have NaN or infinite values; remove those examples")
