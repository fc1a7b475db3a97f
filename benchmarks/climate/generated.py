"""Arrays that codecs find hard: any size, type and bound, and values that are no measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climate.fields import smooth_noise

MOST_VALUES = 1500  #: of most arrays; one in :data:`LARGE_EVERY` has up to ten times as many
LARGE_EVERY = 50


@dataclass(frozen=True)
class Case:
    """An array and a bound.

    Attributes:
        array: float32 or float64, one to five dimensions.
        bound: absolute, or a share of each magnitude; of a map, the least.
        relative: which of them.
        bounds: absolute, of each value; None: all have ``bound``.
        kind: how it was made, for messages.
    """

    array: np.ndarray
    bound: float
    relative: bool
    bounds: np.ndarray | None
    kind: str


def case(number: int) -> Case:
    """The array of a number, always the same."""
    random = np.random.default_rng([20_261_201, number])
    most = MOST_VALUES * (10 if number % LARGE_EVERY == 0 else 1)
    shape = _shape(random, most)
    dtype = np.dtype(random.choice(["<f4", "<f8"]))
    name = str(random.choice(list(KINDS)))
    with np.errstate(all="ignore"):
        values = KINDS[name](random, shape).astype(dtype)
        spoiled = str(random.choice(list(SPOILS)))
        values = SPOILS[spoiled](random, values)
    of_bound = str(random.choice(["absolute", "relative", "map"], p=[0.4, 0.35, 0.25]))
    if random.random() < 0.1:
        values = np.asfortranarray(values)
    if random.random() < 0.05:
        values = values.astype(values.dtype.newbyteorder(">"))
    bound = _relative(random) if of_bound == "relative" else _absolute(random, values)
    bounds = _map(random, shape, bound) if of_bound == "map" else None
    text = f"{number}: {name}, {spoiled}, {dtype.name}, {shape}, {of_bound} {bound:g}"
    return Case(values, bound, of_bound == "relative", bounds, text)


def _shape(random: np.random.Generator, most: int) -> tuple[int, ...]:
    """One to five dimensions, some of length 1, few of length 0."""
    ndim = int(random.integers(1, 6))
    shape: list[int] = []
    left = int(np.exp(random.uniform(0 if random.random() < 0.2 else np.log(most / 10), np.log(most))))
    for axis in range(ndim):
        if random.random() < 0.2:
            length = 1
        else:
            length = left if axis == ndim - 1 else round(np.exp(random.uniform(0, np.log(max(left, 1)))))
        shape.append(length)
        left //= length
    random.shuffle(shape)
    if random.random() < 0.005:
        shape[int(random.integers(ndim))] = 0
    return tuple(shape)


def _smooth(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = shape[-2:] if len(shape) > 1 else (1, shape[0])
    if rows * columns < 2:
        return random.standard_normal(shape)
    seed = int(random.integers(1 << 30))
    found = np.broadcast_to(smooth_noise((rows, columns), 1.0, seed), (*shape[:-2], rows, columns))
    offset, size = random.choice([0.0, 1.0, 273.15, 1e5]), 10.0 ** random.integers(-3, 4)
    return (found * size + offset + 0.1 * size * random.standard_normal((*found.shape[:-2], 1, 1))).reshape(
        shape
    )


def _scaled(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape) * 10.0 ** random.integers(-30, 31)


def _wide(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All magnitudes of a type in one array."""
    most = random.choice([37.0, 300.0])
    return random.choice([-1.0, 1.0], shape) * 10.0 ** random.uniform(-most, most, shape)


def _denormal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    smallest = random.choice([2.0**-149, 2.0**-1074])
    return random.integers(-50, 51, shape) * smallest


def _huge(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    most = random.choice([float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)])
    return most * random.uniform(-1, 1, shape)


