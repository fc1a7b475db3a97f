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

CHAIN = (100, 200, 400)  #: policies that a search of the long chain tries


def measured(
    evaluations: int, seeds: Sequence[int], chain_evaluations: Sequence[int] = CHAIN
) -> list[dict[str, Any]]:
    """A row for each space, searcher, seed and number of policies tried; KL in nats, and that of the optimum if known."""
    rows = []
    for seed in seeds:
        small = toy(seed)
        optimum = toy_kl(small.optimum)
        large, kl = chain(seed=seed)
        for name in SEARCHERS:
            found = best(name, small.problem, toy_kl, evaluations)
            rows.append(_row("toy", name, seed, evaluations, found, optimum))
            for count in chain_evaluations:
                rows.append(_row("chain", name, seed, count, best(name, large, kl, count), None))
    return rows


def best(name: str, problem: Problem, kl: Callable[[Choice], float], evaluations: int) -> float:
    """The least KL of the policies that a searcher tries; all of them meet the target."""
    trials = running.search(make(name, problem), problem, kl, History(), evaluations)
    return min(trial.kl for trial in trials)


def _row(
    space: str, searcher: str, seed: int, evaluations: int, kl: float, optimum: float | None
) -> dict[str, Any]:
    return {
        "space": space, "searcher": searcher, "seed": seed, "evaluations": evaluations, "kl": kl, "optimum": optimum,
    }  # fmt: skip
