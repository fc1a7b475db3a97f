"""Several networks that predict together and are trained one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.networks.plain import copied

#: The output that stands for those of all members, ``[S, B, ...]`` to ``[B, ...]``.
Combine = Callable[[Tensor], Tensor]


class Ensemble(nn.Module):
    """Copies of one network. The last one is trained; the others keep what it was when they were collected.

    In training mode the output is that of the network in training. In eval mode it is what ``combine`` makes of the
    outputs of the members in use: those that have been collected, or before the first one the network in training.

    Args:
        network: the first and, of the copies, the last member.
        count: number of members.
        combine: a function that can be pickled.
    """

    collected: Tensor  # int64 scalar, for the state dict; the same number as ``done``

    def __init__(self, network: nn.Module, count: int, combine: Combine) -> None:
        super().__init__()
        if count < 1:
            raise SzilardError(f"an ensemble needs at least one member, not {count}")
        copies = [copied(network).requires_grad_(False) for _ in range(count - 1)]
        self.members = nn.ModuleList([*copies, network])
        self.combine = combine
        self.done = 0
        device = next((parameter.device for parameter in network.parameters()), None)
        self.register_buffer("collected", torch.zeros((), dtype=torch.int64, device=device))

    @property
    def current(self) -> nn.Module:
        """The network in training, the last member."""
        return self.members[-1]

    def in_use(self) -> Sequence[nn.Module]:
        """The members that predict."""
        return list(self.members)[: self.done] if self.done else [self.current]

    @torch.no_grad()
    def collect(self) -> None:
        """Keep the network in training, as it is, as the next member.

        Raises:
            SzilardError: all members have been collected.
        """
        if self.done == len(self.members):
            raise SzilardError(f"all {self.done} members of this ensemble have been collected")
        if self.done < len(self.members) - 1:
            self.members[self.done].load_state_dict(self.current.state_dict())
        self.done += 1
        self.collected.fill_(self.done)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output for one batch, in the form that the networks return it."""
        if self.training:
            return self.current(*inputs, **named)
        return self.combine(torch.stack([member(*inputs, **named) for member in self.in_use()]))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}collected")
        if isinstance(stored, Tensor) and not stored.is_meta:
            if stored.dim() or not 0 <= int(stored) <= len(self.members):
                raise SzilardError(
                    f"the stored number of collected members is not one from 0 to {len(self.members)}; load the state "
                    "of an ensemble with as many members"
                )
            self.done = int(stored)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def in_training(network: nn.Module) -> nn.Module:
    """The network that is trained: of an ensemble the last member, otherwise the network itself."""
    found = ensemble_in(network)
    return network if found is None else found.current


def ensemble_in(network: nn.Module) -> Ensemble | None:
    """The ensemble that a network is or contains, as inside a wrapper of several processes; None if there is none."""
    return next((module for module in network.modules() if isinstance(module, Ensemble)), None)