def _steps(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of a number, as packed integers are."""
    return random.integers(-1000, 1001, shape) * 10.0 ** random.integers(-5, 3) + random.choice(
        [0.0, 0.5, 1e4]
    )


def _rain(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Zero at most places, both zeros."""
    values = random.exponential(10.0 ** random.integers(-8, 2), shape)
    return np.where(random.random(shape) < 0.7, random.choice([0.0, -0.0], shape), values)


KINDS = {
    "smooth": _smooth,
    "noise": lambda random, shape: random.standard_normal(shape),
    "any scale": _scaled,
    "all magnitudes": _wide,
    "denormal": _denormal,
    "huge": _huge,
    "steps": _steps,
    "rain": _rain,
    "constant": lambda random, shape: np.full(shape, random.standard_normal() * 10.0 ** random.integers(-40, 39)),
    "zero": lambda random, shape: np.zeros(shape),
    "bits": lambda random, shape: random.integers(0, 1 << 64, shape, np.uint64).view(np.float64),
}  # fmt: skip


def _some(random: np.random.Generator, values: np.ndarray, choices: list[float]) -> np.ndarray:
    chosen = random.random(values.shape) < random.choice([0.01, 0.1, 0.5, 1.0])
    return np.where(chosen, random.choice(choices, values.shape).astype(values.dtype), values)


def _payloads(random: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """NaN with any bits, which are more than a stream can list if the array is large."""
    found = values.copy()
    whole = np.uint32 if values.itemsize == 4 else np.uint64
    quiet = np.array(np.nan, values.dtype).view(whole)
    bits = random.integers(0, 1 << 20, values.shape).astype(whole) | quiet
    chosen = random.random(values.shape) < 0.3
    found[chosen] = bits.view(values.dtype)[chosen]
    return found


SPOILS = {
    "clean": lambda random, values: values,
    "clean ": lambda random, values: values,
    "NaN": lambda random, values: _some(random, values, [np.nan]),
    "NaN and infinities": lambda random, values: _some(random, values, [np.nan, np.inf, -np.inf]),
    "NaN of many bits": _payloads,
    "outliers": lambda random, values: _some(random, values, [1e30, -1e30, 1e-30]),
    "land": lambda random, values: np.where(np.indices(values.shape).sum(0) % 7 < 3, np.nan, values).astype(
        values.dtype
    ),
}  # fmt: skip


def _absolute(random: np.random.Generator, values: np.ndarray) -> float:
    """From far below one unit in the last place to beyond the range."""
    finite = values[np.isfinite(values)].astype(np.float64)
    size = float(np.abs(finite).max(initial=0)) or 1.0
    kind = random.integers(6)
    if kind > 2:
        found = size * 10.0 ** random.uniform(-5, 0)
    elif kind == 1:  # about a unit in the last place
        found = size * float(np.finfo(values.dtype).eps) * 2.0 ** random.integers(-6, 7)
    elif kind == 2:
        found = 10.0 ** float(random.integers(-300, 300))
    else:
        found = float(random.choice([5e-324, 1e-45, 0.5, 1.0, 1e300, 1.7976931348623157e308]))
    return found if 0 < found < np.inf else 1.0


def _relative(random: np.random.Generator) -> float:
    if random.random() < 0.2:
        return float(random.choice([1e-16, 1e-12, 6e-8, 0.5, 0.999]))
    return float(10.0 ** random.uniform(-6, -0.01))


def _map(random: np.random.Generator, shape: tuple[int, ...], least: float) -> np.ndarray:
    """Bounds of each value from the least one, in blocks, in rows, or each for itself."""
    widest = float(random.choice([1.01, 3.0, 1e3, 1e9]))
    of = [length if random.random() < 0.5 else min(length, 1) for length in shape]
    with np.errstate(over="ignore"):
        found = np.broadcast_to(least * np.exp(random.uniform(0, np.log(widest), of)), shape)
    return np.minimum(np.maximum(found, least), np.finfo(np.float64).max)
