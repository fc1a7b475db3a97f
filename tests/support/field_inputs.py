"""Networks of fields with random weights, and smooth fields."""

from __future__ import annotations

import numpy as np

from szilard.codec import weights
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import Network

STEPS = dict.fromkeys(weights.PARTS, 0)


def coded_network(*args, **named):
    """Weights of a network that are coded as they are."""
    return weights.Weights(network(*args, **named), STEPS)


def network(hidden=6, seed=0, size=1.0):
    r = np.random.default_rng(seed)

    def whole(most, *shape):
        return r.integers(-int(most * size), int(most * size) + 1, shape)

    return Network(
        whole(3000, MOST_LEVELS, 3, LINEAR), whole(2000, hidden, INPUTS), whole(2000, hidden, hidden),
        whole(2000, 2, hidden), whole(1 << 20, 2 * hidden + 2), seed % 2,
    )  # fmt: skip


def smooth(*shape, seed=0, dtype=np.float32):
    r = np.random.default_rng(seed)
    axes = [np.linspace(0, 3 + r.random(), length) for length in shape]
    total = np.zeros(shape)
    for axis, grid in enumerate(np.meshgrid(*axes, indexing="ij")):
        total += np.sin(grid * (1 + axis)) * (10 + axis)
    return (total + 0.01 * r.normal(size=shape)).astype(dtype)
