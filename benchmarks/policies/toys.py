"""Searchers on spaces whose KL and cost are formulas: how often the best policy is found, and how near they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from policies.chain import chain
from policies.plan import SEARCHERS
from policies.toy import kl as toy_kl
from policies.toy import toy
from szilard.compression.policies import running
from szilard.compression.policies.by_name import make
from szilard.compression.policies.history import History
from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice

CHAIN = (50, 100, 200)  #: policies of the long chain that a search has tried when it is looked at
QUICK_CHAIN = (25, 50)


def measured(evaluations: int, seeds: Sequence[int], counts: Sequence[int] = CHAIN) -> list[dict[str, Any]]:
    """Rows with the KL of the best policy found, nats.

    Args:
        evaluations: policies that a search of the toy tries.
        seeds: of spaces and searches.
        counts: of policies of the chain.
    """
    rows = []
    for seed in seeds:
        small = toy(seed)
        large, kl = chain(seed=seed)
        for name in SEARCHERS:
            found = tried(name, small.problem, toy_kl, evaluations)
            rows.append(_row("toy", name, seed, found) | {"optimum": toy_kl(small.optimum)})
            found = tried(name, large, kl, max(counts))
            rows += [_row("chain", name, seed, found[:count]) for count in counts]
    return rows


def tried(name: str, problem: Problem, kl: Callable[[Choice], float], evaluations: int) -> list[float]:
    """KL of the policies that a searcher tries, nats; all of them meet the target."""
    trials = running.search(make(name, problem), problem, kl, History(), evaluations)
    return [trial.kl for trial in trials]


def _row(space: str, searcher: str, seed: int, found: list[float]) -> dict[str, Any]:
    return {
        "space": space, "searcher": searcher, "seed": seed, "evaluations": len(found), "kl": min(found),
    }  # fmt: skip
