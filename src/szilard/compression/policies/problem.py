"""What a searcher knows: the space, the effect and cost of its options, the target, and the trials so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from szilard.compression.policies.space import Choice, Space


@dataclass(frozen=True)
class Trial:
    """One policy that was tried.

    Attributes:
        choice: what it chose.
        kl: KL(original ‖ compressed) on the calibration inputs, nats per example, after BatchNorm was re-estimated.
        cost: predicted, as a share of the original network's.
        actions: numbers in [0, 1] that the searcher chose it by, one for each decision; empty if there are none.
        measured: cost measured on the real network, as a share of the original's; None: not measured.
    """

    choice: Choice
    kl: float
    cost: float
    actions: tuple[float, ...] = ()
    measured: float | None = None


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Attributes:
        space: of policies.
        sensitivity: KL of each option of each decision alone, nats ``[decision][option]``; 0 for the first option.
        cost: the predicted cost of a choice, as a share of the original network's.
        target: largest cost, as a share of the original network's.
        features: of each decision, numbers that describe its first layer, by name (macs, outputs, inputs, kernel,
            stride, parameters), of the original network.
        seed: of all random numbers.
    """

    space: Space
    sensitivity: Sequence[Sequence[float]]
    cost: Callable[[Choice], float]
    target: float
    features: Sequence[Mapping[str, float]] = field(default_factory=tuple)
    seed: int = 0


@dataclass(frozen=True)
class Proposal:
    """What a searcher proposes to try next, with the actions that led to it."""

    choice: Choice
    actions: tuple[float, ...] = ()


class Searcher(Protocol):
    """A searcher is made with a :class:`Problem`.

    It is a function of the problem and the history: after a kill, a new one with the same history proposes the same.
    """

    def propose(self, history: Sequence[Trial]) -> Proposal:
        """The next choice to try, whose predicted cost is at most the target."""
        ...
