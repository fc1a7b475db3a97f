"""How sensitive a network is taken to be to a weight of which nothing is known but its values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from szilard.compression.scaled import MANY

LOSS = 0.03  # nats that rounding costs at the default λ, if the loss is a parabola
SAFE = 8  # bits by row
RELATIVE = 1 / 32  # step over the size of a row: what eight bits are where the largest is four times that
SMALL = 0.05  # of the largest row's size, below which rows are not told apart
TINY = 1e-8  # the same of the last layer, whose outputs may have units of their own
MEDIAN = 0.6745  # of the magnitudes of a normal distribution of deviation 1
TAIL = 1 / 8  # of a row's root mean square: what its size is at least, unless other rows are smaller
COARSER = 4  # times the noise of equal shares for equal numbers of entries, at most
FEW = 16  # entries of a row, whose median tells little


def without_data(
    weight: Tensor, share: float | None = None, *, units: bool = False, read: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A and G where nothing is known but the weight.

    With a share (:func:`shares`), that share of :data:`LOSS` nats is as if lost by rounding each row to
    :data:`SAFE` bits, or to steps of :data:`RELATIVE` of its typical size (:func:`typical`) if that is less: nearly
    every network stands that. Noise is equal relative to the typical size of a row, so that a few outliers make
    neither their row nor their layer coarse: in the first layer of a voice encoder, whose largest weights read inputs
    that are nearly zero, steps relative to the root mean square cost 90 % of the error of the answers. It was measured
    on networks with weights of their own (``benchmarks/any_trained.py``), for want of a theory.

    Without one, half a nat is as if lost with the whole of it: ΔL = ½ ‖W - Ŵ‖² / ‖W‖².

    Args:
        weight: ``[rows, ...]``.
        share: of the loss, in (0, 1].
        units: rows may differ in size by any factor and count alike.
        read: sizes of the inputs of columns, float64 ``[cols]`` (:mod:`szilard.compression.own_units`); by default 1.
    """
    rows = len(weight)
    cols = weight[0].numel() if rows else 0
    inputs = torch.ones(1, cols, dtype=torch.float64)
    matrix = weight.detach().cpu().reshape(rows, -1)
    if read is not None:
        inputs, matrix = read.square()[None], matrix * read
    squares, largest = sizes(matrix)
    energy = float(squares.sum())
    if not (energy > 0 and math.isfinite(energy)):
        return inputs, torch.ones(rows, dtype=torch.float64)
    if share is None:
        return inputs, torch.full((rows,), 1 / energy, dtype=torch.float64)
    steps = largest / (2 ** (SAFE - 1) - 1)
    size = typical(matrix, (squares / cols).sqrt())
    noise = cols / 12 * min(float(steps.square().sum()), RELATIVE**2 * float(size.square().sum()))
    least = TINY if units else SMALL
    rates = 1 / size.clamp_min(least * float(size.max())).square()
    # At λ = 2 ln 2 · LOSS / N the noise of each entry is λ / (ln 2 · G_r), and their sum is that of rounding by row.
    return inputs, rates * float((1 / rates).mean()) * (2 * LOSS * share / noise)


def typical(matrix: Tensor, rms: Tensor) -> Tensor:
    """Size of most entries of each row: a normal distribution of this deviation has the median of their magnitudes.

    Zeros do not count. Where most entries of a row are nearly zero, as after training for sparsity, its size is at
    least :data:`TAIL` of the root mean square, or what is usual in the matrix if that is less. It is never more than
    the root mean square.

    Args:
        matrix: ``[rows, cols]``.
        rms: root mean square of each row, float64 ``[rows]``.
    """
    if matrix.shape[1] < FEW:
        return rms
    medians = []
    for part in _parts(matrix):
        magnitudes = part.abs()
        magnitudes[magnitudes == 0] = torch.nan
        medians.append(magnitudes.nanmedian(1).values)
    found = torch.minimum((torch.cat(medians) / MEDIAN).nan_to_num(0.0), rms)
    least = TAIL * rms
    usual = torch.maximum(found, least)[rms > 0].median()
    return torch.maximum(found, least.clamp_max(usual))


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Share of the loss that each tensor may cost, by its name and its number of entries.

    Noise of one size relative to the weights changes the output of a small layer about as much as that of a large
    one, and a small one pays fewer bits for less. If that were all, shares would be equal; if each entry mattered
    alike, they would be as the number of entries. They are as its root, but at least a :data:`COARSER` th of what
    is proportional, so that no tensor loses more than one bit by it.
    """
    roots = {name: math.sqrt(count) for name, count in counts.items()}
    total, every = sum(roots.values()), max(1, sum(counts.values()))
    return {
        name: max(root / total, counts[name] / every / COARSER) if root else 0.0
        for name, root in roots.items()
    }


def sizes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squares and largest magnitude of each row, without a copy of a large matrix in float64."""
    squares, largest = [], []
    for part in _parts(matrix):
        squares.append(part.square().sum(1))
        largest.append(part.abs().amax(1))
    return torch.cat(squares), torch.cat(largest)


def _parts(matrix: Tensor) -> Iterator[Tensor]:
    """Some of the rows after the others, in float64."""
    for part in matrix.split(max(1, MANY // max(1, matrix.shape[1]))):
        yield part.double()
