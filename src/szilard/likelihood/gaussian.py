"""Regression with constant noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError, shortened
from szilard.likelihood.likelihood import Likelihood, by_example, precise, same_shape

UNLIKE = 3.0  # factor between deviations from which channels are treated as quantities of different units
FLOAT = 1e-5  # relative variation below which an output counts as constant
SMALLEST = 1e-4  # scale of outputs that are always 0, relative to the largest scale


def check_scale(scale: Tensor | float) -> None:
    """Raise :class:`SzilardError` unless it is a deviation or several, all above zero and finite."""
    try:
        values = None if isinstance(scale, bool | str) else torch.as_tensor(scale)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        values = None
    if values is None or values.is_complex() or values.dtype == torch.bool or not values.numel():
        raise SzilardError(f"deviations must be a number or numbers, not {shortened(repr(scale), 60)}")
    if not bool(((values > 0) & torch.isfinite(values)).all()):
        raise SzilardError(
            f"deviations must be above zero and finite, not {shortened(str(values.tolist()), 60)}"
        )


class Gaussian(Likelihood):
    """Outputs are means, with noise of constant standard deviation; the score is R².

    R² is averaged over the columns of ``[B, k]``; for other shapes it is that of all values together. It is undefined
    for constant targets, which are left out.

    Args:
        scale: standard deviation of the targets, ``[k]`` or scalar; the unit of errors.
        counts: bool, of the shape of ``scale``: the targets that the score includes; None: all.
    """

    name = "regression"
    score = "R²"
    relative = True
    unlabelled = "agreement with the original's outputs, 1 - squared error / variance"

    def __init__(self, scale: Tensor | float = 1.0, *, counts: Tensor | None = None) -> None:
        check_scale(scale)
        self.scale = torch.as_tensor(scale, dtype=torch.float64)
        self.counts = counts

    @classmethod
    def of(cls, targets: Tensor, *, answered: bool = False) -> Gaussian:
        """With the standard deviations of targets ``[N, ...]``; for constant targets, their root mean square.

        Each column of ``[N, k]`` has its own. With more axes each channel has its own, if the deviations of channels
        differ by a factor of :data:`UNLIKE`. Channels are the first axis after the examples or the last axis, whichever
        has the larger differences.

        Args:
            targets: of the examples.
            answered: the targets are outputs of a network, in which constant values vary by rounding.
        """
        y = targets.double()
        axes, keep = _together(y), y.dim() > 2
        scale = (y - y.mean(0)).square().mean(axes, keepdim=keep).sqrt()
        size = y.square().mean(axes, keepdim=keep).sqrt()
        if keep:
            scale, size = scale.squeeze(0), size.squeeze(0)
        counts = None
        if not answered and scale.numel() > 1:
            same = constant(y, axes).reshape(scale.shape)
            if bool(same.any()) and not bool(same.all()):
                # The mean of equal floats can differ from their value, so their computed deviation can be above zero.
                counts, scale = ~same, torch.where(same, torch.where(size > 0, size, scale.max()), scale)
        if answered:
            # Relative to each output's size, because outputs can have different units.
            scale = torch.maximum(scale, FLOAT * size) if bool((scale > 0).any()) else size
        elif not bool((scale > 0).any()):
            scale = size
        largest = float(scale.max()) if scale.numel() else 0.0
        known = largest > 0 and math.isfinite(largest)  # NaN and infinite targets raise later
        return cls(torch.where(scale > 0, scale, SMALLEST * largest) if known else 1.0, counts=counts)

    def _error(self, output: Tensor, y: Tensor) -> Tensor:
        scale = self.scale.to(output.device)
        return (output.double() - y.reshape(output.shape).double()) / scale

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        error = self._error(output, y)
        terms = 0.5 * error.square() + (self.scale.log() + 0.5 * math.log(2 * math.pi)).to(error)
        return precise(terms.reshape(len(output), -1).sum(1).to(output))

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return 1 - over_those(self._error(output, y).square(), self.counts)

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """1 minus the squared error relative to the variance of the original's outputs."""
        return self.values(output, original)

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        noise = torch.randn(output.shape, generator=generator).to(output)
        return noise / self.scale.to(noise)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        error = (answer - wanted) / self.scale.to(answer)
        return 0.5 * error.square().reshape(len(error), -1).sum(1).mean()

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        if not same_shape(y.shape, output.shape):
            raise SzilardError(
                f"targets have shape {list(y.shape)} and outputs {list(output.shape)}; give one target for each output"
            )

        if self.scale.dim() and not _broadcasts(
            self.scale.shape, output.shape[1:] if output.dim() > 1 else ()
        ):
            raise SzilardError(
                f"there are {self.scale.numel()} deviations for outputs {list(output.shape)}; give one, or one "
                "for each column"
            )

    def check_values(self, output: Tensor, y: Tensor) -> None:
        if not bool(torch.isfinite(y.double()).all()):
            raise SzilardError("targets have NaN or infinite values; remove those examples")


def constant(y: Tensor, axes: Sequence[int] = (0,)) -> Tensor:
    """Which targets ``[N, ...]`` are the same in all examples and at all places of these axes; bool."""
    return y.amax(tuple(axes)) == y.amin(tuple(axes)) if y.numel() else torch.zeros((), dtype=torch.bool)


def over_those(values: Tensor, counts: Tensor | None) -> Tensor:
    """Mean of values ``[B, ...]`` of each example over the targets that count, float64 ``[B]``.

    Args:
        counts: bool, broadcasts to one example; None: all.
    """
    if counts is None:
        return by_example(values)
    mask = counts.to(values.device).expand(values.shape[1:])
    return by_example(values * mask) / mask.double().mean()


def _together(y: Tensor) -> tuple[int, ...]:
    """Axes over which one deviation is computed."""
    if y.dim() <= 2:
        return (0,) if y.dim() == 2 else tuple(range(y.dim()))
    spread = (y - y.mean(0)).square().mean(0)
    best, unlike = tuple(range(y.dim())), UNLIKE**2
    for axis in (0, spread.dim() - 1):
        others = tuple(a for a in range(spread.dim()) if a != axis)
        found = spread.mean(others)
        found = found[found > 0]
        if found.numel() > 1 and float(found.max() / found.min()) >= unlike:
            best, unlike = tuple(a for a in range(y.dim()) if a != axis + 1), float(found.max() / found.min())
    return best


def _broadcasts(scale: Sequence[int], output: Sequence[int]) -> bool:
    pairs = zip(reversed(scale), reversed(output), strict=False)
    return math.prod(scale) == 1 or (len(scale) <= len(output) and all(n in (1, m) for n, m in pairs))
