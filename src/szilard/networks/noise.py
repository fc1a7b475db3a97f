"""The noise of a regression, learned beside its mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError


class WithNoise(nn.Module):
    """A regression network that also says how noisy the targets are: one number for all inputs.

    ``[B, 1]`` becomes ``[B, 2]``: the mean, and ln of the noise's standard deviation in units of the target
    the network is trained on. A network that answers ``[B, 2]`` knows its own noise and is left as it is
    (``log_noise`` is then unused).

    Args:
        network: answers ``[B, 1]`` or ``[B, 2]``.
        log_noise: where the learned number starts; -1 is 37 % of a standardised target's spread.
    """

    def __init__(self, network: nn.Module, log_noise: float = -1.0) -> None:
        super().__init__()
        self.network = network
        self.log_noise = nn.Parameter(torch.tensor(float(log_noise)))

    def forward(self, x: Tensor) -> Tensor:
        output = self.network(x)
        if output.dim() != 2 or output.shape[1] not in (1, 2):
            raise SzilardError(f"a regression network must answer [B, 1] or [B, 2], not {list(output.shape)}")
        if output.shape[1] == 2:
            return output
        return torch.cat([output, self.log_noise.to(output.dtype).expand_as(output)], 1)
