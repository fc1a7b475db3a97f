"""The noise of a regression, learned beside its mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError


class WithNoise(nn.Module):
    """A regression network that also says how noisy the targets are: one number for all inputs and each target.

    ``[B, k]`` becomes ``[B, 2 k]``: the means, and ln of the noises' standard deviations in units of the targets
    that the network is trained on. A network that answers ``[B, 2 k]`` knows its own noise and is left as it is
    (``log_noise`` is then unused).

    Args:
        network: answers ``[B, k]`` or ``[B, 2 k]``; ``[B]`` is read as ``[B, 1]``.
        log_noise: where the learned numbers start; -1 is 37 % of a standardised target's spread.
        outputs: k, the number of targets of an example.
    """

    def __init__(self, network: nn.Module, log_noise: float = -1.0, outputs: int = 1) -> None:
        super().__init__()
        self.network = network
        self.outputs = outputs
        start = torch.tensor(float(log_noise))
        self.log_noise = nn.Parameter(start if outputs == 1 else start.repeat(outputs))

    def forward(self, x: Tensor) -> Tensor:
        output = self.network(x)
        k = self.outputs
        if not isinstance(output, Tensor):
            raise SzilardError(
                f"a regression network must answer with one tensor, not {type(output).__name__}; wrap it so that it "
                "answers the mean alone"
            )
        if output.dim() == 1:
            output = output.unsqueeze(1)
        if output.dim() != 2 or output.shape[1] not in (k, 2 * k):
            several = ""
            if output.dim() == 2:
                n = output.shape[1]
                several = f"; for {n} targets of each example give task=szilard.likelihood.NoisyGaussian(outputs={n})"
            raise SzilardError(
                f"a regression network must answer [B, {k}] or [B, {2 * k}], not {list(output.shape)}{several}"
            )
        if output.shape[1] == 2 * k:
            return output
        return torch.cat([output, self.log_noise.to(output.dtype).expand_as(output)], 1)
