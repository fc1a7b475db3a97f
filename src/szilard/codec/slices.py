"""Code the slices of a lattice one after the other, each pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from szilard.codec.features import Features, features
from szilard.codec.fineness import Fineness, rises
from szilard.codec.grid import Pass
from szilard.codec.lattice import FARTHEST, far_away, mean
from szilard.codec.layout import Layout
from szilard.codec.network import STEP, Network
from szilard.codec.predicting import predictor
from szilard.coding import CodingError


@dataclass(frozen=True, eq=False)
class Visit:
    """A pass of a slice, and what is known of the slice.

    Attributes:
        number: of the slice.
        step: the pass.
        earlier: slices before it that predict it, flattened.
        place: of the slice along its last leading axis, 0 to 256.
        anchor: mean of its coarse grid.
    """

    number: int
    step: Pass
    earlier: tuple[np.ndarray, ...]
    place: int
    anchor: int

    def features(self, lattice: np.ndarray, chosen: np.ndarray) -> Features:
        """Features of some targets in a lattice ``[slices, rows · columns]``; only what is known by then is read."""
        return features(lattice[self.number], self.step.of(chosen), self.earlier, self.place, self.anchor)


def walk(layout: Layout, lattice: np.ndarray, numbers: Iterable[int] | None = None) -> Iterator[Visit]:
    """Every pass of every slice, in the order of coding.

    Args:
        layout: of the array.
        lattice: ``[slices, rows · columns]`` int64, whose coarse grid and earlier slices are read.
        numbers: of the slices; None: all.
    """
    coarse, steps = layout.coarse(), layout.steps()
    if not steps:
        return
    for number in range(layout.count) if numbers is None else numbers:
        earlier = tuple(lattice[other] for other in layout.earlier(number))
        anchor = mean(lattice[number][coarse])
        for step in steps:
            yield Visit(number, step, earlier, layout.place(number), anchor)


def encode(
    layout: Layout,
    network: Network,
    lattice: np.ndarray,
    coded: np.ndarray | None = None,
    fine: Fineness | None = None,
    compiled: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of a lattice.

    Args:
        layout: of the array.
        network: predicts its values.
        lattice: ``[slices, rows · columns]`` int64; it becomes what the decoder will have, at most half a bin away.
        coded: which values have bins, of the same shape; the others become what is predicted. None: all.
        fine: the width of each value's bin; None: ``STEP``.
        compiled: predict in C++; None: if it is built.

    Returns:
        bins of the coarse grids ``[slices, rows, columns]``, and bins and scales of all others in coding order.
    """
    coarse = layout.coarse()
    first = (lattice[:, coarse] + STEP // 2) // STEP
    if coded is not None:
        first = _carried(first, coded[:, coarse])
    lattice[:, coarse] = first * STEP
    bins, scales = [], []
    predict = predictor(network, compiled)
    for visit in walk(layout, lattice):
        number, step = visit.number, visit.step
        values = lattice[number]
        predicted, scale = predict(values, step, visit.earlier, visit.place, visit.anchor)
        width: np.ndarray | int = STEP
        if fine is not None:
            width, scale = fine.of(number, step, scale)
        wanted = (values[step.targets] - predicted + width // 2) // width
        if coded is not None:
            has = coded[number][step.targets]
            wanted, scale = np.where(has, wanted, 0), scale[has]
            bins.append(wanted[has])
        else:
            bins.append(wanted)
        found = predicted + width * wanted
        values[step.targets] = found if coded is None else np.clip(found, -FARTHEST, FARTHEST)
        scales.append(scale)
    empty = np.empty(0, np.int64)
    return first, np.concatenate([empty, *bins]), np.concatenate([empty, *scales])


def rises_of(first: np.ndarray) -> np.ndarray:
    """Bins of coarse grids ``[slices, rows, columns]`` less the one before each, ``[slices, rows · columns]``."""
    return np.diff(first.reshape(len(first), -1), axis=1, prepend=0)


def decode(
    layout: Layout,
    network: Network,
    first: np.ndarray,
    bins: Callable[[np.ndarray], np.ndarray],
    coded: np.ndarray | None = None,
    fine: Fineness | None = None,
    compiled: bool | None = None,
) -> np.ndarray:
    """The lattice ``[slices, rows · columns]`` of bins.

    Args:
        layout: of the array.
        network: predicts its values.
        first: bins of the coarse grids.
        bins: gives the next bins for an array of scales.
        coded: which values have bins, ``[slices, rows · columns]``; None: all.
        fine: the width of each value's bin; None: ``STEP``.
        compiled: predict in C++; None: if it is built.

    Raises:
        CodingError: a value is beyond the lattice.
    """
    height, width = layout.slice_shape
    if first.size and max(int(first.max()), -int(first.min())) * STEP > FARTHEST:
        raise CodingError("a value of the field is beyond the lattice; the file is damaged")
    lattice = np.zeros((layout.count, height * width), np.int64)
    lattice[:, layout.coarse()] = first * STEP
    predict = predictor(network, compiled)
    for visit in walk(layout, lattice):
        number, step = visit.number, visit.step
        predicted, scale = predict(lattice[number], step, visit.earlier, visit.place, visit.anchor)
        wide: np.ndarray | int = STEP
        if fine is not None:
            wide, scale = fine.of(number, step, scale)
        if coded is None:
            found = predicted + rises(bins(scale), wide)
            far = far_away(found)
        else:
            has = coded[number][step.targets]
            found = predicted
            found[has] += rises(bins(scale[has]), wide if isinstance(wide, int) else wide[has])
            far = far_away(found) and far_away(found[has])
            np.clip(found, -FARTHEST, FARTHEST, out=found)
        if far:
            raise CodingError("a value of the field is beyond the lattice; the file is damaged")
        lattice[number][step.targets] = found
    return lattice


def _carried(first: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """Bins of coarse grids ``[slices, rows, columns]``, where no value is coded those of the value before."""
    flat, has = first.reshape(len(first), -1), coded.reshape(len(first), -1)
    place = np.where(has, np.arange(flat.shape[1]), 0)
    place = np.maximum.accumulate(place, axis=1)
    found = np.take_along_axis(np.where(has, flat, 0), place, axis=1)
    return found.reshape(first.shape)
