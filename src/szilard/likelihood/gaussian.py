"""Quantities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError, shortened
from szilard.likelihood.likelihood import Likelihood, by_example, precise, same_shape

UNLIKE = 3.0  # between deviations of channels that have units of their own
FLOAT = 1e-5  # of its size, by which an output moves that does not move
SMALLEST = 1e-4  # of the largest scale: that of outputs which are always 0


def check_scale(scale: Tensor | float) -> None:
    """Raise :class:`SzilardError` unless all deviations are above zero and finite."""
    values = torch.as_tensor(scale)
    if not bool(((values > 0) & torch.isfinite(values)).all()):
        raise SzilardError(
            f"deviations must be above zero and finite, not {shortened(str(values.tolist()), 60)}"
        )


class Gaussian(Likelihood):
    """Outputs are means, of noise whose deviation is a constant; the score is R².

    R² is that of each column of ``[B, k]``, averaged; of everything together for other shapes. It is not defined where
    targets never change: those are left out.

    Args:
        scale: the deviation of the targets, ``[k]`` or scalar; errors are counted in it.
        counts: bool, of the shape of ``scale``: which targets the score is of; None: all.
    """

    name = "regression"
    score = "R²"
    relative = True

    def __init__(self, scale: Tensor | float = 1.0, *, counts: Tensor | None = None) -> None:
        self.scale = torch.as_tensor(scale, dtype=torch.float64)
        check_scale(self.scale)
        self.counts = counts

    @classmethod
    def of(cls, targets: Tensor, *, answered: bool = False) -> Gaussian:
        """With the deviations of targets ``[N, ...]``; where they never change, their root mean square.

        Columns of ``[N, k]`` have one each. Of more axes, so has each channel: the places of the first or of the last
        axis behind the examples, along which deviations differ more, if they differ by a factor of :data:`UNLIKE`.

        Args:
            answered: they are outputs of a network, of which those that do not move are not exact.
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
                # The mean of equal floats is not always their value, so that a deviation may be left of them.
                counts, scale = ~same, torch.where(same, torch.where(size > 0, size, scale.max()), scale)
        if answered:
            # Each by its own size, because outputs may have units of their own.
            scale = torch.maximum(scale, FLOAT * size) if bool((scale > 0).any()) else size
        elif not bool((scale > 0).any()):
            scale = size
        largest = float(scale.max()) if scale.numel() else 0.0
        known = largest > 0 and math.isfinite(largest)  # what is not is refused as a target
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
    """Axes over which one deviation is taken."""
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
