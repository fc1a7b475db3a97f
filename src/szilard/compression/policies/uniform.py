"""Uniform policies: every pool keeps the same share of its channels, with all layers in float32 or all in int8."""

from __future__ import annotations

from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice, Decision

_INT8 = 8  # bits


def uniform(problem: Problem) -> list[Choice]:
    """The uniform policies of largest share that meet the target, in float32 and in int8.

    Where a pool has no option of exactly this share, it takes the nearest one; of a layer's bits, the first option of
    at most 8 bits for weights. A policy that misses the target with the smallest share is listed all the same, so that
    a caller can make it fit.

    Returns:
        one or two different choices: in float32, in int8. Without decisions over channels their shares are all 1.
    """
    decisions = problem.space.decisions
    shares = sorted(
        {
            size / one.options[0]  # type: ignore[operator]
            for one in decisions
            if one.kind == "channels"
            for size in one.options
        },
        reverse=True,
    )
    found = []
    for int8 in (False, True):
        for share in shares or [1.0]:
            choice = tuple(_option(one, share, int8) for one in decisions)
            if problem.cost(choice) <= problem.target:
                break
        found.append(choice)
    return list(dict.fromkeys(found))


def _option(decision: Decision, share: float, int8: bool) -> int:
    if decision.kind == "channels":
        goal = share * decision.options[0]  # type: ignore[operator]
        return min(range(len(decision.options)), key=lambda i: abs(decision.options[i] - goal))  # type: ignore[operator]
    low = (i for i, bits in enumerate(decision.options) if bits[0] <= _INT8)  # type: ignore[index]
    return next(low, 0) if int8 else 0
