"""Greedy: the moves that save most for the KL that they cost, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from szilard.compression.policies.budget import cheapest, fitted, with_option
from szilard.compression.policies.cost_memo import with_memo
from szilard.compression.policies.problem import Problem, Proposal, Trial
from szilard.compression.policies.seeded import seeded
from szilard.compression.policies.space import Choice

_TRIES = 6  # for a policy that was not tried before
_WIDEST = 1.5  # standard deviation of the logarithm of a factor
_LEAST_KL = 1e-12  # nats; so that of moves without harm the one that saves most is taken
_LEAST_SAVING = 1e-12


class Greedy:
    """The first proposal follows the sensitivities alone; the others follow them under other weights.

    The KL of a choice is taken for the sum of the sensitivities of its options. From the original on, the move of
    lowest ΔKL for the cost that it saves is made, until the target is met; then moves are taken back that are not
    needed, the most harmful first. A move may skip options of a decision, because measured costs are staircases: from
    16 to 15 channels may save nothing, and from 16 to 8 much. What is saved beyond the target does not count.

    The first proposal needs no trials. For trial t > 0, the sensitivities of each decision are multiplied by a factor
    exp(N(0, s²)), with s uniform between 0 and 1.5: where the KL is not a sum, other trade-offs can be better.

    Costs are asked for lazily: a saving that was computed before other decisions moved stands until its move is the
    best one, and is then computed again. Where savings only shrink as others save, which they do for a product of
    widths, this chooses the same moves as computing all savings after each move (Minoux, 1978).

    Args:
        problem: what is searched.
    """

    name = "greedy"
    summary = "Moves of least harm for what they save, by the measured sensitivities"

    def __init__(self, problem: Problem) -> None:
        self.problem = with_memo(problem)
        most = max((len(one.options) for one in self.problem.space.decisions), default=1)
        #: KL of each option of each decision ``[decisions, options]``; infinite where there is no option
        self.sensitivity = np.full((len(self.problem.space.decisions), most), np.inf)
        for place, row in enumerate(self.problem.sensitivity):
            self.sensitivity[place, : len(row)] = [np.inf if math.isnan(value) else value for value in row]

    def propose(self, history: Sequence[Trial]) -> Proposal:
        """The next choice, see :class:`~szilard.compression.policies.problem.Searcher`.

        Raises:
            SzilardError: no choice meets the target.
        """
        if not history:
            return Proposal(self.choice(self.sensitivity, seeded(self.problem.seed, 0)))
        generator = seeded(self.problem.seed, len(history))
        tried = {trial.choice for trial in history}
        for _ in range(_TRIES):
            spread = generator.uniform(0, _WIDEST)
            factors = np.exp(spread * generator.standard_normal((len(self.sensitivity), 1)))
            choice = self.choice(self.sensitivity * factors, generator)
            if choice not in tried:
                break
        return Proposal(choice)

    def choice(self, sensitivity: np.ndarray, generator: np.random.Generator) -> Choice:
        """The choice of the greedy moves.

        Args:
            sensitivity: KL of each option of each decision ``[decisions, options]``, nats.
            generator: for the case that single moves do not reach the target.

        Raises:
            SzilardError: no choice meets the target.
        """
        cheapest(self.problem)
        choice = self.problem.space.original
        cost = self.problem.cost(choice)
        savings = self._savings(choice, cost)
        fresh = True
        known = np.ones(savings.shape, dtype=bool)
        harm = sensitivity.copy()
        while cost > self.problem.target:
            worth = np.minimum(savings, cost - self.problem.target)
            ratio = np.full(savings.shape, np.inf)
            np.divide(np.maximum(harm, 0) + _LEAST_KL, worth, out=ratio, where=worth > _LEAST_SAVING)
            place, option = map(int, np.unravel_index(np.argmin(ratio), ratio.shape))
            if not np.isfinite(ratio[place, option]):
                if fresh:  # no single move saves anything
                    return fitted(self.problem, choice, generator)
                savings, fresh = self._savings(choice, cost), True
                known[:] = True
                continue
            if not known[place, option]:
                savings[place, option] = cost - self.problem.cost(with_option(choice, place, option))
                known[place, option] = True
                continue
            choice = with_option(choice, place, option)
            cost = self.problem.cost(choice)
            # Seen from the new choice; what comes before the option saves nothing any more.
            savings[place] -= savings[place, option]
            harm[place] = sensitivity[place] - sensitivity[place, option]
            savings[place, : option + 1] = 0.0
            known[:] = fresh = False
        return self._without_waste(choice, sensitivity)

    def _savings(self, choice: Choice, cost: float) -> np.ndarray:
        """What each later option of each decision saves ``[decisions, options]``."""
        savings = np.zeros(self.sensitivity.shape)
        for place, decision in enumerate(self.problem.space.decisions):
            for option in range(choice[place] + 1, len(decision.options)):
                savings[place, option] = cost - self.problem.cost(with_option(choice, place, option))
        return savings

    def _without_waste(self, choice: Choice, sensitivity: np.ndarray) -> Choice:
        """Takes back what the target does not need: the largest drop of the KL first.

        Of options with the same KL the one nearest to the original is taken.
        """
        gains = [
            (float(sensitivity[place, option] - sensitivity[place, earlier]), -earlier, place)
            for place, option in enumerate(choice)
            for earlier in range(option)
            if sensitivity[place, option] >= sensitivity[place, earlier]
        ]
        moved: set[int] = set()
        for _, earlier, place in sorted(gains, reverse=True):
            if place not in moved:
                other = with_option(choice, place, -earlier)
                if self.problem.cost(other) <= self.problem.target:
                    choice = other
                    moved.add(place)
        return choice
