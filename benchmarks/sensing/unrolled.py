"""Learned solvers with an output map: trained end to end on patches of training pictures.

The solver works on codes with A = Φ D; the patch is D' x, where D' starts as D and is trained with the layers (the last
layer's dictionary of Chen, Liu, Wang and Yin 2018). The loss of a batch is the mean of ‖patch - D' x‖² + 0.001 ‖x‖₁.
Depth grows while the first part of the steps is done: the loss is that of one layer, then of two, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensing.measuring import Cell, generator
from sensing.photographs import Photograph, centred, drawn
from szilard.solve import ALISTA, LISTA, LISTACP
from szilard.solve.learned import Learned

LAYERS = 6
BATCH = 256
SPARSITY = 0.001  # of ‖x‖₁ in the loss
GROWING = 0.3  # share of the steps in which depth grows
RATES = ((0.6, 1.0), (0.85, 0.2), (1.0, 0.04))  # (until this share of the steps, of the learning rate)
PENALTY = 0.05  # λ of the ISTA as which LISTA starts
THRESHOLD = 0.01  # of the others before training
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Way:
    """A learned solver.

    Attributes:
        made: from A and a number of layers.
        rate: learning rate of Adam for the layers.
    """

    made: Callable[[Tensor, int], Learned]
    rate: float


def _alista(A: Tensor, layers: int) -> Learned:
    """ALISTA with steps m / n before training: patches have many small codes, on which steps of 1 diverge."""
    found = ALISTA(A, layers, threshold=THRESHOLD)
    with torch.no_grad():
        for step in found.steps:
            step.fill_(A.shape[0] / A.shape[1])
    return found


def _cpss(A: Tensor, layers: int) -> Learned:
    """LISTA-CPSS which before training is that ALISTA."""
    found = LISTACP(A, layers, initial="analytic", threshold=THRESHOLD)
    with torch.no_grad():
        for weight in found.weights:
            weight.mul_(A.shape[0] / A.shape[1])
    return found


WAYS = {
    "LISTA": Way(lambda A, layers: LISTA(A, PENALTY, layers), 1e-4),
    "LISTA-CPSS": Way(_cpss, 5e-4),
    "ALISTA": Way(_alista, 2e-3),
}
OUTPUT_RATE = 5e-4  # of D'


class Unrolled(nn.Module):
    """Patches from their measurements.

    Args:
        solver: of A = Φ D.
        D: dictionary ``[256, n]``.
    """

    def __init__(self, solver: Learned, D: Tensor) -> None:
        super().__init__()
        self.solver = solver
        self.output = nn.Parameter(D.clone())

    def forward(self, b: Tensor, layers: int | None = None) -> tuple[Tensor, Tensor]:
        """Patches without their mean ``[B, 256]``, and codes ``[B, n]``."""
        x = self.solver(b, layers).x
        return x @ self.output.t(), x


def trained(
    way: Way, cell: Cell, D: Tensor, pictures: Sequence[Photograph], steps: int, layers: int = LAYERS
) -> Unrolled:
    """A solver that is trained for a cell, on the device of D; the same for every call."""
    network = Unrolled(way.made(cell.matrix.to(D) @ D, layers), D)
    optimizer = torch.optim.Adam([
        {"params": list(network.solver.parameters()), "rate": way.rate},
        {"params": [network.output], "rate": OUTPUT_RATE},
    ])  # fmt: skip
    random = generator(cell.ratio, cell.noise > 0, cell.seed, 11)
    for step in range(steps):
        done = step / steps
        factor = next(factor for until, factor in RATES if done < until)
        for group in optimizer.param_groups:
            group["lr"] = factor * group["rate"]
        patches, _ = centred(drawn(list(pictures), BATCH, random).to(D))
        depth = min(layers, 1 + int(layers * done / GROWING))
        found, codes = network(cell.measured(patches, random), depth)
        loss = ((found - patches).square().sum() + SPARSITY * codes.abs().sum()) / BATCH
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
    return network.eval().requires_grad_(False)
