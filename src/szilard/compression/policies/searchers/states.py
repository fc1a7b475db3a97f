"""What the agent sees before each decision: the decision, its sensitivity, and the cost so far."""

from __future__ import annotations

import math

import numpy as np

from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice

_RATIOS = 10  # points of a sensitivity curve
_LEAST_KL = 1e-6  # nats; smaller ones look alike
_RECALLED = 3  # previous actions


class States:
    """State vectors of an agent, one for each decision.

    The entries are: place in the order of decisions; whether it is about bits; logarithms of the features; logarithm of
    the sensitivity at ten ratios between its first and its last option; cost with the decisions so far, the others
    being as in the original network; the least cost that the others can still reach; what is missing to the target;
    what the strongest option of this decision saves in the original network; the last three actions, -1 before the
    first.

    Args:
        problem: its cost function should remember, because prefixes of a choice come again.
        least: a choice of low cost.
    """

    def __init__(self, problem: Problem, least: Choice) -> None:
        self.problem, self.least = problem, least
        count = len(problem.space.decisions)
        names = sorted({name for one in problem.features for name in one})
        original = problem.space.original
        rows = []
        for place, decision in enumerate(problem.space.decisions):
            features = problem.features[place] if problem.features else {}
            alone = (*original[:place], least[place], *original[place + 1 :])
            rows.append(
                [
                    place / max(count - 1, 1),
                    float(decision.kind == "bits"),
                    *(math.log1p(abs(float(features.get(name, 0.0)))) for name in names),
                    *_curve(problem.sensitivity[place]),
                    problem.cost(original) - problem.cost(alone),
                ]
            )
        self._fixed = np.array(rows, dtype=np.float64).reshape(count, -1 if count else 0)

    @property
    def size(self) -> int:
        """Length of a state."""
        return self._fixed.shape[1] + 3 + _RECALLED

    def state(self, prefix: Choice, actions: tuple[float, ...]) -> np.ndarray:
        """What is seen before a decision ``[size]``, float64.

        Args:
            prefix: options of the decisions so far.
            actions: that chose them.
        """
        place = len(prefix)
        so_far = self.problem.cost(prefix + self.problem.space.original[place:])
        least = self.problem.cost(prefix + self.least[place:])
        recalled = ((-1.0,) * _RECALLED + actions)[-_RECALLED:]
        changing = [so_far, least, so_far - self.problem.target, *recalled]
        return np.concatenate([self._fixed[place], changing])

    def episode(self, choice: Choice, actions: tuple[float, ...]) -> np.ndarray:
        """The states of all decisions of a choice ``[decisions, size]``, float64."""
        return np.stack([self.state(choice[:place], actions[:place]) for place in range(len(choice))])


def _curve(sensitivity: object) -> np.ndarray:
    """Logarithm of the KL at ten ratios between the first and the last option, linear between options."""
    values = np.nan_to_num(np.asarray(sensitivity, dtype=np.float64), nan=1e3, posinf=1e3)
    logs = np.log10(np.clip(values, _LEAST_KL, 1e3))
    return np.interp(np.linspace(0, 1, _RATIOS), np.linspace(0, 1, len(logs)), logs)


def option_of(action: float, options: int) -> int:
    """The option of an action in [0, 1], which options share in equal parts: 0 is the first, 1 the last."""
    return min(int(action * options), options - 1)


def action_of(option: int, options: int) -> float:
    """The action in the middle of an option's part of [0, 1]."""
    return (option + 0.5) / options
