"""Curvature of layers whose inputs hooks can read: both factors from hooks.

For the output y = W x of a layer, at every position and for every example,

    ΔL ≈ ½ Σ_r G_r (w_r - ŵ_r) A (w_r - ŵ_r)ᵀ,    A = E[x xᵀ],    G_r = E[(∂L/∂y_r)²]

with x a patch if the layer is a convolution, A its mean over patches and G its sum over positions (Martens and
Grosse 2015; Grosse and Martens 2016, with the diagonal of the second factor). This assumes independent gradients at
different positions. If they are equal, as before global pooling, errors add up over the P positions instead. With
ρ = (E[(Σ ∂L/∂y)²] / G - 1) / (P - 1), which is 0 in the first case and 1 in the second, and x̄ an example's mean patch,

    A = (1 - ρ) E[x xᵀ] + ρ P E[x̄ x̄ᵀ].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.compression.half_precision import COARSE
from szilard.compression.patches import Layer, by_row, patches
from szilard.compression.shelf import Shelf, Total

AT_ONCE = 1 << 27  # values of patches in memory
MOST_PATCHES = 16384  # of one batch and layer; if there are more, a sample is taken
WIDEST = 4608  # A is a full matrix up to this number of columns


@dataclass(eq=False)
class Curvature:
    """Curvature of one tensor.

    Attributes:
        inputs: A, float64 ``[groups, cols, cols]``; or its diagonal, ``[groups, cols]``, for very many columns.
        outputs: G, float64 ``[rows]``.
        offset: E[(Σ ∂L/∂y_r)²], the sum over positions: the curvature of a bias, float64 ``[rows]``; for a vector, the
            curvature of its entries.
        hooked: whether A and G were measured by hooks at the layer's only call.
    """

    inputs: Tensor
    outputs: Tensor
    offset: Tensor
    hooked: bool = False


class Hooked:
    """Sums over batches for one layer.

    Attributes:
        bad: number of examples with a gradient that is not finite.
    """

    def __init__(self, layer: Layer, generator: torch.Generator, shelf: Shelf) -> None:
        self.layer, self.generator = layer, generator
        self.inputs = Total(shelf)
        self.coherent = Total(shelf)  # second moment of the means over positions
        self.positions = 1
        self.outputs: Tensor | float = 0.0
        self.offset: Tensor | float = 0.0
        self.weight = 0.0  # total weight of all patches
        self.bad: Tensor | int = 0

    def see(self, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        """A forward hook."""
        if not output.requires_grad:
            return
        x = given[0].detach()
        self.weight += len(x)
        values = patches(self.layer, x[:1]).numel()
        for part in x.split(max(1, AT_ONCE // max(1, values))):
            self._inputs(patches(self.layer, part), len(part), len(part) / len(x))
        output.register_hook(self._gradient)

    def _inputs(self, seen: Tensor, examples: int, share: float) -> None:
        """Add patches ``[groups, n, cols]`` of some examples, a share of the batch."""
        if seen.dtype in COARSE:
            seen = seen.float()  # sums of products in half precision are not positive definite
        n = seen.shape[1]
        self.positions = n // examples
        wide = seen.shape[2] > WIDEST
        if self.positions > 1:
            means = seen.reshape(len(seen), examples, self.positions, -1).mean(2)
            self.coherent.add(means.square().sum(1) if wide else means.transpose(1, 2) @ means)
        most = math.ceil(share * MOST_PATCHES)
        if n > most:
            chosen = torch.randperm(n, generator=self.generator)[:most]
            seen = seen[:, chosen.to(seen.device)]
        weight = examples / seen.shape[1]
        if wide:
            self.inputs.add(seen.double().square().sum(1), weight)
        else:
            self.inputs.add(seen.transpose(1, 2) @ seen, weight)

    def _gradient(self, grad: Tensor) -> None:
        grad = by_row(self.layer, grad.double())
        # A gradient can be infinite while the output is finite (sqrt at 0): such an example is not counted.
        finite = torch.isfinite(grad).all(2).all(1)
        if not bool(finite.all()):
            grad = torch.where(finite[:, None, None], grad, 0.0)
            self.bad = self.bad + (~finite).sum()
        self.outputs = self.outputs + grad.square().sum((0, 1))
        self.offset = self.offset + grad.sum(1).square().sum(0)

    def mean(self, examples: int) -> Curvature | None:
        """The curvature for this many examples; None if the hooks saw nothing."""
        inputs, coherent = self.inputs.take(), self.coherent.take()
        if inputs is None or not examples:
            return None
        if not isinstance(self.outputs, Tensor) or not isinstance(self.offset, Tensor):
            return None
        positions = self.positions
        if positions > 1 and coherent is not None:
            agreement = (self.offset.sum() / self.outputs.sum().clamp_min(1e-300)).item()
            share = min(1.0, max(0.0, (agreement - 1) / (positions - 1)))
            inputs = inputs.mul_(1 - share).add_(coherent.mul_(share * positions))
        return Curvature(
            inputs.div_(self.weight).cpu(),
            (self.outputs / examples).cpu(),
            (self.offset / examples).cpu(),
            hooked=True,
        )

    def moments(self) -> Tensor | None:
        """E[x xᵀ] of all patches, for any meaning of their first dimension."""
        self.coherent.take()
        inputs = self.inputs.take()
        return None if inputs is None else inputs.div_(self.weight).cpu()
