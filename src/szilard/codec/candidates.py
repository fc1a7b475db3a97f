"""Fit networks to a field in several ways and take the one with the shortest stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from szilard.codec import base, base_search, bound_map, marks, slices, stream, weights
from szilard.codec.fineness import Fineness
from szilard.codec.lattice import UNITS, Bound
from szilard.codec.layout import Layout, turned
from szilard.codec.network import Network
from szilard.codec.raster import PLANE
from szilard.codec.weights import Weights
from szilard.coding import LARGEST, Encoder, shapes

if TYPE_CHECKING:
    from szilard.codec import fitting

HIDDEN = (8, 16, 24)  #: units of a hidden layer that are tried
_STAGES = ((400, 1.0), (300, 0.5), (300, 0.3))  # steps and speed of the fit; after each, the field is coded
_SHORT = 30_000, 200  # values and steps of the fits that choose an order and a distribution
_FEWEST = 40  # steps of these
_LEAST = 5_000  # values of a sample
_NEAR = 1.3  # of the bits after a short fit, up to which another way is fitted, too
_LARGE = 25  # bits of a stream for each bit of weights from which on more units are tried
_SMALL = 2_000  # values of an array below which no fit pays
_MOST_FITTED = 2_000_000  # values of a sample that are coded after each stage


@dataclass(frozen=True)
class Candidate:
    """Weights for a field.

    Attributes:
        bits: of the data and of the weights.
        weights: of the network.
        raster: the order of the values for which they were fitted.
        noise: deviation that the base leaves, in bounds; 0: there is none.
    """

    bits: float
    weights: Weights
    raster: bool
    noise: float


def best(
    array: np.ndarray, bound: Bound, bounds: np.ndarray | None, periodic: bool, seed: int, effort: float
) -> Candidate | None:
    """The weights of the shortest stream; None if the values are beyond the lattice or have no slices."""
    if bounds is not None:
        bounds = stream.checked_bounds(bounds, array, bound).reshape(array.shape)
    if array.size > _MOST_FITTED and array.ndim > 2:
        kept = max(1, _MOST_FITTED // int(np.prod(array.shape[-2:])))
        array = array.reshape(-1, *array.shape[-2:])[:kept]
        bounds = None if bounds is None else bounds.reshape(-1, *array.shape[-2:])[:kept]
    axes = turned(array.shape)
    periodic = periodic and axes[-1] == array.ndim - 1
    array = np.ascontiguousarray(array.transpose(axes))
    bounds = None if bounds is None else bounds.transpose(axes)
    fit = _Fit.of(array, bound, bounds, periodic, seed, effort)
    if fit is None:
        return None
    found = [fit.default()]
    if array.size < _SMALL or not fit.layout.levels:
        return found[0]
    based = fit.with_base()
    if based is not None:
        found.append(based.default())
    if not effort:
        return min(found, key=lambda one: one.bits)
    others = based, fit.as_raster()
    fits = [fit, *(other for other in others if other is not None)]
    firsts = [one.first() for one in fits]
    least = int(np.argmin([bits for bits, _ in firsts]))
    found += fits[least].fitted(firsts[least][1])
    found += [
        one.from_default(shape)
        for number, (one, (bits, shape)) in enumerate(zip(fits, firsts, strict=True))
        if number != least and not one.layout.raster and bits < _NEAR * firsts[least][0]
    ]
    return min(found, key=lambda one: one.bits)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A field that networks are fitted to, in one order."""

    layout: Layout
    points: np.ndarray
    coded: np.ndarray
    fine: Fineness | None
    seed: int
    effort: float
    noise: float = 0.0
    base_bits: float = 0.0

    @classmethod
    def of(
        cls, array: np.ndarray, bound: Bound, bounds: np.ndarray | None, periodic: bool, seed: int, effort: float
    ) -> _Fit | None:  # fmt: skip
        """From coarse to fine; None if no value has a bin, or one is beyond the lattice."""
        layout = stream.layout_of(array, periodic)
        marked = marks.marks_of(array, bound)
        if marked is None:
            return None
        points = marks.points_of(array, bound, marked, layout)
        if points is None or not marked.coded.any():
            return None
        fine = None
        if bounds is not None:
            wide = bound_map.exponents(bounds.reshape(-1), bound.size).reshape(points.shape)
            fine = Fineness(wide, bound_map.steps())
        coded = marked.coded.reshape(points.shape)
        return cls(layout.along(points), points, coded, fine, seed, effort)

    def as_raster(self) -> _Fit | None:
        """The same field from the first row to the last; None if its diagonals are too short."""
        if not self.layout.has_diagonals():
            return None
        return replace(self, layout=replace(self.layout, levels=0, raster=True))

    def with_base(self) -> _Fit | None:
        """What is left of the field after its base; None if a base does not pay."""
        network = weights.default().network
        noise = base_search.search(
            self.points, self.layout, self.coded, lambda rest: self._of(rest)._coded(network)[1]
        )
        data, low = base.found(self.points, self.layout, self.coded, noise * UNITS)
        if data is None:
            return None
        return replace(self._of(self.points - low), noise=noise, base_bits=8.0 * len(data))

    def _of(self, points: np.ndarray) -> _Fit:
        return replace(self, points=points, layout=self.layout.along(points))

    def default(self) -> Candidate:
        """The weights that are shipped."""
        given = weights.unchanged()
        return self._candidate(given)

    def first(self) -> tuple[float, int]:
        """Bits of the field after a short fit, and the distribution that the sample needs fewest under."""
        from szilard.codec import fitting

        generator = np.random.default_rng(self.seed)
        given = self._sample(generator, None, _SHORT[0])
        steps = max(_FEWEST, self._steps(_SHORT[1]))
        costs, networks = [], []
        for shape in range(shapes.SHAPES):
            networks.append(fitting.integers(fitting.fit(given, self._start(HIDDEN[0], shape), steps)))
            costs.append(fitting.cost(networks[-1], given))
        shape = int(np.argmin(costs))
        return self._coded(networks[shape])[1], shape

    def fitted(self, shape: int) -> Iterator[Candidate]:
        """Weights fitted from the default ones and from none; for a raster with more units as long as they pay."""
        if not self.layout.raster:
            yield self.from_default(shape)
            yield self._fitted(HIDDEN[0], shape)
            return
        before: Candidate | None = None
        for hidden in HIDDEN:
            candidate = self._fitted(hidden, shape)
            yield candidate
            if before is not None and candidate.bits >= before.bits:
                break
            before = candidate
            if candidate.bits < _LARGE * 8 * len(candidate.weights.encode(self.layout.levels_used)):
                break

    def from_default(self, shape: int) -> Candidate:
        """Weights fitted from the default ones."""
        return self._fitted(0, shape)

    def _fitted(self, hidden: int, shape: int) -> Candidate:
        """Fit a network of so many units, or of 0: the default one, and round it."""
        from szilard.codec import fitting

        generator = np.random.default_rng(self.seed)
        model = self._start(hidden, shape)
        size = max(_LEAST, round(fitting.SAMPLE * min(1.0, self.effort)))
        given = previous = self._sample(generator, None, size)
        for number, (steps, speed) in enumerate(_STAGES):
            model = fitting.fit(given, model, self._steps(steps), self.seed + number, speed)
            decoded, _ = self._coded(fitting.integers(model))
            latest = self._sample(generator, decoded, size)
            given, previous = fitting.joined(previous, latest), latest
        whole, levels = fitting.integers(model), self.layout.levels_used
        return self._candidate(
            weights.choose(whole, levels, lambda network: fitting.cost(network, previous), not hidden)
        )

    def _start(self, hidden: int, shape: int) -> fitting.Model:
        """A network before its fit; a raster begins with the value to the left plus the rise above."""
        from szilard.codec import fitting

        if not hidden:
            return fitting.floating(weights.unchanged(shape).network)
        return fitting.Model(hidden, self.seed, shape, PLANE if self.layout.raster else ())

    def _sample(
        self, generator: np.random.Generator, decoded: np.ndarray | None, size: int
    ) -> fitting.Sample:
        from szilard.codec import fitting

        return fitting.sample(
            self.layout, self.points, generator, decoded, coded=self.coded, fine=self.fine, size=size
        )

    def _candidate(self, given: Weights) -> Candidate:
        bits = self._coded(given.network)[1] + 8 * len(given.encode(self.layout.levels_used))
        return Candidate(bits, given, self.layout.raster, self.noise)

    def _steps(self, usual: int) -> int:
        return max(1, round(self.effort * usual))

    def _coded(self, network: Network) -> tuple[np.ndarray, float]:
        """What a decoder would have, and the bits of the base, of the coarse grids and of all bins."""
        points = self.points.copy()
        first, bins, scales = slices.encode(self.layout, network, points, self.coded, self.fine)
        rises = np.clip(slices.rises_of(first), -LARGEST, LARGEST)
        bits = self.base_bits + Encoder().rate(rises.astype(np.int32))
        return points, bits + float(shapes.bits(bins, scales, network.shape).sum())
