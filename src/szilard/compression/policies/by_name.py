"""The searchers by name."""

from __future__ import annotations

from szilard.compression.policies.problem import Problem, Searcher
from szilard.compression.policies.searchers.ddpg import Agent
from szilard.compression.policies.searchers.evolution import Evolution
from szilard.compression.policies.searchers.greedy import Greedy
from szilard.compression.policies.searchers.random_policies import RandomPolicies
from szilard.errors import SzilardError

#: Class of each searcher. Their ``summary`` is a line for tables and help.
SEARCHERS = {one.name: one for one in (Evolution, Greedy, Agent, RandomPolicies)}


def make(name: str, problem: Problem) -> Searcher:
    """A searcher by name.

    Raises:
        SzilardError: no searcher has this name.
    """
    if name not in SEARCHERS:
        raise SzilardError(
            f"there is no searcher {str(name)[:40]!r}; use one of {', '.join(sorted(SEARCHERS))}"
        )
    return SEARCHERS[name](problem)
