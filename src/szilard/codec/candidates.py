"""Fit networks to a field in several ways and take the one with the shortest stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from szilard.codec import bound_map, marks, slices, stream, weights
from szilard.codec.lattice import Bound
from szilard.codec.network import Network
from szilard.codec.raster import PLANE
from szilard.coding import shapes

HIDDEN = (8, 16, 24)  #: units of a hidden layer that are tried
_STAGES = ((400, 1.0), (300, 0.5), (300, 0.3))  # steps and speed of the fit; after each, the field is coded
_SHORT = 30_000, 200  # values and steps of the fits that choose an order and a distribution
_FEWEST = 40  # steps of these
_LEAST = 5_000  # values of a sample
_LARGE = 25  # bits of a stream for each bit of weights from which on more units are tried
_SMALL = 2_000  # values of an array below which no fit pays
_MOST_FITTED = 2_000_000  # values of a sample that are coded after each stage


@dataclass(frozen=True)
class Candidate:
    """A fitted network.

    Attributes:
        bits: of the data and of the weights.
        network: of rounded weights.
        steps: log2 of the steps to which they are rounded.
        raster: the order of the values for which it was fitted.
    """

    bits: float
    network: Network
    steps: dict[str, int]
    raster: bool


def best(
    array: np.ndarray, bound: Bound, bounds: np.ndarray | None, periodic: bool, seed: int, effort: float
) -> Candidate | None:
    """The network of the shortest stream; None if there is too little to fit, or the values are beyond the lattice."""
    if bounds is not None:
        bounds = stream.checked_bounds(bounds, array, bound).reshape(array.shape)
    if array.size > _MOST_FITTED and array.ndim > 2:
        kept = max(1, _MOST_FITTED // int(np.prod(array.shape[-2:])))
        array = array.reshape(-1, *array.shape[-2:])[:kept]
        bounds = None if bounds is None else bounds.reshape(-1, *array.shape[-2:])[:kept]
    fits = [
        fit
        for raster in (False, True)
        if (fit := _Fit.of(array, bound, bounds, periodic, raster, seed, effort)) is not None
    ]
    if not fits:
        return None
    fit = min(fits, key=lambda fit: fit.estimates(range(1))[0]) if len(fits) > 1 else fits[0]
    shape = int(np.argmin(fit.estimates(range(shapes.SHAPES))))
    found: Candidate | None = None
    for hidden in HIDDEN:
        candidate = fit.candidate(hidden, shape)
        if found is not None and candidate.bits >= found.bits:
            break
        found = candidate
        size = len(weights.encode(found.network, found.steps, fit.layout.levels_used))
        if found.bits < _LARGE * 8 * size:
            break
    return found


@dataclass(frozen=True, eq=False)
class _Fit:
    """A field that networks are fitted to, in one order."""

    layout: slices.Layout
    points: np.ndarray
    coded: np.ndarray
    fine: slices.Fineness | None
    seed: int
    effort: float

    @classmethod
    def of(
        cls, array: np.ndarray, bound: Bound, bounds: np.ndarray | None, periodic: bool, raster: bool, seed: int,
        effort: float,
    ) -> _Fit | None:  # fmt: skip
        """None if there is too little to fit, the order is not for this shape, or values are beyond the lattice."""
        layout = stream.layout_of(array, periodic, raster)
        marked = marks.marks_of(array, bound)
        if array.size < _SMALL or marked is None or raster != layout.raster or not layout.levels_used:
            return None
        points = marks.points_of(array, bound, marked, layout)
        if points is None or not marked.coded.any():
            return None
        fine = None
        if bounds is not None:
            wide = bound_map.exponents(bounds.reshape(-1), bound.size).reshape(points.shape)
            fine = slices.Fineness(wide, bound_map.steps())
        coded = marked.coded.reshape(points.shape)
        return cls(layout.along(points), points, coded, fine, seed, effort)

    def estimates(self, of: Iterable[int]) -> list[float]:
        """Bits after a first, short fit under each of these distributions."""
        from szilard.codec import fitting

        generator = np.random.default_rng(self.seed)
        given = fitting.sample(
            self.layout, self.points, generator, coded=self.coded, fine=self.fine, size=_SHORT[0]
        )
        models = [fitting.Model(HIDDEN[0], self.seed, shape, self.start()) for shape in of]
        steps = max(_FEWEST, self._steps(_SHORT[1]))
        return [fitting.cost(fitting.integers(fitting.fit(given, model, steps)), given) for model in models]

    def candidate(self, hidden: int, shape: int) -> Candidate:
        """Fit a network of so many units, and round it."""
        from szilard.codec import fitting

        generator = np.random.default_rng(self.seed)
        model = fitting.Model(hidden, self.seed, shape, self.start())
        size = max(_LEAST, round(fitting.SAMPLE * min(1.0, self.effort)))
        previous = fitting.sample(
            self.layout, self.points, generator, coded=self.coded, fine=self.fine, size=size
        )
        given = previous
        for number, (steps, speed) in enumerate(_STAGES):
            model = fitting.fit(given, model, self._steps(steps), self.seed + number, speed)
            decoded, _ = self._coded(fitting.integers(model))
            latest = fitting.sample(
                self.layout, self.points, generator, decoded, coded=self.coded, fine=self.fine, size=size
            )
            given, previous = fitting.joined(previous, latest), latest
        whole = fitting.integers(model)
        levels = self.layout.levels_used
        rounded, sizes = weights.choose(whole, levels, lambda network: fitting.cost(network, previous))
        bits = self._coded(rounded)[1] + 8 * len(weights.encode(rounded, sizes, levels))
        return Candidate(bits, rounded, sizes, self.layout.raster)

    def start(self) -> tuple[float, ...]:
        """First weights of the linear part: a raster begins with the value to the left plus the rise above."""
        return PLANE if self.layout.raster else ()

    def _steps(self, usual: int) -> int:
        return max(1, round(self.effort * usual))

    def _coded(self, network: Network) -> tuple[np.ndarray, float]:
        """What a decoder would have, and the bits of all bins."""
        points = self.points.copy()
        _, bins, scales = slices.encode(self.layout, network, points, self.coded, self.fine)
        return points, float(shapes.bits(bins, scales, network.shape).sum())
