"""Whether a network still answers as it did before a pass that claims to keep its function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.adapt import adapt
from szilard.compression.batches import leaves, length, mapped, rows
from szilard.compression.guess import guess_inputs

EXAMPLES = 4
# Of the largest answer. Rounding in a type changes answers by less, unless the network makes much of little changes.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
MARGIN = 20.0  # times what the last bit of the inputs changes
NOISE = 1e-3  # of the largest answer: a network whose answers to one input differ by more cannot be compared

Forward = Callable[[nn.Module, Any], Any]


class Probe:
    """A few inputs, and what the network answered to them.

    Attributes:
        inputs: batches of a few examples, in every layout that the network takes where data do not tell which.
        forward: calls a network on one of them.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Any], forward: Forward) -> None:
        self.inputs: list[Any] = []
        self.forward = forward
        self._answers: list[list[Tensor]] = []
        self._tolerance: list[float] = []
        for x in inputs:
            self._look(network, x)

    @classmethod
    def of(cls, network: nn.Module, inputs: Sequence[Any], forward: Forward) -> Probe | None:
        """Take the answers of a network in eval mode; None where it gives none that could be compared.

        Args:
            inputs: batches; where there are none, random ones of the shapes that the network takes.
        """
        given = bool(inputs) and length(inputs[0]) > 0
        few = [rows(inputs[0], slice(0, EXAMPLES))] if given else guess_inputs(network)
        probe = cls(network, few, forward)
        return probe if probe.inputs else None

    @classmethod
    def of_batch(cls, network: nn.Module, batch: Any = None) -> Probe | None:
        """The same with a batch of a user's, of any structure; random inputs where that is None.

        Raises:
            SzilardError: the network takes it in no way.
        """
        if batch is None:
            return cls.of(network, [], lambda net, x: net(x))
        adapter = adapt(network, batch)
        return cls.of(network, [adapter.prepared(adapter.split(batch)[0])], adapter.outputs)

    def _look(self, network: nn.Module, x: Any) -> None:
        try:
            first, again, moved = (self._ask(network, given) for given in (x, x, mapped(x, _jitter)))
        except Exception:  # whatever a network does with an input that it was not made for
            return
        base = tolerance(network, first)
        noise, shaken = distance(again, first), distance(moved, first)
        if not first or not noise <= max(NOISE, base):
            return
        self.inputs.append(x)
        self._answers.append(first)
        self._tolerance.append(max(base, MARGIN * noise, MARGIN * shaken if shaken < NOISE else 0.0))

    @torch.no_grad()
    def _ask(self, network: nn.Module, x: Any) -> list[Tensor]:
        return numbers(self.forward(network, x))

    def agrees(self, network: nn.Module) -> bool:
        """Whether a network answers alike to all of the inputs."""
        for x, wanted, most in zip(self.inputs, self._answers, self._tolerance, strict=True):
            try:
                answer = self._ask(network, x)
            except Exception:  # a pass may have made shapes that do not fit
                return False
            if not distance(answer, wanted) <= most:
                return False
        return True


def numbers(output: Any) -> list[Tensor]:
    """Copies of the floating-point tensors in what a network answers; of the others if there are none."""
    found = [t.detach().clone() for t in leaves(output) if _is_number(t)]
    return [t for t in found if t.is_floating_point()] or found


def tolerance(network: nn.Module, answers: Sequence[Tensor]) -> float:
    """By how much answers may differ by rounding, by the coarsest type that the network computes in."""
    kinds = {p.dtype for p in network.parameters()} | {t.dtype for t in answers}
    order = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    return TOLERANCE[next((kind for kind in order if kind in kinds), torch.float32)]


def distance(answers: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest entry of its tensor; infinite where shapes differ."""
    if [t.shape for t in answers] != [t.shape for t in wanted]:
        return math.inf
    pairs = [(a.double(), b.double()) for a, b in zip(answers, wanted, strict=True)]
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
    """Other last bits."""
    if not t.is_floating_point():
        return t
    generator = torch.Generator().manual_seed(0)
    sign = torch.randint(0, 2, t.shape, generator=generator).to(t) * 2 - 1
    return t * (1 + torch.finfo(t.dtype).eps * sign)


def _size(t: Tensor) -> float:
    finite = t[torch.isfinite(t)]
    return float(finite.abs().max()) if finite.numel() else 0.0
