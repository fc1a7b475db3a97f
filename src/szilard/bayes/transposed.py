"""The fan-in of transposed convolutions."""

from __future__ import annotations

import math

from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd


def is_transposed(module: nn.Module) -> bool:
    return isinstance(module, _ConvTransposeNd)


def fan_in_share(module: nn.Module) -> float:
    """Fan-in of an output over the columns of the weight read as a matrix.

    A weight ``[C_in, C_out / groups, *kernel]`` has a row for each input channel; an output depends on ``C_in /
    groups`` channels through ``Π kernel / stride`` positions on average.
    """
    assert isinstance(module, _ConvTransposeNd)
    reached = (module.in_channels // module.groups) * math.prod(module.kernel_size) / math.prod(module.stride)
    columns = (module.out_channels // module.groups) * math.prod(module.kernel_size)
    return reached / columns
