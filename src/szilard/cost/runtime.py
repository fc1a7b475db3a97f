"""Ways to run a network whose latency is measured: what executes it, and a function that runs it once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from szilard.cost.inputs import Inputs, runner


@dataclass(frozen=True)
class Runtime:
    """One way to run a network.

    Attributes:
        label: what executes the network, for tables.
        run: executes it once, and returns when the outputs are there.
        waits: it waits for another device (the argument of :func:`szilard.cost.latency.latencies`).
    """

    label: str
    run: Callable[[], object]
    waits: bool = False


def plain_pytorch(network: nn.Module, inputs: Inputs, *, batch: int = 1) -> Runtime:
    """A network as PyTorch executes it: its own forward, in eval mode, without gradients, on the device that it is on.

    Args:
        network: any ``nn.Module``; a copy of it runs.
        inputs: shape of one example, or examples ``[N, ...]`` of which the first is used, as in
            :func:`szilard.cost.count`. Shapes become zeros.
        batch: number of examples in one call, all the same.

    Raises:
        SzilardError: the network does not run on these inputs.
    """
    network = copy.deepcopy(network).eval()
    call = runner(network, inputs, batch)
    on_gpu = any(tensor.is_cuda for tensor in (*network.parameters(), *network.buffers()))

    def run() -> object:
        with torch.no_grad():
            output = call()
        if on_gpu:
            torch.cuda.synchronize()
        return output

    version = torch.__version__.partition("+")[0]
    return Runtime(f"plain PyTorch {version}", run, waits=on_gpu)
