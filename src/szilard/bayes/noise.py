"""The random stream of a stochastic network, separate from torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.kernels.transforms import outside_transforms, transformed
from szilard.locks import Lock
from szilard.sparse.differentiable import noise_like
from szilard.sparse.portable import normal

_MASK = (1 << 64) - 1
PREDICTING = 0x7072  #: Separates the random numbers of predictions from those of training.
_lock = Lock()  # for all streams: two threads must not get the same key


def mix(*numbers: int) -> int:
    """A 63-bit seed from several integers (splitmix64 finaliser over their sequence)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state + (number & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class Noise:
    """One stream of random numbers, reset from a counter.

    A method resets the stream from (seed, step), so a run that resumes at a step draws what an
    uninterrupted one would have drawn, and nothing but the step needs saving.
    """

    def __init__(self, seed: int = 0) -> None:
        # (seed, number of draws) as a tensor, so that a compiled graph advances it too.
        self.state = torch.tensor([mix(seed), 0])
        self._one_more = torch.tensor([0, 1])

    def reset(self, *counter: int) -> None:
        """Start the stream of ``counter``, independent of earlier draws."""
        self.state.copy_(torch.tensor([mix(*counter), 0]))

    def key(self) -> Tensor:
        """The key of the next draw for an operator that makes its own noise: int64 ``[2]``, on the CPU."""
        if torch.compiler.is_compiling():  # a compiled graph has no locks
            return self._next()
        with _lock, outside_transforms():
            return self._next()

    def _next(self) -> Tensor:
        key = self.state.clone()
        self.state.add_(self._one_more)
        return key

    def normal(self, shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
        """The next draw as a standard normal tensor of ``shape`` with the device and dtype of ``like``.

        It comes from torch's generator, so that a draw of weights is the same with any kernels.
        """
        if transformed():
            return noise_like(self.key(), torch.Size(shape), like)
        return normal(self.key(), list(shape), like)
