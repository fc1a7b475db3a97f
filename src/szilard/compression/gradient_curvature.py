"""Curvature of any tensor from its gradients only.

For every example i, backpropagate a random ε_i from its outputs, of mean 0 and with the covariance of the loss's
curvature there, independent of the other examples. For the gradient g of Σ_i ⟨output_i, ε_i⟩ in a tensor W, E[g gᵀ] is
then the sum over examples of the Gauss-Newton matrix of W, because all terms between two examples vanish. The gradient
g includes every use of W for an example, at all positions, times and places, by any operation. Of g gᵀ only a Kronecker
product is kept (Martens and Grosse 2015; Gupta, Koren and Singer 2018):

    G_r A,    with G_r = E[|g_r|²] / cols    and    A = cols · E[Σ_r g_rᵀ g_r / G_r],    of trace cols,

as means over examples. A is estimated from few samples, and its off-diagonal part is shrunk by the correlation of two
halves of the samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.compression.hooked import WIDEST, Curvature

AT_ONCE = 4096  # rows


class Squares:
    """Sums over samples of a gradient, each of a batch of examples.

    Args:
        shape: of the tensor.
        groups: number of parts of the rows, each with its own A.
        samples: approximate number that will follow; A is a full matrix only if they are enough to estimate it.
        full: whether A is needed as a matrix.
    """

    def __init__(self, shape: torch.Size, *, groups: int = 1, samples: int = 1, full: bool = True) -> None:
        self.vector = len(shape) < 2
        self.rows = shape[0]
        self.cols = shape.numel() // max(1, self.rows)
        self.groups = groups
        size = self.rows // groups
        self.full = full and not self.vector and 1 < self.cols <= WIDEST and size * samples >= self.cols
        shape_a = (groups, self.cols, self.cols) if self.full else (groups, self.cols)
        self.a = [torch.zeros(shape_a, dtype=torch.float64) for _ in range(0 if self.vector else 2)]
        self.energy = torch.zeros(self.rows, dtype=torch.float64)
        self.touched = torch.zeros(self.rows, dtype=torch.float64)
        self.samples = 0

    def see(self, grad: Tensor | None) -> None:
        """Add one sample, of the tensor's shape, finite; None is zero."""
        if grad is not None:
            if grad.layout is not torch.strided:
                grad = grad.to_dense()
            matrix = grad.detach().reshape(self.rows, -1)
            size = self.rows // self.groups
            for g in range(self.groups):
                for part in range(g * size, (g + 1) * size, AT_ONCE):
                    self._rows(g, slice(part, min(part + AT_ONCE, (g + 1) * size)), matrix)
        self.samples += 1

    def _rows(self, group: int, rows: slice, matrix: Tensor) -> None:
        part = matrix[rows].cpu()
        energy = torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square()
        self.energy[rows] += energy
        self.touched[rows] += energy > 0
        if self.vector:
            return  # every entry is a row
        # Rows count alike: each is divided by its size in the samples in which it is not zero.
        scale = (self.touched[rows] / self.energy[rows].clamp_min(1e-300)).sqrt()
        kept = energy > 0
        scaled = (part[kept] * scale[kept, None]).float()
        half = self.a[self.samples % 2][group]
        half += scaled.T @ scaled if self.full else scaled.square().sum(0)

    def mean(self, examples: int, inputs: Tensor | None = None) -> Curvature | None:
        """The curvature for this many examples; None if every gradient was zero.

        Args:
            inputs: A, if it was measured by a hook, ``[groups, cols, cols]`` or ``[groups, cols]``.
        """
        if not examples or not bool((self.energy > 0).any()):
            return None
        energy = self._with_untouched() / examples
        if self.vector:
            return Curvature(torch.ones(1, 1, dtype=torch.float64), energy, energy)
        a = self._shrunk() if inputs is None else inputs
        trace = (a.diagonal(dim1=1, dim2=2) if a.dim() == 3 else a).sum(1)
        unit = torch.eye(self.cols, dtype=a.dtype) if a.dim() == 3 else torch.ones(self.cols, dtype=a.dtype)
        known = (trace > 0).view(-1, *[1] * (a.dim() - 1))
        a = torch.where(known, a * (self.cols / trace.clamp_min(1e-300)).view(known.shape), unit)
        outputs = energy / self.cols
        return Curvature(a, outputs, outputs)

    def _with_untouched(self) -> Tensor:
        """Sums of squares by row, as expected for other examples.

        Rows with zero gradient in all samples are words that no example contained, or positions after the end of all
        examples; other examples will use them. Such a row counts as used half a time, or as often as Good's (1953)
        estimate from the rows that were used once. A row that was used n times has n samples of its squares; the mean
        of all rows is added as one more sample.
        """
        n, unmet = self.touched, self.touched == 0
        if not bool(unmet.any()):
            return self.energy
        each = self.energy.sum() / n.sum()  # of a row, each time that it is used
        rate = max(0.5, float((n == 1).sum()) / float(unmet.sum()))
        shared = n * (self.energy + each) / (n + 1)
        return torch.where(unmet, rate * each, shared)

    def _shrunk(self) -> Tensor:
        mean = (self.a[0] + self.a[1]) / 2
        if not self.full:
            return mean
        found = []
        for a, first, second in zip(mean, *self.a, strict=True):
            diagonal = a.diagonal().diag()
            off = a - diagonal
            common = ((first - first.diagonal().diag()) * (second - second.diagonal().diag())).sum()
            share = float(common / off.square().sum().clamp_min(1e-300))
            found.append(diagonal + min(1.0, max(0.0, share)) * off)
        return torch.stack(found)
