"""Which entries of sparse weights have existed since the start of training, for the log of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes.network_weights import weights
from szilard.bayes.weight import Weight
from szilard.networks.ensemble import in_training


class SupportHistory:
    """Follows the supports of a network from step to step.

    An entry that a move removes and another move brings back counts as one entry that has existed. This is the share
    that Liu et al. (2021, "In-time over-parameterization") call the in-time over-parametrisation rate.

    Args:
        network: with its supports of the start, of an ensemble the member in training; a dense network without them has
            no history, and costs no time.
        resizes: whether the method changes the number of entries, so that full supports are followed, too.
    """

    def __init__(self, network: nn.Module, *, resizes: bool = False) -> None:
        found = weights(in_training(network))
        sparse = resizes or any(not weight.support.is_full for weight in found.values())
        self._layers = {name: _Layer(weight) for name, weight in found.items()} if sparse else {}
        self._known = True

    def observe(self) -> None:
        """Look at the supports after a step; those that did not move cost a comparison."""
        for layer in self._layers.values():
            layer.observe()

    def epoch(self) -> dict[str, Any]:
        """For the log line of an epoch: ``{"supports": ...}``, or nothing for dense networks. Shares are from 0 to 1.

        * ``density``: existing entries of all;
        * ``replaced``: existing entries that did not exist at the end of the previous epoch, of those that exist;
        * ``ever_alive``: entries that have existed at any step so far, of all;
        * ``layers``: these three of each layer by name, as a list.
        """
        if not self._layers or not self._known:
            return {}
        counts = {name: layer.count() for name, layer in self._layers.items()}
        total = _Counts(*map(sum, zip(*counts.values(), strict=True)))
        layers = {name: list(of_layer.shares().values()) for name, of_layer in counts.items()}
        return {"supports": total.shares() | {"layers": layers}}

    def state_dict(self) -> dict[str, list[Tensor]]:
        """For a checkpoint: the two masks of each layer, one bit an entry."""
        if not self._known:
            return {}
        return {name: [_packed(layer.alive), _packed(layer.before)] for name, layer in self._layers.items()}

    def load_state_dict(self, state: Any) -> None:
        """Continue from a checkpoint; one of an earlier version has no history, and then the log has none."""
        self._known = isinstance(state, dict) and self.fits(state)
        if self._known:
            for name, layer in self._layers.items():
                alive, before = state[name]
                layer.alive, layer.before = _unpacked(alive, layer.alive), _unpacked(before, layer.before)

    def fits(self, state: dict[Any, Any]) -> bool:
        """Whether a state has two masks of the right size for each layer, and no others."""
        return set(state) == set(self._layers) and all(
            isinstance(state[name], list | tuple)
            and len(state[name]) == 2
            and all(_is_mask(mask, layer.alive.numel()) for mask in state[name])
            for name, layer in self._layers.items()
        )


class _Counts(NamedTuple):
    """Numbers of entries of a layer or of all."""

    size: int
    existing: int
    new: int
    alive: int

    def shares(self) -> dict[str, Any]:
        size = max(1, self.size)
        return {
            "density": self.existing / size,
            "replaced": self.new / max(1, self.existing),
            "ever_alive": self.alive / size,
        }


class _Layer:
    def __init__(self, weight: Weight) -> None:
        self._weight = weight
        self.alive = weight.support.mask().flatten()
        self.before = self.alive.clone()
        self._seen = weight.support.t_perm  # a new tensor after each move

    def observe(self) -> None:
        support = self._weight.support
        if support.t_perm is not self._seen:
            self.alive[support.flat()] = True
            self._seen = support.t_perm

    def count(self) -> _Counts:
        """Numbers of entries; those that are new are so since the last call."""
        flat = self._weight.support.flat()
        new = int((~self.before[flat]).sum())
        self.before.zero_()
        self.before[flat] = True
        return _Counts(self.alive.numel(), flat.numel(), new, int(self.alive.sum()))


def _is_mask(value: Any, entries: int) -> bool:
    return isinstance(value, Tensor) and value.dtype is torch.uint8 and value.shape == (-(-entries // 8),)


def _packed(mask: Tensor) -> Tensor:
    bits = torch.nn.functional.pad(mask.cpu().to(torch.uint8), (0, -mask.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def _unpacked(packed: Tensor, like: Tensor) -> Tensor:
    bits = (packed[:, None].cpu() >> torch.arange(8, dtype=torch.uint8)) & 1
    return bits.flatten()[: like.numel()].bool().to(like.device)
