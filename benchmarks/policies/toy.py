"""A space of three decisions whose best policy is known, because all its policies can be listed.

Two pools of 16 channels and the bits of the layer between them: 1024 policies. The time of a layer is a staircase (two
channels are computed at once), and the KL is not the sum over decisions: what one pool loses makes the other one more
important, and rounding hurts a narrow layer more. The policy that is best under the sum of the single KLs is not the
best one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice, Decision, Space

WIDTHS = tuple(range(16, 0, -1))
BITS = ((32, 32), (8, 8), (4, 8), (2, 8))
SPEED = (1.0, 0.55, 0.45, 0.4)  #: seconds of the layer between, as a share of those in float32
ROUNDING = (0.0, 0.02, 0.09, 0.5)  #: KL of its bits alone
TARGET = 0.4

SPACE = Space(
    decisions=(
        Decision("first", "channels", ("first",), WIDTHS),
        Decision("second", "channels", ("second",), WIDTHS),
        Decision("second", "bits", ("second",), BITS),
    ),
    pools={"first": ("first",), "second": ("second",), "last": ()},
    fixed={"last": 10},
)


@dataclass(frozen=True)
class Toy:
    """A problem, and its best policy.

    Attributes:
        problem: what a searcher gets.
        optimum: the choice of lowest KL among those that meet the target.
    """

    problem: Problem
    optimum: Choice


def kl(choice: Choice) -> float:
    """KL of a choice, nats."""
    first, second, bits = choice
    a, b = 1 - WIDTHS[first] / 16, 1 - WIDTHS[second] / 16
    alone = 0.9 * a**1.5 + 0.8 * b**2 + ROUNDING[bits]
    return alone + 1.5 * a * b + b * ROUNDING[bits]


def cost(choice: Choice) -> float:
    """Cost of a choice, as a share of the original network's."""
    return _seconds(choice) / _seconds((0, 0, 0))


def _seconds(choice: Choice) -> float:
    first, second = (2 * math.ceil(WIDTHS[option] / 2) for option in choice[:2])
    return 15.0 + 3.0 * first + first * second * SPEED[choice[2]] + 2.0 * second


def toy(seed: int = 0, target: float = TARGET) -> Toy:
    """The toy, with the seed of its searchers and the target."""
    sizes = [len(one.options) for one in SPACE.decisions]
    single = [
        [kl(tuple(option if other == place else 0 for other in range(3))) for option in range(size)]
        for place, size in enumerate(sizes)
    ]
    fits = [choice for choice in itertools.product(*map(range, sizes)) if cost(choice) <= target]
    features = [
        {"macs": 1.0, "outputs": 16.0},
        {"macs": 16.0, "outputs": 16.0},
        {"macs": 16.0, "outputs": 16.0},
    ]
    return Toy(Problem(SPACE, single, cost, target, features, seed), min(fits, key=kl))
