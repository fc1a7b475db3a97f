"""A search whose best policies are measured on the real network, so that predictions do not drift from what is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from szilard.compression.policies import running
from szilard.compression.policies.by_name import make
from szilard.compression.policies.history import History
from szilard.compression.policies.problem import Problem, Trial
from szilard.compression.policies.space import Choice
from szilard.compression.policies.temperature import best, cost_of, temperature
from szilard.errors import SzilardError

ROUNDS = 4  # of the search; after each of them the best policy is measured
MOST = 24  # measurements and further rounds, after the last round
FAILURES = 4  # measurements above the target before a further round
SMALLER = 0.97  # of the target, for each further round: policies that were predicted to meet it did not


class Measures(Protocol):
    """Measures the real network of a choice, and learns from it."""

    def measured(self, choice: Choice) -> float:
        """Cost of the real network, as a share of the original's."""
        ...

    def observe(self, trials: list[Trial]) -> None:
        """Correct later predictions by all trials that were measured."""
        ...


@dataclass(frozen=True)
class Search:
    """A search in rounds.

    Attributes:
        name: of the searcher.
        problem: its predicted costs are corrected by what was measured.
        evaluate: KL of a choice, nats per example.
        real: measures networks.
        history: keeps trials and measurements.
        evaluations: number of trials.
        progress: called with all trials after each.
    """

    name: str
    problem: Problem
    evaluate: Callable[[Choice], float]
    real: Measures
    history: History
    evaluations: int
    progress: Callable[[int, str], None]

    def run(self) -> Trial:
        """Search, and return the best trial whose real network meets the target.

        A search that was stopped continues from its history, and gives the same trial.

        Raises:
            SzilardError: no policy meets the target, as predicted or as measured.
        """
        self.real.observe(self._measured)
        for number in range(1, ROUNDS + 1):
            end = self.evaluations * number // ROUNDS
            if len(self.history.trials) >= end:
                continue
            searcher = make(self.name, self.problem)
            running.search(searcher, self.problem, self.evaluate, self.history, end, self._tell)
            self._measure_best(self.problem.target)
        return self._confirmed()

    def _confirmed(self) -> Trial:
        """The best trial, once it has been measured."""
        for number in range(1, MOST + 1):
            found = self._best(self.problem.target)
            if found is not None and found.measured is not None:
                return found
            if found is None or number % FAILURES == 0:
                self._search_below()
            else:
                self._measure(found)
        kept = [one for one in self._measured if cost_of(one) <= self.problem.target]
        if kept:
            return best(kept, self.problem.target)
        least = min((cost_of(one) for one in self._measured), default=float("inf"))
        raise SzilardError(
            f"no policy that was measured meets the target {self.problem.target:.3g}; the cheapest took {least:.3g} of "
            "the original's cost: give a larger target, or more evaluations"
        )

    def _search_below(self) -> None:
        """A further round, with a smaller target than the user's, because nothing that was measured meets that."""
        size = max(1, self.evaluations // ROUNDS)
        done = max(0, len(self.history.trials) - self.evaluations)
        target = self.problem.target * SMALLER ** (1 + done // size)
        problem = replace(self.problem, target=target)
        end = self.evaluations + (1 + done // size) * size
        running.search(make(self.name, problem), problem, self.evaluate, self.history, end, self._tell)
        self._measure_best(target)

    @property
    def _measured(self) -> list[Trial]:
        return [trial for trial in self.history.trials if trial.measured is not None]

    def _best(self, target: float) -> Trial | None:
        """The trial of lowest KL that meets a target: as measured, or by the prediction as it is now."""
        kept = [
            one
            for one in self.history.trials
            if (self.problem.cost(one.choice) if one.measured is None else one.measured) <= target
        ]
        return min(kept, key=lambda one: (one.kl, one.cost)) if kept else None

    def _measure_best(self, target: float) -> None:
        found = self._best(target)
        if found is not None and found.measured is None:
            self._measure(found)

    def _measure(self, trial: Trial) -> None:
        share = self.real.measured(trial.choice)
        for place, one in enumerate(self.history.trials):
            if one.choice == trial.choice:
                self.history.measure(place, share)
        self.real.observe(self._measured)

    def _tell(self, trials: object) -> None:
        found = self._best(self.problem.target)
        if found is None:
            text = ""
        else:
            original = Trial(self.problem.space.original, 0.0, 1.0)
            hot = temperature([original, *self.history.trials], self.problem.target)
            text = f"best F {found.kl + hot * cost_of(found):.4g}, KL {found.kl:.4g}"
        self.progress(len(self.history.trials), text)
