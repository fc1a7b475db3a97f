"""Makes a choice fit the target: random decisions save more until it does, and random ones use what is left.

Costs come from measured tables, in which an option can cost a little more than the one before it. So nothing here
rests on costs that fall from option to option, but for speed.
"""

from __future__ import annotations

import math

import numpy as np

from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice
from szilard.errors import SzilardError


class TargetTooSmall(SzilardError):
    """No policy of the search reaches the target.

    Attributes:
        least: what the smallest policy reaches, as a share of the original's cost.
    """

    def __init__(self, text: str, least: float) -> None:
        super().__init__(text)
        self.least = least

    def __reduce__(self) -> tuple[type[TargetTooSmall], tuple[str, float]]:
        return TargetTooSmall, (str(self), self.least)


_SWEEPS = 4  # over all decisions, when the cheapest choice is looked for


def with_option(choice: Choice, decision: int, option: int) -> Choice:
    """A choice with another option of one decision."""
    return (*choice[:decision], option, *choice[decision + 1 :])


def cheapest(problem: Problem) -> Choice:
    """A choice of low cost that meets the target: the fewest channels, with the bits of lowest cost, or one near it.

    If these options miss the target, decisions take their cheapest option one after the other, as long as that
    saves something.

    Raises:
        SzilardError: the target is not a positive number, or is below the cost of what was found.
    """
    if not 0 < problem.target < math.inf:
        raise SzilardError(f"the target is {problem.target:g}; it must be a positive number")
    found = min(_smallest(problem), key=problem.cost)
    lowest = problem.cost(found)
    for _ in range(_SWEEPS):
        if lowest <= problem.target:
            return found
        before = lowest
        for place, decision in enumerate(problem.space.decisions):
            for option in range(len(decision.options)):
                other = with_option(found, place, option)
                if problem.cost(other) < lowest:
                    found, lowest = other, problem.cost(other)
        if lowest == before:
            break
    if lowest <= problem.target:
        return found
    least = math.ceil(lowest * 1000) / 1000
    raise TargetTooSmall(
        f"the target {problem.target:g} is below what the smallest policy of the search reaches ({least:g}); give a "
        f"target of at least {least:g}",
        least,
    )


def _smallest(problem: Problem) -> list[Choice]:
    """The fewest channels, with each option of bits in all layers: fewer bits can be slower in small ones."""
    decisions = problem.space.decisions
    most = max((len(one.options) for one in decisions if one.kind == "bits"), default=1)
    return [
        tuple(
            min(bits, len(one.options) - 1) if one.kind == "bits" else len(one.options) - 1
            for one in decisions
        )
        for bits in reversed(range(most))
    ]


def fitted(problem: Problem, choice: Choice, generator: np.random.Generator) -> Choice:
    """A choice whose predicted cost is at most the target, and which uses the budget.

    While a choice costs too much, a random decision of those that can takes its next option. Of this random path to
    the cheapest choice, a place is found by bisection where the target is met and was not one step before. Then
    decisions go back towards the original one option at a time, in random order, as long as the target is met.
    Decisions are drawn uniformly, whatever they save or harm, so that no part of the space is preferred.

    Args:
        problem: gives the space, the cost and the target. Its cost function is called up to a few hundred times.
        choice: any choice of the space.
        generator: of random numbers.

    Raises:
        SzilardError: no choice meets the target, as in :func:`cheapest`.
    """
    if problem.cost(choice) > problem.target:
        path = _path(choice, problem.space.smallest, generator)
        least = cheapest(problem)
        if path[-1] != least:
            path.append(least)
        return _filled(problem, _first_that_fits(problem, path), generator)
    path = _path(choice, problem.space.original, generator)
    if problem.cost(path[-1]) <= problem.target:
        return path[-1]
    # Most of the way at once, because single steps ask for more costs.
    return _filled(problem, _first_that_fits(problem, path[::-1]), generator)


def _path(choice: Choice, end: Choice, generator: np.random.Generator) -> list[Choice]:
    """Choices from one to another, a step of a random decision apart."""
    path = [choice]
    steps = [goal - option for option, goal in zip(choice, end, strict=True)]
    left = [place for place, step in enumerate(steps) if step]
    for number in generator.random(sum(map(abs, steps))).tolist():
        at = int(number * len(left))
        place = left[at]
        step = 1 if steps[place] > 0 else -1
        path.append(with_option(path[-1], place, path[-1][place] + step))
        steps[place] -= step
        if not steps[place]:
            left[at] = left[-1]
            left.pop()
    return path


def _first_that_fits(problem: Problem, path: list[Choice]) -> Choice:
    """A choice of the path that meets the target while the one before it does not.

    The path starts above the target and ends below it.
    """
    above, fits = 0, len(path) - 1
    while fits - above > 1:
        middle = (above + fits) // 2
        if problem.cost(path[middle]) <= problem.target:
            fits = middle
        else:
            above = middle
    return path[fits]


def _filled(problem: Problem, choice: Choice, generator: np.random.Generator) -> Choice:
    """Moves random decisions back to the nearest earlier option that fits, until none has one."""
    left = [place for place, option in enumerate(choice) if option]
    while left:
        at = int(generator.integers(len(left)))
        place, before = left[at], choice
        for option in range(choice[place] - 1, -1, -1):
            other = with_option(choice, place, option)
            if problem.cost(other) <= problem.target:
                choice = other
                break
        if problem.cost(choice) < problem.cost(before):  # what did not fit before may fit now
            left = [one for one, option in enumerate(choice) if option]
        elif choice == before or not choice[place]:
            left[at] = left[-1]
            left.pop()
    return choice
