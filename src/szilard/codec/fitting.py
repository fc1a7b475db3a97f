"""Fit the network of a field to a sample of its values, by gradient descent on the code length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from szilard.codec.features import INPUTS, LINEAR, MOST, ONE
from szilard.codec.fineness import Fineness
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import (
    LAST_SHIFT,
    LINEAR_SHIFT,
    MOST_BIAS,
    MOST_LAST,
    MOST_LINEAR,
    MOST_WEIGHT,
    OUTPUTS,
    SHIFT,
    STEP,
    Network,
)
from szilard.codec.slices import Layout, walk
from szilard.coding import shapes

SAMPLE = 60_000  #: values, over all passes
_LEAST = 1500  # of each pass
_VISITED, _LEAST_SLICES = 4, 3  # values to choose from for each of a sample; slices
_BATCH = 4096
_RATES = (3e-3, 1e-2)  # of the linear part, of the network
_ESCAPES = 2.0**-14  # of symbols, at least
_FLOOR = 2.0**-26  # of a probability, that of an escape


@dataclass(frozen=True)
class Sample:
    """Values of a field with what predicts them, from a copy with the errors that the decoder will have.

    Attributes:
        targets: value less its middle, in units of 2^exponent, float32 ``[M]``.
        unit: 2^exponent over the width of a bin, ``[M]``.
        differences: over 2^exponent, ``[M, LINEAR]``.
        spread: log2 of the spread, less that of a bin over ``STEP``, ``[M]``.
        inputs: ``[M, INPUTS]``.
        level: ``[M]`` int64.
        kind: ``[M]`` int64.
        weight: values that each stands for, ``[M]``.
    """

    targets: Tensor
    unit: Tensor
    differences: Tensor
    spread: Tensor
    inputs: Tensor
    level: Tensor
    kind: Tensor
    weight: Tensor


def sample(
    layout: Layout,
    lattice: np.ndarray,
    generator: np.random.Generator,
    decoded: np.ndarray | None = None,
    *,
    coded: np.ndarray | None = None,
    fine: Fineness | None = None,
    size: int = SAMPLE,
) -> Sample:
    """Draw a sample from a lattice ``[slices, rows · columns]``; finer passes give more values.

    Args:
        layout: of the array.
        lattice: its values.
        generator: of the choice and the noise.
        decoded: what a decoder would know; None: the values with uniform noise.
        coded: which values have bins; None: all.
        fine: the width of each value's bin; None: ``STEP``.
        size: about how many values.
    """
    known = decoded
    if known is None:
        half = STEP // 2 if fine is None else fine.widths[fine.exponents] // 2
        known = lattice + generator.integers(-half, half + 1, lattice.shape)
    numbers = _visited(layout, size)
    total = len(numbers) * lattice.shape[1]
    others = (layout.count - 1) / max(len(numbers) - 1, 1)  # slices that one after the first stands for
    parts: list[tuple[np.ndarray, ...]] = []
    for visit in walk(layout, known, numbers):
        number, step = visit.number, visit.step
        has = np.arange(len(step.targets)) if coded is None else np.flatnonzero(coded[number][step.targets])
        count = len(has)
        if not count:
            continue
        if layout.raster:
            kept = min(count, math.ceil(size * count / total))
        else:
            share = size * math.sqrt(count / total / len(numbers)) / 4
            kept = min(count, max(_LEAST // max(1, len(numbers) // 8), int(share)))
        chosen = has[np.sort(generator.choice(count, kept, replace=False))]
        given = visit.features(known, chosen)
        unit = np.exp2(given.exponent.astype(np.float64))
        wanted = lattice[number][step.targets[chosen]] - given.middle
        k = 0 if fine is None else fine.exponents[number][step.targets[chosen]]
        parts.append(
            (
                wanted / unit,
                unit / (STEP if fine is None else fine.widths[k]),
                (given.differences / unit).T,
                given.spread / 256 - k / shapes.PER_OCTAVE,
                given.inputs.T / ONE,
                np.full(kept, step.level),
                np.full(kept, step.kind),
                np.full(kept, count / kept * (others if number else 1)),
            )
        )
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    types = [torch.float32] * 5 + [torch.int64] * 2 + [torch.float32]
    return Sample(*(torch.as_tensor(column).to(kind) for column, kind in zip(joined, types, strict=True)))


def _visited(layout: Layout, size: int) -> list[int]:
    """The first slice and others at equal distances, with several times as many values as a sample."""
    wanted = max(_LEAST_SLICES, -(-_VISITED * size // math.prod(layout.slice_shape)))
    count = min(layout.count, wanted)
    return sorted({round(n) for n in np.linspace(0, layout.count - 1, count)})


class Model(nn.Module):
    """The network of :class:`szilard.codec.network.Network` in floating point.

    Args:
        hidden: units of each hidden layer.
        seed: of the first weights.
        shape: of the distribution of what is not predicted.
        start: first weights of the linear part of every pass; the others are 0.
    """

    def __init__(
        self, hidden: int, seed: int = 0, shape: int = shapes.TAILS, start: tuple[float, ...] = ()
    ) -> None:
        super().__init__()
        self.shape = shape
        generator = torch.Generator().manual_seed(seed)

        def weights(rows: int, columns: int, size: float) -> nn.Parameter:
            return nn.Parameter((torch.rand(rows, columns, generator=generator) * 2 - 1) * size)

        linear = torch.zeros(MOST_LEVELS, 3, LINEAR)
        linear[..., : len(start)] = torch.tensor(start)
        self.linear = nn.Parameter(linear)
        self.first = weights(hidden, INPUTS, INPUTS**-0.5)
        self.second = weights(hidden, hidden, hidden**-0.5)
        self.last = weights(OUTPUTS, hidden, 0.1 * hidden**-0.5)
        self.biases = nn.Parameter(torch.zeros(2 * hidden + OUTPUTS))

    def forward(self, given: Sample, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted targets ``[M]`` in units of 2^exponent, and log2 of the scale ``[M]`` in bins."""
        hidden, most = len(self.first), MOST / ONE
        first, second, last = self.biases.split([hidden, hidden, OUTPUTS])
        linear = (self.linear[given.level[rows], given.kind[rows]] * given.differences[rows]).sum(1)
        one = torch.addmm(first, given.inputs[rows], self.first.T).clamp(0, most)
        two = (one + torch.addmm(second, one, self.second.T).clamp(0, most)).clamp(max=most)
        shift, log_scale = torch.addmm(last, two, self.last.T).unbind(1)
        return linear + shift, log_scale + given.spread[rows] - 11

    def bits(self, given: Sample, rows: Tensor) -> Tensor:
        """Code length of each value, ``[M]``.

        The scale learns from the bin that is coded. A rounded residual has no gradient, so that the prediction learns
        from the mass of a bin around the residual itself.
        """
        predicted, log_scale = self(given, rows)
        residual = ((given.targets[rows] - predicted) * given.unit[rows]).abs()
        scale = torch.exp2(log_scale.clamp(min=shapes.LOWEST, max=28.0))
        coded = _bits((residual.detach() + 0.5).floor(), scale, self.shape)
        if not torch.is_grad_enabled():
            return coded
        smooth = _bits(residual, scale.detach(), self.shape)
        return coded + smooth - smooth.detach()


