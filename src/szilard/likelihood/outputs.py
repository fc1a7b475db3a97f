"""Properties of a network's outputs, from their values and shape."""

from __future__ import annotations

from torch import Tensor

from szilard.likelihood.gaussian import Gaussian
from szilard.likelihood.noisy import NoisyGaussian


def between_zero_and_one(output: Tensor) -> bool:
    """Whether all values are in [0, 1]."""
    return bool(((output >= 0) & (output <= 1)).all())


def classes_last(output: Tensor, y: Tensor) -> bool:
    """Whether the shape of the labels ``y`` shows that the classes are the last dimension of ``output``."""
    first = (output.shape[0], *output.shape[2:])
    return output.dim() > 2 and y.shape != first and y.shape == output.shape[:-1]


def sums_to_one(output: Tensor, labels: Tensor | None) -> bool:
    """Whether outputs are probabilities of classes."""
    axis = -1 if labels is not None and classes_last(output, labels) else 1
    return between_zero_and_one(output) and bool(((output.float().sum(axis) - 1).abs() < 1e-2).all())


def of_length_one(output: Tensor) -> bool:
    """Whether outputs are vectors of length 1."""
    return bool(((output.float().norm(dim=-1) - 1).abs() < 1e-2).all())


def has_noise(output: Tensor, y: Tensor) -> bool:
    """Whether outputs have a mean and a log noise deviation for each target of ``y``, by their shape."""
    several = y.dim() == 2 and y.shape[1] > 1 and y.is_floating_point()
    return (
        output.dim() == 2
        and output.shape[1] == 2 * (y.shape[1] if several else 1)
        and 2 * y.numel() == output.numel()
    )


def gaussian(output: Tensor, labels: Tensor | None) -> Gaussian:
    """The likelihood of outputs that are means; deviations are those of the labels, or of the outputs."""
    if labels is not None and labels.numel() == output.numel():
        return Gaussian.of(labels.reshape(output.shape))
    return Gaussian.of(output, answered=True)


def noisy(output: Tensor, labels: Tensor | None) -> NoisyGaussian:
    """The likelihood of means and log noise deviations; the scales are those of the labels, or of the means."""
    k = max(1, output.shape[1] // 2) if output.dim() == 2 else 1
    if labels is not None:
        return NoisyGaussian.of(labels)
    return NoisyGaussian.of(output[:, 0] if k == 1 else output[:, :k])
