"""An array as bytes: header, weights, bins, and whatever the bins do not give within the bound."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from szilard.codec import base, bins, bound_map, head, marks, patches, slices
from szilard.codec.fineness import Fineness
from szilard.codec.grid import levels_for
from szilard.codec.head import BASE, MAPPED, MARKED, OUTSIDE, PERIODIC, RASTER, RELATIVE
from szilard.codec.lattice import UNITS, Bound
from szilard.codec.layout import Layout, turned
from szilard.codec.network import STEP
from szilard.codec.weights import Weights, digest
from szilard.coding import Encoder
from szilard.coding.leb128 import encoded as varint
from szilard.errors import SzilardError

_WORTH_TRYING = 8  # ratio of a coded array from which on it is not compared with the array as it is


def encode(
    array: np.ndarray, bound: Bound, weights: Weights | None, *, periodic: bool = False,
    raster: bool = False, within: bool = True, bounds: np.ndarray | None = None, noise: float = 0.0,
) -> bytes:  # fmt: skip
    """Code an array with a network.

    Args:
        array: float32 or float64 of one to five dimensions.
        bound: no value of the decoded array is farther from the original.
        weights: of the network; None: store the array as it is.
        periodic: whether the last axis goes around.
        raster: code from the first row to the last.
        within: whether the weights are in the stream.
        bounds: of each value instead of ``bound``, which none of them is below; of the array's shape.
        noise: deviation that a base leaves, in bounds; 0: no base.

    Raises:
        SzilardError: the array or the bounds cannot be coded.
    """
    array = checked(array)
    allowed = None if bounds is None else checked_bounds(bounds, array, bound)
    if weights is None or not array.size:
        return head.raw(array)
    found = coded(
        array, bound, weights, allowed, periodic=periodic, raster=raster, within=within, noise=noise
    )
    if found is not None and len(found) <= array.nbytes // _WORTH_TRYING:
        return found
    stored = head.raw(array)
    return stored if found is None or len(found) >= len(stored) else found


def coded(
    array: np.ndarray, bound: Bound, weights: Weights, allowed: np.ndarray | None = None, *, periodic: bool = False,
    raster: bool = False, within: bool = True, noise: float = 0.0,
) -> bytes | None:  # fmt: skip
    """A stream of bins for an array of :func:`checked` and bounds of :func:`checked_bounds`; None if there is none."""
    axes = turned(array.shape)
    values = np.ascontiguousarray(array.transpose(axes))
    if allowed is not None:
        allowed = allowed.reshape(array.shape).transpose(axes).reshape(-1)
    layout = layout_of(values, periodic and axes[-1] == array.ndim - 1, raster)
    return _coded(values, array.shape, bound, weights, layout, within, allowed, noise)


def layout_of(array: np.ndarray, periodic: bool, raster: bool = False) -> Layout:
    """How an array is coded: ``raster`` holds where diagonals have enough values."""
    layout = Layout(array.shape, 0, periodic)
    if raster and layout.has_diagonals():
        return replace(layout, raster=True)
    return replace(layout, levels=levels_for(*layout.slice_shape))


def checked(array: np.ndarray) -> np.ndarray:
    """The array in little-endian order; raises unless it can be coded."""
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<")
    if little not in head.DTYPES:
        raise SzilardError(f"a field must be float32 or float64, not {array.dtype}; convert it first")
    if not 1 <= array.ndim <= head.MOST_DIMENSIONS:
        raise SzilardError(f"a field must have 1 to {head.MOST_DIMENSIONS} dimensions, not {array.ndim}")
    if head.too_large(array.shape) or head.slice_size(array.shape) > head.MOST_SLICE:
        raise SzilardError(f"a field of {array.size:,} values is too large for one stream; code it in chunks")
    return np.ascontiguousarray(array, dtype=little)


def checked_bounds(bounds: np.ndarray, array: np.ndarray, least: Bound) -> np.ndarray:
    """The bounds of values as float64 ``[N]``; raises unless each is finite and not below the least one."""
    if least.relative:
        raise SzilardError("a map of bounds is absolute; give the codec an absolute bound")
    if np.shape(bounds) != array.shape:
        raise SzilardError(f"the map of bounds must have the shape {array.shape}, not {np.shape(bounds)}")
    flat = np.asarray(bounds, dtype=np.float64).reshape(-1)
    here = flat[np.isfinite(array.reshape(-1))]
    if here.size and not (np.isfinite(here).all() and here.min() >= least.size):
        low = "nan" if not np.isfinite(here).all() else f"{here.min():g}"
        raise SzilardError(
            f"the map of bounds has the value {low}; all must be finite and at least the bound {least.size:g}"
        )
    return flat


def _coded(
    array: np.ndarray, shape: tuple[int, ...], stated: Bound, weights: Weights, layout: Layout, within: bool,
    allowed: np.ndarray | None, noise: float,
) -> bytes | None:  # fmt: skip
    within = within or weights.are_default  # which take fewer bytes than their digest
    bound = stated.within(array)
    marked = marks.marks_of(array, bound)
    points = None if marked is None else marks.points_of(array, bound, marked, layout)
    if marked is None or points is None:
        return None
    coded = marked.coded.reshape(points.shape)
    if np.abs(points).max(initial=0) >= STEP << 21:
        noise = noise or base.OFFSET
    smooth, low = base.found(points, layout, coded, noise * UNITS)
    points -= low
    layout = layout.along(points)
    fine, mapped = None, None
    if allowed is not None:
        wide = bound_map.exponents(allowed - (stated.size - bound.size), bound.size).reshape(points.shape)
        mapped, wide = bound_map.encode(wide, coded, layout)
        fine = Fineness(wide, bound_map.steps())
    first, found, scales = slices.encode(layout, weights.network, points, coded, fine)
    points += low
    side = Encoder()
    any_marks = bool(marked.levels.any())
    if any_marks:
        side.levels(marked.levels.reshape(-1, layout.slice_shape[1]))
    rises = slices.rises_of(first)
    if np.abs(rises).max(initial=0) >= 1 << 23:
        return None
    side.levels(rises.astype(np.int32))
    sections = [
        weights.encode(layout.levels_used) if within else digest(weights.network),
        marked.constants.astype(f"<u{array.dtype.itemsize}").tobytes(),
        side.finish(),
        *bins.encode(found, scales, weights.network.shape),
    ]
    decoded = marks.values_of(points, bound, marked, array.dtype).reshape(-1)
    corrected = patches.find(array.reshape(-1), decoded, stated, marked, allowed)
    if corrected is None:
        return None
    sections += [corrected, *(part for part in (mapped, smooth) if part is not None)]
    flags = (
        PERIODIC * layout.periodic | RELATIVE * bound.relative | MARKED * any_marks | OUTSIDE * (not within)
    )
    flags |= RASTER * layout.raster | MAPPED * (mapped is not None) | BASE * (smooth is not None)
    check = zlib.crc32(np.ascontiguousarray(points, "<i8").data)
    start = head.write(shape, array.dtype, head.CODED) + bytes(
        [flags, layout.levels, head.axes_byte(layout.axes)]
    )
    whole = start + np.array([bound.size], "<f8").tobytes() + check.to_bytes(4, "little")
    whole += b"".join(varint(len(section)) + section for section in sections)
    return whole + zlib.crc32(whole).to_bytes(4, "little")
