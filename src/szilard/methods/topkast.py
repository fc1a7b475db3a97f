"""Top-KAST: a sparse forward pass, and gradients at more entries than it uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.network_weights import every_weight
from szilard.bayes.weight import Weight
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.likelihood.free_energy import FreeEnergy
from szilard.methods import checks, shared, unused
from szilard.methods.deterministic import Deterministic
from szilard.methods.method import Method
from szilard.sparse import check_density
from szilard.topology import explored, nested
from szilard.topology.moves import Optimizers
from szilard.topology.redistribution import divided

_EXPLORATIONS = ("magnitude", "random")


class TopKAST(Method):
    """Use the largest weights of each layer (A), train more of them (B), and choose both sets anew every few steps.

    The forward pass and the gradients of activations use A alone, by sparse products; gradients of weights are computed
    at B. Entries outside of B keep their values and can return: these are held once as dense tensors in the memory of
    the host, for the choice of the sets. The loss has the exploration penalty

        ½ λ ( Σ_A w² + Σ_{B without A} w² / density )

    A network that is finished has only A.

    Args:
        density: fraction of weights that the forward pass uses, A.
        backward_density: fraction of weights that have a gradient, B; by default twice ``density``.
        every: optimiser steps between two choices of the sets.
        penalty: λ, the factor of the exploration penalty, nats per example.
        exploration: which weights of B are not in A: those of next largest ``"magnitude"``, or others at ``"random"``
            each time.
        allocation: ``"erk"`` (small layers denser, same total), ``"uniform"`` or ``"flops"``; B has in each layer as
            many times more entries than A, as far as there is room.
        dense_stem: leave the first layer dense if it is a convolution.
        pretrained: start from the network's own weights instead of fresh ones.
    """

    name = "topkast"
    label = "Top-KAST"
    summary = "A sparse forward pass, and gradients at more entries"
    source = "Jayakumar et al. 2020, arXiv:2106.03517"
    order = 30
    converts = True
    unused_options = Deterministic.unused_options

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        backward_density: float | None = None,
        every: int = 100,
        penalty: float = 1e-4,
        exploration: str = "magnitude",
        allocation: str = "erk",
        dense_stem: bool = False,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        unused.warn("Top-KAST", options, self.unused_options, "which has no divergence and no σ")
        check_density(density)
        backward = min(1.0, 2 * density) if backward_density is None else backward_density
        if not density < backward <= 1:
            raise SzilardError(
                f"Top-KAST trains more weights than its forward pass uses: backward_density must be above density "
                f"({density:g}) and at most 1, not {backward:g}"
            )
        if every < 1:
            raise SzilardError(
                f"every is the number of steps between two choices and must be at least 1, not {every}"
            )
        if allocation == "global":
            raise SzilardError(
                "Top-KAST chooses the largest weights of each layer, so that allocation cannot be 'global'; choose "
                "erk, uniform or flops"
            )
        if not penalty >= 0:
            raise SzilardError(f"penalty must be zero or positive, not {penalty:g}")
        if exploration not in _EXPLORATIONS:
            raise SzilardError(
                f"exploration of Top-KAST must be {' or '.join(_EXPLORATIONS)}, not {exploration!r}"
            )
        self.density, self.backward_density, self.every, self.penalty = density, backward, every, penalty
        self.exploration, self.allocation, self.dense_stem = exploration, allocation, dense_stem
        self.pretrained = pretrained
        self._reserve: list[Tensor | None] = []  # values of all entries of each weight, in host memory
        self._explored: list[float] = []

    # -- before training ----------------------------------------------------------------------------

    def _convert(self, network: nn.Module) -> nn.Module:
        given: dict[str, Any] = {
            "point": True, "fresh": not self.pretrained, "allocation": self.allocation, "dense_stem": self.dense_stem,
            "input_shape": self.input_shape,
            "seed": self.seed, **self._which(),
        }  # fmt: skip
        sparse = bayes.bayesianize(network, self.density, **given)
        if not any(
            parameter.is_meta for parameter in sparse.parameters()
        ):  # an outline is filled from a file
            self._choose(sparse, bayes.bayesianize(network, **given))
        return sparse

    @torch.no_grad()
    def _choose(self, sparse: nn.Module, dense: nn.Module) -> None:
        """Set A and B of the weights of ``sparse`` by the values of ``dense``."""
        every = [weight for _, weight, _ in every_weight(sparse)]
        values = [weight.mean.detach().flatten().cpu() for _, weight, _ in every_weight(dense)]
        part = [n for n, weight in enumerate(every) if weight.mean.requires_grad and not weight.stem]
        sizes = [weight.support.rows * weight.support.cols for weight in every]
        used = [weight.support.nnz for weight in every]
        room = [sizes[n] - used[n] for n in part]
        wanted = round(self.backward_density * sum(sizes[n] for n in part)) - sum(used[n] for n in part)
        more = divided(min(max(wanted, 0), sum(room)), [float(used[n]) for n in part], room)
        self._reserve = [None] * len(every)
        for n, count in zip(part, more, strict=True):
            if count:
                self._reserve[n] = self._start(every[n], values[n].clone(), count, n)

    def _start(self, weight: Weight, values: Tensor, count: int, number: int) -> Tensor:
        """Set A and B of one weight; returns the values of all its entries."""
        used, more = nested.chosen(values, len(weight.mean), count, self._draw(number))
        if (
            not self.pretrained
        ):  # A as large as fresh weights of so few entries are, and the others in proportion
            values *= weight.mean.detach().cpu().square().mean().sqrt() / values[used].square().mean().sqrt()
        weight.support.replace(used.to(weight.mean.device))
        weight.mean.copy_(values[used])
        explored.explore(weight, more.to(weight.mean.device), values[more].to(weight.mean))
        return values

    def _draw(self, number: int) -> int | None:
        if self.exploration == "magnitude":
            return None
        return nested.seed_of(self.seed, self.step, number)

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        explored.match(network, state)

    # -- training -----------------------------------------------------------------------------------

    def loss(self, network: nn.Module, x: Any, y: Tensor) -> Tensor:
        """As for every method, with the exploration penalty as the cost."""
        super().loss(network, x, y)
        self.last = FreeEnergy(self.last.energy, self.last.cost + self._penalty(network))
        return self.last.total

    def _penalty(self, network: nn.Module) -> Tensor:
        total = self.last.cost.new_zeros(())
        for _, weight, _ in every_weight(network):
            more = explored.explored_of(weight)
            if more is not None and self.penalty:
                squares = weight.mean.square().sum() + more.values.square().sum() / self.density
                total = total + 0.5 * self.penalty * squares
        return total

    def _before_forward(self, network: nn.Module) -> None:
        explored.listen(network, torch.is_grad_enabled() and network.training)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        super().after_step(network, optimizer)
        explored.listen(network, False)
        self._note(network)
        if self.step % self.every or self.step >= (self.total_steps or self.step + 1):
            return  # nothing enters A after the last step, untrained beside the others
        optimizers = checks.with_optimizer(self.label, optimizer)
        chosen: list[Weight | explored.Explored] = []
        for number, (_, weight, _) in enumerate(every_weight(network)):
            more, reserve = explored.explored_of(weight), self._reserve[number]
            if more is not None and reserve is not None:
                nested.refresh(weight, more, reserve, optimizers, self._draw(number))
                chosen += [weight, more]
        shared.check_supports(chosen, self.label)

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Any, Tensor]], valid: Split | None = None
    ) -> None:
        """Keep A alone, and compute the BatchNorm statistics for predictions."""
        self._note(network)
        for _, weight, _ in every_weight(network):
            explored.forget(weight)
        self._reserve = []
        super().finish(network, batches, valid)

    # -- cost and state -----------------------------------------------------------------------------

    def _note(self, network: nn.Module) -> None:
        found = [explored.explored_of(weight) for _, weight, _ in every_weight(network)]
        if any(found):
            self._explored = [0.0 if one is None else float(len(one.values)) for one in found]

    @property
    def explored_entries(self) -> Sequence[float]:
        return self._explored

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "reserve": list(self._reserve)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"reserve": None}, self.label)
        super().load_state_dict(state)
        self._reserve = [None if one is None else one.cpu() for one in state["reserve"]]

    def invalid_part(self, state: dict[str, Any], network: nn.Module) -> str:
        found, ours = state["reserve"], [weight for _, weight, _ in every_weight(network)]
        if not isinstance(found, list) or len(found) != len(ours):
            return "reserve"
        for values, weight in zip(found, ours, strict=True):
            if (values is None) != (explored.explored_of(weight) is None):
                return "reserve"
            if values is not None and not _fits(values, weight):
                return "reserve"
        return ""


def _fits(values: Any, weight: Weight) -> bool:
    """Whether these can be the values of all entries of a weight."""
    if not isinstance(values, Tensor) or values.dtype != weight.mean.dtype:
        return False
    size = weight.support.rows * weight.support.cols
    return values.shape == (size,) and bool(torch.isfinite(values).all())
