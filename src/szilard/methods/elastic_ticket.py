"""Training from a lottery ticket that was found in a network of another depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.network_weights import every_weight
from szilard.bayes.noise import mix
from szilard.errors import SzilardError
from szilard.methods import unused
from szilard.methods.deterministic import Deterministic
from szilard.methods.method import Method
from szilard.methods.stored_supports import match_supports
from szilard.topology.elastic_blocks import Ticket, elastic
from szilard.topology.rewind import rewind

_MASKS = ("ticket", "random")
_MASK = 0x656C  # separates the random numbers of the control


class ElasticTicket(Method):
    """Train a lottery ticket of another depth: a network of the same family, whose blocks copy those of the ticket.

    Entries and values of the rewind step are copied, with biases and BatchNorm. The entries do not change.

    Args:
        ticket: folder of a run of ``tickets``; in Python also a :class:`szilard.topology.Ticket`.
        repeat: how blocks are repeated or left out: ``"interleave"`` (1 1 2 2), ``"append"`` (1 2 1 2), or a map
            such as ``"0:0;1:1,2;2:3,4"``; see :func:`szilard.topology.block_map`.
        mask: ``"ticket"``, or as a control ``"random"``, with as many entries in each layer.
    """

    name = "elastic-ticket"
    label = "elastic ticket"
    summary = "Trains a lottery ticket that was found at another depth"
    source = "Chen et al. 2021, arXiv:2103.16547"
    order = 34
    converts = True
    unused_options = Deterministic.unused_options

    def __init__(
        self,
        n_data: int,
        *,
        ticket: str | Ticket = "",
        repeat: str = "interleave",
        mask: str = "ticket",
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        unused.warn("an elastic ticket", options, self.unused_options, "which has no divergence and no σ")
        if mask not in _MASKS:
            raise SzilardError(f"mask of an elastic ticket must be {' or '.join(_MASKS)}, not {mask!r}")
        self.ticket, self.repeat, self.mask = ticket, repeat, mask
        #: What :attr:`ticket` holds: :func:`szilard.fit` reads the folder.
        self.found = ticket if isinstance(ticket, Ticket) else None

    def _convert(self, network: nn.Module) -> nn.Module:
        made = bayes.bayesianize(network, point=True, seed=self.seed, **self._which())
        if self.stored:  # the file holds all values
            return made
        if self.found is None:
            raise SzilardError(
                "an elastic ticket needs the lottery ticket that it copies; add --option ticket=RUN with the folder of "
                "a run of --method tickets, or give a szilard.topology.Ticket"
            )
        self._plant(made, elastic(self.found, made, self.repeat))
        return made

    @torch.no_grad()
    def _plant(self, network: nn.Module, values: Mapping[str, Tensor]) -> None:
        missing = [name for name in network.state_dict() if name not in values]
        if missing:
            raise SzilardError(
                f"the ticket has no {missing[0]}; give a ticket of a network whose layers are converted as here"
            )
        match_supports(network, dict(values))
        if self.mask == "random":
            for number, held in enumerate(every_weight(network)):
                support = held.weight.support
                generator = torch.Generator().manual_seed(mix(self.seed, _MASK, number))
                drawn = torch.randperm(support.rows * support.cols, generator=generator)[: support.nnz]
                held.weight.resize(drawn.sort().values)
        rewind(network, dict(values))

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        match_supports(network, state)
