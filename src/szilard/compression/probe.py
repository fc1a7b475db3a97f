"""Check that a network's outputs are the same after a pass that must not change its function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.adapt import adapt
from szilard.compression.batches import leaves, length, mapped, rows
from szilard.compression.random_inputs import random_inputs

EXAMPLES = 4
# Relative to the largest output. Rounding changes outputs by less, unless the network amplifies small changes.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
MARGIN = 20.0  # tolerance over the effect of the last bit of the inputs
NOISE = 1e-3  # of the largest output: if outputs for the same input differ by more, they cannot be compared

Forward = Callable[[nn.Module, Any], Any]


class Probe:
    """A few inputs, and the network's outputs for them.

    Attributes:
        inputs: batches of a few examples; without data, one in every layout that the network takes.
        forward: calls a network on one of them.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Any], forward: Forward) -> None:
        self.inputs: list[Any] = []
        self.forward = forward
        self._outputs: list[list[Tensor]] = []
        self._tolerance: list[float] = []
        for x in inputs:
            self._look(network, x)

    @classmethod
    def of(cls, network: nn.Module, inputs: Sequence[Any], forward: Forward) -> Probe | None:
        """Store the outputs of a network in eval mode; None if it has no outputs that can be compared.

        Args:
            inputs: batches; if there are none, random ones of the shapes that the network takes.
        """
        given = bool(inputs) and length(inputs[0]) > 0
        few = [rows(inputs[0], slice(0, EXAMPLES))] if given else random_inputs(network)
        probe = cls(network, few, forward)
        return probe if probe.inputs else None

    @classmethod
    def of_batch(cls, network: nn.Module, batch: Any = None) -> Probe | None:
        """The same for a user's batch of any structure; with random inputs if it is None.

        Raises:
            SzilardError: the network cannot be called on it.
        """
        if batch is None:
            return cls.of(network, [], lambda net, x: net(x))
        adapter = adapt(network, batch)
        return cls.of(network, [adapter.prepared(adapter.split(batch)[0])], adapter.outputs)

    def _look(self, network: nn.Module, x: Any) -> None:
        try:
            first, again, moved = (self._run(network, given) for given in (x, x, mapped(x, _jitter)))
        except Exception:  # any error of a network on inputs that do not fit
            return
        base = tolerance(network, first)
        noise, shaken = distance(again, first), distance(moved, first)
        if not first or not noise <= max(NOISE, base):
            return
        self.inputs.append(x)
        self._outputs.append(first)
        self._tolerance.append(max(base, MARGIN * noise, MARGIN * shaken if shaken < NOISE else 0.0))

    @torch.no_grad()
    def _run(self, network: nn.Module, x: Any) -> list[Tensor]:
        return numbers(self.forward(network, x))

    def agrees(self, network: nn.Module) -> bool:
        """Whether a network has the same outputs for all of the inputs, within the tolerance."""
        for x, wanted, most in zip(self.inputs, self._outputs, self._tolerance, strict=True):
            try:
                output = self._run(network, x)
            except Exception:  # shapes after a pass might not fit
                return False
            if not distance(output, wanted) <= most:
                return False
        return True


def numbers(output: Any) -> list[Tensor]:
    """Copies of the floating-point tensors in a network's output; of the other tensors if there are none."""
    found = [t.detach().clone() for t in leaves(output) if _is_number(t)]
    return [t for t in found if t.is_floating_point()] or found


def tolerance(network: nn.Module, outputs: Sequence[Tensor]) -> float:
    """Difference of outputs that rounding can cause in the coarsest type that the network computes in."""
    kinds = {p.dtype for p in network.parameters()} | {t.dtype for t in outputs}
    order = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    return TOLERANCE[next((kind for kind in order if kind in kinds), torch.float32)]


def distance(outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest entry of its tensor; infinite if shapes differ."""
    if [t.shape for t in outputs] != [t.shape for t in wanted]:
        return math.inf
    pairs = [(a.double(), b.double()) for a, b in zip(outputs, wanted, strict=True)]
    every = max((_size(b) for _, b in pairs), default=0.0)
    worst = 0.0
    for a, b in pairs:
        finite = torch.isfinite(b)
        if bool((finite != torch.isfinite(a)).any()):
            return math.inf
        gap = float((a - b)[finite].abs().max()) if bool(finite.any()) else 0.0
        size = max(_size(b), 1e-6 * every)
        worst = max(worst, gap / size if size else (math.inf if gap else 0.0))
    return worst


def _is_number(t: Tensor) -> bool:
    return t.layout is torch.strided and t.numel() > 0 and not t.is_complex()


def _jitter(t: Tensor) -> Tensor:
    """The same numbers with their last bits changed."""
    if not t.is_floating_point():
        return t
    generator = torch.Generator().manual_seed(0)
    sign = torch.randint(0, 2, t.shape, generator=generator).to(t) * 2 - 1
    return t * (1 + torch.finfo(t.dtype).eps * sign)


def _size(t: Tensor) -> float:
    finite = t[torch.isfinite(t)]
    return float(finite.abs().max()) if finite.numel() else 0.0
