"""Units in which an external network may take inputs and predict values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from szilard.cli.external.examples import Examples, Part
from szilard.cli.external.normalisation import Normalisation
from szilard.data.dataset import standardised
from szilard.model.units import RAW_TARGETS, TARGETS, UNIT_RANGE, left_alone, unit_range

Units = tuple[Tensor, Tensor] | None  # shift and scale


def candidates(
    data: Examples, typed: Normalisation, *, labelled: bool
) -> Iterator[tuple[Units | str, Units, str]]:
    """Units of inputs and of targets, the usual ones first, and a phrase that describes both."""
    x = data.train.x
    sets: list[tuple[Units | str, str]]
    if typed.typed:
        shape = (data.input_shape[-1],) if data.channels_last else data.input_shape
        sets = [(typed.numbers(shape), "inputs are normalised as --mean and --std say")]
    else:
        plain = (None, "inputs are taken as they are in the data")
        moments = _moments(x, channels_last=data.channels_last)
        standard = (moments, "inputs are standardised with the training part")
        if not x.is_floating_point():
            sets = [(None, "inputs stay whole numbers"), ("float", plain[1]), standard]
        else:
            sets = [standard, plain] if labelled and x.dim() in (2, 4) else [plain, standard]
        if x.dim() == 2:
            sets += left_alone(x.double(), moments)
            sets.append((unit_range(x.double()), UNIT_RANGE))
    y = data.train.y
    has_values = y.is_floating_point() and not bool(((y == 0) | (y == 1)).all())
    for units_, text in sets:
        yield units_, None, f"{text}, {RAW_TARGETS}" if has_values else text
        if has_values:
            shift, scale = y.double().mean(0), y.double().std(0, correction=0)
            scale = torch.where(scale > 0, scale, 1.0)
            yield units_, (shift, scale), f"{text}, {TARGETS}"


def _moments(x: Tensor, *, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of images, else of each entry of the last dimension."""
    first = x.dim() == 4 and not channels_last
    axes = (0, 2, 3) if first else tuple(range(x.dim() - 1))
    values = x.double()
    shift, scale = values.mean(axes), values.std(axes, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)
    shape = (-1, 1, 1) if first else (-1,)
    return shift.reshape(shape), scale.reshape(shape)


def converted(data: Examples, x_units: Units | str, y_units: Units) -> Examples:
    """The data in these units."""

    def part(one: Part) -> Part:
        return Part(in_units(one.x, x_units), in_units(one.y, y_units))

    return replace(data, train=part(data.train), valid=part(data.valid), test=part(data.test))


def in_type(data: Examples, kind: torch.dtype) -> Examples:
    """Floating-point inputs in the floating type of a network."""

    def part(one: Part) -> Part:
        return Part(one.x.to(kind), one.y) if one.x.is_floating_point() else one

    return replace(data, train=part(data.train), valid=part(data.valid), test=part(data.test))


def in_units(x: Tensor, units_: Units | str) -> Tensor:
    """Inputs as a network takes them: whole numbers, or float32, standardised in float64.

    Args:
        units_: shift and scale; None leaves inputs as they are; any text makes numbers of them.
    """
    if units_ is None:
        return x.float() if x.dtype == torch.float64 else x
    if isinstance(units_, str):
        return x.float()
    shift, scale = (part.double() for part in units_)
    return standardised(x, shift, scale)
