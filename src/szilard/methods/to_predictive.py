"""Converts the outputs of draws to predictions under a likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, NoisyGaussian
from szilard.metrics import Predictive
from szilard.metrics.calibration import check_divisor


def predictive_of(likelihood: Likelihood, outputs: Tensor, calibration: float = 1.0) -> Predictive:
    """The predictions of outputs ``[S, N, ...]`` of S draws.

    Args:
        likelihood: of the outputs; another one than those of :mod:`szilard.likelihood` gives its moments.
        outputs: of the draws.
        calibration: divides the logits.

    Raises:
        SzilardError: outputs that are NaN or infinite, or of a shape that the likelihood does not take; a
            calibration that is not positive and finite.
    """
    check_divisor(calibration)
    if not bool(torch.isfinite(outputs).all()):
        if outputs.dtype is torch.float16:
            raise SzilardError(
                "the network's float16 outputs are NaN or infinite: float16 overflows above 65504; predict with "
                "network.float(), or with bfloat16"
            )
        raise SzilardError("the network returns NaN or infinite values; check the inputs and the weights")
    if isinstance(likelihood, NoisyGaussian):
        if outputs.dim() != 3 or outputs.shape[2] != 2 * likelihood.outputs:
            raise SzilardError(
                f"the network returns {list(outputs.shape[1:])} and not [B, {2 * likelihood.outputs}], a mean and the "
                "log of its noise, so its uncertainty is unknown; wrap it in szilard.networks.WithNoise, or "
                "call it yourself"
            )
        columns = [likelihood.columns(output) for output in outputs]
        means, logs = (torch.stack(part) for part in zip(*columns, strict=True))
        return Predictive.from_gaussian(means, (2 * logs).exp())
    if isinstance(likelihood, Gaussian):
        means = outputs if outputs.dtype is torch.float64 else outputs.float()
        means = means.squeeze(2) if means.dim() == 3 and means.shape[2] == 1 else means
        variances = likelihood.scale.square().to(means).expand(means.shape)
        return Predictive.from_gaussian(means, variances)
    if isinstance(likelihood, Bernoulli):
        return Predictive.from_binary_logits(likelihood.logits(outputs) / calibration)
    if isinstance(likelihood, Categorical):
        if outputs.dim() < 3:
            raise SzilardError(
                f"the network returns {list(outputs.shape[1:])} and not [B, C], one logit for each class"
            )
        logits = torch.stack([likelihood.logits(output) for output in outputs])
        return Predictive.from_logits(logits / calibration)
    moments = [likelihood.moments(output) for output in outputs]
    means, variances = (
        torch.stack([_column(values) for values in part]) for part in zip(*moments, strict=True)
    )
    return Predictive.from_gaussian(means, variances.expand(means.shape))


def _column(values: Tensor) -> Tensor:
    """``[N, 1]`` as ``[N]``, at least in float32."""
    values = values if values.dtype is torch.float64 else values.float()
    return values.squeeze(1) if values.dim() == 2 and values.shape[1] == 1 else values


def binary(output: Tensor) -> bool:
    """Whether an output, ``[N]``, ``[N, 1]`` or ``[N, 1, ...]``, is one logit for two classes."""
    return output.dim() == 1 or (output.dim() > 1 and output.shape[1] == 1)


def two_classes(outputs: Tensor, calibration: float) -> Predictive:
    """Predictions from one logit ``[S, N]`` or ``[S, N, 1, ...]``, that of the second of two classes.

    Raises:
        SzilardError: a calibration that is not positive and finite.
    """
    check_divisor(calibration)
    z = (outputs if outputs.dim() == 2 else outputs.squeeze(2)) / calibration
    z = z if z.dtype is torch.float64 else z.float()
    return Predictive.from_logits(torch.stack((torch.zeros_like(z), z), 2))
