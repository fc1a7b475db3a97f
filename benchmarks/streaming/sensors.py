"""Rows of a power plant whose sensors fail now and then, with noise of an unknown variance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streaming.filtering import filtered
from streaming.single_rates import Recorded
from szilard.adapt import Filter
from szilard.adapt.broadening import Reset, Temper
from szilard.adapt.observations import UnknownNoise
from szilard.adapt.trackers import RATES, Bank, RunLength

WARM_UP = 100  #: Rows that give center and scale of features and target; they are learned and not judged.
HEALTHY, FAULTY = 600.0, 200.0  #: Mean rows between faults, and of a fault.
OFFSET, GAIN = (1.0, 3.0), (0.3, 0.7)  #: In standard deviations of the sensor; a factor.
KINDS = ("offset", "gain", "stuck")
SENSORS = {"temperature": (0,), "any": (0, 1, 2, 3)}  #: Which sensors fail.
PRIOR_SCALE = 3.0  # of weights, in units of the noise


@dataclass(frozen=True)
class Plant:
    """Rows with faults.

    Attributes:
        x: as the filter takes them, ``[N, 5]``: 1, and the sensors in units of the first rows.
        y: power in units of the first rows, ``[N]``.
        changes: rows at which a fault began or ended.
    """

    x: np.ndarray
    y: np.ndarray
    changes: list[int]


def plant(root: Path, sensors: str, seed: int) -> Plant:
    """The 9568 rows in random order, with faults of one sensor at a time.

    Time between faults and length of a fault are geometric, with means of 600 and 200 rows. A fault is, with equal
    probability, an offset of 1 to 3 standard deviations in either direction, a gain of .3 to .7 about the mean, or a
    value that sticks at that of the first faulty row. After it the sensor is as before. The filter is not told.

    Args:
        root: folder of the data.
        sensors: ``"temperature"``, on which the power depends most, or ``"any"`` of the four.
        seed: of the order and of the faults.
    """
    values = np.loadtxt(root / "uci" / "power-plant" / "data.txt")
    random = np.random.default_rng(seed)
    values = values[random.permutation(len(values))]
    raw, target = values[:, :-1].copy(), values[:, -1]
    mean, std = raw.mean(0), raw.std(0)
    changes, row = [], 0
    while True:
        first = row + int(random.geometric(1 / HEALTHY))
        if first >= len(raw):
            break
        row = min(first + int(random.geometric(1 / FAULTY)), len(raw))
        sensor, kind = int(random.choice(SENSORS[sensors])), KINDS[random.integers(len(KINDS))]
        part = raw[first:row, sensor]
        if kind == "offset":
            part += random.choice((-1, 1)) * random.uniform(*OFFSET) * std[sensor]
        elif kind == "gain":
            part[:] = mean[sensor] + random.uniform(*GAIN) * (part - mean[sensor])
        else:
            part[:] = part[0]
        changes += [first] if row == len(raw) else [first, row]
    early, power = raw[:WARM_UP], target[:WARM_UP]
    x = np.column_stack((np.ones(len(raw)), (raw - early.mean(0)) / early.std(0)))
    return Plant(x, (target - power.mean()) / power.std(), changes)


def measured(root: Path, sensors: str, seed: int) -> dict[str, Any]:
    """NLL after the first rows of run length, bank, and each rate alone."""
    data = plant(root, sensors, seed)
    features = data.x.shape[1]
    observation = Recorded(UnknownNoise())
    bank = Filter(observation, features, broadening=Temper(), tracker=Bank(), prior_scale=PRIOR_SCALE)
    mixed = filtered(bank, data.x, data.y).loss[WARM_UP:].mean()
    rates = -np.stack(observation.evidence)[WARM_UP:].mean(0)
    tracker = RunLength(20, 2 / (HEALTHY + FAULTY))
    lengths = Filter(UnknownNoise(), features, broadening=Reset(), tracker=tracker, prior_scale=PRIOR_SCALE)
    return {
        "run_length": float(filtered(lengths, data.x, data.y).loss[WARM_UP:].mean()),
        "bank": float(mixed),
        "rates": dict(zip(map(str, RATES), rates.tolist(), strict=True)),
    }
