"""Remembers the predicted cost of choices: searchers ask for the same ones again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice

_MOST = 400_000  # choices, some 200 MB for 40 decisions; then it starts anew


class CostMemo:
    """A cost function that computes each choice once.

    Args:
        cost: the function.
    """

    def __init__(self, cost: Callable[[Choice], float]) -> None:
        self.cost = cost
        self._known: dict[Choice, float] = {}

    def __call__(self, choice: Choice) -> float:
        """The cost of a choice."""
        known = self._known.get(choice)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[choice] = float(self.cost(choice))
        return known


def with_memo(problem: Problem) -> Problem:
    """The same problem with a cost function that remembers; a problem that has one is returned as it is."""
    return problem if isinstance(problem.cost, CostMemo) else replace(problem, cost=CostMemo(problem.cost))
