"""How many entries each weight of a network keeps, for one overall density."""

from __future__ import annotations

import math
from collections.abc import Sequence

from szilard.errors import SzilardError


def check_density(density: float) -> None:
    """Raise unless ``density`` is a number in (0, 1]."""
    if not isinstance(density, int | float):
        raise SzilardError(
            f"density must be one number in (0, 1] for the network, not {type(density).__name__}"
        )
    if not 0 < density <= 1:
        raise SzilardError(
            f"density must be in (0, 1], not {density:g}: it is the fraction of weights that exist"
        )


def uniform(shapes: Sequence[Sequence[int]], density: float) -> list[int]:
    """The same density in every weight, and at least one entry each.

    Each weight's share is rounded. If the sum exceeds ``round(density * all)``, the shares that were rounded up most
    lose one entry each.
    """
    check_density(density)
    share = [density * math.prod(shape) for shape in shapes]
    keep = [max(1, round(s)) for s in share]
    excess = sum(keep) - round(sum(share))
    rounded_up = sorted(
        (i for i in range(len(keep)) if keep[i] > max(1, share[i])), key=lambda i: (share[i] - keep[i], i)
    )
    for i in rounded_up[: max(0, excess)]:
        keep[i] -= 1
    return keep


def erdos_renyi_kernel(shapes: Sequence[Sequence[int]], density: float, power: float = 1.0) -> list[int]:
    """Density of weight l proportional to (sum of its dimensions / their product) ** power.

    Small weights stay denser than large ones; the total is exactly ``round(density * all)``, by largest remainders, and
    a weight whose density would exceed 1 is dense and the others share the rest. Source: Evci et al. 2020, "Rigging the
    Lottery", section 3 (Erdős–Rényi-Kernel).
    """
    check_density(density)
    sizes = [math.prod(shape) for shape in shapes]
    total = round(density * sum(sizes))
    share = _proportional(shapes, [1.0] * len(sizes), total, power)
    keep = [math.floor(s) for s in share]
    for i in _by_remainder(share)[: total - sum(keep)]:
        keep[i] += 1
    return [max(1, k) for k in keep]


def by_flops(shapes: Sequence[Sequence[int]], density: float, macs: Sequence[int]) -> list[int]:
    """Densities in the proportions of :func:`erdos_renyi_kernel`, with ``density`` of all multiply-adds.

    The sum of multiply-adds is at most ``density`` times that of the dense weights, unless the one entry that each
    weight keeps costs more, and no weight that is not full could have another entry for what is left.

    Args:
        shapes: of the weights.
        density: fraction of all multiply-adds.
        macs: multiply-adds of each dense weight for one example, at least 1.
    """
    check_density(density)
    sizes = [math.prod(shape) for shape in shapes]
    price = [spent / size for spent, size in zip(macs, sizes, strict=True)]
    budget = density * sum(macs)
    share = _proportional(shapes, price, budget)
    keep = [max(1, math.floor(s + 1e-9)) for s in share]
    left = budget - sum(k * p for k, p in zip(keep, price, strict=True)) + 1e-9 * budget
    for i in _by_remainder(share):  # one more each, and what is left then to the first that can use it
        if keep[i] < sizes[i] and price[i] <= left:
            keep[i], left = keep[i] + 1, left - price[i]
    for i in sorted(range(len(sizes)), key=lambda i: (-price[i], i)):
        more = min(sizes[i] - keep[i], max(0, math.floor(left / price[i])))
        keep[i], left = keep[i] + more, left - more * price[i]
    return keep


def _proportional(
    shapes: Sequence[Sequence[int]], price: Sequence[float], budget: float, power: float = 1.0
) -> list[float]:
    """Entries of each weight, not rounded: densities proportional to (sum / product of dimensions) ** power, at most 1.

    Args:
        price: of an entry of each weight.
        budget: what all entries cost together.
    """
    sizes = [math.prod(shape) for shape in shapes]
    raw = [(sum(shape) / size) ** power for shape, size in zip(shapes, sizes, strict=True)]
    full: set[int] = set()
    while True:
        free = [i for i in range(len(sizes)) if i not in full]
        rest = budget - sum(sizes[i] * price[i] for i in full)
        weight = sum(raw[i] * (sizes[i] * price[i]) for i in free)
        scale = rest / weight if weight else 0.0
        over = [i for i in free if scale * raw[i] > 1]
        if not over:
            break
        full.update(over)
    return [float(size) if i in full else scale * raw[i] * size for i, size in enumerate(sizes)]


def _by_remainder(share: Sequence[float]) -> list[int]:
    """Weights by the fraction that rounding down takes from them, largest first."""
    return sorted(range(len(share)), key=lambda i: (math.floor(share[i]) - share[i], i))


#: Rules that need nothing but shapes and a density.
ALLOCATIONS = {"uniform": uniform, "erk": erdos_renyi_kernel}

NAMES = (*ALLOCATIONS, "flops", "global")


def check_allocation(how: str) -> None:
    """Raise for a name that is not in :data:`NAMES`."""
    if how not in NAMES:
        raise SzilardError(f"unknown allocation {how!r}: choose one of {', '.join(NAMES)}")


def allocate(
    shapes: Sequence[Sequence[int]], density: float, how: str = "uniform", macs: Sequence[int] | None = None
) -> list[int]:
    """Entries per weight by the named rule, ``"uniform"``, ``"erk"`` or ``"flops"``.

    Args:
        shapes: of the weights.
        density: fraction of entries; for ``"flops"`` of multiply-adds.
        how: the rule. ``"global"`` follows from weights, see :func:`~szilard.sparse.one_threshold.largest_of_all`.
        macs: multiply-adds of each dense weight for one example, for ``"flops"``.

    Raises:
        SzilardError: an unknown rule, or one for which more must be known.
    """
    check_allocation(how)
    if how == "flops" and macs is not None:
        return by_flops(shapes, density, macs)
    if how not in ALLOCATIONS:
        wanted = "the shape of an input (input_shape=)" if how == "flops" else "trained weights"
        raise SzilardError(
            f"allocation {how!r} needs {wanted}; give it, or choose {' or '.join(ALLOCATIONS)}"
        )
    return ALLOCATIONS[how](shapes, density)
