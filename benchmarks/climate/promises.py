"""Generated arrays through the codec, with any weights; how many values break the bound."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np

from climate import generated, judging
from climate.fields import smooth_noise
from szilard.codec import Bound, FieldCodec, head, weights
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import MOST_BIAS, MOST_LINEAR, MOST_WEIGHT, OUTPUTS, Network
from szilard.codec.weights import Weights
from szilard.coding import shapes
from szilard.errors import SzilardError

BATCH = 250  #: arrays of a job
STEPS = {"linear": 3, "first": 2, "second": 2, "last": 2, "biases": 9}  #: log2, of weights of hand
_SHOWN = 5


def measured(first: int, count: int) -> dict[str, Any]:
    """Arrays ``first`` to ``first + count``: values beyond the bound, messages, refusals and seconds."""
    started = time.process_time()
    known = networks()
    violations, values, refused, coded = 0, 0, 0, 0
    messages: list[str] = []
    for number in range(first, first + count):
        case = generated.case(number)
        try:
            bound = Bound(case.bound, case.relative)
            periodic, raster, within = number % 2 == 0, number % 5 == 0, number % 10 < 2
            codec = FieldCodec(bound, periodic, raster, known[number % len(known)], within)
            stream = codec.encode(case.array, case.bounds)
            decoded = codec.decode(stream)
        except SzilardError as error:
            refused += 1
            messages.append(f"refused {case.kind}: {error}")
            continue
        except Exception as error:
            violations += max(1, case.array.size)
            messages.append(f"{type(error).__name__} {case.kind}: {error}")
            continue
        wanted = case.array.astype(case.array.dtype.newbyteorder("<"))
        limit = case.bound if case.bounds is None else case.bounds
        beyond = judging.violations(wanted, decoded, limit, case.relative)
        values += case.array.size
        coded += stream[4] != head.RAW
        violations += beyond
        if beyond:
            messages.append(f"{beyond} values of {case.kind}")
    return {
        "arrays": count,
        "values": values,
        "coded": coded,
        "refused": refused,
        "violations": violations,
        "messages": messages[:_SHOWN],
        "seconds": time.process_time() - started,
    }


@functools.cache
def networks() -> list[Weights]:
    """Weights: of hand, from careful to the largest that a network takes, and two of a very short fit."""
    found = [
        Weights(weights.rounded(made(seed, size), STEPS), STEPS)
        for seed, size in enumerate((0.0, 0.003, 0.01, 0.1, 0.5, 1.0))
    ]
    for seed, scale in enumerate((1.0, 300.0)):
        sample = smooth_noise((48, 64), scale, seed)
        fitted = FieldCodec.fit(sample, Bound(0.01 * scale), periodic=True, effort=0.01, seed=seed)
        if fitted.weights is not None:
            found.append(fitted.weights)
    return found


def made(seed: int, size: float) -> Network:
    """Weights drawn uniformly up to a share of the largest."""
    random = np.random.default_rng(seed)
    hidden = int(random.integers(1, 25))

    def drawn(most: int, *shape: int) -> np.ndarray:
        return random.integers(-int(size * most), int(size * most) + 1, shape).astype(np.int64)

    return Network(
        drawn(MOST_LINEAR, MOST_LEVELS, 3, LINEAR),
        drawn(MOST_WEIGHT, hidden, INPUTS),
        drawn(MOST_WEIGHT, hidden, hidden),
        drawn(MOST_WEIGHT, OUTPUTS, hidden),
        drawn(MOST_BIAS, 2 * hidden + OUTPUTS),
        seed % shapes.SHAPES,
    )
