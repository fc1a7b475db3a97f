"""The table of rules: which function computes mean and variance for each function of torch.

A rule takes the arguments of the function that it replaces, some of them
:class:`~szilard.bayes.moments.value.GaussianTensor`, and returns what the function would return. To add one, decorate
it with :func:`rule` in the file of its family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from szilard.networks.function_rules import PLACES, FunctionRules, Rule

_R = TypeVar("_R", bound=Rule)

_rules = FunctionRules(
    "the mean and variance of",
    "register one with the decorator @szilard.bayes.rule, or predict with samples",
)
apply, names, table = _rules.apply, _rules.names, _rules.table


def rule(*names: str, places: Sequence[Any] = PLACES) -> Callable[[_R], _R]:
    """Register a function as the rule of every function of torch with one of these names.

    One rule serves ``torch.relu(x)``, ``x.relu()`` and ``F.relu(x)``.

    Args:
        names: of functions.
        places: where the names are searched; fewer places for names that mean different functions, or take their
            arguments in different orders.

    Raises:
        KeyError: there is no function of that name.
    """
    return _rules.rule(*names, places=places)
