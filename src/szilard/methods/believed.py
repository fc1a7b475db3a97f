"""From the outputs of draws to what they say under a likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, NoisyGaussian
from szilard.metrics import Predictive


def believed(likelihood: Likelihood, outputs: Tensor, calibration: float = 1.0) -> Predictive:
    """What outputs ``[S, N, ...]`` of S draws say.

    Args:
        likelihood: a categorical one, Bernoulli, or Gaussian with or without a noise of the network's own.
        calibration: divides logits.

    Raises:
        SzilardError: NaN or infinite outputs, or of a shape that the likelihood does not take.
    """
    if not bool(torch.isfinite(outputs).all()):
        if outputs.dtype is torch.float16:
            raise SzilardError(
                "the network's float16 answers are NaN or infinite, because float16 ends at 65504; predict with "
                "network.float(), or with bfloat16"
            )
        raise SzilardError(
            "the network answers with NaN or infinite values; check the inputs and the weights"
        )
    if isinstance(likelihood, NoisyGaussian):
        if outputs.dim() != 3 or outputs.shape[2] != 2 * likelihood.outputs:
            raise SzilardError(
                f"the network answers {list(outputs.shape[1:])} and not [B, {2 * likelihood.outputs}], a mean and the "
                "log of its noise, so that it does not say how sure it is; wrap it in szilard.networks.WithNoise, or "
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
                f"the network answers {list(outputs.shape[1:])} and not [B, C], one logit for each class"
            )
        logits = torch.stack([likelihood.logits(output) for output in outputs])
        return Predictive.from_logits(logits / calibration)
    raise SzilardError(
        f"{type(likelihood).__name__} says no probability of an answer; call the network itself for its vectors"
    )


def binary(output: Tensor) -> bool:
    """Whether an output, ``[N]``, ``[N, 1]`` or ``[N, 1, ...]``, is one logit for two classes."""
    return output.dim() == 1 or (output.dim() > 1 and output.shape[1] == 1)


def two_classes(outputs: Tensor, calibration: float) -> Predictive:
    """From the one logit ``[S, N]`` or ``[S, N, 1, ...]`` of the second of two classes."""
    z = (outputs if outputs.dim() == 2 else outputs.squeeze(2)) / calibration
    z = z if z.dtype is torch.float64 else z.float()
    return Predictive.from_logits(torch.stack((torch.zeros_like(z), z), 2))
