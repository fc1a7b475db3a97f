"""The noise of a regression, learned together with its mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError


class WithNoise(nn.Module):
    """A regression network that also outputs the noise of the targets: one number for each target and all inputs.

    ``[B, k]`` becomes ``[B, 2 k]``: the means, and ln of the noises' standard deviations in units of the targets
    that the network is trained on. The output of a network that already returns ``[B, 2 k]`` is unchanged
    (``log_noise`` is then unused).

    Args:
        network: returns ``[B, k]`` or ``[B, 2 k]``; ``[B]`` is read as ``[B, 1]``.
        log_noise: initial value of the learned numbers; -1 is 37 % of a standardised target's standard deviation.
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
                f"a regression network must return one tensor, not {type(output).__name__}; wrap it so that it "
                "returns the mean only"
            )
        if output.dim() == 1:
            output = output.unsqueeze(1)
        if output.dim() != 2 or output.shape[1] not in (k, 2 * k):
            several = ""
            if output.dim() == 2:
                n = output.shape[1]
                several = f"; for {n} targets for each example give task=szilard.likelihood.NoisyGaussian(outputs={n})"
            raise SzilardError(
                f"a regression network must return [B, {k}] or [B, {2 * k}], not {list(output.shape)}{several}"
            )
        if output.shape[1] == 2 * k:
            return output
        return torch.cat([output, self.log_noise.to(output.dtype).expand_as(output)], 1)
