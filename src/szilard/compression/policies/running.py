"""The loop of a search: a searcher proposes, the network is tried, the history keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from szilard.compression.policies.problem import Problem, Searcher, Trial
from szilard.compression.policies.space import Choice
from szilard.errors import SzilardError


class Keeper(Protocol):
    """Keeps trials: a :class:`~szilard.compression.policies.history.History`."""

    trials: list[Trial]

    def append(self, trial: Trial) -> None:
        """Add a trial."""
        ...


def search(
    searcher: Searcher,
    problem: Problem,
    evaluate: Callable[[Choice], float],
    history: Keeper,
    evaluations: int,
    progress: Callable[[Sequence[Trial]], None] | None = None,
) -> list[Trial]:
    """Try what a searcher proposes, until the history has so many trials.

    A choice that was tried before is not evaluated again, but counts as a trial: all searchers get the same number of
    proposals. A search that was stopped continues with the trials of the history, and gives the
    same as one that was not.

    Args:
        searcher: proposes.
        problem: gives the predicted cost and the target.
        evaluate: KL of a choice, nats per example; one that is not finite counts as infinite.
        history: keeps the trials; those that it has count.
        evaluations: number of trials at the end.
        progress: called with all trials after each one.

    Returns:
        all trials, those of the history included.

    Raises:
        SzilardError: a proposal costs more than the target.
    """
    known = {trial.choice: trial.kl for trial in history.trials}
    while len(history.trials) < evaluations:
        proposal = searcher.propose(history.trials)
        choice, cost = proposal.choice, float(problem.cost(proposal.choice))
        if not cost <= problem.target:
            raise SzilardError(
                f"searcher {type(searcher).__name__} proposed a policy of cost {cost:.4g}, above the target "
                f"{problem.target:g}; make it fit with szilard.compression.policies.budget.fitted"
            )
        if choice not in known:
            kl = float(evaluate(choice))
            known[choice] = kl if math.isfinite(kl) else math.inf
        history.append(Trial(choice, known[choice], cost, proposal.actions))
        if progress is not None:
            progress(history.trials)
    return list(history.trials)
