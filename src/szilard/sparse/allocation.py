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
    raw = [(sum(shape) / size) ** power for shape, size in zip(shapes, sizes, strict=True)]
    total = round(density * sum(sizes))
    full: set[int] = set()
    while True:
        free = [i for i in range(len(sizes)) if i not in full]
        budget = total - sum(sizes[i] for i in full)
        weight = sum(raw[i] * sizes[i] for i in free)
        scale = budget / weight if weight else 0.0
        over = [i for i in free if scale * raw[i] > 1]
        if not over:
            break
        full.update(over)
    share = [float(size) if i in full else scale * raw[i] * size for i, size in enumerate(sizes)]
    keep = [math.floor(s) for s in share]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (keep[i] - share[i], i))
    for i in by_remainder[: total - sum(keep)]:
        keep[i] += 1
    return [max(1, k) for k in keep]


ALLOCATIONS = {"uniform": uniform, "erk": erdos_renyi_kernel}


def allocate(shapes: Sequence[Sequence[int]], density: float, how: str = "uniform") -> list[int]:
    """Entries per weight by the named rule, ``"uniform"`` or ``"erk"``."""
    if how not in ALLOCATIONS:
        raise SzilardError(f"unknown allocation {how!r}: choose one of {', '.join(ALLOCATIONS)}")
    return ALLOCATIONS[how](shapes, density)
