"""A long chain of layers with an invented KL and cost, as large as the space of a real network."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from szilard.compression.policies.problem import Problem
from szilard.compression.policies.space import Choice, Decision, Space


def chain(
    decisions: int = 40, options: int = 8, target: float = 0.4, seed: int = 0
) -> tuple[Problem, Callable[[Choice], float]]:
    """A problem whose decisions alternate between the channels of a layer and its bits, and the KL of a choice.

    Layers are in a row, 8 channels are computed at once, and layers differ in size and in how much they mind. The KL
    is that of each layer alone and a term for each pair of neighbours.

    Args:
        decisions: how many, an even number.
        options: of each pool.
        target: of the problem.
        seed: of the layers and of the problem.
    """
    generator = np.random.default_rng(seed)
    layers = decisions // 2
    widths = [int(width) for width in generator.choice([16, 32, 64], layers)]
    area = np.exp(generator.normal(0, 0.7, layers)).tolist()
    harm = np.exp(generator.normal(-2, 1.5, layers)).tolist()
    power = generator.uniform(1, 2.5, layers).tolist()
    rounding = np.exp(generator.normal(-5, 1, layers)).tolist()
    pair = np.exp(generator.normal(-2, 1, layers)).tolist()
    kept = [[width - width * i // options for i in range(options)] for width in widths]
    steps = [[8 * math.ceil(width / 8) for width in row] for row in kept]
    bits = ((32, 32), (8, 8))
    made = []
    for i, row in enumerate(kept):
        made += [
            Decision(f"layer{i}", "channels", (f"layer{i}",), tuple(row)),
            Decision(f"layer{i}", "bits", (f"layer{i}",), bits),
        ]

    def seconds(choice: Choice) -> float:
        total, inputs = 50.0, 8
        for i in range(layers):
            outputs = steps[i][choice[2 * i]]
            total += 5 + area[i] * inputs * outputs * (0.5 if choice[2 * i + 1] else 1.0)
            inputs = outputs
        return total

    def kl(choice: Choice) -> float:
        total, before = 0.0, 0.0
        for i in range(layers):
            lost = choice[2 * i] / options
            alone = harm[i] * lost ** power[i] + (rounding[i] if choice[2 * i + 1] else 0.0)
            total += alone + pair[i] * lost * before
            before = lost
        return total

    original = (0,) * decisions
    whole = seconds(original)
    single = [
        [kl((*original[:place], option, *original[place + 1 :])) for option in range(len(one.options))]
        for place, one in enumerate(made)
    ]
    features = [
        {"macs": area[place // 2] * widths[place // 2], "outputs": float(widths[place // 2])}
        for place in range(decisions)
    ]
    space = Space(tuple(made), {f"layer{i}": (f"layer{i}",) for i in range(layers)})
    return Problem(space, single, lambda choice: seconds(choice) / whole, target, features, seed), kl
