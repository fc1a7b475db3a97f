"""Random policies: the searcher that any other must beat."""

from __future__ import annotations

from collections.abc import Sequence

from szilard.compression.policies.budget import fitted
from szilard.compression.policies.cost_memo import with_memo
from szilard.compression.policies.problem import Problem, Proposal, Trial
from szilard.compression.policies.seeded import seeded

_TRIES = 20  # for a policy that was not tried before


class RandomPolicies:
    """An option of each decision, uniformly, made to fit the target; those that were tried are drawn again.

    Args:
        problem: what is searched.
    """

    name = "random"
    summary = "Random policies that use the budget"

    def __init__(self, problem: Problem) -> None:
        self.problem = with_memo(problem)

    def propose(self, history: Sequence[Trial]) -> Proposal:
        """The next choice, see :class:`~szilard.compression.policies.problem.Searcher`.

        Raises:
            SzilardError: no choice meets the target.
        """
        generator = seeded(self.problem.seed, len(history))
        tried = {trial.choice for trial in history}
        for _ in range(_TRIES):
            choice = tuple(int(generator.integers(len(one.options))) for one in self.problem.space.decisions)
            choice = fitted(self.problem, choice, generator)
            if choice not in tried:
                break
        return Proposal(choice)
