"""The assumed sensitivity of a network to a weight if only its values are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from szilard.compression.scaled import MANY

LOSS = 0.03  # nats that rounding costs at the default λ, if the loss is quadratic
SAFE = 8  # bits by row
RELATIVE = (
    1 / 32
)  # step over the size of a row: that of eight bits if the largest weight is four times the size
SMALL = 0.05  # relative to the largest row's size; smaller rows count as this size
TINY = 1e-8  # the same for the last layer, whose outputs can have different units
MEDIAN = 0.6745  # of the magnitudes of a normal distribution of deviation 1
TAIL = 1 / 8  # of a row's root mean square: the least size of a row, unless other rows are smaller
COARSER = 4  # most noise, relative to that of shares in proportion to the number of entries
FEW = 16  # the median of a row with fewer entries is not used


def without_data(
    weight: Tensor, share: float | None = None, *, units: bool = False, read: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A and G if only the weight is known.

    With a share (:func:`shares`), rounding each row to :data:`SAFE` bits, or to steps of :data:`RELATIVE` of its
    typical size (:func:`typical`) if these are smaller, is assumed to cost that share of :data:`LOSS` nats. Nearly
    every network tolerates that. Noise is equal relative to the typical size of a row, so that a few outliers make
    neither their row nor their layer coarse. In the first layer of a voice encoder, whose largest weights read inputs
    that are nearly zero, steps relative to the root mean square caused 90 % of the error of the outputs. The rule is
    empirical: it was measured on trained networks (``benchmarks/any_trained.py``).

    Without a share, losing the whole weight is assumed to cost half a nat: ΔL = ½ ‖W - Ŵ‖² / ‖W‖².

    Args:
        weight: ``[rows, ...]``.
        share: of the loss, in (0, 1].
        units: rows count alike even if their sizes differ by a large factor.
        read: sizes of the inputs of columns, float64 ``[cols]`` (:mod:`szilard.compression.raw_units`); by default 1.
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
    """Typical size of each row: the deviation of a normal distribution with the same median of magnitudes.

    Zeros do not count. If most entries of a row are nearly zero, as after sparse training, its size is at least
    :data:`TAIL` of the root mean square, or the median size in the matrix if that is less. It is never more than the
    root mean square.

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
    """Share of the loss that rounding each tensor is allowed to cost, by its name and its number of entries.

    Noise of one size relative to the weights changes the output of a small layer about as much as that of a large one,
    and finer steps cost fewer bits in a small one. That alone would give equal shares; if each entry mattered alike,
    shares would be proportional to the number of entries. Here they are proportional to its square root, but at least
    1 / :data:`COARSER` of the proportional share, so that no tensor loses more than one bit per entry.
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
    """The rows in parts, in float64."""
    for part in matrix.split(max(1, MANY // max(1, matrix.shape[1]))):
        yield part.double()
