"""AC/DC: phases of sparse and of dense training in turn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard import bayes
from szilard.errors import SzilardError
from szilard.methods import checks, shared, unused
from szilard.methods.deterministic import Deterministic
from szilard.methods.method import Method
from szilard.methods.resizing import Resizing, dense_entries, trained
from szilard.sparse import check_density
from szilard.sparse.one_threshold import largest_of_all
from szilard.topology.alternating import Alternating
from szilard.topology.moves import Optimizers
from szilard.topology.resized import resize


class ACDC(Resizing, Method):
    """Alternate compressed and decompressed training: sparse and dense phases in turn, and a sparse one at the end.

    A sparse phase begins with the entries of largest |w| of the whole network; all others are removed, and their
    optimiser state with them. A dense phase begins with the removed entries at zero and with an empty state of the
    optimiser. Sparse phases compute sparse products, dense phases dense ones.

    Args:
        density: fraction of weights that exist in the sparse phases.
        cycles: sparse phases before the last one, each with a dense phase behind it.
        first: length of the first, dense phase, as a fraction of all steps.
        final: length of the last, sparse phase, as a fraction of all steps.
        pretrained: start from the network's own weights instead of fresh ones.
    """

    name = "acdc"
    label = "AC/DC"
    summary = "Sparse and dense phases in turn, sparse at the end"
    source = "Peste et al. 2021, arXiv:2106.12379"
    order = 29
    unused_options = Deterministic.unused_options

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        cycles: int = 6,
        first: float = 0.1,
        final: float = 0.3,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        unused.warn("AC/DC", options, self.unused_options, "which has no divergence and no σ")
        check_density(density)
        if density == 1:
            raise SzilardError("the sparse phases of AC/DC need a density below 1; choose a lower density")
        self.density, self.pretrained = density, pretrained
        self.cycles, self.first, self.final = cycles, first, final
        self.phases = Alternating(cycles, first, final)
        if self.total_steps is not None:
            self.phases.check(self.total_steps)

    def _convert(self, network: nn.Module) -> nn.Module:
        network = bayes.bayesianize(
            network, point=True, fresh=not self.pretrained, seed=self.seed, **self._which()
        )
        weights = trained(network)
        checks.reachable(self.density, len(weights), dense_entries(weights))
        return network

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        self.phases.check(total_steps)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        self._count_entries(network)
        super().after_step(network, optimizer)
        total = self.total_steps or 0
        if self.phases.changes(self.step, total):
            self._next_phase(network, optimizer, self.phases.is_sparse(self.step, total))

    @torch.no_grad()
    def _next_phase(self, network: nn.Module, optimizer: Optimizers, sparse: bool) -> None:
        weights = trained(network)
        optimizers = checks.with_optimizer(self.label, optimizer, weights)
        if sparse:
            total = round(self.density * dense_entries(weights))
            kept = largest_of_all([weight.mean.abs() for weight in weights], total)
            for weight, mask in zip(weights, kept, strict=True):
                resize(weight, weight.support.flat()[mask], optimizers)
            shared.check_supports(weights, self.label)
            return
        for weight in weights:
            every = torch.arange(dense_entries([weight]), device=weight.mean.device)
            resize(weight, every, optimizers)
        for one in optimizers:  # momenta of the sparse network say nothing about the entries that return
            one.state.clear()
