"""Fit ``src/szilard/codec/default.bin``, the weights of fields for which no fit pays, to synthetic fields and SST.

    python release/field_weights.py --data-root DATA    # five minutes of a core

The fields are drawn with power laws as spectra, with variances that change from place to place, and with fronts;
monthly sea-surface temperatures (OSTIA) have coasts. None of them is read by a benchmark.

Streams of format 1 mean the weights that are shipped: they must stay as they are. Better ones need a number of their
own in the first byte of the weights.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from szilard.codec import fitting, marks, slices, stream, weights
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.lattice import Bound
from szilard.codec.layout import Layout
from szilard.coding import shapes

SHARES = (5e-2, 1e-2, 1e-3, 1e-4)  # of the range
HIDDEN, STEPS, SIZE = 24, (4000, 3000, 3000), 12_000
TARGET = Path(__file__).parents[1] / "src" / "szilard" / "codec" / "default.bin"


@dataclass
class Field:
    """A field on its lattice, and what it costs at present."""

    layout: Layout
    points: np.ndarray
    coded: np.ndarray
    bits: float = 1.0  # of a value


def waves(generator: np.random.Generator, shape: tuple[int, ...], slope: float, stretch: float) -> np.ndarray:
    """A periodic field whose power falls as the wavenumber to minus ``slope``; rows are ``stretch`` times longer."""
    noise = np.fft.fft2(generator.normal(size=shape))
    rows, columns = np.meshgrid(np.fft.fftfreq(shape[-2]) / stretch, np.fft.fftfreq(shape[-1]), indexing="ij")
    number = np.hypot(rows, columns)
    number[0, 0] = np.inf
    found = np.fft.ifft2(noise * number ** (-slope / 2)).real
    return found / found.std()


def synthetic(generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Fields of four related slices."""
    for slope in (2.0, 3.0, 4.0, 5.0):
        for stretch in (0.7, 1.5):
            shape = (4, 180, 288)
            field = waves(generator, shape, slope, stretch)
            common = waves(generator, shape[1:], slope, stretch)
            local = np.exp(0.7 * waves(generator, shape[1:], 4.0, 1.0))
            yield (3 * common + 0.5 * field * local).astype(np.float32)
            yield (np.tanh(3 * field) + 0.2 * local * waves(generator, shape, slope - 0.5, stretch)).astype(
                np.float32
            )
    yield waves(generator, (2, 150, 150), 0.5, 1.0).astype(np.float32)


def sea(root: Path) -> np.ndarray:
    """Monthly sea-surface temperatures, float32 ``[54, 18, 432]``, NaN on land."""
    import xarray as xr

    with xr.open_dataset(root / "climate" / "ostia_monthly.nc") as file:
        return np.asarray(file["surface_temperature"].values, dtype=np.float32)


def prepared(array: np.ndarray, share: float) -> Field:
    """A field on the lattice of a share of its range."""
    finite = array[np.isfinite(array)]
    bound = Bound(float(share * (finite.max() - finite.min())))
    layout = stream.layout_of(array, True)
    marked = marks.marks_of(array, bound)
    assert marked is not None
    points = marks.points_of(array, bound, marked, layout)
    assert points is not None
    return Field(layout.along(points), points, marked.coded.reshape(points.shape))


def drawn(
    fields: list[Field], generator: np.random.Generator, known: list[np.ndarray] | None
) -> fitting.Sample:
    """A sample of all fields; each counts by its relative code length."""
    parts = []
    for number, field in enumerate(fields):
        decoded = None if known is None else known[number]
        part = fitting.sample(field.layout, field.points, generator, decoded, coded=field.coded, size=SIZE)
        share = part.weight / part.weight.sum() / max(field.bits, 0.03)
        parts.append(replace(part, weight=share * 1000))
    columns = [torch.cat(values) for values in zip(*(vars(part).values() for part in parts), strict=True)]
    return fitting.Sample(*columns)


def coded(model: fitting.Model, fields: list[Field]) -> list[np.ndarray]:
    """What decoders would have; the cost of each field is updated."""
    network, found = fitting.integers(model), []
    for field in fields:
        points = field.points.copy()
        _, bins, scales = slices.encode(field.layout, network, points, field.coded)
        field.bits = float(shapes.bits(bins, scales, network.shape).mean())
        found.append(points)
    return found


def main() -> None:
    """Fit, round and write the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    root = parser.parse_args().data_root
    generator = np.random.default_rng(0)
    arrays = [*synthetic(generator), sea(root)]
    fields = [prepared(array, share) for array in arrays for share in SHARES]
    model = fitting.Model(HIDDEN)
    known = None
    for number, steps in enumerate(STEPS):
        given = drawn(fields, generator, known)
        model = fitting.fit(given, model, steps, number, (1.0, 0.6, 0.3)[number])
        known = coded(model, fields)
        print(number, [round(field.bits, 3) for field in fields], flush=True)
    sizes = {"linear": 3, "first": 0, "second": 0, "last": 0, "biases": 6}
    network = weights.rounded(fitting.integers(model), sizes)
    TARGET.write_bytes(weights.Weights(network, sizes).encode(MOST_LEVELS))
    print(hashlib.sha256(TARGET.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
