"""Train the vectors of a network in units of their own scale.

Two networks with the same function can differ by any factor between their layers. A step of 10⁻³ has no effect on a
bias that is added to numbers of size 10³, and is too large for one that is added to numbers of size 10⁻⁵. A vector b is
therefore written as b₀ + s u, and u is trained. For a bias, s is the standard deviation, by channel, of the numbers to
which it is added. For factors, or if the deviation is not known, s is the size of b itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

LEAST = 0.1  # least scale of a channel, relative to the vector's mean scale

# Modules that add their bias to an output, along the last dimension or along the second.
_LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm)
_SECOND = (_ConvNd, _BatchNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


class Scales:
    """The trainable u of some vectors of a network, all 0 at first.

    Attributes:
        moves: u, one for each vector, for an optimiser.
    """

    def __init__(self, network: nn.Module, vectors: Mapping[str, Tensor]) -> None:
        self._network, self._vectors = network, dict(vectors)
        self._starts = {name: p.detach().clone() for name, p in vectors.items()}
        self._scales = {name: _size(p.detach()).expand_as(p) for name, p in vectors.items()}
        self._moves = {name: torch.zeros_like(p).requires_grad_() for name, p in vectors.items()}

    @property
    def moves(self) -> list[Tensor]:
        return list(self._moves.values())

    @contextmanager
    def watching(self, measure: bool = True) -> Iterator[None]:
        """Measure the scales of biases while the network runs inside the block."""
        owners = {name: self._owner(name) for name in self._vectors} if measure else {}
        handles = [
            owner.register_forward_hook(self._see(name))
            for name, owner in owners.items()
            if owner is not None
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def take_gradients(self) -> None:
        """Convert the gradients of the vectors to those of u."""
        for name, p in self._vectors.items():
            self._moves[name].grad = None if p.grad is None else p.grad * self._scales[name]
            p.grad = None

    @torch.no_grad()
    def move(self) -> None:
        """Set the vectors to b₀ + s u."""
        for name, p in self._vectors.items():
            p.copy_(self._starts[name] + self._scales[name] * self._moves[name])

    def _owner(self, name: str) -> nn.Module | None:
        path, _, leaf = name.rpartition(".")
        owner = self._network.get_submodule(path)
        return owner if leaf == "bias" and isinstance(owner, (*_LAST, *_SECOND)) else None

    def _see(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def see(module: nn.Module, given: object, output: object) -> None:
            if not isinstance(output, Tensor):
                return
            axis = output.dim() - 1 if isinstance(module, _LAST) else 1
            if output.dim() < 2 or output.shape[axis] != len(self._starts[name]):
                return
            channels = output.detach().movedim(axis, -1).reshape(-1, output.shape[axis])
            deviation = channels.std(0, unbiased=False)
            mean = deviation.square().mean().sqrt()
            if len(channels) > 1 and float(mean) > 0 and bool(torch.isfinite(deviation).all()):
                self._scales[name] = deviation.clamp_min(LEAST * float(mean)).to(self._starts[name])

        return see


def _size(p: Tensor) -> Tensor:
    """Root mean square; 1 if that is 0."""
    size = p.square().mean().sqrt()
    return torch.where(size > 0, size, torch.ones_like(size))
