"""A search in rounds, whose best policies are measured."""

from __future__ import annotations

import pytest

from policies import toy
from szilard.compression.policies.history import History
from szilard.compression.policies.measured_search import Search
from szilard.errors import SzilardError


class Real:
    """Networks that cost more than predicted, by a factor that nobody learns."""

    def __init__(self, problem, factor):
        self.problem, self.factor = problem, factor
        self.asked = []

    def measured(self, choice):
        self.asked.append(choice)
        return self.factor * self.problem.cost(choice)

    def observe(self, trials):
        pass


def search(factor, history, evaluations=16):
    problem = toy.toy().problem
    real = Real(problem, factor)
    made = Search("random", problem, toy.kl, real, history, evaluations, lambda done, text: None)
    return made, real


def test_what_is_returned_was_measured_and_meets_the_target():
    made, real = search(1.0, History())
    best = made.run()
    assert best.measured == pytest.approx(made.problem.cost(best.choice))
    assert best.measured <= made.problem.target
    assert len(set(real.asked)) == len(real.asked)  # no network is measured twice


def test_a_search_goes_on_below_the_target_if_predictions_were_too_low():
    first, _ = search(1.0, History())
    first.run()
    cheapest = min(trial.cost for trial in first.history.trials)
    factor = 1.01 * first.problem.target / cheapest  # no network of these meets the target
    history = History()
    made, _ = search(factor, history)
    best = made.run()
    assert best.measured <= made.problem.target
    assert len(history.trials) > 16
    again, _ = search(factor, history)
    assert again.run() == best  # as after a kill


def test_a_target_that_no_real_network_meets_is_refused():
    made, _ = search(5.0, History())
    with pytest.raises(SzilardError, match="no policy that was measured meets the target"):
        made.run()