def _bits(residual: Tensor, scale: Tensor, shape: int) -> Tensor:
    if shape == shapes.LOGISTIC:
        upper, lower = (residual + 0.5) / scale, (residual - 0.5) / scale
        likely = torch.sigmoid(-lower) - torch.sigmoid(-upper)
    elif shape == shapes.GAUSSIAN:
        wide = math.sqrt(8) * scale
        likely = (torch.erfc((residual - 0.5) / wide) - torch.erfc((residual + 0.5) / wide)) / 2
    else:
        likely = torch.stack([share * _bin(residual, scale * wide) for share, wide in shapes.PARTS]).sum(0)
    return -torch.log2(likely * (1 - _ESCAPES) + _FLOOR)


def _bin(residual: Tensor, scale: Tensor) -> Tensor:
    """The mass of a bin of width 1 around a residual."""
    upper, lower = (residual + 0.5) / scale, (residual - 0.5) / scale
    tail = 0.5 * torch.exp(-lower.clamp(min=0)) * -torch.expm1(-1 / scale)
    around = 1 - 0.5 * (torch.exp(-upper) + torch.exp(lower.clamp(max=0)))
    return torch.where(lower > 0, tail, around)


def fit(given: Sample, model: Model, steps: int = 700, seed: int = 0, speed: float = 1.0) -> Model:
    """Minimise the mean code length of a sample, from the present weights."""
    generator = torch.Generator().manual_seed(seed)
    others = [parameter for name, parameter in model.named_parameters() if name != "linear"]
    optimizer = torch.optim.Adam(
        [
            {"params": [model.linear], "lr": speed * _RATES[0]},
            {"params": others, "lr": speed * _RATES[1]},
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    weight = given.weight / given.weight.mean()
    count = len(given.targets)
    for _ in range(steps):
        rows = torch.randint(0, count, (min(_BATCH, count),), generator=generator)
        loss = (model.bits(given, rows) * weight[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def integers(model: Model) -> Network:
    """The nearest network in integers."""

    def whole(values: Tensor, shift: int, most: int) -> np.ndarray:
        scaled = np.rint(values.double().numpy() * 2.0**shift)
        return np.clip(scaled, -most, most).astype(np.int64)

    return Network(
        whole(model.linear, LINEAR_SHIFT, MOST_LINEAR),
        whole(model.first, SHIFT, MOST_WEIGHT),
        whole(model.second, SHIFT, MOST_WEIGHT),
        whole(model.last, LAST_SHIFT, MOST_LAST),
        whole(model.biases, SHIFT + 8, MOST_BIAS),
        model.shape,
    )


@torch.no_grad()
def floating(network: Network) -> Model:
    """A network in integers as one in floating point."""
    model = Model(network.hidden, shape=network.shape)
    for name, scale in (("linear", LINEAR_SHIFT), ("first", SHIFT), ("second", SHIFT), ("last", LAST_SHIFT)):
        getattr(model, name).copy_(torch.as_tensor(getattr(network, name) / 2.0**scale))
    model.biases.copy_(torch.as_tensor(network.biases / 2.0 ** (SHIFT + 8)))
    return model


@torch.no_grad()
def cost(network: Network, given: Sample) -> float:
    """Code length of the values that a sample stands for, in bits."""
    found = floating(network).bits(given, torch.arange(len(given.targets)))
    return float((found * given.weight).sum())


def joined(*samples: Sample) -> Sample:
    """Several samples as one; each value stands for fewer."""
    parts = [torch.cat(columns) for columns in zip(*(vars(one).values() for one in samples), strict=True)]
    parts[-1] = parts[-1] / len(samples)
    return Sample(*parts)
