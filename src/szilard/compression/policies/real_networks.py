"""The real network of a choice, measured; what is measured corrects the predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from szilard.compression.policies.applied import PolicyEffect
from szilard.compression.policies.costs.base import Cost
from szilard.compression.policies.integers import without_integers
from szilard.compression.policies.problem import Trial
from szilard.compression.policies.space import Choice, Space


class RealNetworks:
    """Measures networks of choices.

    Args:
        effect: makes them.
        cost: measures them.
        space: of the choices.
    """

    def __init__(self, effect: PolicyEffect, cost: Cost, space: Space) -> None:
        self.effect, self.cost, self.space = effect, cost, space
        self._observed: set[Choice] = set()

    def measured(self, choice: Choice) -> float:
        """Cost of the real network, as a share of the original's."""
        policy = self.space.policy(choice)
        with torch.no_grad():
            network = without_integers(self.effect.apply(policy))
            return self.cost.measured(network, policy) / self.cost.reference

    def observe(self, trials: Sequence[Trial]) -> None:
        """Correct later predictions by all trials that were measured, each once."""
        for trial in trials:
            if trial.choice not in self._observed and trial.measured is not None:
                self._observed.add(trial.choice)
                self.cost.observe(self.space.policy(trial.choice), trial.measured * self.cost.reference)
