"""A posterior that is a set of draws: networks with point values, all on the supports of one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from szilard.bayes.priors import LearnedPrior
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.networks.ensemble import Combine, Ensemble
from szilard.networks.plain import copied
from szilard.sparse import Support


class Draws(Ensemble):
    """The network that a chain moves, and the draws that were kept of it.

    In training mode the output is that of the network that moves; in eval mode it is what ``combine`` makes of the
    outputs of the draws. A draw has its own values and buffers, and shares its supports with the network that moves:
    these may change until the first draw is kept, and not afterwards. A file holds shared tensors once.

    Args:
        network: that a chain moves. Gaussian weights are points in the draws.
        count: S, the number of draws.
        combine: as for every ensemble.

    Attributes:
        chain: the network that moves.
        log_weights: ln of the draws' weights, float64 ``[S]``, up to a constant; equal weights are zeros.
    """

    log_weights: Tensor

    def __init__(self, network: nn.Module, count: int, combine: Combine) -> None:
        nn.Module.__init__(self)
        if count < 1:
            raise SzilardError(f"a posterior needs at least one draw, not {count}")
        self.chain = network
        self.members = nn.ModuleList([point_copy(network) for _ in range(count)])
        self.combine = combine
        self.done = 0
        device = next((parameter.device for parameter in network.parameters()), None)
        self.register_buffer("collected", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("log_weights", torch.zeros(count, dtype=torch.float64, device=device))

    @property
    def current(self) -> nn.Module:
        """The network that moves."""
        return self.chain

    @torch.no_grad()
    def collect(self) -> None:
        """Keep the values of the network that moves as the next draw.

        Raises:
            SzilardError: all draws have been kept.
        """
        if self.done == len(self.members):
            raise SzilardError(f"all {self.done} draws of this posterior have been kept")
        put_values(self.chain, self.members[self.done])
        self.done += 1
        self.collected.fill_(self.done)

    def in_use(self) -> Sequence[nn.Module]:
        return list(self.members)[: self.done] if self.done else [self.chain]

    @property
    def weights(self) -> Tensor | None:
        """Weights of the draws in use, float64 ``[S]`` with sum 1; None if they are equal."""
        logs = self.log_weights[: self.done]
        return None if not self.done or bool((logs == logs[0]).all()) else logs.softmax(0)


def point_copy(network: nn.Module) -> nn.Module:
    """A copy with point values and without gradients, which shares the supports of the network."""
    shared: dict[int, object] = {id(part): part for part in network.modules() if isinstance(part, Support)}
    made = copied(network, shared).requires_grad_(False)
    for weight in made.modules():
        if isinstance(weight, Weight):
            weight.log_std = None
            weight.set_prior(LearnedPrior())  # a point has no divergence
    return made


@torch.no_grad()
def put_values(source: nn.Module, target: nn.Module) -> None:
    """Copy the values and buffers that two copies both have of their own: not supports, nor σ into a point copy."""
    values = dict(source.named_parameters()) | dict(source.named_buffers())
    for name, tensor in [*target.named_parameters(), *target.named_buffers()]:
        if name in values and tensor is not values[name]:
            tensor.copy_(values[name])
