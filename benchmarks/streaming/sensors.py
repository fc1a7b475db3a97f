"""Rows of a power plant whose sensors fail now and then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from szilard.adapt.scaling import Scaler

WARM_UP = 100  #: Rows from which center and scale of the target are taken; they are not judged.
HEALTHY, FAULTY = 600.0, 200.0  #: Mean rows between faults, and of a fault.
OFFSET = (1.0, 3.0)  #: Size of an offset, in standard deviations of the feature.
GAIN = (0.3, 0.7)  #: Factor of a sensor that has lost sensitivity.
KINDS = ("offset", "gain", "stuck")
NOISE = (1.0, 3.0)


@dataclass(frozen=True)
class Plant:
    """Rows with faults.

    Attributes:
        x: as the filter takes them, ``[N, 5]``: 1, and the sensors standardised by the rows before.
        y: power, minus the mean and over the deviation of the first 30 rows.
        changes: rows at which a fault began or ended.
    """

    x: np.ndarray
    y: np.ndarray
    changes: list[int]


def plant(root: Path, seed: int) -> Plant:
    """The 9568 rows in random order, with faults of one sensor at a time.

    Time between faults and length of a fault are geometric, with means of 600 and 200 rows. A fault is of a random
    sensor and, with equal probability, an offset of 1 to 3 standard deviations in either direction, a gain of .3 to .7
    about the mean, or a value that sticks at that of the first faulty row. After it the sensor is as before. Nobody says
    when a fault begins or ends.
    """
    values = np.loadtxt(root / "uci" / "power-plant" / "data.txt")
    random = np.random.default_rng(seed)
    values = values[random.permutation(len(values))]
    raw, target = values[:, :-1].copy(), values[:, -1]
    mean, std = raw.mean(0), raw.std(0)
    changes, row = [], 0
    while True:
        first = row + int(random.geometric(1 / HEALTHY))
        row = min(first + int(random.geometric(1 / FAULTY)), len(raw))
        if first >= len(raw):
            break
        sensor, kind = int(random.integers(raw.shape[1])), KINDS[random.integers(len(KINDS))]
        part = raw[first:row, sensor]
        if kind == "offset":
            part += random.choice((-1, 1)) * random.uniform(*OFFSET) * std[sensor]
        elif kind == "gain":
            part[:] = mean[sensor] + random.uniform(*GAIN) * (part - mean[sensor])
        elif kind == "noise":
            part += random.uniform(*NOISE) * std[sensor] * random.normal(size=len(part))
        else:
            part[:] = part[0]
        changes += [first] if row == len(raw) else [first, row]
    early, power = raw[:WARM_UP], target[:WARM_UP]
    rows = np.column_stack((np.ones(len(raw)), (raw - early.mean(0)) / early.std(0)))
    return Plant(rows, (target - power.mean()) / power.std(), changes)
