"""Invariants of every support after every step, and of every move."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from identities.check import Check
from identities.runs import small_network, train
from szilard import bayes
from szilard.methods import SSVI


class Watched:
    """A method whose supports are checked after every step, and before and after every move."""

    def __init__(self, method: SSVI) -> None:
        self.method = method
        self.broken: list[str] = []
        self.moves = 0
        self._budgets: dict[str, int] = {}
        self._before: dict[str, tuple[Tensor, Tensor]] = {}  # entries and means before a move
        self._move = method.moves.apply
        method.moves.apply = self.move  # type: ignore[method-assign]

    def look(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Check budgets, sorted CSR and transpose; after a move, unchanged survivors and zero new entries."""
        for name, layer in bayes.bayes_layers(network).items():
            support = layer.weight.support
            self._budgets.setdefault(name, support.nnz)
            support.check()
            if support.nnz != self._budgets[name]:
                self.broken.append(f"{name}: budget")
            values = torch.arange(support.nnz) + 1.0
            by_column = torch.sparse_csr_tensor(
                support.t_crow,
                support.t_col,
                values[support.t_perm.long()],
                size=(support.cols, support.rows),
            )
            if not torch.equal(
                by_column.to_dense().t(), support.scatter(values).view(support.rows, support.cols)
            ):
                self.broken.append(f"{name}: transpose")
            if name in self._before:
                self._compare(name, layer.weight, optimizer, *self._before.pop(name))

    def _compare(
        self, name: str, weight: bayes.Weight, optimizer: torch.optim.Optimizer, flat: Tensor, mean: Tensor
    ) -> None:
        now = weight.support.flat()
        fresh = ~torch.isin(now, flat)
        moved = float(weight.mean.detach()[fresh].abs().max()) if fresh.any() else 0.0
        if moved != 0:
            self.broken.append(f"{name}: a new mean is {moved}")
        if fresh.any() and float(optimizer.state[weight.mean]["exp_avg"][fresh].abs().max()) != 0:
            self.broken.append(f"{name}: a new entry has momentum")
        stay = torch.isin(flat, now)
        if not torch.equal(mean[stay], weight.mean.detach()[~fresh]):
            self.broken.append(f"{name}: a survivor changed")

    def move(self, network: nn.Module, optimizer: torch.optim.Optimizer, step: int, total: int) -> int:
        """Replaces ``method.moves.apply``; the new support must be the kept entries and the largest |G| outside."""
        layers = bayes.bayes_layers(network)
        gradients = {
            name: torch.cat(
                [
                    rows.clone()
                    for _, rows in layer.growth.stream(
                        layer.weight.support.rows, layer.weight.support.cols, layer.weight.mean.device
                    )
                ]
            )
            for name, layer in layers.items()
            if layer.growth is not None
        }
        for name, layer in layers.items():
            weight = layer.weight
            self._before[name] = (weight.support.flat(), weight.mean.detach().clone())
        scores = {name: layer.weight.mean.abs() / layer.weight.std for name, layer in layers.items()}
        new = self._move(network, optimizer, step, total)
        self.moves += bool(new)
        if new:
            fraction = self.method.moves.schedule.fraction_at(step, total)
            for name, gradient in gradients.items():
                support = layers[name].weight.support
                count = math.floor(fraction * support.nnz)
                kept = self._before[name][0][
                    scores[name].sort(descending=True, stable=True).indices[: support.nnz - count]
                ]
                outside = gradient.abs().flatten()
                outside[kept] = -1
                expected = torch.cat([kept, outside.topk(count).indices]).sort().values
                if not torch.equal(expected, support.flat()):
                    self.broken.append(f"{name}: the new support is not K ∪ A")
        self.look(network, optimizer)
        return new


def invariants(steps: int = 200) -> Check:
    """After every step: budgets, sorted CSR, transpose; after a move: A is the top of |G|, new μ and state are 0."""
    watched = Watched(SSVI(256, density=0.2, every=10))
    train(watched.method, small_network(), steps, watched.look)
    broken = watched.broken
    if watched.moves < 5:
        broken.append(f"only {watched.moves} moves")
    return Check(
        "invariants of the support at every step",
        float(len(broken)),
        0.0,
        "; ".join(broken[:3]) or f"{watched.moves} moves",
    )
