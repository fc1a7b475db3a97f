"""Evolution: mutation and crossover of the trials of lowest F = KL + T·cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from szilard.compression.policies.budget import fitted
from szilard.compression.policies.problem import Problem, Proposal, Trial
from szilard.compression.policies.searchers.greedy import Greedy
from szilard.compression.policies.searchers.random_policies import RandomPolicies
from szilard.compression.policies.seeded import seeded
from szilard.compression.policies.space import Choice
from szilard.compression.policies.temperature import temperature
from szilard.compression.policies.uniform import uniform

_ALIVE = 16  # best different trials that can be parents
_RIVALS = 3  # trials of which the best becomes a parent
_CROSSED = 0.5  # share of children with two parents
_CHANGES = 2.0  # mean number of decisions that mutate, besides one that always does
_ANYWHERE = 0.25  # share of mutations to any option; the others go to a neighbour
_CHILDREN = 8  # of which the one of lowest expected KL is proposed
_MOST_KL = 1e6  # nats; stands for one that is not finite
_TRIES = 20  # more children, for one that was not tried before


class Evolution:
    """A population that starts from the greedy policy and the uniform ones.

    The first trials are the first proposal of :class:`~szilard.compression.policies.searchers.greedy.Greedy` and the
    uniform policies, made to fit. Each further one is a child of the best 16 different trials: a parent is the best of
    three drawn ones; half of the children take each decision from one of two parents; then at least one decision
    mutates, mostly to a neighbouring option, and the child is made to fit the target. Of eight children the one of
    lowest expected KL is proposed: the KL of its parents, plus what the sum of sensitivities changes. No choice is
    proposed twice, unless 28 children were all tried before and random policies were, too.

    T is the temperature at which the trial of lowest F meets the target, given the trials so far and the original
    network. All trials meet the target, so T·cost decides between policies of the same KL.

    Args:
        problem: what is searched.
    """

    name = "evolution"
    summary = "Mutation and crossover of the best policies, from the greedy and the uniform ones"

    def __init__(self, problem: Problem) -> None:
        self._greedy = Greedy(problem)
        self.problem = self._greedy.problem
        self._random = RandomPolicies(self.problem)
        self._first: list[Choice] = []

    def propose(self, history: Sequence[Trial]) -> Proposal:
        """The next choice, see :class:`~szilard.compression.policies.problem.Searcher`.

        Raises:
            SzilardError: no choice meets the target.
        """
        if not self._first:
            self._first = self._starts()
        if len(history) < len(self._first) or not self.problem.space.decisions:
            return Proposal(self._first[len(history) % len(self._first)])
        generator = seeded(self.problem.seed, len(history))
        tried = {trial.choice for trial in history}
        parents = self._parents(history)
        children: dict[Choice, float] = {}
        for number in range(_CHILDREN + _TRIES):
            if children and number >= _CHILDREN:
                break
            start, unlike = self._child(parents, generator)
            child = fitted(self.problem, start, generator)
            if child not in tried:
                children[child] = self._summed(child) + unlike
        return (
            Proposal(min(children, key=children.__getitem__)) if children else self._random.propose(history)
        )

    def _summed(self, choice: Choice) -> float:
        """Sum of the sensitivities of a choice, nats."""
        return min(float(self._greedy.sensitivity[range(len(choice)), choice].sum()), _MOST_KL)

    def _starts(self) -> list[Choice]:
        greedy = self._greedy.propose(()).choice
        others = [fitted(self.problem, one, seeded(self.problem.seed, 0, 1)) for one in uniform(self.problem)]
        return list(dict.fromkeys([greedy, *others]))

    def _parents(self, history: Sequence[Trial]) -> list[tuple[Choice, float]]:
        """The best different choices, the best one first, and by how much the KL of each is above the sum."""
        original = Trial(self.problem.space.original, 0.0, self.problem.cost(self.problem.space.original))
        t = temperature([*history, original], self.problem.target)
        free = {trial.choice: (trial.kl + t * trial.cost, trial.kl) for trial in history}
        alive = sorted(free.items(), key=lambda one: one[1])[:_ALIVE]
        return [(choice, min(kl, _MOST_KL) - self._summed(choice)) for choice, (_, kl) in alive]

    def _child(
        self, parents: list[tuple[Choice, float]], generator: np.random.Generator
    ) -> tuple[Choice, float]:
        """A child, and by how much the KL of its parents is above the sum."""

        def parent() -> tuple[Choice, float]:
            return parents[int(generator.integers(len(parents), size=_RIVALS).min())]

        first, unlike = parent()
        child = list(first)
        if generator.random() < _CROSSED:
            second, other = parent()
            unlike = (unlike + other) / 2
            takes = generator.random(len(child)) < 0.5
            child = [a if take else b for a, b, take in zip(child, second, takes, strict=True)]
        changes = generator.random(len(child)) < _CHANGES / len(child)
        changes[int(generator.integers(len(child)))] = True
        for place in np.flatnonzero(changes).tolist():
            size = len(self.problem.space.decisions[place].options)
            if generator.random() < _ANYWHERE:
                child[place] = int(generator.integers(size))
            else:
                step = 1 if generator.random() < 0.5 else -1
                child[place] = min(max(child[place] + step, 0), size - 1)
        return tuple(child), unlike
