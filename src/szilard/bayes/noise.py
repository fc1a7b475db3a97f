"""The random numbers of a stochastic network: one stream, never the global one."""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


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
    """Standard normal numbers from generators of its own, one a device, all reset from a counter.

    A method resets the stream from (seed, step), so a run that resumes at a step draws what an
    uninterrupted one would have drawn, and nothing but the step needs saving.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = mix(seed)
        self._draws = 0
        self._generators: dict[torch.device, torch.Generator] = {}

    def reset(self, *counter: int) -> None:
        """Begin the stream that belongs to ``counter``, whatever was drawn before."""
        self._seed = mix(*counter)
        self._draws = 0
        for generator in self._generators.values():
            generator.manual_seed(self._seed)

    def normal(self, shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
        """Standard normal tensor of ``shape`` with the device and dtype of ``like``."""
        generator = self._generators.get(like.device)
        if generator is None:
            generator = torch.Generator(like.device).manual_seed(self._seed)
            self._generators[like.device] = generator
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

    def key(self) -> Tensor:
        """(seed, draw) of the next numbers that a kernel makes itself, int64 ``[2]`` on the CPU."""
        self._draws += 1
        return torch.tensor([self._seed, self._draws])

    def __getstate__(self) -> dict[str, int]:
        return {
            "seed": self._seed,
            "draws": self._draws,
        }  # generators are rebuilt: they neither copy nor pickle

    def __setstate__(self, state: dict[str, int]) -> None:
        self._seed, self._draws = state["seed"], state["draws"]
        self._generators = {}
